// Twin of shaders/shared/score-edit.wgsl: edits of attention scores, as given and not as packed.
import type { ScoreEdit } from "../../src/models/layers/score-edits.ts";
import { at } from "./rows.ts";
import { batchRow, rowSlot, type Step } from "./step.ts";

/** Edits per batch row, and which layer of their strengths is meant. */
export interface Edits {
  readonly rows: readonly (readonly ScoreEdit[])[];
  readonly numLayers: number;
  readonly layer: number;
}

/** Scores that are knocked out. */
const KNOCKED_OUT = -3e38;

/** An edit of all rows in one layer, by one strength for every head or a strength per head. */
export function makeEdit(
  numHeads: number,
  strength: number | readonly number[],
  changes: Partial<Omit<ScoreEdit, "strengths">> = {},
): ScoreEdit {
  const strengths = Float32Array.from({ length: numHeads }, (_, head) =>
    typeof strength === "number" ? strength : at(strength, head),
  );
  return { operation: "multiply", rows: [0, Number.POSITIVE_INFINITY], columns: [], strengths, ...changes };
}

/** Edits of one sequence in a decoder of one layer. */
export function makeEdits(...edits: readonly ScoreEdit[]): Edits {
  return { rows: [edits], numLayers: 1, layer: 0 };
}

/** What a score becomes. */
export function editScore(
  score: number,
  edits: Edits | undefined,
  place: { readonly step: Step; readonly row: number; readonly head: number; readonly key: number },
): number {
  const { step, row, head, key } = place;
  const slot = rowSlot(step, row);
  let edited = score;
  for (const { operation, rows, columns, strengths } of edits?.rows[batchRow(step, row)] ?? []) {
    const strength = at(strengths, Number(edits?.layer) * (strengths.length / Number(edits?.numLayers)) + head);
    const isSelected = slot >= rows[0] && slot < rows[1] && columns.some(([start, end]) => key >= start && key < end);
    if (!isSelected || edited === KNOCKED_OUT) continue;
    if (operation === "multiply") edited *= strength;
    else if (operation === "add") edited += strength;
    else if (operation === "add-magnitude") edited += strength * Math.abs(edited);
    else if (strength !== 0) edited = KNOCKED_OUT;
  }
  return edited;
}
