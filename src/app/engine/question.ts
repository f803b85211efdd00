// A question of the playground: greedily and with AdaptVis over one prefill, then under any fixed factor; and its answers as
// the plain arrays and probabilities that the page shows.

import { type Answer, type AnswerMaps, type AnswerOptions, type AnswerStage, answerJson } from "../../answer.ts";
import type { AttentionMap } from "../../inspect/attention-map.ts";
import { fitted } from "../../inspect/heat-map.ts";
import { TokenTexts } from "../../inspect/token-texts.ts";
import { adaptvis, chooseFactor } from "../../interventions/adaptvis.ts";
import { settingsFrom } from "../../interventions/parameters.ts";
import type { Llava } from "../../llava.ts";
import type { ModelInputs } from "../../models/inputs.ts";
import type { Processor } from "../../models/processor.ts";
import type { RgbImage } from "../../preprocess/image.ts";
import type {
  AnswerKind,
  AnswersView,
  AnswerView,
  AskEvent,
  AskRequest,
  AttentionView,
  ChosenTokenView,
  ModelView,
  TokenView,
} from "../protocol.ts";

/** Largest shortest side of a picture under heat maps, pixels. */
export const LARGEST_SIDE = 672;
/** Number of alternatives shown per token. */
const NUM_ALTERNATIVES = 5;

/** The prepared last question: plain data, so that it survives a lost device. */
export class LastQuestion {
  readonly request: AskRequest;
  /** AdaptVis' settings, defaults filled in. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly inputs: ModelInputs;
  /** The original picture, made smaller where it is large; undefined without one. */
  readonly picture: RgbImage | undefined;
  readonly numAlternatives: number;
  /** Without a picture, factors have no effect. */
  readonly method: "greedy" | "adaptvis";

  /** Prepares a question. @throws InputError for an invalid question or setting. */
  constructor(model: Llava, request: AskRequest, view: Pick<ModelView, "vocabSize">) {
    const { text } = model.config;
    const sizes = { numLayers: text.numHiddenLayers, numHeads: text.numAttentionHeads, promptLength: 1 };
    this.settings = settingsFrom(adaptvis.parameters, { ...request.settings }, { ...sizes, method: adaptvis.name });
    this.request = request;
    this.inputs = model.prepare({ image: request.image, question: request.question });
    this.method = request.image === undefined ? "greedy" : "adaptvis";
    this.picture = request.image && fitted(request.image, { most: LARGEST_SIDE });
    this.numAlternatives = Math.min(NUM_ALTERNATIVES, view.vocabSize);
  }
}

/** Options and callbacks of a run. */
interface RunOptions {
  readonly onEvent: (event: AskEvent) => void;
  readonly signal: AbortSignal;
}

/**
 * Both answers: one prefill, and one extra step under the factor chosen by the confidence of the greedy pass.
 * @throws InputError, GpuError or AbortError.
 */
export async function askBoth(model: Llava, question: LastQuestion, options: RunOptions): Promise<AnswersView> {
  const { settings } = question.request;
  const { answer, view: greedy } = await run(model, question, { ...options, kind: "greedy", method: "greedy" });
  const underFactor =
    question.method === "greedy"
      ? { ...greedy, kind: "adaptvis" as const }
      : await answerUnderFactor(model, question, {
          ...options,
          kind: "adaptvis",
          factor: chooseFactor(answer.confidence, settings),
        });
  // AdaptVis is the confidence of the greedy pass, and ScalingVis under the factor that it decides on.
  const { confidence } = answer;
  const chosen = question.method === "greedy" ? {} : { method: adaptvis.name, settings: question.settings, confidence };
  return {
    greedy,
    adaptvis: { ...underFactor, confidence, json: { ...underFactor.json, ...chosen } },
    settings,
    promptTokens: answer.promptTokens,
    imageSpan: answer.imageSpan,
    picture: question.picture,
  };
}

