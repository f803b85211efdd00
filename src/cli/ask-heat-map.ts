// The heat maps of `ask`: of the last prompt token, of tokens and words of the answer, rolled out, or relative to a neutral prompt.
import { basename } from "node:path";
import type { Answer, AnswerMaps, AnswerOptions } from "../answer.ts";
import { attentionRollout, type SinkTokens, sinkTokens } from "../attention-rollout.ts";
import { at, InputError } from "../errors.ts";
import { tokensOfWord, wordsOf } from "../inspect/answer-words.ts";
import { type AttentionMap, middleLayer } from "../inspect/attention-map.ts";
import { type HeatMapPanel, type HeatMapRow, heatMapPng } from "../inspect/heat-map-png.node.ts";
import {
  layerHeadSection,
  mapSheetPng,
  type SectionNumbers,
  type SheetCell,
  sectionNumbers,
} from "../inspect/map-sheet-png.node.ts";
import { cellsOfPositions, placementOf } from "../inspect/picture-placement.ts";
import { type RelativeMap, relativeMap } from "../inspect/relative-map.ts";
import type { Llava } from "../llava.ts";
import type { ModelInputs } from "../models/inputs.ts";
import type { RgbImage } from "../preprocess/image.ts";
import type { TokenAttention } from "../token-attention.ts";
import { describeMethod } from "./answer-report.ts";
import { type HeatMapFlags, NEUTRAL_QUESTION } from "./heat-map-flags.ts";
import { repeatedRows } from "./token-maps.ts";

/** An answer whose maps are drawn. */
export interface MappedAnswer {
  readonly model: Llava;
  readonly inputs: ModelInputs;
  readonly images: readonly RgbImage[];
  /** Of the pictures. */
  readonly files: readonly string[];
  readonly heading: string;
  readonly answer: Answer;
  /** Of the last prompt token, over each picture. */
  readonly maps: readonly AnswerMaps[];
  /** Those of the answer. */
  readonly options: AnswerOptions;
  readonly signal: AbortSignal;
}

/** One map as JSON. */
export interface DrawnMap
  extends Pick<AttentionMap, "share" | "unplacedShare" | "paddingShare" | "entropy" | "negativeScores"> {
  /** Index of the picture. */
  readonly picture: number;
  /** The word of the answer, and the tokens whose rows chose it; undefined for the last prompt token alone. */
  readonly word?: string | undefined;
  readonly tokens?: readonly number[] | undefined;
  /** The layer and head; undefined for a rollout. */
  readonly layer?: number | undefined;
  readonly head?: number | null | undefined;
  /** Sinks among the picture's positions, and the attention on them as a share of all. */
  readonly sinks?: { readonly positions: readonly number[]; readonly share: number } | undefined;
  /** The numbers of the neutral prompt's map. */
  readonly neutral?: Pick<AttentionMap, "share" | "entropy"> | undefined;
}

/** What was drawn. */
export interface DrawnHeatMaps {
  /** The file of --heatmap and that of --heatmap-sheet, where they are asked for. */
  readonly png: Uint8Array<ArrayBuffer> | undefined;
  readonly sheetPng: Uint8Array<ArrayBuffer> | undefined;
  readonly maps: readonly DrawnMap[];
  /** Of each picture, by layer and head. */
  readonly sheets: readonly SectionNumbers[];
}

/** Whose rows are drawn. */
interface Subject {
  readonly word: string | undefined;
  readonly tokens: readonly number[];
}

/**
 * Draws the heat maps that the flags ask for.
 * @throws InputError for a token or word that the answer does not have.
 */
export async function drawHeatMaps(of: MappedAnswer, flags: HeatMapFlags): Promise<DrawnHeatMaps> {
  const { model, answer } = of;
  const { numHiddenLayers } = model.config.text;
  const layer = flags.layer ?? middleLayer(numHiddenLayers);
  const subjects = subjectsOf(answer, flags);
  const layers =
    flags.heatmapSheet === undefined ? [layer] : Array.from({ length: numHiddenLayers }, (_, each) => each);
  const rows =
    subjects === undefined || flags.heatmapRollout === true
      ? undefined
      : await repeatedRows((options) => model.answer(of.inputs, options), {
          inputs: of.inputs,
          answered: answer.tokens,
          tokens: subjects.flatMap(({ tokens }) => tokens),
          layers,
          options: of.options,
        });
  const drawn = { of, flags, layer, subjects, rows };
  const { png, maps } = flags.heatmap === undefined ? { png: undefined, maps: [] } : await drawMaps(drawn);
  const { sheetPng, sheets } =
    flags.heatmapSheet === undefined ? { sheetPng: undefined, sheets: [] } : await drawSheet(drawn);
  return { png, sheetPng, maps, sheets };
}

/** What is drawn, and what was read for it. */
interface Drawing {
  readonly of: MappedAnswer;
  readonly flags: HeatMapFlags;
  readonly layer: number;
  readonly subjects: readonly Subject[] | undefined;
  readonly rows: TokenAttention | undefined;
}

