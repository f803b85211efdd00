// What the page and its worker say to each other: plain data that structured cloning carries. The worker owns the device
// and the model; the page owns the scene and what is shown.

import type { AdaptVisSettings } from "../adaptvis.ts";
import type { FinishReason } from "../generate/generate.ts";
import type { ExplainedKernel, ExplainedPass } from "../inspect/explained-pass.ts";
import type { RgbImage } from "../preprocess/image.ts";

/** Where a checkpoint is. */
export type CheckpointSource =
  | { readonly kind: "url"; readonly url: string }
  /** Files of a local folder by their path inside it; they are read by ranges. */
  | { readonly kind: "files"; readonly name: string; readonly files: readonly LocalFile[] };

/** One file of a local folder. */
export interface LocalFile {
  readonly path: string;
  readonly file: Blob;
}

/** How far a load is. */
export interface LoadStep {
  readonly phase: "adapter" | "config" | "weights" | "kernels";
  /** Of the weights; both 0 before their phase. */
  readonly loadedBytes: number;
  readonly totalBytes: number;
  /** Of the kernels; both 0 before their phase. */
  readonly numCompiled: number;
  readonly numKernels: number;
  /** How much of the whole load is done, 0 to 1; it never falls, and its speed is a guess. */
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
  /** Side of the square that the vision tower sees, pixels; undefined for a model without pictures. */
  readonly imageSide: number | undefined;
  /** Whether it sees a picture in several such squares and one of the whole (LLaVA-NeXT). */
  readonly seesTiles: boolean;
  /** Of the checkpoint's adaptvis.json, else the paper's. */
  readonly settings: AdaptVisSettings;
  readonly loadMs: number;
}

/** A question as the page asks it: greedily and with AdaptVis over one prefill. */
export interface AskRequest {
  readonly image: RgbImage | undefined;
  readonly question: string;
  readonly settings: AdaptVisSettings;
  readonly maxNewTokens: number;
}

/** Which of the answers. */
export type AnswerKind = "greedy" | "adaptvis" | "factor";

/** What happens while a question runs, in order. */
export type AskEvent =
  | { readonly kind: "stage"; readonly text: string }
  /** The device was lost and is there again: the question starts over, so forget the tokens of before. */
  | { readonly kind: "restart" }
  | { readonly kind: "token"; readonly answer: AnswerKind; readonly text: string };

/** A token and its probability, from 0 to 1. */
export interface TokenView {
  readonly tokenId: number;
  /** As the tokenizer spells it alone, a leading space included. */
  readonly text: string;
  readonly probability: number;
}

/** A generated token with what else could have stood there. */
export interface ChosenTokenView extends TokenView {
  /** Most probable first, the token's own among them if it is. */
  readonly alternatives: readonly TokenView[];
}

/** Attention of the last prompt row on the picture, in every layer and head. */
export interface AttentionView {
  readonly numLayers: number;
  readonly numHeads: number;
  readonly gridWidth: number;
  readonly gridHeight: number;
  /** [numLayers, numHeads, gridHeight · gridWidth] of all attention; a class token's share is in none of them. */
  readonly values: Float32Array<ArrayBuffer>;
  /** [numLayers, numHeads] attention on the picture of all attention, 0 to 1. */
  readonly shares: Float32Array<ArrayBuffer>;
}

/** One answer. */
export interface AnswerView {
  readonly kind: AnswerKind;
  readonly text: string;
  readonly tokens: readonly ChosenTokenView[];
  readonly finishReason: FinishReason;
  /** First token's probability in the unmodified pass; for a fixed factor in the pass under it. */
  readonly confidence: number;
  readonly factor: number;
  /** Undefined without a picture, or for one of several tiles. */
  readonly attention: AttentionView | undefined;
  readonly elapsedMs: number;
}

/** Both answers to a question; without a picture they are the same. */
export interface AnswersView {
  readonly greedy: AnswerView;
  readonly adaptvis: AnswerView;
  readonly settings: AdaptVisSettings;
  readonly promptTokens: number;
  /** Image positions [start, end) of the prompt. */
  readonly imageSpan: readonly [start: number, end: number];
  /** The picture as the vision tower sees it, to lie under the heat map; undefined where there is none. */
  readonly seen: RgbImage | undefined;
}

/** Every pass of an answer with AdaptVis. */
export interface ExplanationView {
  /** The answer's first tokens, as far as they were explained. */
  readonly text: string;
  readonly factor: number;
  /** In the order in which they ran. */
  readonly passes: readonly ExplainedPass[];
  /** By `ExplainedPass.kernel`. */
  readonly kernels: Readonly<Record<string, ExplainedKernel>>;
}

/** Why something did not work; each has its own page or notice. */
export type FailureKind =
  | "no-webgpu" // the browser has no navigator.gpu
  | "no-adapter" // it has, and finds no adapter
  | "out-of-memory"
  | "limit"
  | "device-lost"
  | "checkpoint"
  | "input"
  | "busy" // a question came while one runs
  | "stopped"
  | "internal";

/** A failure as the worker reports it; the message is one sentence for people. */
export interface Failure {
  readonly kind: FailureKind;
  readonly message: string;
}

/** What the worker tells unasked. */
export type EngineNotice =
  | { readonly kind: "device-lost"; readonly message: string }
  | { readonly kind: "recovering"; readonly step: LoadStep }
  | { readonly kind: "recovered" }
  /** The recovery failed: there is no model until the next load. */
  | { readonly kind: "gave-up"; readonly failure: Failure };

/** What the worker does for the page. Every promise rejects with an Error whose `failure` is a {@link Failure}. */
export interface EngineApi {
  /**
   * Loads a checkpoint; what was loaded before stays in use until the new one stands. A load that still runs is stopped.
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
   * The passes of the last question's answer with AdaptVis, which runs again for it, up to three tokens.
   * @param onPass called for every pass as it is done; all of them come with the result too
   */
  explain(onPass: (pass: ExplainedPass) => void): Promise<ExplanationView>;
  /** Stops what runs; that call rejects with `stopped`. */
  stop(): Promise<void>;
  /** Hears of a lost device and of the recovery from it. */
  watch(onNotice: (notice: EngineNotice) => void): Promise<void>;
}