/**
 * The answer under a fixed factor: the last prompt row runs again over the cached keys and values, then the tokens.
 * @throws InputError, GpuError or AbortError.
 */
export async function answerUnderFactor(
  model: Llava,
  question: LastQuestion,
  options: RunOptions & { readonly kind: AnswerKind; readonly factor: number },
): Promise<AnswerView> {
  const { view } = await run(model, question, { ...options, method: "scaling" });
  return view;
}

async function run(
  model: Llava,
  question: LastQuestion,
  options: RunOptions & Pick<AnswerOptions, "method" | "factor"> & { readonly kind: AnswerKind },
): Promise<{ readonly answer: Answer; readonly view: AnswerView }> {
  const { kind, onEvent, signal, method = "greedy", factor } = options;
  const { inputs, request } = question;
  const startMs = performance.now();
  const answer = await model.answer(inputs, {
    method,
    ...(factor !== undefined && { factor }),
    maxNewTokens: request.maxNewTokens,
    topLogProbs: question.numAlternatives,
    attention: request.image !== undefined,
    onStage: (stage) => onEvent({ kind: "stage", text: describeStage(stage, factor) }),
    onToken: ({ text }) => onEvent({ kind: "token", answer: kind, text }),
    signal,
  });
  const elapsedMs = performance.now() - startMs;
  return { answer, view: answerView(answer, model.processor, { kind, confidence: answer.confidence, elapsedMs }) };
}

/** What the page says while a part of an answer runs. */
export function describeStage(stage: AnswerStage, factor: number | undefined): string {
  switch (stage) {
    case "vision":
      return "Looking at the picture";
    case "prefill":
      return factor === undefined ? "Reading the question" : `Reading the last token again under the factor ${factor}`;
    case "factor":
      return "Choosing the factor";
    case "generate":
      return factor === undefined ? "Answering greedily" : `Answering under the factor ${factor}`;
  }
}

/** Fields of a view that are not part of the answer. */
export interface AnswerFacts {
  readonly confidence: number;
  readonly elapsedMs: number;
}

/** An answer in the form that the page shows, with facts about it. */
export function answerView<Facts extends AnswerFacts>(
  answer: Answer,
  processor: Processor,
  facts: Facts,
): Facts & Omit<AnswerView, "kind"> {
  const texts = new TokenTexts(processor.tokenizer);
  const view = ({ tokenId, logProb }: { readonly tokenId: number; readonly logProb: number }): TokenView => ({
    tokenId,
    text: texts.of(tokenId),
    probability: Math.exp(logProb),
  });
  const maps = mapsOf(answer);
  return {
    ...facts,
    json: answerJson(answer, maps),
    text: answer.text.trim(),
    tokens: answer.tokens.map((token): ChosenTokenView => ({ ...view(token), alternatives: token.top.map(view) })),
    finishReason: answer.finishReason,
    factor: answer.factor,
    attention: maps && attentionView(answer, maps.used),
  };
}

/** The maps of the middle layer; undefined without a picture. */
function mapsOf({ attention }: Answer): AnswerMaps | undefined {
  return attention && { used: attention.used(), unmodified: attention.unmodified() };
}

/** Attention of the pass that gave the answer, on a grid of `width` × `height` patches. */
function attentionView(
  { attention }: Answer,
  { width, height, view }: Pick<AttentionMap, "width" | "height" | "view">,
): AttentionView | undefined {
  if (attention === undefined) return undefined;
  const { numLayers, numHeads } = attention;
  const values = new Float32Array(numLayers * numHeads * width * height);
  const shares = new Float32Array(numLayers * numHeads);
  for (let layer = 0; layer < numLayers; layer++) {
    for (let head = 0; head < numHeads; head++) {
      const map = attention.used({ layer, head });
      const row = layer * numHeads + head;
      values.set(map.values, row * width * height);
      shares[row] = map.share;
    }
  }
  return { numLayers, numHeads, gridWidth: width, gridHeight: height, values, shares, view };
}
