// Where an answer's word was looked for: the attention of the rows that its tokens were chosen from, over a picture.
import { basename } from "node:path";
import { at, InputError } from "../errors.ts";
import { tokensOfWord } from "../inspect/answer-words.ts";
import { type AttentionMap, type MapSelection, middleLayer } from "../inspect/attention-map.ts";
import { heatMapPng } from "../inspect/heat-map-png.node.ts";
import type { Llava } from "../llava.ts";
import { describeMethod } from "./answer-report.ts";
import { type Conversation, lastOf, type TurnAnswer } from "./conversation.ts";
import { repeatedRows } from "./token-maps.ts";

/** A heat map of a word. */
export interface WordMap {
  readonly png: Uint8Array<ArrayBuffer>;
  readonly turn: number;
  /** Which of the conversation's pictures it shows, the one that has most of the attention; from 0. */
  readonly picture: number;
  readonly numPictures: number;
  /** Attention of the word's rows on that picture, as a share of all. */
  readonly share: number;
}

/**
 * Draws the attention of a word of the latest answer that has it. The answer is made again up to that word, with its rows read.
 * @throws InputError for a word that no answer has, or a conversation without pictures.
 */
export async function wordMap(
  model: Llava,
  conversation: Conversation,
  of: { readonly word: string; readonly selection: Pick<MapSelection, "layer" | "head">; readonly signal: AbortSignal },
): Promise<WordMap> {
  const { word, selection, signal } = of;
  const { text } = model.config;
  const { turn, answer, tokens } = findWord(conversation, word);
  const inputs = conversation.inputsOf(turn);
  if (inputs.images.length === 0) throw new InputError("The conversation has no picture: /image FILE adds one.");
  const layer = selection.layer ?? middleLayer(text.numHiddenLayers);
  const session = conversation.sessionOf(answer.method);
  const rows = await repeatedRows((options) => session.answer(inputs, options).answer, {
    inputs,
    answered: answer.tokens,
    tokens,
    layers: [layer],
    options: { ...answer.method.options, signal },
  });
  const maps = inputs.images.map((_, image) => rows.map(tokens, { layer, head: selection.head, image }));
  const picture = maps.reduce((best, { share }, index) => (share > at(maps, best).share ? index : best), 0);
  const map = at(maps, picture);
  const png = await draw(conversation, { map, picture, turn, answer, word, numRows: tokens.length, signal });
  return { png, turn, picture, numPictures: maps.length, share: map.share };
}

async function draw(
  conversation: Conversation,
  of: {
    readonly map: AttentionMap;
    readonly picture: number;
    readonly turn: number;
    readonly answer: TurnAnswer;
    readonly word: string;
    readonly numRows: number;
    readonly signal: AbortSignal;
  },
): Promise<Uint8Array<ArrayBuffer>> {
  const { map, picture, turn, answer, word, numRows, signal } = of;
  const row = numRows === 1 ? "Row that chose the word" : `Mean of the ${numRows} rows that chose the word`;
  const { file, image } = at(
    conversation.turns.slice(0, turn + 1).flatMap(({ pictures }) => pictures),
    picture,
  );
  const facts = answer.whole === undefined ? [] : describeMethod(answer.whole).lines;
  const sheet = {
    heading: at(conversation.turns, turn).question,
    rows: [
      {
        picture: image,
        caption: basename(file),
        panels: [{ map, row, title: `“${word}” in: ${answer.text.trim()}`, lines: facts }],
      },
    ],
  };
  return await heatMapPng(sheet, { signal });
}

/** The latest answer with the word, and the indices of the tokens that spell it. @throws InputError. */
function findWord(conversation: Conversation, word: string) {
  const { turns } = conversation;
  for (let turn = turns.length - 1; turn >= 0; turn--) {
    const answer = lastOf(at(turns, turn));
    const tokens = tokensOfWord(answer.tokens, word);
    if (tokens.length > 0) return { turn, answer, tokens };
  }
  throw new InputError(
    turns.length === 0
      ? "There is no answer yet whose words could be mapped."
      : `No answer of this conversation has the word ${JSON.stringify(word)}: give one that it has.`,
  );
}
