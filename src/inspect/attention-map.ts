// Where the last prompt row looked: its image attention as a grid, with the two numbers that say what a factor did.
import { InputError } from "../errors.ts";
import type { AttentionRow } from "./trace.ts";

/** Which part of the attention a map shows; defaults: the middle layer, the mean over all heads. */
export interface MapSelection {
  readonly layer?: number | undefined;
  readonly head?: number | undefined;
}

/** The image part of the last prompt row's attention. */
export interface AttentionMap {
  readonly layer: number;
  /** Undefined: mean over heads. */
  readonly head: number | undefined;
  /** Patches [height, width] row-major, attention of each as used */
  readonly values: Float64Array<ArrayBuffer>;
  readonly width: number;
  readonly height: number;
  /** Attention on the image of all attention, 0 to 1. */
  readonly share: number;
  /** Entropy of the attention within the image, bits. */
  readonly entropy: number;
}

/**
 * The attention map of one layer and head (or the mean over heads).
 * @param rows attention of every layer, [H, S] each
 * @param image the span's positions and the grid of patches that fill it (a class token before them is left out)
 * @throws InputError when there is no such layer or head, or the span is no such grid.
 */
export function attentionMap(
  rows: readonly AttentionRow[],
  image: { readonly span: readonly [number, number]; readonly gridWidth: number; readonly gridHeight: number },
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
  const [start, end] = image.span;
  const numPatches = image.gridWidth * image.gridHeight;
  const skipped = end - start - numPatches;
  if (skipped < 0 || skipped > 1) {
    throw new InputError(
      `The image span of ${end - start} positions is no grid of ${image.gridWidth} × ${image.gridHeight} patches; maps are drawn for single-tile pictures.`,
    );
  }
  const numKeys = row.probs.length / numHeads;
  const heads = head === undefined ? Array.from({ length: numHeads }, (_, index) => index) : [head];
  const values = new Float64Array(numPatches);
  let share = 0;
  for (const h of heads) {
    for (let key = start; key < end; key++) {
      const prob = (row.probs[h * numKeys + key] ?? 0) / heads.length;
      share += prob;
      const patch = key - start - skipped;
      if (patch >= 0) values[patch] = (values[patch] ?? 0) + prob;
    }
  }
  return {
    layer,
    head,
    values,
    width: image.gridWidth,
    height: image.gridHeight,
    share,
    entropy: entropyBits(values),
  };
}

/** Draws maps from an answer's captured attention. */
export interface AnswerAttention {
  /** The pass that gave the answer. */
  used(selection?: MapSelection): AttentionMap;
  /** The unmodified pass; undefined when there was none (ScalingVis). */
  unmodified(selection?: MapSelection): AttentionMap | undefined;
  readonly numLayers: number;
  readonly numHeads: number;
}

/** Maps of the pass that gave an answer and of the unmodified one, over the same image. */
export function answerAttention(
  rows: { readonly used: readonly AttentionRow[]; readonly unmodified: readonly AttentionRow[] | undefined },
  image: Parameters<typeof attentionMap>[1],
  numHeads: number,
): AnswerAttention {
  const { used, unmodified } = rows;
  return {
    numLayers: used.length,
    numHeads,
    used: (selection = {}) => attentionMap(used, image, { numHeads, selection }),
    unmodified: (selection = {}) => unmodified && attentionMap(unmodified, image, { numHeads, selection }),
  };
}

/** Shannon entropy of non-negative values normalised to 1, in bits; 0 when they are all 0. */
export function entropyBits(values: ArrayLike<number>): number {
  const list = Array.from(values);
  const total = list.reduce((sum, value) => sum + value, 0);
  if (total <= 0) return 0;
  return list.reduce((sum, value) => (value > 0 ? sum - (value / total) * Math.log2(value / total) : sum), 0);
}
