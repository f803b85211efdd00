// What causal experiments share: the layers, positions and heads of a grid, and the number that its cells measure.
import { at, InputError, shown } from "../errors.ts";
import type { TextConfig } from "../models/config.ts";
import { type ImageInput, imageRuns, type ModelInputs } from "../models/inputs.ts";
import type { Processor } from "../models/processor.ts";

/** What an experiment measures of the answer's first token. */
export interface AnswerMeasure {
  /** A single token, by id or by its text as an answer writes it, such as " Left". */
  readonly token: number | string;
  /** The token whose logit is subtracted; without it, the probability of `token` is measured. */
  readonly against?: number | string | undefined;
}

/** Positions of the prompt: the last, those of the pictures, those behind them, all, or a list. */
export type PositionSelection = "last" | "image" | "after-image" | "all" | readonly number[];

/**
 * Which selected positions are changed together: each alone (`single`), those of a row of patches (`row`) or of a picture (`picture`),
 * text positions alone, or all of them (`together`).
 */
export type PositionGrouping = "single" | "row" | "picture" | "together";

/** Positions that are changed together. */
export interface PositionGroup {
  /** Ascending. */
  readonly positions: readonly number[];
  /** The picture that they are part of, and their row of patches where they are a part of one. */
  readonly picture?: { readonly index: number; readonly row: number | undefined } | undefined;
}

/** The number that is measured. */
export interface Measure {
  readonly name: "logit-difference" | "probability";
  readonly tokenId: number;
  readonly againstId: number | undefined;
  /** Of logits [V]. */
  readonly of: (logits: Float32Array) => number;
}

/** The cells of an experiment. */
export interface CausalGrid {
  readonly measure: Measure["name"];
  readonly tokenId: number;
  /** Undefined for a probability. */
  readonly againstId: number | undefined;
  readonly layers: readonly number[];
  readonly positions: readonly PositionGroup[];
  /** Undefined where an experiment does not distinguish heads. */
  readonly heads: readonly number[] | undefined;
  /** [layers, positions, heads or 1], the measure under each change */
  readonly values: Float64Array<ArrayBuffer>;
}

/** The effect of changes on one run. */
export interface EffectGrid extends CausalGrid {
  /** The measure without a change. */
  readonly unchanged: number;
  /** [layers, positions, heads or 1], value − unchanged */
  readonly changes: Float64Array<ArrayBuffer>;
}

/** The names of {@link PositionSelection}. */
export const POSITION_SELECTIONS = ["last", "image", "after-image", "all"] as const;

/** The names of {@link PositionGrouping}. */
export const POSITION_GROUPINGS = ["single", "row", "picture", "together"] as const;

/** The cells of a grid in the order of its values. */
export function cellsOf<T>(
  { layers, positions, heads }: Pick<CausalGrid, "layers" | "positions" | "heads">,
  cell: (layer: number, group: PositionGroup, head: number | undefined) => T,
): T[] {
  const columns: readonly (number | undefined)[] = heads ?? [undefined];
  return layers.flatMap((layer) => positions.flatMap((group) => columns.map((head) => cell(layer, group, head))));
}

/** The effect of changes, from what was measured with and without them. */
export function effectsOf(
  grid: Pick<CausalGrid, "layers" | "positions" | "heads">,
  measure: Measure,
  measured: { readonly unchanged: number; readonly changed: Float64Array<ArrayBuffer> },
): EffectGrid {
  const { unchanged, changed } = measured;
  const { name, tokenId, againstId } = measure;
  const changes = changed.map((value) => value - unchanged);
  return { measure: name, tokenId, againstId, ...grid, values: changed, unchanged, changes };
}

/** The number to measure. @throws InputError for a text that is not a single token, an unknown id, and the same token twice. */
export function measureOf(
  { token, against }: AnswerMeasure,
  model: { readonly processor: Pick<Processor, "continuationTokens">; readonly text: Pick<TextConfig, "vocabSize"> },
): Measure {
  const tokenId = tokenOf("token", token, model);
  if (against === undefined) {
    return { name: "probability", tokenId, againstId: undefined, of: (logits) => probability(logits, tokenId) };
  }
  const againstId = tokenOf("against", against, model);
  if (againstId === tokenId) {
    throw new InputError(`against must be another token than token, got ${shown(against)} for both (id ${tokenId}).`);
  }
  const of = (logits: Float32Array) => at(logits, tokenId) - at(logits, againstId);
  return { name: "logit-difference", tokenId, againstId, of };
}

