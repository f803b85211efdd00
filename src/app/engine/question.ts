// A question of the playground: greedily and with AdaptVis over one prefill, then under any fixed factor.
import { checkSettings, chooseFactor } from "../../adaptvis.ts";
import type { Answer, AnswerOptions, AnswerStage } from "../../answer.ts";
import type { Llava } from "../../llava.ts";
import { fitToSquare } from "../../preprocess/clip-processor.ts";
import type { RgbImage } from "../../preprocess/image.ts";
import type { ModelInputs } from "../../preprocess/processor.ts";
import type { AnswerKind, AnswersView, AnswerView, AskEvent, AskRequest, ModelView } from "../protocol.ts";
import { answerView } from "./answer-view.ts";

/** Alternatives shown a token. */
const NUM_ALTERNATIVES = 5;

/** The question that was asked last, prepared: plain data, so that it outlives a lost device. */
export class LastQuestion {
  readonly request: AskRequest;
  readonly inputs: ModelInputs;
  /** The picture as the vision tower sees it; undefined without one, and for LLaVA-NeXT's tiles. */
  readonly seen: RgbImage | undefined;
  readonly numAlternatives: number;
  /** Without a picture there is nothing for a factor to act on. */
  readonly method: "greedy" | "adaptvis";

  /** @throws InputError for a question or setting that cannot be used. */
  constructor(model: Llava, request: AskRequest, view: Pick<ModelView, "vocabSize">) {
    checkSettings(request.settings);
    this.request = request;
    this.inputs = model.prepare({ image: request.image, question: request.question });
    const { clip } = model.processor;
    this.method = request.image === undefined ? "greedy" : "adaptvis";
    const isSingle = this.inputs.gridWidth > 0;
    this.seen =
      request.image !== undefined && clip !== undefined && isSingle ? fitToSquare(request.image, clip) : undefined;
    this.numAlternatives = Math.min(NUM_ALTERNATIVES, view.vocabSize);
  }
}

/** What a run is told, and whom it tells. */
interface RunOptions {
  readonly onEvent: (event: AskEvent) => void;
  readonly signal: AbortSignal;
}

/**
 * Both answers: one prefill, and one extra step under the factor that the greedy pass' confidence chooses.
 * @throws InputError, GpuError or AbortError.
 */
export async function askBoth(model: Llava, question: LastQuestion, options: RunOptions): Promise<AnswersView> {
  const { settings } = question.request;
  const { answer, view: greedy } = await run(model, question, { ...options, kind: "greedy", method: "greedy" });
  const adaptvis =
    question.method === "greedy"
      ? { ...greedy, kind: "adaptvis" as const }
      : await answerUnderFactor(model, question, {
          ...options,
          kind: "adaptvis",
          factor: chooseFactor(answer.confidence, settings),
        });
  return {
    greedy,
    adaptvis: { ...adaptvis, confidence: answer.confidence },
    settings,
    promptTokens: answer.promptTokens,
    imageSpan: answer.imageSpan,
    seen: question.seen,
  };
}

/**
 * The answer under a fixed factor: the last prompt row runs again over the keys and values that are held, then the tokens.
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

function describeStage(stage: AnswerStage, factor: number | undefined): string {
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
