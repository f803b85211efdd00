// Rotary position embeddings: the frequencies of a config, and the cosines and sines that the kernels rotate rows by.
import { at } from "../../errors.ts";
import type { RopeAxes, RopeConfig, YarnScaling } from "../rope-config.ts";

/** The position of a row: one number, or one for each axis. */
export type RotaryPosition = number | readonly number[];

/** What rows are rotated by. */
export interface Rotation {
  /** As of {@link rotatedLength}. */
  readonly length: number;
  /** The angle of each rotated pair per position, headDim/2 numbers, rounded to f32 as transformers computes them. */
  readonly frequencies: readonly number[];
  /** Cosines and sines are multiplied by this. */
  readonly scale: number;
  /** The axis that each pair turns by; undefined where positions have one. */
  readonly axes?: RopeAxes | undefined;
}

/**
 * The length that rows of a sequence are rotated for: rows that were rotated for another length have other frequencies. It is
 * the same for every sequence unless frequencies depend on the length (dynamic), as transformers' do in a model that has run
 * nothing before: of a prompt, all rows are rotated for the prompt's length, then each new row for its own.
 * @param numPositions rotary positions of the sequence up to the row, or to the prompt's end
 */
export function rotatedLength(rope: RopeConfig, numPositions: number): number {
  return rope.type === "dynamic" ? Math.max(numPositions, rope.maxPositionEmbeddings) : 0;
}

/**
 * The rotation of heads of `headDim` values.
 * @param options.length as of {@link rotatedLength}; matters for dynamic embeddings only
 * @see https://arxiv.org/abs/2104.09864 §3.2; transformers modeling_rope_utils.py `ROPE_INIT_FUNCTIONS`
 */
export function rotationOf(
  rope: RopeConfig,
  { headDim, length = 0 }: { readonly headDim: number; readonly length?: number },
): Rotation {
  const theta = rope.type === "dynamic" ? grownTheta(rope, headDim, length) : rope.theta;
  const powers = Array.from({ length: headDim / 2 }, (_, pair) => {
    return Math.fround(theta ** Math.fround((2 * pair) / headDim));
  });
  const frequencies =
    rope.type === "yarn"
      ? yarnFrequencies(rope, powers)
      : powers.map((power) => scaleFrequency(rope, Math.fround(1 / power)));
  return { length, frequencies, scale: rope.type === "yarn" ? rope.attentionFactor : 1, axes: rope.axes };
}

/**
 * The cosines and sines that rows are rotated by, [R, headDim] f32: per row headDim/2 cosines, then as many sines, of
 * position · frequency.
 *
 * Angles are rounded to f32 as transformers computes them (at position 4,000 an exact angle would differ from its by up to
 * 2e-4, more than the parity bound); cos and sin themselves are evaluated in f64.
 * @param positions of the R rows
 */
export function rotaryRows(
  positions: readonly RotaryPosition[],
  { frequencies, scale, axes }: Rotation,
): Float32Array<ArrayBuffer> {
  const half = frequencies.length;
  const rows = new Float32Array(positions.length * 2 * half);
  for (const [row, position] of positions.entries()) {
    for (const [pair, frequency] of frequencies.entries()) {
      const along = typeof position === "number" ? position : at(position, axes?.[pair] ?? 0);
      const angle = Math.fround(along * frequency);
      rows[row * 2 * half + pair] = Math.cos(angle) * scale;
      rows[row * 2 * half + half + pair] = Math.sin(angle) * scale;
    }
  }
  return rows;
}

/** θ for a sequence of so many positions, in f32 as transformers computes it. */
function grownTheta(rope: Extract<RopeConfig, { type: "dynamic" }>, headDim: number, length: number): number {
  const { theta, factor, maxPositionEmbeddings } = rope;
  if (length <= maxPositionEmbeddings) return theta;
  const growth = Math.fround(Math.fround(Math.fround(factor * length) / maxPositionEmbeddings) - (factor - 1));
  return Math.fround(theta * Math.fround(growth ** (headDim / (headDim - 2))));
}

function scaleFrequency(rope: Exclude<RopeConfig, YarnScaling>, frequency: number): number {
  if (rope.type === "linear") return Math.fround(frequency / rope.factor);
  if (rope.type !== "llama3") return frequency;
  const wavelength = (2 * Math.PI) / frequency;
  const { lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings } = rope;
  if (wavelength > originalMaxPositionEmbeddings / lowFreqFactor) return Math.fround(frequency / rope.factor);
  if (wavelength < originalMaxPositionEmbeddings / highFreqFactor) return frequency;
  const smooth = (originalMaxPositionEmbeddings / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return Math.fround(((1 - smooth) * frequency) / rope.factor + smooth * frequency);
}

/** Frequencies of pairs that turn more than betaFast times within the original context are kept, those below betaSlow divided. */
function yarnFrequencies(rope: YarnScaling & { readonly theta: number }, powers: readonly number[]): readonly number[] {
  const { factor, betaFast, betaSlow, truncate, theta, originalMaxPositionEmbeddings } = rope;
  const headDim = 2 * powers.length;
  const pairOf = (turns: number) =>
    (headDim * Math.log(originalMaxPositionEmbeddings / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const [first, last] = [pairOf(betaFast), pairOf(betaSlow)];
  const low = Math.max(truncate ? Math.floor(first) : first, 0);
  const high = Math.min(truncate ? Math.ceil(last) : last, headDim - 1);
  const width = low === high ? 0.001 : high - low;
  return powers.map((power, pair) => {
    const kept = Math.fround(1 - Math.min(Math.max((pair - low) / width, 0), 1));
    const [plain, divided] = [Math.fround(1 / power), Math.fround(1 / Math.fround(factor * power))];
    return Math.fround(divided * (1 - kept) + plain * kept);
  });
}
