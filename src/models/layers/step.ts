// Cache slots of the rows of one forward call of the decoder: `struct Step` of shaders/shared/step.wgsl.

/** Bytes of `struct Step`. */
export const STEP_BYTES = 16;

/** Batch rows of one step: score edits have a header for each (shaders/shared/score-edit.wgsl). */
export const MAX_BATCH_ROWS = 32;

/** Cache slots of the rows of a forward call. */
export interface StepSlots {
  /** Slot of row 0. */
  readonly slotStart: number;
  /** True when the rows are a batch at one slot, false when they follow each other in one sequence. */
  readonly isBatch: boolean;
  /** Slots that all rows of a batch share; irrelevant for one sequence. */
  readonly prefixLength: number;
  /** Slots from one batch row's own tail to the next. */
  readonly tailStride: number;
}

/** The words of `struct Step`, written into `words` where it is given: a decode step then allocates nothing. */
export function packStep(slots: StepSlots, words = new Uint32Array(STEP_BYTES / 4)): Uint32Array<ArrayBuffer> {
  words.set([slots.slotStart, slots.isBatch ? 0 : 1, slots.prefixLength, slots.tailStride]);
  return words;
}