function tokenOf(name: string, token: number | string, { processor, text }: Parameters<typeof measureOf>[1]): number {
  if (typeof token === "number") {
    if (token < text.vocabSize) return token;
    throw new InputError(`${name} must be an id from 0 to ${text.vocabSize - 1} or a text, got ${token}.`);
  }
  const ids = processor.continuationTokens(token);
  // Words of an answer mostly begin with a space.
  const spaced = ids.length === 1 || token.startsWith(" ") ? ids : processor.continuationTokens(` ${token}`);
  const [id] = spaced;
  if (id !== undefined && spaced.length === 1) return id;
  throw new InputError(
    `${name} must be a single token, but ${shown(token)} is ${ids.length}: give a shorter word, as the answer writes it.`,
  );
}

function probability(logits: Float32Array, tokenId: number): number {
  const largest = logits.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  const sum = logits.reduce((total, value) => total + Math.exp(value - largest), 0);
  return Math.exp(at(logits, tokenId) - largest) / sum;
}

/** Layers or heads of the model; all unless given. @throws InputError for one that the model does not have. */
export function indicesOf(
  name: "layers" | "heads",
  given: readonly number[] | undefined,
  count: number,
): readonly number[] {
  const indices = given ?? Array.from({ length: count }, (_, index) => index);
  const bad = indices.find((index) => index >= count);
  if (bad === undefined && indices.length > 0) return [...new Set(indices)];
  throw new InputError(
    `${name} must be whole numbers from 0 to ${count - 1} for this model, at least one, got ${bad ?? "none"}.`,
  );
}

/** The selected positions. @throws InputError for one that the prompt does not have, or where there are none. */
export function selectedPositions(
  name: string,
  selection: PositionSelection,
  inputs: Pick<ModelInputs, "inputIds" | "images">,
): readonly number[] {
  const length = inputs.inputIds.length;
  const runs = imageRuns(inputs);
  const range = (start: number, end: number) => Array.from({ length: end - start }, (_, offset) => start + offset);
  if (selection === "last") return [length - 1];
  if (selection === "all") return range(0, length);
  if (selection === "image" || selection === "after-image") {
    const [, end] = runs.at(-1) ?? [];
    if (end === undefined) throw new InputError(`${name}: "${selection}" needs a picture, and the prompt has none.`);
    return selection === "image" ? runs.flatMap((run) => range(...run)) : range(end, length);
  }
  const bad = selection.find((position) => position >= length);
  if (bad === undefined && selection.length > 0) return [...new Set(selection)].sort((a, b) => a - b);
  throw new InputError(
    `${name} must be whole numbers from 0 to ${length - 1} for this prompt, at least one, got ${bad ?? "none"}.`,
  );
}

/** Positions as the groups that are changed together. @throws as {@link selectedPositions}. */
export function positionGroups(
  name: string,
  { selection, grouping }: { readonly selection: PositionSelection; readonly grouping: PositionGrouping },
  inputs: Pick<ModelInputs, "inputIds" | "images">,
): readonly PositionGroup[] {
  const positions = selectedPositions(name, selection, inputs);
  if (grouping === "together") return [{ positions }];
  const places = picturePlaces(inputs.images);
  const groups = new Map<string, { positions: number[]; picture: PositionGroup["picture"] }>();
  for (const position of positions) {
    const place = places.get(position);
    const picture = place && { index: place.index, row: grouping === "row" ? place.row : undefined };
    const isAlone = picture === undefined || grouping === "single";
    const key = isAlone ? `position ${position}` : `picture ${picture.index} row ${picture.row}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { positions: [position], picture: isAlone ? undefined : picture });
    else group.positions.push(position);
  }
  return [...groups.values()];
}

/** By position, its picture and the row of patches that it is in; of tiles, rows are counted through all of them. */
function picturePlaces(
  images: readonly ImageInput[],
): ReadonlyMap<number, { readonly index: number; readonly row: number }> {
  const places = new Map<number, { readonly index: number; readonly row: number }>();
  for (const [index, { runs, rowIndex, grid, tiles }] of images.entries()) {
    const width = tiles?.patchGrid ?? grid?.width ?? 1;
    // A class token before the patches is counted to their first row.
    const numPatches = grid === undefined ? rowIndex.length : grid.width * grid.height;
    const numBefore = tiles === undefined ? rowIndex.length - numPatches : 0;
    let place = 0;
    let row = 0;
    for (const [start, end] of runs) {
      for (let position = start; position < end; position++) {
        const feature = at(rowIndex, place++) - numBefore;
        if (feature >= 0) row = Math.floor(feature / width); // a newline (−1) ends the row before it
        places.set(position, { index, row });
      }
    }
  }
  return places;
}
