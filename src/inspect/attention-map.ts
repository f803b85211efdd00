// Attention of the last prompt row on a picture, as a grid, with two numbers that summarise it.
import { InputError } from "../errors.ts";
import type { ImageInput } from "../models/inputs.ts";
import type { AttentionRow } from "./places.ts";

/** What maps are drawn from: the attention of one row in one layer, as used. */
export type AttentionProbs = Pick<AttentionRow, "layer" | "probs">;

/** Which part of the attention a map shows; defaults: the middle layer, the mean over all heads, the first picture. */
export interface MapSelection {
  readonly layer?: number | undefined;
  readonly head?: number | undefined;
  /** Index of the picture in the prompt. */
  readonly image?: number | undefined;
}

/** The part of the last prompt row's attention that lies on a picture. */
export interface AttentionMap {
  readonly layer: number;
  /** Undefined: mean over heads. */
  readonly head: number | undefined;
  /** Patches [height, width] row-major, attention of each as used */
  readonly values: Float64Array<ArrayBuffer>;
  readonly width: number;
  readonly height: number;
  /** Attention on the picture as a share of all attention, 0 to 1. */
  readonly share: number;
  /** Entropy of the attention within the picture, bits. */
  readonly entropy: number;
}

/** Where a picture is in the prompt, and the grid of patches that fill it. */
export type MappedImage = Pick<ImageInput, "runs" | "grid">;

/**
 * The attention map of one layer and head (or the mean over heads).
 * @param rows attention of every layer, [H, S] each
 * @param image positions of the picture; a class token before its patches is left out
 * @throws InputError when there is no such layer or head, or the positions are not a grid.
 */
export function attentionMap(
  rows: readonly AttentionProbs[],
  image: MappedImage,
  options: { readonly numHeads: number; readonly selection?: MapSelection },
): AttentionMap {
  const { numHeads, selection = {} } = options;
  const layer = selection.layer ?? Math.floor(rows.length / 2);
  const row = rows.find((entry) => entry.layer === layer);
  if (row === undefined)
    throw new InputError(`layer must be a whole number from 0 to ${rows.length - 1}, got ${layer}.`);
  const { head } = selection;
  if (head !== undefined && !(Number.isInteger(head) && head >= 0 && head < numHeads)) {
    throw new InputError(`head must be a whole number from 0 to ${numHeads - 1}, got ${head}.`);
  }
  const positions = image.runs.flatMap(([start, end]) => Array.from({ length: end - start }, (_, i) => start + i));
  const { width = 0, height = 0 } = image.grid ?? {};
  const numPatches = width * height;
  const numSkipped = positions.length - numPatches;
  if (numPatches === 0 || numSkipped < 0 || numSkipped > 1) {
    throw new InputError(
      `The picture's ${positions.length} positions are not a grid of ${width} × ${height} patches; maps are drawn for single-tile pictures.`,
    );
  }
  const numKeys = row.probs.length / numHeads;
  const heads = head === undefined ? Array.from({ length: numHeads }, (_, index) => index) : [head];
  const values = new Float64Array(numPatches);
  let share = 0;
  for (const h of heads) {
    for (const [index, key] of positions.entries()) {
      const prob = probAt(row, h * numKeys + key) / heads.length;
      share += prob;
      if (index >= numSkipped) values[index - numSkipped] = Number(values[index - numSkipped]) + prob;
    }
  }
  return { layer, head, values, width, height, share, entropy: entropyBits(values) };
}

function probAt({ probs, layer }: AttentionProbs, index: number): number {
  const prob = probs[index];
  if (prob === undefined) throw new RangeError(`layer ${layer}: expected an index below ${probs.length}, got ${index}`);
  return prob;
}

/** Draws maps from an answer's captured attention. */
export interface AnswerAttention {
  /** The pass that gave the answer. */
  used(selection?: MapSelection): AttentionMap;
  /** The unmodified pass; undefined when there was none (ScalingVis). */
  unmodified(selection?: MapSelection): AttentionMap | undefined;
  /** Whether there was an unmodified pass. */
  readonly hasUnmodified: boolean;
  readonly numLayers: number;
  readonly numHeads: number;
}

/** Maps of the pass that gave an answer and of the unmodified one, over the pictures of its prompt. */
export function answerAttention(
  rows: { readonly used: readonly AttentionProbs[]; readonly unmodified: readonly AttentionProbs[] | undefined },
  images: readonly MappedImage[],
  numHeads: number,
): AnswerAttention {
  const { used, unmodified } = rows;
  const map = (of: readonly AttentionProbs[], selection: MapSelection) => {
    const { image = 0 } = selection;
    const chosen = images[image];
    if (chosen === undefined) {
      throw new InputError(
        `image must be a whole number below ${images.length}, the pictures asked about, got ${image}.`,
      );
    }
    return attentionMap(of, chosen, { numHeads, selection });
  };
  return {
    numLayers: used.length,
    numHeads,
    used: (selection = {}) => map(used, selection),
    unmodified: (selection = {}) => unmodified && map(unmodified, selection),
    hasUnmodified: unmodified !== undefined,
  };
}

/** Shannon entropy of non-negative values normalised to 1, in bits; 0 when they are all 0. */
export function entropyBits(values: ArrayLike<number>): number {
  const list = Array.from(values);
  const total = list.reduce((sum, value) => sum + value, 0);
  return list.reduce((sum, value) => (value > 0 ? sum - (value / total) * Math.log2(value / total) : sum), 0);
}
