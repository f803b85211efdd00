// The rotary part of config.json: `rope_parameters` of newer files, or `rope_theta` and `rope_scaling` of older ones.
import { isObject } from "../errors.ts";
import type { ConfigReader } from "./config-reader.ts";

/** Rotary frequencies θ^(−2i/headDim), as they are or changed for contexts longer than those of the training. */
export type RopeConfig = { readonly theta: number; readonly axes?: RopeAxes } & RopeScaling;

/**
 * For models whose positions have several axes: the axis that each rotated pair turns by, headDim/2 numbers; 0 is time, 1 the row
 * and 2 the column in a picture. Text is at the same position on all of them.
 */
export type RopeAxes = readonly number[];

/** How the frequencies are changed. */
export type RopeScaling =
  | { readonly type: "default" }
  /** All frequencies are divided by the factor. */
  | { readonly type: "linear"; readonly factor: number }
  /** θ grows with the sequence once that is longer than maxPositionEmbeddings. */
  | { readonly type: "dynamic"; readonly factor: number; readonly maxPositionEmbeddings: number }
  /** Low frequencies are divided by the factor, high ones left, with a blend between. */
  | {
      readonly type: "llama3";
      readonly factor: number;
      readonly lowFreqFactor: number;
      readonly highFreqFactor: number;
      readonly originalMaxPositionEmbeddings: number;
    }
  | YarnScaling;

/** As llama3, blended by the number of turns within the original context; cosines and sines are multiplied by attentionFactor. */
export interface YarnScaling {
  readonly type: "yarn";
  readonly factor: number;
  readonly attentionFactor: number;
  readonly betaFast: number;
  readonly betaSlow: number;
  /** Whether the blend begins and ends at whole pairs. */
  readonly truncate: boolean;
  readonly originalMaxPositionEmbeddings: number;
}

/** Layer types that `rope_parameters` may be nested under. */
const LAYER_TYPES = ["full_attention", "sliding_attention"];

/**
 * Reads the rotary part of a text config. Values that transformers warns about and then computes with, such as a factor below 1,
 * are refused.
 * @param model.sections of a family whose positions have several axes: `mrope_section` where the file has none
 * @param model.isInterleaved whether the axes take turns from pair to pair
 * @throws CheckpointError naming the key, for a form that is not implemented and for a value that is missing or out of range.
 * @see transformers modeling_rope_utils.py `RotaryEmbeddingConfigMixin`
 */
export function readRopeConfig(
  config: ConfigReader,
  model: {
    readonly maxPositionEmbeddings: number;
    readonly headDim: number;
    readonly sections?: readonly number[] | undefined;
    readonly isInterleaved?: boolean | undefined;
    readonly defaultTheta?: number | undefined;
  },
): RopeConfig {
  const older = config.raw("rope_scaling") ?? {};
  const isNewer = isObject(older) && Object.keys(older).length === 0;
  const scaling = config.child(isNewer ? "rope_parameters" : "rope_scaling");
  const { sections, isInterleaved = false, headDim, defaultTheta = 10000 } = model;
  if (sections === undefined) refuse(scaling, "mrope_section", "rotary embeddings of several axes");
  for (const layerType of LAYER_TYPES) refuse(scaling, layerType, "rotary embeddings per layer type");
  for (const reader of [config, scaling]) {
    if (reader.number("partial_rotary_factor", 1) === 1) continue;
    const expected = "1: partial rotary embeddings are not implemented";
    throw reader.error("partial_rotary_factor", expected, reader.raw("partial_rotary_factor"));
  }
  const theta = scaling.optionalNumber("rope_theta") ?? config.number("rope_theta", defaultTheta);
  if (theta <= 0) throw config.error("rope_theta", "a number above 0", theta);
  if (sections === undefined) return { theta, ...readScaling(config, scaling, model) };
  const type = scaling.string("rope_type", scaling.string("type", "default"));
  if (type !== "default" && type !== "mrope") throw scaling.error("rope_type", "default or mrope", type);
  if (scaling.boolean("mrope_interleaved", isInterleaved) !== isInterleaved) {
    throw scaling.error("mrope_interleaved", `${isInterleaved}, as in this family`, !isInterleaved);
  }
  const lengths = readSections(scaling, sections, headDim / 2);
  return { theta, type: "default", axes: isInterleaved ? interleavedAxes(lengths) : blockAxes(lengths) };
}

/** Pairs that turn by time, row and column. */
type Sections = readonly [time: number, row: number, column: number];

function readSections(scaling: ConfigReader, fallback: readonly number[], numPairs: number): Sections {
  const sections: unknown = scaling.raw("mrope_section") ?? fallback;
  const isPart = (part: unknown): part is number => Number.isInteger(part) && Number(part) >= 0;
  if (Array.isArray(sections) && sections.length === 3 && sections.every(isPart)) {
    const [time = 0, row = 0, column = 0] = sections;
    if (time + row + column === numPairs) return [time, row, column];
  }
  throw scaling.error("mrope_section", `three whole numbers that add up to head_dim / 2 (${numPairs})`, sections);
}