/** Tokens and words whose rows are drawn; undefined for the last prompt token as it is. */
function subjectsOf(answer: Answer, flags: HeatMapFlags): readonly Subject[] | undefined {
  const { tokens } = answer;
  const text = JSON.stringify(answer.text.trim());
  if (flags.heatmapToken !== undefined) {
    const token = flags.heatmapToken;
    if (token < tokens.length) return [{ word: at(tokens, token).text.trim(), tokens: [token] }];
    throw new InputError(
      `--heatmap-token must be a whole number from 0 to ${tokens.length - 1}, the tokens of the answer ${text}, got ${token}.`,
    );
  }
  if (flags.heatmapWord !== undefined) {
    const word = flags.heatmapWord;
    const found = tokensOfWord(tokens, word);
    if (found.length > 0) return [{ word, tokens: found }];
    throw new InputError(`The answer ${text} does not have the word ${JSON.stringify(word)}: give one that it has.`);
  }
  if (flags.heatmapWords !== true) return undefined;
  const words = wordsOf(tokens);
  if (words.length > 0) return words;
  throw new InputError(`The answer ${text} has no words that could be drawn.`);
}

async function drawMaps(drawing: Drawing) {
  const { of, flags, layer, subjects } = drawing;
  if (flags.heatmapWords === true) return drawWords(drawing);
  const [subject] = subjects ?? [];
  const sinks = await sinksOf(drawing, of.inputs, of.options);
  const neutral = await neutralMaps(drawing);
  const rolled =
    flags.heatmapRollout === true
      ? await attentionRollout(of.model, of.inputs, { ...of.options, token: subject?.tokens.at(-1) })
      : undefined;
  const maps: DrawnMap[] = [];
  const rows: HeatMapRow[] = [];
  for (const [index, image] of of.inputs.images.entries()) {
    const own = sinks && withSinks(drawing, { sinks, index });
    const without = flags.heatmapSinks === "remove" ? own?.positions : undefined;
    const used = rolled?.map(index) ?? mapOf(drawing, { index, without });
    const relative = neutral && relativeMap(used, neutral(index), flags.heatmapRelative);
    const panel: HeatMapPanel = {
      map: used,
      ...titleOf(of.answer, subject),
      row: rowText(subject),
      ...(rolled && { what: `rollout of layers 0 to ${used.layer}` }),
      ...(own && flags.heatmapSinks === "mark" && { marked: cellsOfPositions(image, own.positions) }),
      ...(relative && { relative }),
    };
    const lines = [...panel.lines, ...(own === undefined ? [] : [sinkText(own, flags.heatmapSinks === "remove")])];
    const { unmodified } = at(of.maps, index);
    const isPlain = subject === undefined && rolled === undefined && neutral === undefined && sinks === undefined;
    const before =
      !isPlain || unmodified === undefined ? [] : [{ map: unmodified, title: "Unmodified pass", lines: ["Factor 1"] }];
    const caption = basename(at(of.files, index));
    rows.push({ picture: at(of.images, index), caption, panels: [...before, { ...panel, lines }] });
    maps.push(drawnMap(used, { index, subject, relative, own, isRollout: rolled !== undefined, layer }));
  }
  return { png: await heatMapPng({ heading: of.heading, rows }, { signal: of.signal }), maps };
}

/** The map over one picture, of the subject's rows or of the last prompt row. */
function mapOf(
  { of, flags, layer, subjects, rows }: Drawing,
  at: { readonly index: number; readonly without?: readonly number[] | undefined },
): AttentionMap {
  const selection = { layer, head: flags.head, image: at.index, without: at.without };
  const [subject] = subjects ?? [];
  const map = subject && rows ? rows.map(subject.tokens, selection) : of.answer.attention?.used(selection);
  if (map === undefined) throw new RangeError("the answer's attention was not captured");
  return map;
}

/** A small map for every word, one section per picture. */
async function drawWords({ of, flags, layer, subjects = [], rows }: Drawing) {
  const maps: DrawnMap[] = [];
  const sections = of.inputs.images.map((_, index) => {
    const cells = subjects.map((subject): SheetCell => {
      const map = rows?.map(subject.tokens, { layer, head: flags.head, image: index });
      if (map === undefined) throw new RangeError("the rows of the words were not read");
      maps.push(drawnMap(map, { index, subject, isRollout: false, layer }));
      return { map, title: subject.word };
    });
    return { picture: at(of.images, index), side: WORD_SIDE, cells, numColumns: Math.min(cells.length, WORD_COLUMNS) };
  });
  const head = flags.head === undefined ? "mean of heads" : `head ${flags.head}`;
  const notes = [`${describeMethod(of.answer).title}`, `Rows that chose each word, layer ${layer}, ${head}`];
  const png = await mapSheetPng({ heading: of.heading, notes, sections }, { signal: of.signal });
  return { png, maps };
}

/** Longest side of a word's map in pixels, and the words in a row. */
const WORD_SIDE = 192;
const WORD_COLUMNS = 5;

