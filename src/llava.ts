// READ FIRST. A vision-language model from load to answer:
//
//   load      checkpoint (safetensors by ranges) → config → weights on the GPU   (checkpoint/, models/registry)
//   ask       picture + question → pixelValues and inputIds                      (preprocess/, models/processor)
//             pixelValues → hiddenStates → imageFeatures                         (models/layers/picture-encoder)
//             inputIds + imageFeatures → inputsEmbeds → logits                   (generate/sequence, one prefill)
//             confidence → edits → the edited rows again                         (interventions/)
//             logits → token → logits → …                                        (generate/generate)
//
// session.ts runs it for one conversation; a model serves many of them.
import type {
  Answer,
  AnswerOptions,
  ExpectedQuestion,
  LoadOptions,
  Question,
  SessionOptions,
  SweepAnswer,
  SweepOptions,
  Trace,
  TraceOptions,
  WarmUpOptions,
} from "./answer.ts";
import type { AblationResult } from "./causal/ablation.ts";
import type { ExperimentHost } from "./causal/changed-runs.ts";
import type { KnockOutResult } from "./causal/knock-out-windows.ts";
import type { PatchResult } from "./causal/patching.ts";
import { loadOptions, questionOptions, sessionOptions, warmUpOptions } from "./check-arguments.ts";
import { type Checkpoint, openCheckpoint } from "./checkpoint/checkpoint.ts";
import { namedSource } from "./checkpoint/named-source.ts";
import { checkedSource, type Source } from "./checkpoint/source.ts";
import { at, GpuError, InputError } from "./errors.ts";
import type { AblationOptions, KnockOutOptions, PatchOptions } from "./experiments.ts";
import type { DecodeBatch } from "./generate/decode-batch.ts";
import { FeatureCache } from "./generate/feature-cache.ts";
import { DEFAULT_CACHE_BYTES, LruBudget } from "./generate/lru-budget.ts";
import { SequencePool } from "./generate/sequence-pool.ts";
import { SharedDecoder } from "./generate/shared-decoder.ts";
import type { HeadLogitsOptions } from "./generate/unembed.ts";
import type { CacheDtype } from "./gpu/cache-format.ts";
import { Gpu } from "./gpu/device.ts";
import type { Pipeline } from "./gpu/kernel.ts";
import { checkTuningTable } from "./gpu/ops/tuning.ts";
import type { ActivationDtype, WeightDtype } from "./gpu/tensor.ts";
import type { Architecture, ModelWeights } from "./models/architecture.ts";
import { architectureOf, withMaxPicturePixels } from "./models/checkpoint-architecture.ts";
import type { ModelConfig } from "./models/config.ts";
import type { ModelInputs } from "./models/inputs.ts";
import { PictureEncoder } from "./models/layers/picture-encoder.ts";
import { loadProcessor, type Processor } from "./models/processor.ts";
import { loadWeights } from "./models/weights.ts";
import { callback, read } from "./options.ts";
import { precompile, USUAL_NEEDS } from "./precompile.ts";
import type { QuestionNeeds, RecordedModel } from "./program-recorder.ts";
import { type LazyBatch, type RunOptions, Session, type SessionHost } from "./session.ts";
import { type MethodDefaults, readMethodDefaults, settingsOf } from "./settings.ts";

/** A loaded model. Questions asked while one runs wait for their turn. */
export class Llava {
  readonly config: ModelConfig;
  readonly processor: Processor;
  readonly gpu: Gpu;
  /** What the source calls the checkpoint. */
  readonly name: string;
  /** Defaults of methods' settings that the checkpoint's adaptvis.json sets, by method and setting. */
  readonly defaults: MethodDefaults;
  /** [C, S, S] of a picture's tile; undefined for a model without pictures. */
  readonly tileShape: readonly number[] | undefined;
  /** Storage format of keys and values on the GPU. */
  readonly kvDtype: CacheDtype;
  /** How a decode step's linear layers with quantised weights read their input. */
  readonly activationDtype: ActivationDtype;
  private readonly loaded: RecordedModel;
  /** Pipelines that {@link warmUp} has run. */
  private readonly ran = new Set<Pipeline>();
  private readonly host: SessionHost;
  /** By rmsNormEps, where it is not the checkpoint's. */
  private readonly otherHosts = new Map<number, SessionHost>();
  private readonly decoder: SharedDecoder;
  /** With the decoders of {@link otherHosts}. */
  private readonly decoders: SharedDecoder[];
  private readonly budget: LruBudget;
  private turn: Promise<unknown> = Promise.resolve();
  /** Work that waits for its turn. */
  private numWaiting = 0;

