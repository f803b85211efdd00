// Reads as texts, PLACE[HEADS]@POSITIONS: `layers.*.attention_probs[0,2]@last`, `layers.3-5.hidden_states@"ball",image`.
//
//   PLACE      a name of place-names.ts; the layer is a number, a list such as 0,2-3, or * for all
//   [HEADS]    numbers and ranges; all heads without
//   @POSITIONS a list of: a number (negative ones count from the end of the prompt: -1 is its last) · a range 4-9, both ends
//              included · last · prompt · image, image[1] for the second picture · text (the prompt without pictures) ·
//              generated · the tokens of a text of the prompt, in quotes; the last prompt position without
import { InputError, shown } from "../errors.ts";
import type { TextConfig } from "../models/config.ts";
import { imageRuns, type ModelInputs } from "../models/inputs.ts";
import { checkPlace, placeKindOf } from "./place-names.ts";
import type { PlaceRead } from "./places.ts";

/** What the names of layers and positions stand for in one run. */
export interface ReadContext {
  readonly text: TextConfig;
  /** Hidden states of the vision tower that are computed, its input among them; 0 without one. */
  readonly numVisionStates: number;
  readonly inputs: Pick<ModelInputs, "inputIds" | "images">;
  /** Positions that may run: the prompt's, and those of generated tokens but the last. */
  readonly maxPositions: number;
  /** The text of a token; undefined without a tokenizer. */
  readonly textOf: ((tokenId: number) => string) | undefined;
}

const FORM = "PLACE[HEADS]@POSITIONS, such as layers.*.attention_probs[0,2]@last";
const POSITION_WORDS =
  'numbers, ranges such as 4-9, last, prompt, image, text, generated, or a text of the prompt in quotes, such as "ball"';

/**
 * Reads with texts among them as reads of single places: one per layer that a text names.
 * @throws InputError for a text that is not a read, or names a place, layer, head or position that does not exist.
 */
export function expandReads(reads: readonly (PlaceRead | string)[], context: ReadContext): readonly PlaceRead[] {
  const all = reads.flatMap((read) => (typeof read === "string" ? expand(read, context) : [read]));
  const numBytes = all.reduce((sum, read) => sum + 4 * sizeOf(read, context), 0);
  if (numBytes <= MAX_READ_BYTES) return all;
  throw new InputError(
    `The reads take ${(numBytes / 2 ** 30).toFixed(1)} GiB, more than ${MAX_READ_BYTES / 2 ** 30} GiB at once: name fewer places, layers, heads or positions.`,
  );
}

/** What one run's reads may take: below what a file or an array can hold at once in every host. */
const MAX_READ_BYTES = 2 ** 31;

/** Numbers that a read returns; 0 for places of the vision tower, which are small. */
function sizeOf({ place, positions, heads }: PlaceRead, { text, inputs }: ReadContext): number {
  const { hiddenSize, intermediateSize, vocabSize, numAttentionHeads, headDim } = text;
  const numKeys = Math.max(...(positions ?? [inputs.inputIds.length - 1]).slice(-1)) + 1;
  const sizes: Readonly<Record<string, number>> = {
    n: positions?.length ?? 1,
    H: heads?.length ?? numAttentionHeads,
    S: numKeys,
    D: hiddenSize,
    I: intermediateSize,
    V: vocabSize,
    headDim,
    "1": 1,
  };
  const axes = placeKindOf(place)?.shape.slice(1, -1).split(", ") ?? [];
  return axes.reduce((product, axis) => product * (sizes[axis] ?? 0), 1);
}

function expand(expression: string, context: ReadContext): readonly PlaceRead[] {
  const match = /^([^@[\]\s]+)(?:\[([^\]]*)\])?(?:@(.*))?$/s.exec(expression.trim());
  if (match === null) throw new InputError(`${shown(expression)} is not a read: expected ${FORM}.`);
  const [, name = "", headList, positionList] = match;
  const places = placesOf(name, context);
  const heads = headList === undefined ? undefined : numbersOf(headList, context.text.numAttentionHeads);
  if (headList !== undefined && heads === undefined) {
    throw new InputError(
      `${expression}: heads must be numbers and ranges from 0 to ${context.text.numAttentionHeads - 1}, such as [0,2-3], got ${shown(headList)}.`,
    );
  }
  const isVision = name.startsWith("vision.");
  if (isVision && positionList !== undefined) {
    throw new InputError(`${expression}: places of the vision tower are read whole: leave out @${positionList}.`);
  }
  const positions = isVision ? undefined : positionsOf(positionList ?? "last", context, expression);
  return places.map((place) => {
    const kind = isVision ? undefined : checkPlace(place, context.text, { isWritten: false });
    if (heads !== undefined && kind?.hasHeads !== true) {
      throw new InputError(`${place} has no heads to select: leave out [${headList}].`);
    }
    return { place, positions, heads };
  });
}

/** The places that a name with a list of layers, or * for all, stands for. */
function placesOf(name: string, { text, numVisionStates }: ReadContext): readonly string[] {
  const match = /^(layers|blocks|vision\.hidden_states)\.(\*|\d[\d,-]*)(\..+)?$/.exec(name);
  if (match === null) {
    checkPlace(name, text, { isWritten: false });
    return [name];
  }
  const [, start = "", list = "", rest = ""] = match;
  const isVision = start.startsWith("vision");
  const count = isVision ? numVisionStates : text.numHiddenLayers;
  const layers = list === "*" ? range(0, count) : numbersOf(list, count);
  if (layers === undefined || layers.length === 0) {
    const known = `numbers and ranges from 0 to ${count - 1}, such as 0,2-3, or * for all, got ${list}`;
    throw new InputError(count === 0 ? `${name}: the model has no vision tower.` : `${name}: layers must be ${known}.`);
  }
  checkPlace(`${start}.${layers[0]}${rest}`, text, { isWritten: false });
  return layers.map((layer) => `${start}.${layer}${rest}`);
}

