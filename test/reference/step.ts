// Twin of shaders/shared/step.wgsl: what one forward call of the decoder changes.

/** The members of the uniform `step`, with what they are when nothing is special about the call. */
export interface Step {
  readonly positionStart: number;
  readonly positionStep: 0 | 1;
  readonly prefixLength: number;
  readonly tailStride: number;
  /** Image columns [start, end). */
  readonly span: readonly [number, number];
  /** Query positions [start, end) whose image scores are scaled. */
  readonly scaled: readonly [number, number];
  /** Heads that are scaled; undefined means all. */
  readonly scaledHeads: readonly number[] | undefined;
  /** One factor a batch row. */
  readonly factors: readonly number[];
}

/** A step of one sequence from position 0 without any scaling, changed by `changes`. */
export function makeStep(changes: Partial<Step> = {}): Step {
  return {
    positionStart: 0,
    positionStep: 1,
    prefixLength: 0,
    tailStride: 0,
    span: [0, 0],
    scaled: [0, 0],
    scaledHeads: undefined,
    factors: [1],
    ...changes,
  };
}

/** The uniform's bytes: 8 u32, 128 bits of head mask, 32 f32 factors. */
export function packStep(step: Step): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(32 + 16 + 128);
  const { span, scaled } = step;
  new Uint32Array(bytes.buffer, 0, 8).set([
    step.positionStart,
    step.positionStep,
    step.prefixLength,
    step.tailStride,
    ...span,
    ...scaled,
  ]);
  const mask = new Uint32Array(bytes.buffer, 32, 4);
  const heads = step.scaledHeads ?? Array.from({ length: 128 }, (_, head) => head);
  for (const head of heads) mask[Math.floor(head / 32)] = Number(mask[Math.floor(head / 32)]) | (1 << (head % 32));
  new Float32Array(bytes.buffer, 48, 32).set(step.factors);
  return bytes;
}

/** Position of a row. */
export function rowPosition(step: Step, row: number): number {
  return step.positionStart + row * step.positionStep;
}

/** Cache slot that holds a batch row's key of this position: shared in the prefix, the row's own in its tail. */
export function cacheSlot(step: Step, row: number, position: number): number {
  const batchRow = step.positionStep === 0 ? row : 0;
  return position < step.prefixLength ? position : position + batchRow * step.tailStride;
}

/** What the score of this row, head and key is multiplied by. */
export function scoreFactor(step: Step, row: number, head: number, key: number): number {
  const within = (value: number, [start, end]: readonly [number, number]) => start <= value && value < end;
  const isScaled =
    within(key, step.span) &&
    within(rowPosition(step, row), step.scaled) &&
    (step.scaledHeads === undefined || step.scaledHeads.includes(head));
  return isScaled ? Number(step.factors[step.positionStep === 0 ? row : 0]) : 1;
}