/** The first pairs turn by the first axis, and so on. @see transformers modeling_qwen2_vl.py `recomposition_frequencies` */
function blockAxes(sections: Sections): RopeAxes {
  return sections.flatMap((length, axis) => new Array<number>(length).fill(axis));
}

/**
 * Of three pairs, the second turns by the row and the third by the column, as often as their sections say; the others by time.
 * @see transformers modeling_qwen3_vl.py `recomposition_frequencies`
 */
function interleavedAxes([time, row, column]: Sections): RopeAxes {
  return Array.from({ length: time + row + column }, (_, pair) => {
    if (pair % 3 === 1 && pair < 3 * row) return 1;
    return pair % 3 === 2 && pair < 3 * column ? 2 : 0;
  });
}

/**
 * Positions of the context. Beyond `max_position_embeddings`, which no model of transformers checks, the context ends where the
 * scaling's factor stretches it to; files with llama3 count it in.
 */
export function contextLength(rope: RopeConfig, maxPositionEmbeddings: number): number {
  if (rope.type === "linear" || rope.type === "dynamic") return Math.floor(rope.factor * maxPositionEmbeddings);
  if (rope.type !== "yarn") return maxPositionEmbeddings;
  return Math.max(maxPositionEmbeddings, Math.floor(rope.factor * rope.originalMaxPositionEmbeddings));
}

function readScaling(
  config: ConfigReader,
  scaling: ConfigReader,
  { maxPositionEmbeddings, headDim }: { readonly maxPositionEmbeddings: number; readonly headDim: number },
): RopeScaling {
  const type = scaling.string("rope_type", scaling.string("type", "default"));
  const original = () => {
    const own = scaling.count("original_max_position_embeddings", maxPositionEmbeddings);
    return config.count("original_max_position_embeddings", own); // comes first, where it is given
  };
  switch (type) {
    case "default":
      return { type };
    case "linear":
      return { type, factor: atLeast(scaling, "factor", 1) };
    case "dynamic":
      if (headDim > 2) return { type, factor: atLeast(scaling, "factor", 1), maxPositionEmbeddings };
      throw config.error("head_dim", "more than 2 with dynamic rotary embeddings", headDim);
    case "llama3": {
      const lowFreqFactor = atLeast(scaling, "low_freq_factor", 0);
      const highFreqFactor = atLeast(scaling, "high_freq_factor", 0);
      if (highFreqFactor <= lowFreqFactor) {
        throw scaling.error("high_freq_factor", `more than low_freq_factor (${lowFreqFactor})`, highFreqFactor);
      }
      const factor = atLeast(scaling, "factor", 1);
      return { type, factor, lowFreqFactor, highFreqFactor, originalMaxPositionEmbeddings: original() };
    }
    case "yarn":
      return readYarn(scaling, original());
    default:
      throw scaling.error("rope_type", "default, linear, dynamic, yarn or llama3 (others are not implemented)", type);
  }
}

/** @see https://arxiv.org/abs/2309.00071 §3.4 for the attention factor */
function readYarn(scaling: ConfigReader, originalMaxPositionEmbeddings: number): YarnScaling {
  const factor = atLeast(scaling, "factor", 1);
  const betaFast = scaling.number("beta_fast", 0) || 32;
  const betaSlow = scaling.number("beta_slow", 0) || 1;
  if (betaFast < betaSlow) throw scaling.error("beta_fast", `at least beta_slow (${betaSlow})`, betaFast);
  const mscale = scaling.number("mscale", 0);
  const mscaleAllDim = scaling.number("mscale_all_dim", 0);
  const scaleOf = (weight: number) => 0.1 * weight * Math.log(factor) + 1; // 1 for a factor of 1
  const inferred = mscale !== 0 && mscaleAllDim !== 0 ? scaleOf(mscale) / scaleOf(mscaleAllDim) : scaleOf(1);
  return {
    type: "yarn",
    factor,
    attentionFactor:
      (scaling.raw("attention_factor") ?? null) === null ? inferred : atLeast(scaling, "attention_factor", 0),
    betaFast,
    betaSlow,
    truncate: scaling.boolean("truncate", true),
    originalMaxPositionEmbeddings,
  };
}

function atLeast(scaling: ConfigReader, key: string, least: number): number {
  const value = scaling.optionalNumber(key);
  if (value !== undefined && value >= least) return value;
  throw scaling.error(key, `a number of at least ${least}`, scaling.raw(key));
}

function refuse(scaling: ConfigReader, key: string, what: string): void {
  if (!scaling.has(key)) return;
  throw scaling.error(key, `absent: ${what} are not implemented`, scaling.raw(key));
}