/** `0,2,5-7` below `count`; undefined for anything else. */
function numbersOf(list: string, count: number): readonly number[] | undefined {
  const numbers: number[] = [];
  for (const part of list.split(",")) {
    const match = /^(\d{1,6})(?:-(\d{1,6}))?$/.exec(part.trim());
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (match === null || last < first || last >= count) return undefined;
    numbers.push(...range(first, last + 1));
  }
  return [...new Set(numbers)];
}

/**
 * The positions that a list such as `last,"ball",4-9` stands for, ascending.
 * @param where begins messages
 * @throws InputError for a position that does not exist.
 */
export function positionsOf(list: string, context: ReadContext, where = `@${list}`): readonly number[] {
  const found = new Set<number>();
  for (const item of itemsOf(list, where))
    for (const position of positionsOfItem(item, context, where)) found.add(position);
  return [...found].sort((a, b) => a - b);
}

/** Items between commas that are not in quotes. */
function itemsOf(list: string, where: string): readonly string[] {
  const items: string[] = [];
  let [item, quote] = ["", ""];
  for (const character of `${list},`) {
    if (character === "," && quote === "") {
      items.push(item.trim());
      item = "";
      continue;
    }
    if (quote === "" && (character === '"' || character === "'")) quote = character;
    else if (character === quote) quote = "";
    item += character;
  }
  if (quote === "" && !items.includes("")) return items;
  throw new InputError(`${where}: positions must be ${POSITION_WORDS}, got ${shown(list)}.`);
}

function positionsOfItem(item: string, context: ReadContext, where: string): readonly number[] {
  const { inputs, maxPositions } = context;
  const length = inputs.inputIds.length;
  const quoted = /^"([^"]+)"$|^'([^']+)'$/s.exec(item);
  if (quoted !== null) return positionsOfText(quoted[1] ?? quoted[2] ?? "", context, where);
  const numbers = /^(-?\d{1,7})(?:-(-?\d{1,7}))?$/.exec(item);
  if (numbers !== null) {
    const [first, last] = [numbers[1], numbers[2] ?? numbers[1]].map((digits) => {
      const number = Number(digits);
      const position = number < 0 ? length + number : number;
      if (position >= 0 && position < maxPositions) return position;
      const generated =
        maxPositions > length
          ? `, and ${length} to ${maxPositions - 1} of generated tokens that run`
          : "; rows of generated tokens take an answer of at least 2 (--max-new-tokens)";
      throw new InputError(
        `${where}: positions of the prompt are 0 to ${length - 1} (or -${length} to -1)${generated}, got ${digits}.`,
      );
    });
    if (Number(last) < Number(first)) throw new InputError(`${where}: the range ${item} ends before it begins.`);
    return range(Number(first), Number(last) + 1);
  }
  const picture = /^image(?:\[(\d{1,6})\])?$/.exec(item);
  if (picture !== null) return positionsOfPictures(picture[1], context, where);
  switch (item) {
    case "last":
      return [length - 1];
    case "prompt":
      return range(0, length);
    case "text": {
      const isInPicture = new Set(imageRuns(inputs).flatMap(([start, end]) => range(start, end)));
      return range(0, length).filter((position) => !isInPicture.has(position));
    }
    case "generated":
      if (maxPositions > length) return range(length, maxPositions);
      throw new InputError(
        `${where}: the last generated token is chosen but not run, so that reading generated tokens takes an answer of at least 2: raise --max-new-tokens (maxNewTokens).`,
      );
    default:
      throw new InputError(`${where}: positions must be ${POSITION_WORDS}, got ${shown(item)}.`);
  }
}

function positionsOfPictures(index: string | undefined, { inputs }: ReadContext, where: string): readonly number[] {
  const { images } = inputs;
  if (images.length === 0) throw new InputError(`${where}: the prompt has no picture.`);
  if (index === undefined) return imageRuns(inputs).flatMap(([start, end]) => range(start, end));
  const image = images[Number(index)];
  if (image === undefined) {
    throw new InputError(
      `${where}: the prompt's pictures are image[0] to image[${images.length - 1}], got image[${index}].`,
    );
  }
  return image.runs.flatMap(([start, end]) => range(start, end));
}

/** The tokens that every occurrence of a text in the prompt lies in. */
function positionsOfText(wanted: string, { inputs, textOf }: ReadContext, where: string): readonly number[] {
  if (textOf === undefined) {
    throw new InputError(
      `${where}: the checkpoint has no tokenizer, so that texts cannot be found: give positions as numbers.`,
    );
  }
  let prompt = "";
  const starts = Array.from(inputs.inputIds, (id) => {
    const start = prompt.length;
    prompt += textOf(id);
    return start;
  });
  const found: number[] = [];
  for (let from = prompt.indexOf(wanted); from >= 0; from = prompt.indexOf(wanted, from + 1)) {
    const end = from + wanted.length;
    for (const [position, start] of starts.entries()) {
      if (start < end && (starts[position + 1] ?? prompt.length) > from) found.push(position);
    }
  }
  if (found.length > 0) return found;
  throw new InputError(`${where}: the prompt's text does not contain ${shown(wanted)}; upper and lower case differ.`);
}

function range(start: number, end: number): readonly number[] {
  return Array.from({ length: Math.max(0, end - start) }, (_, index) => start + index);
}

/** A read's name in a trace: its place, and the heads where some are selected. */
export function readName({ place, heads }: Omit<PlaceRead, "positions">): string {
  return heads === undefined ? place : `${place}[${heads.join(",")}]`;
}
