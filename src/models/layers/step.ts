// Cache slots of the rows of one forward call of the decoder: `struct Step` of shaders/shared/step.wgsl.

/** Batch rows of one step: score edits have a header for each (shaders/shared/score-edit.wgsl). */
export const MAX_BATCH_ROWS = 32;

/** Answers that decode together at most. */
export const MAX_DECODE_ROWS = 16;

const HEADER_WORDS = 4;
const ROW_WORDS = 4;

/** Bytes of `struct Step`. */
export const STEP_BYTES = (HEADER_WORDS + ROW_WORDS * MAX_BATCH_ROWS) * 4;

/** One new row of a sequence that runs in a batch. */
export interface BatchSlot {
  /** The row's slot in its sequence. */
  readonly slot: number;
  /** Added to the sequence's slots from the shared prefix on to find them in the cache. */
  readonly offset: number;
}

/** Cache slots of the rows of a forward call: one sequence, whose first row has slot `slotStart`, or a batch. */
export type StepSlots =
  | { readonly slotStart: number }
  | {
      /** At most {@link MAX_BATCH_ROWS}. */
      readonly rows: readonly BatchSlot[];
      /** Slots that all rows share. */
      readonly prefixLength: number;
    };

/**
 * The words of `struct Step`, as far as the call reads them; written into `words`, which begins with zeros, where it is given: a
 * decode step then allocates nothing.
 */
export function packStep(slots: StepSlots, words?: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  if ("slotStart" in slots) {
    const packed = words ?? new Uint32Array(HEADER_WORDS + ROW_WORDS);
    packed.set([slots.slotStart, 1, 0]);
    return packed;
  }
  const { rows, prefixLength } = slots;
  const packed = words ?? new Uint32Array(HEADER_WORDS + ROW_WORDS * rows.length);
  packed.set([rows[0]?.slot ?? 0, 0, prefixLength]);
  for (const [row, { slot, offset }] of rows.entries()) packed.set([slot, offset], HEADER_WORDS + ROW_WORDS * row);
  return packed;
}