  private constructor(
    gpu: Gpu,
    loaded: RecordedModel,
    parts: {
      readonly processor: Processor;
      readonly name: string;
      readonly defaults: MethodDefaults;
      readonly decoder: SharedDecoder;
      readonly encoder: PictureEncoder | undefined;
      readonly cacheBytes: number | undefined;
    },
  ) {
    const { architecture, weights } = loaded;
    const { defaults, decoder, encoder, cacheBytes = DEFAULT_CACHE_BYTES } = parts;
    this.gpu = gpu;
    this.config = architecture.config;
    this.loaded = loaded;
    this.processor = parts.processor;
    this.name = parts.name;
    this.defaults = defaults;
    this.tileShape = architecture.pictures?.tileShape;
    this.kvDtype = decoder.kvDtype;
    this.activationDtype = decoder.activationDtype;
    this.decoder = decoder;
    this.decoders = [decoder];
    this.budget = new LruBudget(cacheBytes);
    this.host = {
      pool: new SequencePool(decoder, this.budget),
      features: new FeatureCache(gpu, this.budget),
      encoder,
      filler: weights.pictures?.filler,
      defaults,
      inTurn: (phase, work) => this.inTurn(phase, work),
      isContended: () => this.numWaiting > 0,
      batch: batchOf(decoder, this.budget, (phase, work) => this.inTurn(phase, work)),
    };
  }

  /**
   * Loads a checkpoint of a registered family in Hugging Face's layout.
   * @param source where its files are, or a name: an id on the hub, such as "llava-hf/llava-1.5-7b-hf", the http or https address of a
   * folder or, in Node and Deno, a folder's path
   * @throws CheckpointError, GpuError, AbortError, or InputError for an option that cannot be; nothing of a failed load stays allocated.
   */
  static async load(source: Source | string, options: LoadOptions): Promise<Llava> {
    const checked = loadOptions(source, options);
    const opened = typeof source === "string" ? namedSource(source) : checkedSource(source);
    const work = () => Llava.loadFrom(opened, checked);
    return checked.profiler === undefined ? work() : checked.profiler.phase("load", work);
  }

  private static async loadFrom(source: Source, options: LoadOptions): Promise<Llava> {
    const { signal, onProgress, adapterClass, profiler, tuning, cacheBytes, firstQuestion } = options;
    if (tuning !== undefined) checkTuningTable(tuning, options.device);
    const gpu = new Gpu(options.device, { isSoftware: adapterClass && adapterClass === "cpu", profiler, tuning });
    try {
      const checkpoint = await openCheckpoint(source, signal);
      try {
        const architecture = withMaxPicturePixels(await architectureOf(checkpoint, signal), options.maxPicturePixels);
        const dtype = options.dtype === "auto" ? await fittingDtype(checkpoint, architecture, options) : options.dtype;
        const defaults = await readMethodDefaults(source, signal);
        const needs = await needsOfAll(firstQuestion && [firstQuestion], { config: architecture.config, defaults });
        let model: Llava | undefined;
        const onAllocated = async (weights: ModelWeights) => {
          const { llama, pictures } = weights;
          const { text } = architecture.config;
          const decoder = new SharedDecoder(gpu, text, { weights: llama, ...options });
          const encoder = pictures && new PictureEncoder(gpu, text, pictures);
          const { chunkRows, kvDtype, activationDtype } = decoder;
          const loaded = { architecture, weights, chunkRows, kvDtype, activationDtype };
          precompile(gpu, loaded, needs);
          const processor = await loadProcessor(checkpoint, architecture, options); // kernels compile meanwhile
          model = new Llava(gpu, loaded, { processor, name: source.name, defaults, decoder, encoder, cacheBytes });
        };
        await loadWeights(checkpoint, architecture, { gpu, dtype, signal, onProgress, onAllocated });
        if (model === undefined) throw new RangeError("loadWeights did not call onAllocated");
        return model;
      } finally {
        await checkpoint.close();
      }
    } catch (error) {
      gpu.dispose();
      throw error;
    }
  }

