// Messages between the page and its worker: plain data for structured cloning. The worker owns the device and the model;
// the page owns the scene and everything it shows.

import type { AnswerJson } from "../answer.ts";
import type { FinishReason } from "../generate/generate.ts";
import type { AnswerWord } from "../inspect/answer-words.ts";
import type { ExplainedKernel, ExplainedPass } from "../inspect/explained-pass.ts";
import type { AdaptVisSettings } from "../interventions/adaptvis.ts";
import type { PictureView } from "../models/inputs.ts";
import type { RgbImage } from "../preprocess/image.ts";

/** Location of a checkpoint. */
export type CheckpointSource =
  | { readonly kind: "url"; readonly url: string }
  /** A model in the browser's storage, by its key. */
  | { readonly kind: "kept"; readonly name: string; readonly key: string }
  /** Files of a local folder by their path inside it; read by ranges. */
  | { readonly kind: "files"; readonly name: string; readonly files: readonly LocalFile[] };

/** One file of a local folder. */
export interface LocalFile {
  readonly path: string;
  readonly file: Blob;
}

/** Progress of a load. */
export interface LoadStep {
  readonly phase: "adapter" | "config" | "weights" | "kernels";
  /** Of the weights; both 0 before their phase. */
  readonly loadedBytes: number;
  readonly totalBytes: number;
  /** Of the kernels; both 0 before their phase. */
  readonly numCompiled: number;
  readonly numKernels: number;
  /** Estimated share of the whole load that is done, 0 to 1; never decreases. */
  readonly share: number;
}

/** What the page shows of a loaded model. */
export interface ModelView {
  readonly name: string;
  readonly adapter: string;
  readonly isSoftware: boolean;
  readonly hasTimestamps: boolean;
  readonly dtype: string;
  readonly weightBytes: number;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly vocabSize: number;
  /** Side of the vision tower's square input, pixels; undefined for a text-only model. */
  readonly imageSide: number | undefined;
  /** What a picture becomes: one such square, several of them, or a grid of its own shape; undefined for a text-only model. */
  readonly pictureForm: "square" | "tiles" | "grid" | undefined;
  /** From the checkpoint's adaptvis.json, otherwise the paper's. */
  readonly settings: AdaptVisSettings;
  /** Settings of methods that the checkpoint sets, by method and setting. */
  readonly methodDefaults: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly loadMs: number;
}

/** A question of the page, answered greedily and with AdaptVis over one prefill. */
export interface AskRequest {
  readonly image: RgbImage | undefined;
  readonly question: string;
  readonly settings: AdaptVisSettings;
  readonly maxNewTokens: number;
}

/** Kind of an answer. */
export type AnswerKind = "greedy" | "adaptvis" | "factor";

/** Events while a question runs, in order. */
export type AskEvent =
  | { readonly kind: "stage"; readonly text: string }
  /** The device was lost and recovered: the question starts over, so earlier tokens are invalid. */
  | { readonly kind: "restart" }
  | { readonly kind: "token"; readonly answer: AnswerKind; readonly text: string };

/** A token and its probability, from 0 to 1. */
export interface TokenView {
  readonly tokenId: number;
  /** The tokenizer's text of this token alone, including a leading space. */
  readonly text: string;
  readonly probability: number;
}

/** A generated token with its alternatives. */
export interface ChosenTokenView extends TokenView {
  /** Most probable first; may include the token itself. */
  readonly alternatives: readonly TokenView[];
}

/** Attention of the last prompt row on the picture, in every layer and head. */
export interface AttentionView {
  readonly numLayers: number;
  readonly numHeads: number;
  readonly gridWidth: number;
  readonly gridHeight: number;
  /** [numLayers, numHeads, gridHeight · gridWidth] as shares of all attention; without those of newlines and a class token. */
  readonly values: Float32Array<ArrayBuffer>;
  /** [numLayers, numHeads] attention on the picture of all attention, 0 to 1. */
  readonly shares: Float32Array<ArrayBuffer>;
  /** Where the grid lies in the original picture. */
  readonly view?: PictureView | undefined;
}

/** One answer. */
export interface AnswerView {
  readonly kind: AnswerKind;
  readonly text: string;
  readonly tokens: readonly ChosenTokenView[];
  readonly finishReason: FinishReason;
  /** First token's probability in the unmodified pass; for a fixed factor, in the pass under that factor. */
  readonly confidence: number;
  readonly factor: number;
  /** Undefined without a picture. */
  readonly attention: AttentionView | undefined;
  /** The answer as the command line's `--json` has it, for downloads; its attention is that of the last layer. */
  readonly json: AnswerJson;
  readonly elapsedMs: number;
}

/** A method of the registry and its settings; those that are missing are the checkpoint's, else the method's own. */
export interface MethodChoice {
  readonly name: string;
  readonly settings: Readonly<Record<string, unknown>>;
}

/** Events while an answer by a method runs, in order. */
export type MethodEvent = Extract<AskEvent, { readonly kind: "stage" | "restart" }> | WordEvent;

/** A token of an answer by a method. */
export interface WordEvent {
  readonly kind: "token";
  readonly text: string;
}

/** An answer by a method of the registry. */
export interface MethodAnswerView extends Omit<AnswerView, "kind"> {
  readonly method: string;
  /** The method's settings, defaults filled in. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly promptTokens: number;
  /** Prompt positions whose keys and values were there already. */
  readonly reusedTokens: number;
}

/** The next question of a conversation. */
export interface ChatRequest {
  readonly question: string;
  /** A picture for this question beside those of before; undefined to go on with those. */
  readonly image: RgbImage | undefined;
  readonly method: MethodChoice;
  readonly maxNewTokens: number;
  /** Number of earlier follow-ups that stay; 0 begins anew from the last question and its answer {@link ChatRequest.after}. */
  readonly numKept: number;
  /** The answer to the last question that the first follow-up comes after. */
  readonly after: "greedy" | "adaptvis";
}

