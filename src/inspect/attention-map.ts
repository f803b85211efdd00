// Attention of the last prompt row on a picture, as a grid, with numbers that summarise it.
import { at, InputError } from "../errors.ts";
import type { PictureView } from "../models/inputs.ts";
import { listOf, readOptions, type Schema, whole } from "../options.ts";
import { entropyBits } from "./entropy.ts";
import { overlaps } from "./map-on-picture.ts";
import { type MappedImage, placementOf, spreadAttention, viewOf } from "./picture-placement.ts";
import type { AttentionRow } from "./places.ts";

/** What maps are drawn from: the attention of one row in one layer, as used, and where they are known its scores before edits. */
export type AttentionProbs = Pick<AttentionRow, "layer" | "probs"> & Partial<Pick<AttentionRow, "scores">>;

/** Which part of the attention a map shows; defaults: the middle layer, the mean over all heads, the first picture. */
export interface MapSelection {
  readonly layer?: number | undefined;
  readonly head?: number | undefined;
  /** Index of the picture in the prompt. */
  readonly image?: number | undefined;
  /** Positions of the prompt whose attention is left out of map and share, such as sinks. */
  readonly without?: readonly number[] | undefined;
}

/** The part of the last prompt row's attention that lies on a picture. */
export interface AttentionMap {
  readonly layer: number;
  /** Undefined: mean over heads. */
  readonly head: number | undefined;
  /**
   * Patches [height, width] row-major, attention of each as used; of a picture in tiles, the patches of both resolutions spread over
   * the parts of the picture that they show
   */
  readonly values: Float64Array<ArrayBuffer>;
  readonly width: number;
  readonly height: number;
  /** Attention on the picture as a share of all attention, 0 to 1. */
  readonly share: number;
  /** The part of `share` that is on positions without a place in the picture: newlines of LLaVA-NeXT, or a class token. */
  readonly unplacedShare: number;
  /** The part of `share` that is on padding around the picture: on patches, or parts of them, outside of it. */
  readonly paddingShare: number;
  /** Entropy of `values`, bits. */
  readonly entropy: number;
  /**
   * The fraction of the scores on the picture that are negative, before edits; undefined where scores were not read. Multiplying
   * negative scores by a factor above 1 takes attention from the picture, multiplying positive ones gives it more.
   */
  readonly negativeScores?: number | undefined;
  /** Where the map lies in the original picture; undefined where that is not known, as for inputs made from tensors. */
  readonly view?: PictureView | undefined;
}

/** The part of the last prompt row's attention that lies on a picture, of every head of a layer. */
export interface HeadMaps {
  readonly layer: number;
  /** [numHeads, height · width], as the values of an {@link AttentionMap} */
  readonly values: Float32Array<ArrayBuffer>;
  readonly width: number;
  readonly height: number;
}

/**
 * The attention map of one layer and head (or the mean over heads).
 * @param rows attention of every layer, [H, S] each
 * @param image positions of the picture; those that show no part of it, such as a class token, are left out
 * @throws InputError when there is no such layer or head, or nothing says where the positions lie in the picture.
 */
export function attentionMap(
  rows: readonly AttentionProbs[],
  image: MappedImage,
  options: { readonly numHeads: number; readonly selection?: MapSelection },
): AttentionMap {
  const { numHeads, selection = {} } = options;
  const row = rowOf(rows, selection.layer);
  const { layer } = row;
  const { head } = selection;
  if (head !== undefined && !(Number.isInteger(head) && head >= 0 && head < numHeads)) {
    throw new InputError(`head must be a whole number from 0 to ${numHeads - 1}, got ${head}.`);
  }
  const placement = placementOf(image);
  const { positions, starts, width, height } = placement;
  const numKeys = row.probs.length / numHeads;
  const heads = head === undefined ? Array.from({ length: numHeads }, (_, index) => index) : [head];
  const mean = new Float64Array(positions.length);
  let share = 0;
  const signs = { negative: 0, all: 0 };
  const without = new Set(selection.without);
  for (const h of heads) {
    const own = probsAt(row, h * numKeys, positions);
    if (row.scores !== undefined) countSigns(signs, own, scoresAt(row.scores, h * numKeys, positions));
    for (let index = 0; index < own.length; index++) {
      if (without.has(positions[index] as number)) continue; // in range
      const prob = (own[index] as number) / heads.length; // in range
      share += prob;
      mean[index] = (mean[index] as number) + prob; // in range
    }
  }
  const values = new Float64Array(width * height);
  spreadAttention(placement, mean, values);
  const isUnplaced = (index: number) => starts[index] === starts[index + 1];
  const unplacedShare = mean.reduce((sum, prob, index) => (isUnplaced(index) ? sum + prob : sum), 0);
  const view = viewOf(image);
  const paddingShare = outsideOf(values, { width, height, view });
  const negativeScores = signs.all === 0 ? undefined : signs.negative / signs.all;
  const numbers = { share, unplacedShare, paddingShare, entropy: entropyBits(values), negativeScores };
  return { layer, head, values, width, height, ...numbers, view };
}

