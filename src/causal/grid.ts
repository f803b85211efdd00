// What causal experiments share: the layers, positions and heads of a grid, and the number that its cells measure.
import { at, InputError, shown } from "../errors.ts";
import type { TextConfig } from "../models/config.ts";
import { type ImageInput, type ModelInputs, patchOf, type Run, type TileGrid, tileGrids } from "../models/inputs.ts";
import type { Processor } from "../models/processor.ts";
import type { MeasuredRun, MeasuredRuns } from "./changed-runs.ts";

/** What an experiment measures of the answer's first token. */
export interface AnswerMeasure {
  /**
   * A single token, by id or by its text. A text without a space before it, such as "Left", is also taken with one, and the token to
   * which the unchanged run gives the larger logit counts; " Left" is taken as it is.
   */
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
  /** The picture that they are part of. */
  readonly picture?: PictureArea | undefined;
}

/** A picture of the prompt, a row of its patches, or a single patch; of tiles, rows are counted through all of them. */
export interface PictureArea {
  readonly index: number;
  readonly row?: number | undefined;
  readonly column?: number | undefined;
}

/** The number that is measured. The first logits, those of the unchanged run, decide between tokens of the same text. */
export interface Measure {
  readonly name: "logit-difference" | "probability";
  readonly tokenId: number;
  readonly againstId: number | undefined;
  /** Of logits [V]. */
  readonly of: (logits: Float32Array) => number;
}

/** The axes of an experiment's cells. */
export interface GridAxes {
  readonly layers: readonly number[];
  readonly positions: readonly PositionGroup[];
  /** Undefined where an experiment does not distinguish heads. */
  readonly heads: readonly number[] | undefined;
  /** Whether all layers and heads are changed together: one cell per group of positions. */
  readonly isJoint: boolean;
}

/**
 * The cells of an experiment, in the order [layers, positions, heads]: there is one layer where they are changed together, and one head
 * where heads are not distinguished or changed together.
 */
export interface CausalGrid extends GridAxes {
  readonly measure: Measure["name"];
  readonly tokenId: number;
  /** Undefined for a probability. */
  readonly againstId: number | undefined;
  /** [cells], the measure under each change */
  readonly values: Float64Array<ArrayBuffer>;
  /** [cells], the most probable first token under each change */
  readonly answerIds: Int32Array<ArrayBuffer>;
}

/** The effect of changes on one run. */
export interface EffectGrid extends CausalGrid {
  /** The run without a change. */
  readonly unchanged: MeasuredRun;
  /** [cells], value − unchanged */
  readonly changes: Float64Array<ArrayBuffer>;
}

/** The names of {@link PositionSelection}. */
export const POSITION_SELECTIONS = ["last", "image", "after-image", "all"] as const;

/** The names of {@link PositionGrouping}. */
export const POSITION_GROUPINGS = ["single", "row", "picture", "together"] as const;

/** The cells of a grid in their order. @param cell is given the layers and heads that are changed together */
export function cellsOf<T>(
  { layers, positions, heads, isJoint }: GridAxes,
  cell: (layers: readonly number[], group: PositionGroup, heads: readonly number[] | undefined) => T,
): T[] {
  const layerGroups = isJoint ? [layers] : layers.map((layer) => [layer]);
  const headGroups = heads === undefined || isJoint ? [heads] : heads.map((head) => [head]);
  return layerGroups.flatMap((own) => positions.flatMap((group) => headGroups.map((each) => cell(own, group, each))));
}

/** The effect of changes, from what was measured with and without them. */
export function effectsOf(axes: GridAxes, measure: Measure, measured: MeasuredRuns): EffectGrid {
  const { unchanged, values } = measured;
  const { name, tokenId, againstId } = measure;
  const changes = values.map((value) => value - unchanged.value);
  return { measure: name, tokenId, againstId, ...axes, ...measured, changes };
}

/** The number to measure. @throws InputError for a text that is not a single token, an unknown id, and the same token twice. */
export function measureOf(
  { token, against }: AnswerMeasure,
  model: { readonly processor: Pick<Processor, "continuationTokens">; readonly text: Pick<TextConfig, "vocabSize"> },
): Measure {
  const tokens = tokensOf("token", token, model);
  const others = against === undefined ? [] : tokensOf("against", against, model);
  if (others.some((id) => tokens.includes(id))) {
    throw new InputError(`against must be another token than token, got ${shown(against)} for both.`);
  }
  return new FirstTokenMeasure(tokens, others);
}

