// The uniforms that one forward call of the decoder changes: `struct Step` of shaders/shared/step.wgsl.
import { InputError } from "../../errors.ts";

/** Bytes of `struct Step`. */
export const STEP_BYTES = 176;

/** Batch rows that one step can hold a factor for. */
export const MAX_BATCH_ROWS = 32;

/** Query heads that a head mask can name. */
export const MAX_MASKED_HEADS = 128;

/** The attention intervention of ScalingVis and AdaptVis: which scores are multiplied, by what. */
export interface Intervention {
  /** Image columns [start, end) in positions. */
  readonly span: readonly [start: number, end: number];
  /** Query positions [start, end) whose image scores are multiplied. */
  readonly rows: readonly [start: number, end: number];
  /** One factor a batch row. */
  readonly factors: readonly number[];
  /** Query heads it acts on; all when undefined. */
  readonly heads?: readonly number[] | undefined;
  /** Decoder layers it acts on; all when undefined. */
  readonly layers?: readonly number[] | undefined;
}

/** Where the rows of a forward call stand. */
export interface StepPositions {
  readonly positionStart: number;
  /** True when the rows are a batch at one position, false when they follow each other in one sequence. */
  readonly isBatch: boolean;
  /** Cache slots that all rows of a batch share; irrelevant for one sequence. */
  readonly prefixLength: number;
  /** Cache slots from one batch row's own tail to the next. */
  readonly tailStride: number;
}

/**
 * The bytes of `struct Step`, written into `words` where it is given: a decode step then allocates nothing.
 * @throws InputError when the intervention names more batch rows or heads than a step holds.
 */
export function packStep(
  positions: StepPositions,
  intervention: Intervention | undefined,
  words = new Uint32Array(STEP_BYTES / 4),
): Uint32Array<ArrayBuffer> {
  const floats = new Float32Array(words.buffer);
  const [spanStart, spanEnd] = intervention?.span ?? [0, 0];
  const [scaledStart, scaledEnd] = intervention?.rows ?? [0, 0];
  words.set([
    positions.positionStart,
    positions.isBatch ? 0 : 1,
    positions.prefixLength,
    positions.tailStride,
    spanStart,
    spanEnd,
    scaledStart,
    scaledEnd,
  ]);
  words.fill(intervention?.heads === undefined ? 0xffffffff : 0, 8, 12);
  for (const head of intervention?.heads ?? []) {
    if (head >= MAX_MASKED_HEADS) {
      throw new InputError(`heads: head ${head} cannot be chosen, only heads 0 to ${MAX_MASKED_HEADS - 1} can.`);
    }
    const word = 8 + Math.floor(head / 32);
    words[word] = (words[word] ?? 0) | (1 << (head % 32));
  }
  const factors = intervention?.factors ?? [];
  if (factors.length > MAX_BATCH_ROWS) {
    throw new InputError(`factors: ${factors.length} were given, at most ${MAX_BATCH_ROWS} run in one batch.`);
  }
  floats.fill(1, 12);
  floats.set(factors, 12);
  return words;
}
