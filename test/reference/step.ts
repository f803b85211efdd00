// Twin of shaders/shared/step.wgsl: cache slots of the rows of one forward call of the decoder.
import { at } from "../../src/errors.ts";

/** The members of the uniform `step`; of a batch, either all rows are at `slotStart` with tails `tailStride` apart, or `rows` says. */
export interface Step {
  readonly slotStart: number;
  readonly slotStep: 0 | 1;
  readonly prefixLength: number;
  readonly tailStride: number;
  /** Each batch row's slot, and what is added to its slots from prefixLength on. */
  readonly rows?: readonly (readonly [slot: number, offset: number])[] | undefined;
}

/** Batch rows that the uniform has room for. */
const NUM_ROWS = 32;

/** A step of one sequence from slot 0, changed by `changes`. */
export function makeStep(changes: Partial<Step> = {}): Step {
  return { slotStart: 0, slotStep: 1, prefixLength: 0, tailStride: 0, ...changes };
}

/** A batch whose rows are at slots of their own and share nothing. */
export function makeRows(rows: NonNullable<Step["rows"]>): Step {
  return makeStep({ slotStart: Math.max(...rows.map(([slot]) => slot)), slotStep: 0, rows });
}

/** The uniform's bytes: 132 u32. */
export function packStep(step: Step): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(4 + 4 * NUM_ROWS);
  words.set([step.slotStart, step.slotStep, step.prefixLength]);
  if (step.slotStep === 1) return words;
  const numRows = step.rows?.length ?? NUM_ROWS;
  for (let row = 0; row < numRows; row++) words.set([rowSlot(step, row), offsetOf(step, row)], 4 + 4 * row);
  return words;
}

/** Slot of a row in its sequence. */
export function rowSlot(step: Step, row: number): number {
  if (step.rows !== undefined) return at(step.rows, row)[0];
  return step.slotStart + row * step.slotStep;
}

/** Batch row that a row belongs to; the rows of one sequence all belong to the first. */
export function batchRow(step: Step, row: number): number {
  return step.slotStep === 0 ? row : 0;
}

/** Where the cache holds a slot of the row's sequence: shared in the prefix, the batch row's own in its tail. */
export function cacheSlot(step: Step, row: number, slot: number): number {
  return slot < step.prefixLength ? slot : slot + offsetOf(step, batchRow(step, row));
}

function offsetOf(step: Step, row: number): number {
  return step.rows === undefined ? row * step.tailStride : at(step.rows, row)[1];
}
