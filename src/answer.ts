// The types of loading, of a question and of its answer, and the one JSON form of an answer.
import { at } from "./errors.ts";
import type { Continuation } from "./generate/continuations.ts";
import type { FinishReason, GeneratedToken } from "./generate/generate.ts";
import type { JsonSchema } from "./generate/grammar/json-schema.ts";
import type { SamplingOptions } from "./generate/sampler.ts";
import type { CacheDtype } from "./gpu/cache-format.ts";
import type { Profiler } from "./gpu/profile/profiler.ts";
import type { ActivationDtype, WeightDtype } from "./gpu/tensor.ts";
import type { TuningTable } from "./gpu/tunables.ts";
import type { AnswerAttention, AttentionMap } from "./inspect/attention-map.ts";
import type { PlaceRead, PlaceValues, PlaceWrite } from "./inspect/places.ts";
import type { TraceTensor } from "./inspect/trace.ts";
import type { Intervention } from "./interventions/intervention.ts";
import type { MethodName, MethodSettings } from "./interventions/registry.ts";
import type { LoadProgress } from "./models/weights.ts";
import type { ChatTemplateSource } from "./preprocess/chat-template.ts";
import type { RgbImage } from "./preprocess/image.ts";

/** How a model is loaded. */
export interface LoadOptions {
  /** The device to run on; it is used, never destroyed. */
  readonly device: GPUDevice;
  /**
   * How matrices are stored on the GPU; as in the checkpoint unless given. Sums are f32 always. "auto" is the most exact form of the
   * checkpoint's, f16, q8 and q4 that fits into `memoryBytes` with a question, the smallest where none does; `Llava.dtype` says which.
   */
  readonly dtype?: WeightDtype | "auto" | undefined;
  /** Memory for `dtype` "auto", which needs it: WebGPU does not say how much there is. The GPU's, or on a CPU adapter the host's. */
  readonly memoryBytes?: number | undefined;
  /**
   * Storage format of keys and values on the GPU: f16 takes half of f32's memory, q8 (8 bits, with one f16 scale per group of 32
   * values) about a quarter. Default: f32. Attention always computes in f32.
   */
  readonly kvDtype?: CacheDtype | undefined;
  /**
   * How a decode step's linear layers with quantised weights read their input: with q8, it is rounded to 8 bits, with one scale per
   * group of 32 values, and multiplied as integers. Default: f32. It needs `dtype` q8, q4_1 or q4; prompts, the lm_head and
   * attention compute in f32 always.
   */
  readonly activationDtype?: ActivationDtype | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  /** Replaces the checkpoint's chat template; one of `CHAT_TEMPLATES`, say, for a checkpoint without. */
  readonly chatTemplate?: ChatTemplateSource | undefined;
  /**
   * Whether pictures are cut into tiles, for Idefics3 and SmolVLM alone: their processor's do_image_splitting. Without, a picture is a
   * single tile, which takes one pass of the vision tower instead of up to 17 and as many fewer positions. As in the checkpoint unless given.
   */
  readonly imageSplitting?: boolean | undefined;
  /**
   * Most pixels that a picture has once it is resized, for Qwen2-VL, Qwen2.5-VL and Qwen3-VL alone: their processor's max_pixels. It
   * replaces the checkpoint's limit and the default one of 1,003,520, and may be smaller or larger, up to 100,000,000. A position takes
   * 28 × 28 pixels (32 × 32 of Qwen3-VL); attention in the vision tower takes time in proportion to the square of their number.
   */
  readonly maxPicturePixels?: number | undefined;
  /** Prompt rows per submit; 256 unless given. */
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
  /**
   * Bytes on the GPU for what later questions may use again: keys and values of closed sessions, and features of pictures.
   * What was used last stays in any case. 256 MiB unless given.
   */
  readonly cacheBytes?: number | undefined;
  /** Measures the load and every question from then on; one profiler per model. */
  readonly profiler?: Profiler | undefined;
  /**
   * The first question to expect: only its kernels are compiled while the weights load, in the order of their first use. Default:
   * a greedy question about a picture, and AdaptVis' extra step.
   */
  readonly firstQuestion?: ExpectedQuestion | undefined;
}

/** An expected question: the options that determine which kernels it needs. */
export interface ExpectedQuestion
  extends MethodSettings,
    Pick<AnswerOptions, "method" | "settings" | "sampling" | "topLogProbs" | "attention"> {
  /** Whether it is about a picture; true unless given. */
  readonly hasImage?: boolean | undefined;
}

