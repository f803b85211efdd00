// Packed score edits in words, for explanations: loaded only for these.
import { at } from "../../errors.ts";
import type { Description } from "../../gpu/describe.ts";
import type { EditedRows } from "../../gpu/ops/attention.ts";
import type { ScoreEdit, ScoreOperation } from "./score-edits.ts";

/** The operations in the order of their numbers in shaders/shared/score-edit.wgsl, whose words are read here. */
const OPERATIONS: readonly ScoreOperation[] = ["multiply", "add", "add-magnitude", "knock-out"];
const BATCH_ROWS = 32;
const EDIT_WORDS = 8;
const RULE_WORDS = 7;

/**
 * What the first edit that changes a score of the rows does: row slots, number of columns and strength (none where there are
 * several) as parameters, and in words. Undefined when none changes anything.
 */
export function describeEdits(
  words: Uint32Array<ArrayBuffer>,
  { slotStart, numRows, ...place }: EditedRows,
): Pick<Description, "detail" | "params"> | undefined {
  for (const edit of at(unpackScoreEdits(words, place), 0)) {
    const start = Math.max(edit.rows[0], slotStart);
    const end = Math.min(edit.rows[1], slotStart + numRows);
    const numColumns = edit.columns.reduce((sum, run) => sum + run[1] - run[0], 0);
    const neutral = edit.operation === "multiply" || edit.operation === "temperature" ? 1 : 0;
    const strengths = [...new Set(edit.strengths)].filter((strength) => strength !== neutral);
    if (start >= end || numColumns === 0 || strengths.length === 0) continue;
    const rows = end - start === 1 ? `position ${start}` : `positions ${start} to ${end - 1}`;
    const strength = strengths.length === 1 ? strengths[0] : undefined;
    return {
      params: {
        "edit.rowStart": start,
        "edit.rowEnd": end,
        "edit.numColumns": numColumns,
        ...(strength !== undefined && { "edit.strength": strength }),
      },
      detail: `in ${rows} the scores of ${numColumns} keys ${operationWords(edit, strength)}`,
    };
  }
  return undefined;
}

function operationWords({ operation }: ScoreEdit, strength: number | undefined): string {
  const amount = strength === undefined ? "a strength per head" : Number(strength.toPrecision(6));
  switch (operation) {
    case "multiply":
      return `times ${amount}`;
    case "add":
      return `plus ${amount}`;
    case "add-magnitude":
      return `plus ${amount} of their magnitude`;
    case "knock-out":
      return "knocked out";
    case "temperature":
      return `times ${amount}, and plus what keeps their share of the attention`;
    case "redistribute":
      return `raised by ${amount} of what the attention sinks get, in the heads that look at other keys of them`;
  }
}

/** Reads packed edits back, as they were given, per batch row; strengths are those of one layer, [H]. */
export function unpackScoreEdits(
  words: Uint32Array<ArrayBuffer>,
  place: { readonly layer: number; readonly numHeads: number },
): readonly (readonly ScoreEdit[])[] {
  const floats = new Float32Array(words.buffer, words.byteOffset, words.length);
  const word = (index: number) => {
    const value = words[index];
    if (value === undefined) throw new Error(`packed edits end before word ${index}`);
    return value;
  };
  const sinksAt = (rule: number): NonNullable<ScoreEdit["sinks"]> => {
    const dimensions = [...words.subarray(rule + RULE_WORDS, rule + RULE_WORDS + word(rule + 6))];
    const [rho, minimumShare, tau] = [at(floats, rule), at(floats, rule + 1), at(floats, rule + 2)];
    return { dimensions, tau, rho, minimumShare, numSlots: word(rule + 3) };
  };
  const editAt = (edit: number): ScoreEdit => {
    const operation = OPERATIONS[word(edit)];
    if (operation === undefined) throw new Error(`packed edits have no operation ${word(edit)}`);
    const rule = word(edit + 7);
    const [maskStart, maskWords] = rule > 0 ? [word(rule + 4), word(rule + 5)] : [word(edit + 3), word(edit + 4)];
    const strengthStart = word(edit + 5) + place.layer * place.numHeads;
    return {
      operation: rule > 0 ? "redistribute" : operation,
      rows: [word(edit + 1), word(edit + 2)],
      columns: readMask(words.subarray(maskStart, maskStart + maskWords)),
      strengths: floats.slice(strengthStart, strengthStart + place.numHeads),
      ...(rule > 0 && { sinks: sinksAt(rule) }),
    };
  };
  return Array.from({ length: BATCH_ROWS }, (_, batchRow) => {
    const start = word(2 * batchRow);
    const edits: ScoreEdit[] = [];
    for (let edit = start; edit < start + word(2 * batchRow + 1) * EDIT_WORDS; edit += EDIT_WORDS) {
      const hasRowStrengths = word(edit + 6) > 0;
      const last = edits.at(-1);
      // Of two with row strengths, one is enough to read.
      if (!hasRowStrengths || word(edit + 7) > 0) edits.push(editAt(edit));
      else if (last?.operation === "multiply") edits[edits.length - 1] = { ...last, operation: "temperature" };
    }
    return edits;
  });
}

/** The runs of set bits. */
function readMask(mask: Uint32Array): ScoreEdit["columns"] {
  const runs: [start: number, end: number][] = [];
  for (let slot = 0; slot < mask.length * 32; slot++) {
    if (((at(mask, slot >>> 5) >>> (slot & 31)) & 1) === 0) continue;
    const last = runs.at(-1);
    if (last?.[1] === slot) last[1] = slot + 1;
    else runs.push([slot, slot + 1]);
  }
  return runs;
}