/** The answer to a follow-up. */
export interface ChatAnswerView extends MethodAnswerView {
  /** The pictures of the conversation so far, in order, made smaller where they are large. */
  readonly pictures: readonly RgbImage[];
}

/** Which answer: one of the last question's, or that to a follow-up, from 0. */
export type WhichAnswer = "greedy" | "adaptvis" | number;

/** Where the model looked for each word of an answer, in one layer. */
export interface WordsView {
  readonly words: readonly AnswerWord[];
  readonly layer: number;
  /** For each picture of the prompt, the attention of the row that each token was chosen from. */
  readonly pictures: readonly PictureWords[];
}

/** Attention on one picture, token by token. */
export interface PictureWords {
  readonly picture: RgbImage;
  /** Per token of the answer, with a single layer. */
  readonly tokens: readonly AttentionView[];
}

/** The logit lens of one cell of the picture's map. */
export interface LensView {
  readonly cell: number;
  /** Position of the image token in the prompt. */
  readonly position: number;
  /** By layer, from −1, the decoder's input. */
  readonly rows: readonly { readonly layer: number; readonly tokens: readonly TokenView[] }[];
}

/** An answer without a part of the picture. */
export interface CutView {
  readonly answer: MethodAnswerView;
  /** Numbers of the image tokens that were cut, from 0 in the order of the prompt. */
  readonly patches: readonly number[];
}

/** Both answers to a question; without a picture they are the same. */
export interface AnswersView {
  readonly greedy: AnswerView;
  readonly adaptvis: AnswerView;
  readonly settings: AdaptVisSettings;
  readonly promptTokens: number;
  /** Image positions [start, end) of the prompt. */
  readonly imageSpan: readonly [start: number, end: number];
  /** The original picture, made smaller where it is large, which heat maps are drawn over; undefined without one. */
  readonly picture: RgbImage | undefined;
}

/** Every pass of an answer with AdaptVis. */
export interface ExplanationView {
  /** The explained first tokens of the answer. */
  readonly text: string;
  readonly factor: number;
  /** In execution order. */
  readonly passes: readonly ExplainedPass[];
  /** By `ExplainedPass.kernel`. */
  readonly kernels: Readonly<Record<string, ExplainedKernel>>;
}

/** Kinds of failures; each has its own page or notice. */
export type FailureKind =
  | "no-webgpu" // the browser has no navigator.gpu
  | "no-adapter" // the browser supports WebGPU but finds no adapter
  | "out-of-memory"
  | "limit"
  | "device-lost"
  | "checkpoint"
  | "input"
  | "busy" // a question was asked while another one runs
  | "storage" // there is no room for a model, or another tab works on it
  | "stopped"
  | "internal";

/** A failure as the worker reports it; the message is one sentence for display. */
export interface Failure {
  readonly kind: FailureKind;
  readonly message: string;
}

/** Notifications that the worker sends outside of calls. */
export type EngineNotice =
  | { readonly kind: "device-lost"; readonly message: string }
  | { readonly kind: "recovering"; readonly step: LoadStep }
  | { readonly kind: "recovered" }
  /** The recovery failed: no model is available until the next load. */
  | { readonly kind: "gave-up"; readonly failure: Failure };

/** The worker's interface to the page. Every promise rejects with an Error whose `failure` is a {@link Failure}. */
export interface EngineApi {
  /**
   * Loads a checkpoint; the previous one stays in use until the load completes. A load in progress is stopped.
   */
  load(source: CheckpointSource, onStep: (step: LoadStep) => void): Promise<ModelView>;
  /** Decodes a picture file, upright. */
  decodePicture(file: Blob, name: string): Promise<RgbImage>;
  /** Asks greedily and with AdaptVis: one prefill and one extra step. */
  ask(request: AskRequest, onEvent: (event: AskEvent) => void): Promise<AnswersView>;
  /** The last question's answer under a fixed factor: one extra step, no new prefill. */
  answerWithFactor(factor: number, onEvent: (event: AskEvent) => void): Promise<AnswerView>;
  /** The last question's trace, a safetensors file. */
  trace(): Promise<Uint8Array<ArrayBuffer>>;
  /**
   * The passes of the last question's answer with AdaptVis, which is run again for up to three tokens.
   * @param onPass called after every pass; the result also contains all passes
   */
  explain(onPass: (pass: ExplainedPass) => void): Promise<ExplanationView>;
  /** The last question's answer by a method of the registry; what it shares with other answers is not computed again. */
  answerBy(method: MethodChoice, onEvent: (event: MethodEvent) => void): Promise<MethodAnswerView>;
  /** The last question's answer by a method with `patches`, which are those that show a part of these cells of the picture's map. */
  cut(method: MethodChoice, cells: readonly number[], onEvent: (event: MethodEvent) => void): Promise<CutView>;
  /** The next question of the conversation that began with the last question. */
  chat(request: ChatRequest, onEvent: (event: MethodEvent) => void): Promise<ChatAnswerView>;
  /** Where the model looked for each word of an answer, which runs again for it; without a picture, the words alone. */
  words(answer: WhichAnswer, layer: number): Promise<WordsView>;
  /** The logit lens of a cell of the picture's map, in every layer. */
  lens(cell: number): Promise<LensView>;
  /** Stops the running call, which rejects with `stopped`. */
  stop(): Promise<void>;
  /** Registers a listener for lost devices and recoveries. */
  watch(onNotice: (notice: EngineNotice) => void): Promise<void>;
}