/** Options of `Llava.warmUp`. */
export interface WarmUpOptions {
  /** Questions to prepare for. Default: a greedy one and one with AdaptVis, both about a picture. */
  readonly questions?: readonly ExpectedQuestion[] | undefined;
  /** Whether to prepare for sweeps. Default: true. */
  readonly sweep?: boolean | undefined;
  /** Whether to prepare for answers that decode together (batched sessions). Default: false. */
  readonly batched?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: WarmUpProgress) => void) | undefined;
}

/** Progress of a warm-up: first `compile`, then `run`. */
export interface WarmUpProgress {
  readonly phase: "compile" | "run";
  /** Kernels compiled, or run, so far. */
  readonly done: number;
  /** Kernels in this phase; those run by an earlier warm-up are not run again. */
  readonly total: number;
}

/**
 * The parts of an answer in their order: the vision tower and projector (left out when the features are held from an earlier
 * question), the prompt, the extra step of a method that reads the confidence first, the tokens.
 */
export type AnswerStage = "vision" | "prefill" | "factor" | "generate";

/**
 * How an answer is made. Everything has the paper's or the field's usual default. The settings of a method (`factor`, `alpha1`,
 * `layers`, `rows`, …) are options beside its name; their types and defaults are those of src/interventions.
 */
export interface AnswerOptions extends MethodSettings {
  /** A registered method's name, or an intervention of the caller's; `greedy` unless given. */
  readonly method?: MethodName | Intervention | undefined;
  /** Settings of an intervention of the caller's, by name. */
  readonly settings?: Readonly<Record<string, unknown>> | undefined;
  /** Where confidence is taken: over the vocabulary, or over the first tokens of these options as an answer writes them. */
  readonly confidence?: "vocabulary" | readonly string[] | undefined;
  /** Rounds the confidence to two decimals before it is compared, as the reference does; true unless given. */
  readonly roundConfidence?: boolean | undefined;
  /** 64 unless given; fewer when the context ends. */
  readonly maxNewTokens?: number | undefined;
  /** Goes on past end tokens, up to maxNewTokens; false unless given. */
  readonly ignoreEos?: boolean | undefined;
  /** Texts that end the answer and are left out of it. */
  readonly stop?: readonly string[] | undefined;
  /** Greedy unless given. */
  readonly sampling?: Partial<SamplingOptions> | undefined;
  /** Number of most probable tokens to report at each position, 0 to 100; 0 unless given. */
  readonly topLogProbs?: number | undefined;
  /**
   * Texts whose log-probabilities as the answer are wanted, under the method's changes: the options of a question, say. They are
   * taken literally, with the space that an answer begins with (" Left"), and fill the answer's `continuations`. Each token beyond
   * the first of a text costs a decode step.
   */
  readonly continuations?: readonly string[] | undefined;
  /**
   * The answer is one of these texts (with or without a space before it, as the model prefers): tokens that continue none of them are
   * ruled out, and log-probabilities are those among the others. It must be able to end, so `maxNewTokens` should have room for the
   * longest and one more token.
   */
  readonly choices?: readonly string[] | undefined;
  /**
   * The answer is JSON that this schema allows, on one line: tokens that continue no such text are ruled out. As for `choices`, which it
   * excludes, log-probabilities are those among the others; so is the confidence where the method reads none before. Properties come
   * in their order, and none beside those that are named. With `finishReason` "length", `maxNewTokens` was too small for the whole.
   * A schema has at most 65,536 characters of JSON; keywords that cannot be kept, such as `not`, are refused.
   */
  readonly jsonSchema?: JsonSchema | undefined;
  /** Called when a part of the work begins. */
  readonly onStage?: ((stage: AnswerStage) => void) | undefined;
  /** Called for every token as it comes. */
  readonly onToken?: ((token: GeneratedToken) => void) | undefined;
  /** Uses keys and values of earlier prompts again as far as they agree; true unless given. */
  readonly reusePrefix?: boolean | undefined;
  /** Captures the last prompt row's attention for maps; false unless given. */
  readonly attention?: boolean | undefined;
  /**
   * Places to read; what was read is in the answer's `reads`. A text is PLACE[HEADS]@POSITIONS, such as
   * `layers.*.attention_probs[0]@last,"ball"`, and gives one read per layer that it names.
   */
  readonly read?: readonly (PlaceRead | string)[] | undefined;
  /** Places to write. */
  readonly write?: readonly PlaceWrite[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How a session is opened. */
export interface SessionOptions {
  /**
   * Epsilon of the decoder's RMS norms, for comparisons with implementations that use another one than the checkpoint's config.json
   * (the authors of AdaptVis: 1e-6 in place of 1e-5). The checkpoint's unless given.
   */
  readonly rmsNormEps?: number | undefined;
  /**
   * Whether answers of this session decode together with those of other such sessions of the model, one token of each per step, where
   * several run at once; a long prompt then runs in chunks between those steps. The last bits of logits may differ from those of an
   * answer that runs alone. False unless given.
   */
  readonly batched?: boolean | undefined;
  /**
   * Bytes that the engine's buffers may take in all: an answer that would need more than that to join others runs alone, in turns with
   * them. Unlimited unless given.
   */
  readonly memoryBytes?: number | undefined;
}

/** A question about a picture. */
export interface Question extends AnswerOptions {
  /** The picture; undefined for a text-only question. */
  readonly image?: RgbImage | undefined;
  /** The pictures instead, in the order in which the prompt names them. */
  readonly images?: readonly RgbImage[] | undefined;
  /** Frames of a video, in order, for models that take videos: LLaVA-OneVision. */
  readonly video?: readonly RgbImage[] | undefined;
  /** Put into the checkpoint's chat template. */
  readonly question?: string | undefined;
  /** The whole prompt instead, `<image>` where each picture goes and `<video>` where the video does. */
  readonly prompt?: string | undefined;
  /** Text before the first turn, where the template takes one. */
  readonly system?: string | undefined;
}

/** An answer and how it came about. */
export interface Answer {
  readonly text: string;
  readonly tokens: readonly GeneratedToken[];
  readonly finishReason: FinishReason;
  /** The method's name. */
  readonly method: string;
  /** The method's settings, defaults filled in. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** Of the first token: in the unmodified pass where there is one, else in the pass that gave the answer. */
  readonly confidence: number;
  /** The confidence before it was rounded. */
  readonly exactConfidence: number;
  /** What image scores of the edited rows were multiplied by; 1 where nothing was. */
  readonly factor: number;
  readonly promptTokens: number;
  /** Prompt positions whose keys and values were in the cache already. */
  readonly reusedTokens: number;
  /** From the first image position of the prompt to behind the last; [0, 0) without a picture. */
  readonly imageSpan: readonly [start: number, end: number];
  /** Attention of the last prompt row in the unmodified pass and in the pass that gave the answer, if captured; undefined without a picture. */
  readonly attention: AnswerAttention | undefined;
  /** What was read, in the order of `read` and, of a text with several layers, in that of the layers. */
  readonly reads: readonly PlaceValues[];
  /** The texts of `continuations` with their log-probabilities, in their order; at sampling temperature 1. */
  readonly continuations: readonly Continuation[];
}

/** A method and its settings, as in {@link AnswerOptions}. */
export type MethodOptions = MethodSettings & Pick<AnswerOptions, "method" | "settings">;

/** What answers under several methods have in common. */
export interface EachOptions
  extends Pick<
    AnswerOptions,
    | "confidence"
    | "roundConfidence"
    | "maxNewTokens"
    | "ignoreEos"
    | "continuations"
    | "reusePrefix"
    | "attention"
    | "signal"
  > {
  /** Most rows of a batch, 1 to 32; 8 unless given. Each takes `maxNewTokens` slots of keys and values. */
  readonly maxRows?: number | undefined;
}

/** Answers of one prompt under several methods. */
export interface AnswersOfEach {
  /** In the order of the methods. */
  readonly answers: readonly Answer[];
  /** Largest probability of the first token in the unmodified pass; undefined where no method shared one. */
  readonly unmodifiedConfidence: number | undefined;
}

/** How a sweep is made; greedy, on the last prompt row. */
export interface SweepOptions
  extends Pick<
    AnswerOptions,
    | "layers"
    | "heads"
    | "patches"
    | "box"
    | "strengths"
    | "randomHeads"
    | "headSeed"
    | "maxNewTokens"
    | "ignoreEos"
    | "reusePrefix"
    | "roundConfidence"
    | "signal"
  > {
  /**
   * Layers whose attention of the last prompt row is captured for maps under each factor; none unless given. (`layers` are those that
   * factors act on.) On the GPU, each takes 8 bytes per factor, head and prompt position.
   */
  readonly mapLayers?: readonly number[] | undefined;
}

/** The answer under one factor of a sweep. */
export interface SweepAnswer {
  readonly factor: number;
  readonly text: string;
  readonly tokenIds: readonly number[];
  readonly finishReason: FinishReason;
  /** Of the first token under this factor. */
  readonly confidence: number;
  /** Attention of the last prompt row under this factor, in the `mapLayers`; unmodified is that of a factor 1 among the others. */
  readonly attention: AnswerAttention | undefined;
}

/** What a trace holds beside the last prompt row of the pass that gave the answer. */
export interface TraceOptions {
  /** Also the rows of the decode steps, as `generated.…`: on the GPU, 2 · H · S numbers per layer and row. False unless given. */
  readonly generated?: boolean | undefined;
  /** Also the last prompt row of the unmodified pass, as `unmodified.…`, where the method or `write` changed it. False unless given. */
  readonly unmodified?: boolean | undefined;
  /**
   * Only these places, beside `input_ids` and `generated_ids`, as in {@link AnswerOptions.read}: one tensor per place and selection
   * of heads. The metadata's `reads` has the positions of each.
   */
  readonly read?: readonly (PlaceRead | string)[] | undefined;
}

/** All trace points of one run and what they belong to. */
export interface Trace {
  readonly tensors: readonly TraceTensor[];
  readonly metadata: Readonly<Record<string, string>>;
  readonly answer: Answer;
}

/** The maps of one answer over one picture: of the pass that gave it, and of the unmodified pass where there was one. */
export interface AnswerMaps {
  readonly used: AttentionMap;
  readonly unmodified: AttentionMap | undefined;
  /** [layers][heads]: the fraction of the scores on the picture that are negative, in the pass that gave the answer. */
  readonly negativeScoresByHead?: readonly (readonly number[])[] | undefined;
}

/** An answer as JSON: `--json`, the page's download and result files hold this. */
export interface AnswerJson {
  /** Without the spaces around it; the pieces of `tokens` are as they came. */
  readonly answer: string;
  readonly method: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly confidence: number;
  readonly factor: number;
  readonly finishReason: FinishReason;
  readonly promptTokens: number;
  readonly imageSpan: readonly [start: number, end: number];
  readonly tokens: readonly {
    readonly id: number;
    readonly text: string;
    readonly logProb: number;
    readonly top: readonly { readonly id: number; readonly logProb: number }[];
  }[];
  /** Of the first picture. */
  readonly attention:
    | (PictureAttentionJson & {
        readonly layer: number;
        readonly head: number | null;
        /** Of every picture, in order, where there are several. */
        readonly pictures?: readonly PictureAttentionJson[];
      })
    | null;
}

/** The numbers of a map as JSON. */
export type MapNumbersJson = Pick<
  AttentionMap,
  "share" | "unplacedShare" | "paddingShare" | "entropy" | "negativeScores"
>;

/** Attention on one picture as JSON, in the pass that gave the answer and in the unmodified one. */
export interface PictureAttentionJson extends MapNumbersJson {
  readonly unmodified: MapNumbersJson | null;
  /** [layers][heads]: the fraction of the scores on the picture that are negative, before edits. */
  readonly negativeScoresByHead?: readonly (readonly number[])[];
}

/** The JSON form of an answer. @param maps of one layer and head, of each picture; without them `attention` is null */
export function answerJson(
  answer: Omit<Answer, "attention" | "reads" | "reusedTokens" | "continuations" | "exactConfidence">,
  maps: AnswerMaps | readonly AnswerMaps[] = [],
): AnswerJson {
  const { method, settings, confidence, factor, finishReason, promptTokens, imageSpan } = answer;
  return {
    answer: answer.text.trim(),
    method,
    settings,
    confidence,
    factor,
    finishReason,
    promptTokens,
    imageSpan,
    tokens: answer.tokens.map(({ tokenId, text, logProb, top }) => ({
      id: tokenId,
      text,
      logProb,
      top: top.map((other) => ({ id: other.tokenId, logProb: other.logProb })),
    })),
    attention: attentionJson("used" in maps ? [maps] : maps),
  };
}

/** The JSON form of maps of one layer and head, of each picture; null without any. */
export function attentionJson(maps: readonly AnswerMaps[]): AnswerJson["attention"] {
  const [first] = maps;
  if (first === undefined) return null;
  const { layer, head = null } = first.used;
  const pictures = maps.map(({ used, unmodified, negativeScoresByHead }) => ({
    ...numbersOf(used),
    unmodified: unmodified === undefined ? null : numbersOf(unmodified),
    ...(negativeScoresByHead && { negativeScoresByHead }),
  }));
  return { layer, head, ...at(pictures, 0), ...(pictures.length > 1 && { pictures }) };
}

function numbersOf({ share, unplacedShare, paddingShare, entropy, negativeScores }: AttentionMap): MapNumbersJson {
  return { share, unplacedShare, paddingShare, entropy, ...(negativeScores !== undefined && { negativeScores }) };
}
