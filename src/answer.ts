// The types of loading, of a question and of its answer.
import type { AdaptVisSettings, Method, ScaledRows } from "./adaptvis.ts";
import type { FinishReason, GeneratedToken } from "./generate/generate.ts";
import type { SamplingOptions } from "./generate/sampler.ts";
import type { TuningTable } from "./gpu/ops/tuning.ts";
import type { Profiler } from "./gpu/profile/profiler.ts";
import type { WeightDtype } from "./gpu/tensor.ts";
import type { AnswerAttention } from "./inspect/attention-map.ts";
import type { TraceTensor } from "./inspect/trace.ts";
import type { LoadProgress } from "./models/weights.ts";
import type { RgbImage } from "./preprocess/image.ts";

/** How a model is loaded. */
export interface LoadOptions {
  /** A device made by anyone; it is used, never destroyed. */
  readonly device: GPUDevice;
  /** How matrices are stored on the GPU; as in the checkpoint unless given. Sums are f32 always. */
  readonly dtype?: WeightDtype | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  /** Prompt rows of one submit; 256 unless given. */
  readonly chunkRows?: number | undefined;
  /** Constants of kernels as `measureTuning` measured them on this adapter; the defaults unless given. */
  readonly tuning?: TuningTable | undefined;
  /**
   * Tokens that may be on their way on the GPU before the oldest of them is read, 1 to 4: a GPU then never waits for the
   * CPU, at the price of that many steps past the end of an answer. 4 on GPUs and 1 on CPU adapters unless given.
   */
  readonly lookahead?: number | undefined;
  /** Which class of kernels runs, for CPU adapters or for GPUs; found out from the adapter unless given. */
  readonly adapterClass?: "cpu" | "gpu" | undefined;
  /** Measures the load and every question from then on; one profiler a model. */
  readonly profiler?: Profiler | undefined;
}

/**
 * The parts of an answer in their order: the vision tower and projector (left out when their features are held from the
 * last question), the prompt, AdaptVis' extra step, the tokens.
 */
export type AnswerStage = "vision" | "prefill" | "factor" | "generate";

/** How an answer is made. Everything has the paper's or the field's usual default. */
export interface AnswerOptions {
  /** `greedy` unless given. */
  readonly method?: Method;
  /** ScalingVis' factor, 0.8 unless given. */
  readonly factor?: number;
  /** AdaptVis' settings; those left out are the paper's for Controlled_A. */
  readonly adaptvis?: Partial<AdaptVisSettings>;
  /** Decoder layers that the factor acts on; all unless given. */
  readonly layers?: readonly number[];
  /** Query heads that the factor acts on; all unless given. */
  readonly heads?: readonly number[];
  /** Query rows that the factor acts on; the last prompt row unless given. */
  readonly rows?: ScaledRows;
  /** Where confidence is taken: over the vocabulary, or over the first tokens of these options as an answer writes them. */
  readonly confidence?: "vocabulary" | readonly string[];
  /** Rounds the confidence to two decimals before it meets beta, as the reference does; true unless given. */
  readonly roundConfidence?: boolean;
  /** 64 unless given; fewer when the context ends. */
  readonly maxNewTokens?: number;
  /** Goes on past end tokens, up to maxNewTokens; false unless given. */
  readonly ignoreEos?: boolean;
  /** Texts that end the answer and are left out of it. */
  readonly stop?: readonly string[];
  /** Greedy unless given. */
  readonly sampling?: Partial<SamplingOptions>;
  /** Alternatives with log-probabilities to report a token, 0 to 100; 0 unless given. */
  readonly topLogProbs?: number;
  /** Called when a part of the work begins. */
  readonly onStage?: (stage: AnswerStage) => void;
  /** Called for every token as it comes. */
  readonly onToken?: (token: GeneratedToken) => void;
  /** Uses keys and values of the last question's prompt again as far as the prompts agree; true unless given. */
  readonly reusePrefix?: boolean;
  /** Captures the last prompt row's attention; false unless given. */
  readonly attention?: boolean;
  readonly signal?: AbortSignal;
}

/** A question about a picture. */
export interface Question extends AnswerOptions {
  /** Undefined for a text-only question. */
  readonly image?: RgbImage | undefined;
  /** Put into the checkpoint's chat template. */
  readonly question?: string;
  /** The whole prompt instead, `<image>` where the picture goes. */
  readonly prompt?: string;
  /** Text before the first turn, where the template takes one. */
  readonly system?: string;
}

/** An answer and how it came about. */
export interface Answer {
  readonly text: string;
  readonly tokens: readonly GeneratedToken[];
  readonly finishReason: FinishReason;
  readonly method: Method;
  /** Of the first token in the unmodified pass for AdaptVis and greedy, in the scaled pass for ScalingVis. */
  readonly confidence: number;
  /** What image scores of the scaled rows were multiplied by; 1 for greedy. */
  readonly factor: number;
  readonly promptTokens: number;
  /** Image positions [start, end) of the prompt; [0, 0) without a picture. */
  readonly imageSpan: readonly [start: number, end: number];
  /** Attention of the last prompt row in the unmodified pass and in the pass that gave the answer, if captured. */
  readonly attention: AnswerAttention | undefined;
}

/** How a sweep is made; greedy, on the last prompt row. */
export type SweepOptions = Pick<
  AnswerOptions,
  "layers" | "heads" | "maxNewTokens" | "ignoreEos" | "reusePrefix" | "roundConfidence" | "signal"
>;

/** The answer under one factor of a sweep. */
export interface SweepAnswer {
  readonly factor: number;
  readonly text: string;
  readonly tokenIds: readonly number[];
  readonly finishReason: FinishReason;
  /** Of the first token under this factor. */
  readonly confidence: number;
}

/** All trace points of one run and what they belong to. */
export interface Trace {
  readonly tensors: readonly TraceTensor[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly answer: Answer;
}
