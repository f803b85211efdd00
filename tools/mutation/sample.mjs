// Which mutants a run takes. Each mutant has a pseudo-random rank from the seed and its own text, not from its position in a
// list: a change elsewhere leaves the choice as it was, and the shards of a run never overlap.

import { createHash } from "node:crypto";

/**
 * @param {readonly T[]} mutants
 * @param {{seed: number, sample: number, shard: {index: number, count: number}}} choice `sample` mutants (Infinity: all) of
 *   shard `index` (from 1) of `count`
 * @returns {T[]} in the order of `mutants`
 * @template {{file: string, before: string, after: string}} T
 */
export function sampleOf(mutants, { seed, sample, shard }) {
  const repeats = new Map();
  const ranked = mutants.map((mutant) => {
    const text = textOf(mutant);
    const repeat = repeats.get(text) ?? 0;
    repeats.set(text, repeat + 1);
    const hash = createHash("sha256").update(`${seed}\0${text}\0${repeat}`).digest();
    return { mutant, rank: hash.readUIntBE(0, 6), shard: hash.readUInt32BE(8) % shard.count };
  });
  const taken = ranked
    .filter((entry) => entry.shard === shard.index - 1)
    .sort((a, b) => a.rank - b.rank)
    .slice(0, sample);
  const chosen = new Set(taken.map(({ mutant }) => mutant));
  return mutants.filter((mutant) => chosen.has(mutant));
}

/** Identifies a mutant independently of its position in the file. @param {{file: string, before: string, after: string}} mutant */
export function textOf({ file, before, after }) {
  return `${file}\0${before}\0${after}`;
}