/**
 * The mean of maps of one layer and head over one picture, of several rows; its entropy is that of the mean.
 * @throws RangeError without maps.
 */
export function meanMap(maps: readonly AttentionMap[]): AttentionMap {
  const first = at(maps, 0);
  if (maps.length === 1) return first;
  const mean = (of: (map: AttentionMap) => number) => maps.reduce((sum, map) => sum + of(map), 0) / maps.length;
  const values = first.values.map((_, cell) => mean((map) => at(map.values, cell)));
  const hasScores = maps.every(({ negativeScores }) => negativeScores !== undefined);
  return {
    ...first,
    values,
    share: mean(({ share }) => share),
    unplacedShare: mean(({ unplacedShare }) => unplacedShare),
    paddingShare: mean(({ paddingShare }) => paddingShare),
    entropy: entropyBits(values),
    negativeScores: hasScores ? mean(({ negativeScores = 0 }) => negativeScores) : undefined,
  };
}

/** Counts the scores that are negative. Keys outside of a sliding window have neither score nor probability. */
function countSigns(signs: { negative: number; all: number }, probs: Float64Array, scores: Float64Array): void {
  for (const [index, score] of scores.entries()) {
    if (score === 0 && probs[index] === 0) continue;
    signs.all++;
    if (score < 0) signs.negative++;
  }
}

function scoresAt(scores: Float32Array, start: number, keys: readonly number[]): Float64Array {
  return Float64Array.from(keys, (key) => at(scores, start + key));
}

/** The sum of a map's values [height · width] outside of the original picture; a patch across its edge counts by area. */
export function outsideOf(
  values: Float64Array,
  { width, height, view }: Pick<AttentionMap, "width" | "height" | "view">,
): number {
  if (view === undefined) return 0;
  const { left, top, right, bottom } = view.part;
  if (left >= 0 && top >= 0 && right <= 1 && bottom <= 1) return 0;
  const columns = insideShares([left, right], width);
  const rows = insideShares([top, bottom], height);
  return values.reduce((sum, value, cell) => {
    const inside = at(columns, cell % width) * at(rows, Math.floor(cell / width));
    return sum + value * (1 - inside);
  }, 0);
}

/** The share of each cell of a side that lies between 0 and 1. */
function insideShares(range: readonly [number, number], numCells: number): readonly number[] {
  const cellLength = (range[1] - range[0]) / numCells;
  const shares = Array.from({ length: numCells }, () => 0);
  for (const { cell, length } of overlaps(range, numCells, 1)) shares[cell] = at(shares, cell) + length / cellLength;
  return shares;
}

/**
 * The attention maps of every head of a layer.
 * @throws InputError as {@link attentionMap}.
 */
export function headMaps(
  rows: readonly AttentionProbs[],
  image: MappedImage,
  options: { readonly numHeads: number; readonly layer?: number | undefined },
): HeadMaps {
  const { numHeads } = options;
  const { layer, probs } = rowOf(rows, options.layer);
  const placement = placementOf(image);
  const { positions, width, height } = placement;
  const numKeys = probs.length / numHeads;
  const numCells = width * height;
  const values = new Float32Array(numHeads * numCells);
  for (let head = 0; head < numHeads; head++) {
    const own = probsAt({ layer, probs }, head * numKeys, positions);
    spreadAttention(placement, own, values.subarray(head * numCells, (head + 1) * numCells));
  }
  return { layer, values, width, height };
}

