// Packed score edits in words, for explanations: loaded only for these.
import { at } from "../../errors.ts";
import type { Description } from "../../gpu/describe.ts";
import type { EditedRows } from "../../gpu/ops/attention.ts";
import type { ScoreEdit, ScoreOperation } from "./score-edits.ts";

/** The operations in the order of their numbers in shaders/shared/score-edit.wgsl, whose words are read here. */
const OPERATIONS: readonly ScoreOperation[] = ["multiply", "add", "add-magnitude", "knock-out"];
const BATCH_ROWS = 32;
const EDIT_WORDS = 8;

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
    const neutral = edit.operation === "multiply" ? 1 : 0;
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
  }
}

/** Reads packed edits back, per batch row; strengths are those of one layer, [H]. */
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
  return Array.from({ length: BATCH_ROWS }, (_, batchRow) =>
    Array.from({ length: word(2 * batchRow + 1) }, (_, index) => {
      const at = word(2 * batchRow) + index * EDIT_WORDS;
      const operation = OPERATIONS[word(at)];
      if (operation === undefined) throw new Error(`packed edits have no operation ${word(at)}`);
      const mask = words.subarray(word(at + 3), word(at + 3) + word(at + 4));
      const strengthStart = word(at + 5) + place.layer * place.numHeads;
      return {
        operation,
        rows: [word(at + 1), word(at + 2)],
        columns: readMask(mask),
        strengths: floats.slice(strengthStart, strengthStart + place.numHeads),
      };
    }),
  );
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
