// What the page finds out about the last question beside its two answers: the answer by any method, without a part of the picture,
// where the model looked for each word, and what the model reads in one patch.
import { at, InputError } from "../../errors.ts";
import { wordsOf } from "../../inspect/answer-words.ts";
import { adaptvis } from "../../interventions/adaptvis.ts";
import { logitLens } from "../../lens.ts";
import type { Llava } from "../../llava.ts";
import type { RgbImage } from "../../preprocess/image.ts";
import { attentionOfTokens, type TokenAttention } from "../../token-attention.ts";
import type {
  AttentionView,
  CutView,
  LensView,
  MethodAnswerView,
  MethodChoice,
  PictureWords,
  WordsView,
} from "../protocol.ts";
import { chosenMethod, type MethodRun, methodOptions, methodView, numAlternatives } from "./method-answer.ts";
import { patchesOfCells, positionOfCell } from "./patches.ts";
import type { LastQuestion } from "./question.ts";
import type { Answered } from "./talk.ts";

/** Most probable tokens that the lens shows per layer. */
const LENS_TOKENS = 5;

/** The last question's answer by a method. @throws InputError for a bad setting; GpuError; AbortError. */
export async function answerBy(
  model: Llava,
  { inputs, request }: LastQuestion,
  options: MethodRun & { readonly method: MethodChoice },
): Promise<MethodAnswerView> {
  const startMs = performance.now();
  const answer = await model.answer(inputs, {
    ...methodOptions(options.method, { ...options, maxNewTokens: request.maxNewTokens }),
    topLogProbs: numAlternatives(model),
    attention: inputs.images.length > 0,
  });
  return methodView(model, answer, performance.now() - startMs);
}

/** The last question's answer by a method that acts on the image tokens that show some cells of the picture's map. @throws as {@link answerBy}. */
export async function cutOut(
  model: Llava,
  question: LastQuestion,
  options: MethodRun & { readonly method: MethodChoice; readonly cells: readonly number[] },
): Promise<CutView> {
  const { images } = question.inputs;
  if (images.length === 0) throw new InputError("The last question had no picture: ask about one.");
  if (options.cells.length === 0) throw new InputError("No patch is marked: mark a part of the picture first.");
  const patches = patchesOfCells(images, 0, options.cells);
  const { name, settings } = options.method;
  const method = { name, settings: { ...settings, patches } };
  return { answer: await answerBy(model, question, { ...options, method }), patches };
}

/** What one of the last question's two answers came from. */
export function answeredFirst(
  model: Llava,
  { inputs, settings, picture }: LastQuestion,
  of: { readonly kind: "greedy" | "adaptvis"; readonly numTokens: number },
): Answered {
  const isPlain = of.kind === "greedy" || picture === undefined;
  return {
    inputs,
    method: isPlain ? { name: "greedy", settings: {} } : { name: adaptvis.name, settings },
    numTokens: of.numTokens,
    pictures: picture === undefined ? [] : [picture],
    answer: (given, options) => model.answer(given, options),
  };
}

/**
 * Where the model looked for each word of an answer: the answer runs again, up to its length, and the rows that its tokens were chosen
 * from are read in one layer.
 * @throws InputError for a layer that does not exist; GpuError; AbortError.
 */
export async function lookForWords(
  model: Llava,
  answered: Answered,
  { layer, signal }: { readonly layer: number; readonly signal: AbortSignal },
): Promise<WordsView> {
  const { inputs, method, numTokens, pictures } = answered;
  if (numTokens === 0) return { words: [], layer, pictures: [] };
  const tokens = Array.from({ length: numTokens }, (_, token) => token);
  const options = { ...chosenMethod(method), maxNewTokens: numTokens, signal };
  const attention = await attentionOfTokens((asked) => answered.answer(inputs, asked), {
    inputs,
    layers: [layer],
    tokens,
    options,
  });
  const numHeads = model.config.text.numAttentionHeads;
  const known = tokens.slice(0, attention.answer.tokens.length);
  const words = wordsOf(attention.answer.tokens);
  const mapped = inputs.images.map((_, image): PictureWords => {
    const views = known.map((token) => tokenView(attention, { token, image, numHeads }));
    return { picture: at<RgbImage>(pictures, image), tokens: views };
  });
  return { words, layer, pictures: mapped };
}

/** What the hidden states of the image token that shows a cell best give as words. @throws InputError, GpuError or AbortError. */
export async function lensOf(
  model: Llava,
  { inputs }: LastQuestion,
  { cell, signal }: { readonly cell: number; readonly signal: AbortSignal },
): Promise<LensView> {
  const [image] = inputs.images;
  if (image === undefined) throw new InputError("The last question had no picture: ask about one.");
  const position = positionOfCell(image, cell);
  if (position === undefined)
    throw new InputError(`No image token shows patch ${cell} of the picture: choose another.`);
  const topTokens = Math.min(LENS_TOKENS, model.config.text.vocabSize);
  const { rows } = await logitLens(model, inputs, { positions: [position], topTokens, signal });
  return {
    cell,
    position,
    rows: rows.map(({ layer, tokens }) => ({
      layer,
      tokens: tokens.map(({ tokenId, text = "", probability }) => ({ tokenId, text, probability })),
    })),
  };
}

/** The attention of a token's row on one picture, of every head. */
function tokenView(
  attention: TokenAttention,
  { token, image, numHeads }: { readonly token: number; readonly image: number; readonly numHeads: number },
): AttentionView {
  const maps = Array.from({ length: numHeads }, (_, head) => attention.map([token], { head, image }));
  const { width, height, view } = at(maps, 0);
  const values = new Float32Array(numHeads * width * height);
  for (const [head, map] of maps.entries()) values.set(map.values, head * width * height);
  const shares = Float32Array.from(maps, ({ share }) => share);
  return { numLayers: 1, numHeads, gridWidth: width, gridHeight: height, values, shares, view };
}