  /** How the matrices are stored on the GPU; of a checkpoint of several dtypes, its first decoder layer's. */
  get dtype(): WeightDtype {
    return at(this.loaded.weights.llama.layers, 0).selfAttn.qkvProj.weight.dtype; // tables may be stored otherwise
  }

  /**
   * Opens a conversation; many may be open at once.
   * @throws InputError for a `rmsNormEps` that is not a positive number.
   */
  session(options: SessionOptions = {}): Session {
    const { rmsNormEps = this.config.text.rmsNormEps, ...sharing } = sessionOptions(options);
    return new Session(this, this.hostOf(rmsNormEps), sharing);
  }

  /**
   * Answers a question about a picture (or a text-only one).
   * @throws InputError for a bad picture, prompt or option; AbortError; GpuError. The model stays usable.
   */
  async ask(question: Question): Promise<Answer> {
    const asked = questionOptions(question);
    const { image: _image, images: _images, video: _video, ...others } = asked;
    const { question: _question, prompt: _prompt, system: _system, ...options } = others;
    return this.answer(this.prepare(asked), options);
  }

  /** The inputs that {@link ask} makes: expanded ids and pixel values. @throws InputError. */
  prepare(question: Question): ModelInputs {
    const asked = questionOptions(question);
    const { image, system } = asked;
    if (image !== undefined && asked.images !== undefined) {
      throw new InputError("Both image and images were given: give one of them.");
    }
    const { images = image === undefined ? [] : [image] } = asked;
    const videos = asked.video === undefined ? [] : [asked.video];
    const text = asked.prompt ?? asked.question;
    if (text === undefined) throw new InputError("Neither question nor prompt was given: give one of them.");
    const counts = { numImages: images.length, numVideos: videos.length };
    const prompt = asked.prompt ?? this.processor.chatPrompt(text, { ...counts, system });
    return this.processor.inputs(prompt, images, videos);
  }

  /** Answers prepared inputs, for instance those of a Hugging Face processor. @throws as {@link ask}. */
  async answer(inputs: ModelInputs, options: AnswerOptions = {}, run: RunOptions = {}): Promise<Answer> {
    return this.once((session) => session.answer(inputs, options, run).answer);
  }

  /** Answers and returns every trace point of the run with it. @throws as {@link ask}. */
  async trace(inputs: ModelInputs, options: AnswerOptions = {}, points: TraceOptions = {}): Promise<Trace> {
    return this.once((session) => session.trace(inputs, options, points));
  }

  /**
   * Answers under each of up to 32 factors (1: unmodified) at the cost of one prefill and one batch of decode steps.
   * @throws as {@link ask}.
   */
  async sweep(inputs: ModelInputs, factors: readonly number[], options: SweepOptions = {}): Promise<SweepAnswer[]> {
    return this.once((session) => session.sweep(inputs, factors, options));
  }

  /**
   * Puts parts of the clean run into the corrupted one, cell by cell of a grid of layers, positions and heads, and measures how much of
   * the clean answer comes back. Patches of the last row run as one batch over the shared prompt.
   * @throws InputError for prompts of different length, the same run twice, or what the model does not have; AbortError; GpuError.
   */
  async patch(clean: ModelInputs, corrupted: ModelInputs, options: PatchOptions): Promise<PatchResult> {
    return this.experiment((host, { patch }) => patch(host, { clean, corrupted }, options));
  }

  /**
   * Cuts attention edges from some rows to some columns in windows of layers, and measures how each changes the answer.
   * @throws InputError for what the model or the prompt does not have; AbortError; GpuError.
   */
  async knockOut(inputs: ModelInputs, options: KnockOutOptions): Promise<KnockOutResult> {
    return this.experiment((host, { knockOut }) => knockOut(host, inputs, options));
  }