class FirstTokenMeasure implements Measure {
  readonly name: Measure["name"];
  private tokens: readonly number[];
  private others: readonly number[];

  constructor(tokens: readonly number[], others: readonly number[]) {
    this.name = others.length === 0 ? "probability" : "logit-difference";
    this.tokens = tokens;
    this.others = others;
  }

  get tokenId(): number {
    return at(this.tokens, 0);
  }

  get againstId(): number | undefined {
    return this.others[0];
  }

  readonly of = (logits: Float32Array): number => {
    this.tokens = likeliest(this.tokens, logits);
    this.others = likeliest(this.others, logits);
    const { tokenId, againstId } = this;
    return againstId === undefined ? probability(logits, tokenId) : at(logits, tokenId) - at(logits, againstId);
  };
}

/** The token with the largest logit, alone; none of none. */
function likeliest(tokens: readonly number[], logits: Float32Array): readonly number[] {
  return tokens.length < 2 ? tokens : [...tokens].sort((a, b) => at(logits, b) - at(logits, a)).slice(0, 1);
}

/** The tokens that a text may be: as it is and, without a space before it, with one. */
function tokensOf(
  name: string,
  token: number | string,
  { processor, text }: Parameters<typeof measureOf>[1],
): readonly number[] {
  if (typeof token === "number") {
    if (token < text.vocabSize) return [token];
    throw new InputError(`${name} must be an id from 0 to ${text.vocabSize - 1} or a text, got ${token}.`);
  }
  const texts = /^\s/.test(token) ? [token] : [token, ` ${token}`];
  const ids = texts.map((each) => processor.continuationTokens(each));
  const single = ids.flatMap((each) => (each.length === 1 ? each : []));
  if (single.length > 0) return [...new Set(single)];
  throw new InputError(
    `${name} must be a single token, but ${shown(token)} is ${at(ids, ids.length - 1).length}: give the first token of the answer.`,
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
  const runs = inputs.images.flatMap((image) => image.runs);
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

/** Ascending positions as runs of consecutive ones. */
export function runsOf(positions: readonly number[]): readonly Run[] {
  const runs: [start: number, end: number][] = [];
  for (const position of positions) {
    const last = runs.at(-1);
    if (last?.[1] === position) last[1]++;
    else runs.push([position, position + 1]);
  }
  return runs;
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
  const groups = new Map<string, { positions: number[]; picture: PictureArea | undefined }>();
  for (const position of positions) {
    const picture = partOf(places.get(position), grouping);
    const isAlone = picture === undefined || grouping === "single";
    const key = isAlone ? `position ${position}` : `picture ${picture.index} row ${picture.row}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { positions: [position], picture });
    else group.positions.push(position);
  }
  return [...groups.values()];
}

/** What a position's group is of a picture. */
function partOf(patch: PictureArea | undefined, grouping: PositionGrouping): PictureArea | undefined {
  if (patch === undefined || grouping === "single") return patch;
  return grouping === "row" ? { index: patch.index, row: patch.row } : { index: patch.index };
}

/** By position, its patch of a picture; a newline is counted to the row that it ends. */
function picturePlaces(images: readonly ImageInput[]): ReadonlyMap<number, PictureArea> {
  const places = new Map<number, PictureArea>();
  for (const [index, { runs, rowIndex, grid, tiles }] of images.entries()) {
    // Without places, each position is a row.
    const { width, height } = grid ?? { width: 1, height: rowIndex.length };
    const view = { left: 0, top: 0, right: 1, bottom: 1 };
    const grids = tiles === undefined ? [{ view, width, height, firstRow: 0 }] : tileGrids(tiles);
    const rowsBefore = (last: TileGrid) =>
      grids.slice(0, grids.indexOf(last)).reduce((sum, each) => sum + each.height, 0);
    // A class token before the patches is counted to their first row.
    const numBefore = tiles === undefined && grid !== undefined ? rowIndex.length - grid.width * grid.height : 0;
    let place = 0;
    let row = 0;
    for (const [start, end] of runs) {
      for (let position = start; position < end; position++) {
        const patch = patchOf(grids, at(rowIndex, place++) - numBefore);
        if (patch !== undefined) row = rowsBefore(patch.grid) + patch.y;
        places.set(position, { index, row, column: patch?.x });
      }
    }
  }
  return places;
}
