// A prompt as the decoder takes it, and how much of one can be taken over from another.
import type { FeatureGrid } from "../models/inputs.ts";

/** Half-open range of positions. */
export type Run = readonly [start: number, end: number];

/** One picture of a prompt. */
export interface PromptImage {
  /** [N, C, S, S] f32 */
  readonly pixelValues: Float32Array<ArrayBuffer>;
  /** Positions that its features take, in order. */
  readonly runs: readonly Run[];
  /** Feature row of each of those positions; −1 for the filler row (LLaVA-NeXT's newline). */
  readonly rowIndex: Int32Array<ArrayBuffer>;
  /** Grids that the tiles' features are made into; undefined where they stay as they are. */
  readonly featureGrids?: readonly FeatureGrid[] | undefined;
}

/** Ids and pictures of a prompt. */
export interface Prompt {
  /** [T], each image position holding the image token */
  readonly inputIds: Int32Array<ArrayBuffer>;
  readonly images: readonly PromptImage[];
  /** [T] or [T, axes] position of each token for the rotary embedding; 0 … T − 1 unless given. */
  readonly positions?: Int32Array<ArrayBuffer> | undefined;
}

/** What a key/value cache holds, unmodified: the first `numPositions` of a prompt and of what was generated behind it. */
export interface HeldPrompt {
  readonly prompt: Prompt;
  readonly numPositions: number;
}

/**
 * A prompt with copies of all arrays, since callers may write their next picture into the same ones.
 * @param generatedIds ids behind the prompt that have been run too
 */
export function copyPrompt(prompt: Prompt, generatedIds: readonly number[] = []): Prompt {
  const { inputIds, images, positions } = prompt;
  const axes = numAxes(prompt);
  const end = endPosition(prompt);
  const generated = generatedIds.flatMap((_, index) => new Array<number>(axes).fill(end + index));
  return {
    inputIds: Int32Array.from([...inputIds, ...generatedIds]),
    images: images.map(({ pixelValues, runs, rowIndex, featureGrids }) => ({
      pixelValues: pixelValues.slice(),
      runs,
      rowIndex: rowIndex.slice(),
      featureGrids,
    })),
    positions: positions && Int32Array.from([...positions, ...generated]),
  };
}

/** Numbers that each position has. */
export function numAxes({ inputIds, positions }: Prompt): number {
  return positions === undefined ? 1 : positions.length / inputIds.length;
}

/** Position of the first generated token, on every axis: behind the largest of the prompt. */
export function endPosition({ inputIds, positions }: Prompt): number {
  if (positions === undefined) return inputIds.length;
  return positions.reduce((end, position) => Math.max(end, position + 1), 0);
}

/**
 * Positions at the start of a prompt whose keys and values are in a cache; at most T − 1, because the last row's logits are
 * wanted. A picture counts as a whole: a prefix that ends within one is cut to what is before it.
 */
export function reusablePositions(held: HeldPrompt | undefined, prompt: Prompt): number {
  if (held === undefined) return 0;
  const { prompt: before, numPositions } = held;
  const longest = Math.min(numPositions, before.inputIds.length, prompt.inputIds.length - 1);
  let common = 0;
  const isSameAt = (slot: number) =>
    before.inputIds[slot] === prompt.inputIds[slot] && isSamePlace(before, prompt, slot);
  while (common < longest && isSameAt(common)) common++;
  for (const [index, image] of prompt.images.entries()) {
    const other = before.images[index];
    if (endOf(image) > common || other === undefined || !isSamePicture(other, image)) {
      return Math.min(startOf(image), common);
    }
  }
  return common;
}

/** First position of a picture. */
export function startOf({ runs }: PromptImage): number {
  return Math.min(...runs.map(([start]) => start));
}

/** Position behind a picture's last. */
export function endOf({ runs }: PromptImage): number {
  return Math.max(...runs.map(([, end]) => end));
}

/** Whether a slot is at the same position in both prompts. */
function isSamePlace(a: Prompt, b: Prompt, slot: number): boolean {
  if (a.positions === undefined && b.positions === undefined) return true;
  const axes = Math.max(numAxes(a), numAxes(b));
  for (let axis = 0; axis < axes; axis++) {
    if (positionOf(a, slot, axis) !== positionOf(b, slot, axis)) return false;
  }
  return true;
}

/** Of a prompt with fewer axes, the position is the same on all. */
function positionOf(prompt: Prompt, slot: number, axis: number): number | undefined {
  const axes = numAxes(prompt);
  return prompt.positions === undefined ? slot : prompt.positions[slot * axes + (axis % axes)];
}

function isSamePicture(a: PromptImage, b: PromptImage): boolean {
  const isSameLayout = isSame(a.runs.flat(), b.runs.flat()) && isSameGrids(a.featureGrids, b.featureGrids);
  return isSameLayout && isSame(a.rowIndex, b.rowIndex) && isSame(a.pixelValues, b.pixelValues);
}

/** Whether features are made into the same grids. */
export function isSameGrids(a: PromptImage["featureGrids"], b: PromptImage["featureGrids"]): boolean {
  return a === b || isSame(gridNumbers(a), gridNumbers(b));
}

function gridNumbers(grids: PromptImage["featureGrids"]): readonly number[] {
  return (grids ?? []).flatMap(({ firstTile, tilesPerRow, patchGrid, from, size }) => {
    const { top, left, height, width } = from;
    return [firstTile, tilesPerRow, patchGrid, top, left, height, width, size.height, size.width];
  });
}

/** Whether two lists of numbers are equal. */
export function isSame(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
