// Twin of shaders/shared/step.wgsl: cache slots of the rows of one forward call of the decoder.

/** The members of the uniform `step`. */
export interface Step {
  readonly slotStart: number;
  readonly slotStep: 0 | 1;
  readonly prefixLength: number;
  readonly tailStride: number;
}

/** A step of one sequence from slot 0, changed by `changes`. */
export function makeStep(changes: Partial<Step> = {}): Step {
  return { slotStart: 0, slotStep: 1, prefixLength: 0, tailStride: 0, ...changes };
}

/** The uniform's bytes: 4 u32. */
export function packStep({ slotStart, slotStep, prefixLength, tailStride }: Step): Uint32Array<ArrayBuffer> {
  return Uint32Array.of(slotStart, slotStep, prefixLength, tailStride);
}

/** Slot of a row in its sequence. */
export function rowSlot(step: Step, row: number): number {
  return step.slotStart + row * step.slotStep;
}

/** Batch row that a row belongs to; the rows of one sequence all belong to the first. */
export function batchRow(step: Step, row: number): number {
  return step.slotStep === 0 ? row : 0;
}

/** Where the cache holds a slot of the row's sequence: shared in the prefix, the batch row's own in its tail. */
export function cacheSlot(step: Step, row: number, slot: number): number {
  return slot < step.prefixLength ? slot : slot + batchRow(step, row) * step.tailStride;
}
