// Rotary position embeddings: the frequencies of config.json, and the cosines and sines that the kernels rotate rows by.
import type { CheckpointError } from "../../errors.ts";
import type { ConfigReader } from "../config-reader.ts";

/** Frequencies of rotary embeddings, from `rope_parameters` (newer files) or `rope_theta` and `rope_scaling`. */
export interface RopeConfig {
  readonly type: "default" | "linear" | "llama3";
  readonly theta: number;
  /** Positions (linear) or low frequencies (llama3) are divided by this. */
  readonly factor: number;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  readonly originalMaxPositionEmbeddings: number;
}

/**
 * Reads the rotary part of a text config.
 * @throws CheckpointError for a rope type that is not implemented.
 */
export function readRopeConfig(config: ConfigReader, maxPositionEmbeddings: number): RopeConfig {
  const scaling = config.child(
    (config.raw("rope_parameters") ?? undefined) === undefined ? "rope_scaling" : "rope_parameters",
  );
  const type = scaling.string("rope_type", scaling.string("type", "default"));
  if (type !== "default" && type !== "linear" && type !== "llama3") {
    throw unsupported(scaling, type);
  }
  if (scaling.has("mrope_section")) {
    throw scaling.error(
      "mrope_section",
      "absent: rotary embeddings of several axes are not implemented",
      scaling.raw("mrope_section"),
    );
  }
  return {
    type,
    theta: scaling.optionalNumber("rope_theta") ?? config.number("rope_theta", 10000),
    factor: scaling.number("factor", 1),
    lowFreqFactor: scaling.number("low_freq_factor", 1),
    highFreqFactor: scaling.number("high_freq_factor", 4),
    originalMaxPositionEmbeddings: scaling.number("original_max_position_embeddings", maxPositionEmbeddings),
  };
}

function unsupported(scaling: ConfigReader, type: string): CheckpointError {
  return scaling.error("rope_type", "default, linear or llama3 (others are not implemented)", type);
}

/**
 * The angle of each rotated pair per position, headDim/2 numbers, rounded to f32 as transformers computes them.
 * @see https://arxiv.org/abs/2104.09864 §3.2; modeling_rope_utils.py `_compute_llama3_parameters`
 */
export function ropeFrequencies(rope: RopeConfig, headDim: number): readonly number[] {
  return Array.from({ length: headDim / 2 }, (_, pair) => scaleFrequency(rope, baseFrequency(rope, pair, headDim)));
}

/**
 * The cosines and sines that rows are rotated by, [R, headDim] f32: per row headDim/2 cosines, then as many sines, of
 * position · frequency.
 *
 * Angles are rounded to f32 as transformers computes them (at position 4,000 an exact angle would differ from its by up to
 * 2e-4, more than the parity bound); cos and sin themselves are evaluated in f64.
 * @param positions of the R rows
 * @param frequencies as of {@link ropeFrequencies}
 */
export function rotaryRows(positions: readonly number[], frequencies: readonly number[]): Float32Array<ArrayBuffer> {
  const half = frequencies.length;
  const rows = new Float32Array(positions.length * 2 * half);
  for (const [row, position] of positions.entries()) {
    for (const [pair, frequency] of frequencies.entries()) {
      const angle = Math.fround(position * frequency);
      rows[row * 2 * half + pair] = Math.cos(angle);
      rows[row * 2 * half + half + pair] = Math.sin(angle);
    }
  }
  return rows;
}

function baseFrequency(rope: RopeConfig, pair: number, headDim: number): number {
  return Math.fround(1 / Math.fround(rope.theta ** Math.fround((2 * pair) / headDim)));
}

function scaleFrequency(rope: RopeConfig, frequency: number): number {
  if (rope.type === "default") return frequency;
  if (rope.type === "linear") return Math.fround(frequency / rope.factor);
  const wavelength = (2 * Math.PI) / frequency;
  const { lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings } = rope;
  if (wavelength > originalMaxPositionEmbeddings / lowFreqFactor) return Math.fround(frequency / rope.factor);
  if (wavelength < originalMaxPositionEmbeddings / highFreqFactor) return frequency;
  const smooth = (originalMaxPositionEmbeddings / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return Math.fround(((1 - smooth) * frequency) / rope.factor + smooth * frequency);
}