  /**
   * Replaces each head's output by zeros or by its mean, and measures how that changes the answer.
   * @throws as {@link knockOut}.
   */
  async ablate(inputs: ModelInputs, options: AblationOptions): Promise<AblationResult> {
    return this.experiment((host, { ablate }) => ablate(host, inputs, options));
  }

  /**
   * The natural logarithm of each text token's probability after those before it, [T − 1]: the first has none before it.
   * @throws InputError when the ids do not fit the context; GpuError when logits are not finite.
   */
  async score(inputs: ModelInputs): Promise<Float64Array<ArrayBuffer>> {
    return this.once((session) => session.score(inputs));
  }

  /**
   * The logits [N, V] that hidden states give: the final norm, unless it is left out, and lm_head.
   * @param hiddenStates [N, D] f32, such as `layers.3.hidden_states` as it was read
   * @throws InputError for values that are not whole rows; GpuError.
   */
  async logits(hiddenStates: Float32Array, options: HeadLogitsOptions = {}): Promise<Float32Array<ArrayBuffer>> {
    const { headLogits } = await import("./generate/unembed.ts"); // a chunk of its own for bundlers
    return this.inTurn("logits", () => headLogits(this.decoder, hiddenStates, options));
  }

  /**
   * The direction in which each token's logit grows, [n, D]: its row of lm_head times the final norm's weight. The logit of a
   * hidden state is its dot product with that, divided by `norm.scale`.
   * @throws InputError for an id outside of the vocabulary; GpuError.
   */
  async tokenDirections(tokenIds: readonly number[]): Promise<Float32Array<ArrayBuffer>> {
    const { tokenDirections } = await import("./generate/unembed.ts");
    return this.inTurn("token directions", () => tokenDirections(this.decoder, tokenIds));
  }

  /**
   * Prepares the model so that first questions take no longer than later ones: compiles every kernel that they may need, for prompts
   * of any length, then runs one workgroup of each, because drivers defer part of the work to the first run. Questions may be asked
   * meanwhile. Only the compiled kernels remain: sessions and caches are unchanged, and the memory used, about as much as for one
   * question, is freed. A second warm-up skips what was done before.
   * @throws InputError for an invalid option; AbortError when stopped by `signal` (the model stays usable) or by {@link dispose};
   *   GpuError.
   */
  async warmUp(options: WarmUpOptions = {}): Promise<void> {
    const { gpu, ran } = this;
    const { signal, onProgress, sweep = true, batched = false, questions: expected } = warmUpOptions(options);
    const { warmUp } = await import("./warm-up.ts");
    const questions = await needsOfAll(expected, this);
    const inTurn = (work: () => Promise<void>) => this.inTurn("warm-up", work);
    await warmUp({ ...this.loaded, gpu, ran, inTurn }, { questions, sweep, batched, signal, onProgress });
  }

  /**
   * Waits for the kernels that compile since the load; a question asked before waits for those it needs by itself.
   * @param onProgress called with the number of compiled kernels, each time one more is
   * @throws GpuError `shader` when a kernel does not compile.
   */
  async compiled(onProgress?: (numCompiled: number, numKernels: number) => void): Promise<void> {
    if (onProgress !== undefined) read("onProgress", onProgress, callback);
    return this.gpu.guard("compiling the kernels", () => this.gpu.pipelines.compiled(onProgress));
  }

  /** Frees what is kept for later questions: keys and values of closed sessions, and features of pictures. */
  clearCaches(): void {
    this.budget.clear();
  }

  /**
   * Frees all GPU buffers of the model at once; the device stays with its owner. A second call does nothing. A question
   * that runs or waits, and every later one, is rejected with an AbortError that says so.
   */
  dispose(): void {
    this.gpu.dispose();
  }

  /** As {@link dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** After the GPU ran out of memory: some of what questions share was not allocated, or was computed without what was not. */
  private freeAllButWeights(): void {
    for (const decoder of this.decoders) decoder.release();
    this.host.encoder?.release();
    this.budget.clear();
  }