async function drawSheet({ of, subjects, rows }: Drawing) {
  const { numHiddenLayers: numLayers, numAttentionHeads: numHeads } = of.model.config.text;
  const [subject] = subjects ?? [];
  const sections = of.images.map((picture, image) =>
    layerHeadSection({
      picture,
      numLayers,
      numHeads,
      mapAt: (layer, head) => {
        const selection = { layer, head, image };
        const map = subject && rows ? rows.map(subject.tokens, selection) : of.answer.attention?.used(selection);
        if (map === undefined) throw new RangeError("the answer's attention was not captured");
        return map;
      },
    }),
  );
  const notes = [describeMethod(of.answer).title, rowText(subject) ?? "Last prompt token"];
  const sheetPng = await mapSheetPng({ heading: of.heading, notes, sections }, { signal: of.signal });
  return { sheetPng, sheets: sections.map(sectionNumbers) };
}

/** Sinks of the map's layer and head; undefined where they are kept. */
async function sinksOf(
  { of, flags, layer }: Drawing,
  inputs: ModelInputs,
  options: AnswerOptions,
): Promise<SinkTokens | undefined> {
  if (flags.heatmapSinks === undefined || flags.heatmapSinks === "keep") return undefined;
  return sinkTokens(of.model, inputs, { ...options, layer, head: flags.head, threshold: flags.sinkThreshold });
}

/** The sinks on one picture, and how much of the row's attention is on them. */
interface PictureSinks {
  readonly positions: readonly number[];
  readonly share: number;
  /** Importance of the picture's position that has most. */
  readonly most: number;
  readonly threshold: number;
}

function withSinks(
  drawing: Drawing,
  { sinks, index }: { readonly sinks: SinkTokens; readonly index: number },
): PictureSinks {
  const own = new Set(placementOf(at(drawing.of.inputs.images, index)).positions);
  const positions = sinks.positions.filter((position) => own.has(position));
  const left = mapOf(drawing, { index, without: positions }).share;
  const share = Math.max(0, mapOf(drawing, { index }).share - left);
  const most = Math.max(...[...own].map((position) => at(sinks.importance, position)));
  return { positions, share, most, threshold: sinks.threshold };
}

function sinkText({ positions, share, most, threshold }: PictureSinks, isRemoved: boolean): string {
  const count = positions.length === 1 ? "1 sink" : `${positions.length} sinks`;
  const what = isRemoved ? "left out" : "outlined";
  if (positions.length === 0) {
    return `No sinks among the patches: largest importance ${most.toPrecision(2)}, threshold ${threshold}`;
  }
  return `${count} with ${(share * 100).toFixed(1)} % of all attention ${what} (importance above ${threshold})`;
}

/** The maps of the neutral prompt over each picture, unmodified. */
async function neutralMaps({ of, flags, layer }: Drawing): Promise<((image: number) => AttentionMap) | undefined> {
  if (flags.heatmapNeutral === undefined) return undefined;
  const question = flags.heatmapNeutral === true ? NEUTRAL_QUESTION : flags.heatmapNeutral;
  const inputs = of.model.prepare({ images: of.images, question });
  if (flags.heatmapRollout === true) {
    const rolled = await attentionRollout(of.model, inputs, { signal: of.signal });
    return (image) => rolled.map(image);
  }
  const options = { maxNewTokens: 1, signal: of.signal };
  const { attention } = await of.model.answer(inputs, { ...options, attention: true });
  const sinks =
    flags.heatmapSinks !== "remove"
      ? undefined
      : await sinksOf({ of, flags, layer, subjects: undefined, rows: undefined }, inputs, options);
  return (image) => {
    const map = attention?.used({ layer, head: flags.head, image, without: sinks?.positions });
    if (map === undefined) throw new RangeError("the neutral prompt's attention was not captured");
    return map;
  };
}

function titleOf(answer: Answer, subject: Subject | undefined): Pick<HeatMapPanel, "title" | "lines"> {
  const described = describeMethod(answer);
  return subject?.word ? { ...described, title: `“${subject.word}” in: ${described.title}` } : described;
}

/** Whose attention a map shows; undefined for the last prompt token. */
function rowText(subject: Subject | undefined): string | undefined {
  if (subject === undefined) return undefined;
  const { tokens } = subject;
  return tokens.length === 1
    ? `Row that chose token ${tokens[0]}`
    : `Mean of the ${tokens.length} rows that chose the word`;
}

function drawnMap(
  map: AttentionMap,
  of: {
    readonly index: number;
    readonly subject: Subject | undefined;
    readonly relative?: RelativeMap | undefined;
    readonly own?: PictureSinks | undefined;
    readonly isRollout: boolean;
    readonly layer: number;
  },
): DrawnMap {
  const { share, unplacedShare, paddingShare, entropy, negativeScores } = map;
  const { subject, relative, own } = of;
  return {
    picture: of.index,
    ...(subject && { word: subject.word, tokens: subject.tokens }),
    ...(of.isRollout ? {} : { layer: of.layer, head: map.head ?? null }),
    share,
    unplacedShare,
    paddingShare,
    entropy,
    ...(negativeScores !== undefined && { negativeScores }),
    ...(own && { sinks: { positions: own.positions, share: own.share } }),
    ...(relative && { neutral: { share: relative.neutral.share, entropy: relative.neutral.entropy } }),
  };
}