/** The row of a layer, of the middle one unless given. @throws InputError when there is no such layer. */
function rowOf(rows: readonly AttentionProbs[], layer = middleOf(rows)): AttentionProbs {
  const row = rows.find((entry) => entry.layer === layer);
  if (row !== undefined) return row;
  const isAll = rows.every((entry, index) => entry.layer === index);
  const known = isAll ? `a whole number from 0 to ${rows.length - 1}` : rows.map((entry) => entry.layer).join(" or ");
  throw new InputError(`layer must be ${known}, got ${layer}.`);
}

/** The layer in the middle of those that there are. */
function middleOf(rows: readonly AttentionProbs[]): number {
  return at(rows, middleLayer(rows.length)).layer;
}

/** The layer that maps show unless another is selected. */
export function middleLayer(numLayers: number): number {
  return Math.floor(numLayers / 2);
}

/** Probabilities of one head's keys. @throws RangeError for a key that the row does not have. */
function probsAt({ probs, layer }: AttentionProbs, start: number, keys: readonly number[]): Float64Array<ArrayBuffer> {
  const values = new Float64Array(keys.length);
  for (let index = 0; index < keys.length; index++) {
    const at = start + (keys[index] as number); // in range
    const prob = probs[at];
    if (prob === undefined) throw new RangeError(`layer ${layer}: expected an index below ${probs.length}, got ${at}`);
    values[index] = prob;
  }
  return values;
}

/** Draws maps from an answer's captured attention. */
export interface AnswerAttention {
  /** The pass that gave the answer. */
  used(selection?: MapSelection): AttentionMap;
  /**
   * [layers][heads]: the fraction of the scores on a picture that are negative, before edits, in the pass that gave the answer.
   * @param image index of the picture; the first unless given
   */
  negativeScores(image?: number): readonly (readonly number[])[];
  /** Every head of a layer (the middle one unless given), in the pass that gave the answer. */
  usedByHead(selection?: Pick<MapSelection, "layer" | "image">): HeadMaps;
  /** The unmodified pass; undefined when there was none (ScalingVis). */
  unmodified(selection?: MapSelection): AttentionMap | undefined;
  /** Whether there was an unmodified pass. */
  readonly hasUnmodified: boolean;
  readonly numLayers: number;
  readonly numHeads: number;
  /** Number of pictures in the prompt. */
  readonly numImages: number;
}

const SELECTION: Schema<MapSelection> = {
  layer: whole(0),
  head: whole(0),
  image: whole(0),
  without: listOf(whole(0), "a list of positions"),
};

function selected(selection: MapSelection): MapSelection {
  return readOptions("a map", selection, SELECTION);
}

/** Maps of the pass that gave an answer and of the unmodified one, over the pictures of its prompt. */
export function answerAttention(
  rows: { readonly used: readonly AttentionProbs[]; readonly unmodified: readonly AttentionProbs[] | undefined },
  images: readonly MappedImage[],
  numHeads: number,
): AnswerAttention {
  const { used, unmodified } = rows;
  const imageOf = ({ image = 0 }: MapSelection) => {
    const chosen = images[image];
    if (chosen !== undefined) return chosen;
    throw new InputError(
      `image must be a whole number below ${images.length}, the pictures asked about, got ${image}.`,
    );
  };
  const map = (of: readonly AttentionProbs[], selection: MapSelection) =>
    attentionMap(of, imageOf(selection), { numHeads, selection });
  return {
    numLayers: used.length,
    numHeads,
    numImages: images.length,
    used: (selection = {}) => map(used, selected(selection)),
    negativeScores: (image = 0) => {
      const of = imageOf(selected({ image }));
      return used.map(({ layer }) =>
        Array.from({ length: numHeads }, (_, head) => {
          const { negativeScores = Number.NaN } = attentionMap(used, of, { numHeads, selection: { layer, head } });
          return negativeScores;
        }),
      );
    },
    usedByHead: (selection = {}) => {
      const { image, layer } = readOptions<Pick<MapSelection, "layer" | "image">>("a map", selection, {
        image: SELECTION.image,
        layer: SELECTION.layer,
      });
      return headMaps(used, imageOf({ image }), { numHeads, layer });
    },
    unmodified: (selection = {}) => unmodified && map(unmodified, selected(selection)),
    hasUnmodified: unmodified !== undefined,
  };
}