  /** What sessions with this epsilon share: the weights are those of all, keys and values are not. */
  private hostOf(rmsNormEps: number): SessionHost {
    const { gpu, host, decoder, budget } = this;
    if (rmsNormEps === this.config.text.rmsNormEps) return host;
    const known = this.otherHosts.get(rmsNormEps);
    if (known !== undefined) return known;
    const text = { ...this.config.text, rmsNormEps };
    const { weights, chunkRows, kvDtype, activationDtype, lookahead } = decoder;
    const other = new SharedDecoder(gpu, text, { weights, chunkRows, kvDtype, activationDtype, lookahead });
    const batch = batchOf(other, budget, host.inTurn);
    const made: SessionHost = { ...host, pool: new SequencePool(other, budget), batch };
    this.decoders.push(other);
    this.otherHosts.set(rmsNormEps, made);
    return made;
  }

  private async experiment<T>(
    work: (host: ExperimentHost, experiments: typeof import("./experiments.ts")) => Promise<T>,
  ): Promise<T> {
    const experiments = await import("./experiments.ts"); // a chunk of its own for bundlers
    return this.once((session) => session.experiment((host) => work(host, experiments)));
  }

  /** Runs `work` in a new session. */
  private async once<T>(work: (session: Session) => Promise<T>): Promise<T> {
    const session = this.session();
    try {
      return await work(session);
    } finally {
      session.close();
    }
  }

  /** Runs `work` after everything asked before it, inside error scopes. */
  private inTurn<T>(phase: string, work: () => Promise<T>): Promise<T> {
    const { profiler } = this.gpu;
    this.numWaiting++;
    const result = this.turn.then(async () => {
      this.numWaiting--;
      this.gpu.throwIfDisposed();
      const guarded = () => this.gpu.guard("answering", work);
      try {
        return await (profiler === undefined ? guarded() : profiler.phase(phase, guarded));
      } catch (error) {
        this.gpu.throwIfLost(); // first: a model is often disposed because its device was lost
        this.gpu.throwIfDisposed(); // then the failure is that its buffers are gone
        if (error instanceof GpuError && error.reason === "out-of-memory") this.freeAllButWeights();
        throw error;
      }
    });
    this.turn = result.catch(() => undefined);
    return result;
  }
}

/** Makes the batch of a decoder's answers when the first of them joins. */
function batchOf(shared: SharedDecoder, budget: LruBudget, inTurn: SessionHost["inTurn"]): LazyBatch {
  let made: DecodeBatch | undefined;
  return {
    numRows: () => made?.numRows ?? 0,
    get: async () => {
      const { DecodeBatch } = await import("./generate/decode-batch.ts"); // a chunk of its own for bundlers
      made ??= new DecodeBatch({ shared, budget, inTurn });
      return made;
    },
  };
}

/** The most exact form that fits into `memoryBytes`. */
async function fittingDtype(
  checkpoint: Checkpoint,
  architecture: Architecture,
  { device, adapterClass, memoryBytes = 0, dtype: _, ...load }: LoadOptions,
): Promise<WeightDtype | undefined> {
  const { chooseForm } = await import("./choose-form.ts"); // a chunk of its own for bundlers
  const { limits, features, adapterInfo } = device;
  const isSoftware = adapterClass && adapterClass === "cpu";
  const planned = { limits, features, adapterInfo, isSoftware };
  const { plan } = await chooseForm(checkpoint, architecture, { ...load, device: planned, memoryBytes });
  return plan.dtype;
}

/** The kernels that questions need. @throws InputError for an invalid option. */
async function needsOfAll(
  questions: readonly ExpectedQuestion[] | undefined,
  { config: { text }, defaults }: Pick<Llava, "config" | "defaults">,
): Promise<readonly QuestionNeeds[]> {
  if (questions === undefined) return USUAL_NEEDS;
  const { needsOf } = await import("./warm-up.ts"); // a chunk of its own for bundlers
  const promptLength = text.maxPositionEmbeddings; // the longest: whatever rows and columns a question has are in it
  return questions.map((question) => {
    const { hasImage: _, ...options } = question;
    return needsOf(question, settingsOf(options, { text, defaults }, promptLength), { text, promptLength });
  });
}
