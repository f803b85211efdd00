// READ FIRST. A vision-language model from load to answer:
//
//   load      checkpoint (safetensors by ranges) → config → weights on the GPU
//   ask       picture + question → pixelValues and inputIds          (preprocess/)
//             pixelValues → hiddenStates → imageFeatures             (model/clip-vision, model/projector)
//             inputIds + imageFeatures → inputsEmbeds → logits       (model/llama, one prefill)
//             confidence → factor → one extra step                   (adaptvis.ts, AdaptVis only)
//             logits → token → logits → …                            (generate/)
import { chooseFactor, optionConfidence, roundConfidence, scaledRowRange } from "./adaptvis.ts";
import type { Answer, AnswerOptions, LoadOptions, Question, SweepAnswer, SweepOptions, Trace } from "./answer.ts";
import { checkInputs, checkLoad } from "./check-arguments.ts";
import { openCheckpoint } from "./checkpoint/checkpoint.ts";
import type { Source } from "./checkpoint/source.ts";
import { GpuError, InputError } from "./errors.ts";
import { DecoderRun, type ImageRows } from "./generate/decoder-run.ts";
import { generate } from "./generate/generate.ts";
import { sweep } from "./generate/sweep.ts";
import { Gpu } from "./gpu/device.ts";
import type { Executor } from "./gpu/executor.ts";
import { checkTuningTable } from "./gpu/ops/tuning.ts";
import type { WeightDtype } from "./gpu/tensor.ts";
import { answerAttention } from "./inspect/attention-map.ts";
import { TraceRecorder, type TraceTensor } from "./inspect/trace.ts";
import { inputTensors, traceMetadata } from "./inspect/trace-file.ts";
import { type ModelConfig, readModelConfig } from "./models/config.ts";
import { PictureEncoder } from "./models/layers/picture-encoder.ts";
import type { Intervention } from "./models/layers/step.ts";
import { loadWeights, type ModelWeights } from "./models/weights.ts";
import { precompile } from "./precompile.ts";
import { loadProcessor, type ModelInputs, type Processor } from "./preprocess/processor.ts";
import { checkFactors, type Settings, settingsOf } from "./settings.ts";

/** A loaded model. Questions asked while one runs wait for their turn. */
export class Llava {
  readonly config: ModelConfig;
  readonly processor: Processor;
  readonly gpu: Gpu;
  /** What the source calls the checkpoint. */
  readonly name: string;
  private readonly weights: ModelWeights;
  private readonly run: DecoderRun;
  private readonly encoder: PictureEncoder | undefined;
  private turn: Promise<unknown> = Promise.resolve();

  private constructor(
    gpu: Gpu,
    config: ModelConfig,
    parts: {
      readonly weights: ModelWeights;
      readonly processor: Processor;
      readonly name: string;
      readonly options: LoadOptions;
    },
  ) {
    const { weights } = parts;
    this.gpu = gpu;
    this.config = config;
    this.weights = weights;
    this.processor = parts.processor;
    this.name = parts.name;
    this.run = new DecoderRun(gpu, config.text, {
      weights: weights.llama,
      chunkRows: parts.options.chunkRows,
      lookahead: parts.options.lookahead,
    });
    const { vision, projector } = weights;
    this.encoder =
      config.multimodal && vision && projector
        ? new PictureEncoder(gpu, config, { multimodal: config.multimodal, weights: { vision, projector } })
        : undefined;
  }

  /**
   * Loads a checkpoint: LLaVA, LLaVA-NeXT or text-only LLaMA-type, in Hugging Face's layout.
   * @throws CheckpointError, GpuError, AbortError, or InputError for an option that cannot be; nothing of a failed load stays allocated.
   */
  static async load(source: Source, options: LoadOptions): Promise<Llava> {
    checkLoad(source, options);
    const work = () => Llava.loadFrom(source, options);
    return options.profiler === undefined ? work() : options.profiler.phase("load", work);
  }

  private static async loadFrom(source: Source, options: LoadOptions): Promise<Llava> {
    const { signal, onProgress, adapterClass, dtype, profiler, tuning } = options;
    if (tuning !== undefined) checkTuningTable(tuning, options.device);
    const gpu = new Gpu(options.device, { isSoftware: adapterClass && adapterClass === "cpu", profiler, tuning });
    try {
      const checkpoint = await openCheckpoint(source, signal);
      try {
        const config = readModelConfig(checkpoint.config);
        const processor = await loadProcessor(checkpoint, config);
        const onPlan = (planned: ModelWeights) => precompile(gpu, config, planned);
        const weights = await loadWeights(checkpoint, config, { gpu, dtype, signal, onProgress, onPlan });
        return new Llava(gpu, config, { weights, processor, name: source.name, options });
      } finally {
        await checkpoint.close();
      }
    } catch (error) {
      gpu.dispose();
      throw error;
    }
  }

  /** How the matrices are stored on the GPU; of a checkpoint of several dtypes, its lm_head's. */
  get dtype(): WeightDtype {
    return this.weights.llama.lmHead.weight.dtype; // the embedding table of a quantised model may not be quantised
  }

  /**
   * Answers a question about a picture (or a text-only one).
   * @throws InputError for a bad picture, prompt or option; AbortError; GpuError. The model stays usable.
   */
  async ask(question: Question): Promise<Answer> {
    return this.answer(this.prepare(question), question);
  }

  /** The inputs that {@link ask} makes: expanded ids and pixel values. @throws InputError. */
  prepare(question: Question): ModelInputs {
    const { image, system } = question;
    const text = question.prompt ?? question.question;
    if (typeof text !== "string") throw new InputError("Neither question nor prompt was given: give one of them.");
    const prompt = question.prompt ?? this.processor.chatPrompt(text, { hasImage: image !== undefined, system });
    return this.processor.inputs(prompt, image);
  }

  /** Answers prepared inputs, for instance those of a Hugging Face processor. @throws as {@link ask}. */
  async answer(inputs: ModelInputs, options: AnswerOptions = {}): Promise<Answer> {
    return this.inTurn("answer", () => this.answerInputs(inputs, options, undefined));
  }

  /** Answers while `executor` runs every program: see explain.ts. @throws as {@link ask}. @internal */
  async answerWith(executor: Executor, inputs: ModelInputs, options: AnswerOptions): Promise<Answer> {
    return this.inTurn("explain", async () => {
      const { run, encoder } = this;
      const usual = run.executor;
      run.executor = executor;
      if (encoder !== undefined) encoder.executor = executor;
      try {
        return await this.answerInputs(inputs, options, undefined);
      } finally {
        run.executor = usual;
        if (encoder !== undefined) encoder.executor = usual;
      }
    });
  }

  /** Answers and returns every trace point of the run with it. @throws as {@link ask}. */
  async trace(inputs: ModelInputs, options: AnswerOptions = {}): Promise<Trace> {
    const tensors: TraceTensor[] = [];
    const answer = await this.inTurn("trace", () => this.answerInputs(inputs, options, tensors));
    const generatedIds = Int32Array.from(answer.tokens, ({ tokenId }) => tokenId);
    tensors.push({ name: "generated_ids", dtype: "I32", shape: [generatedIds.length], data: generatedIds });
    const metadata = traceMetadata({
      ...answer,
      model: this.name,
      adapter: this.gpu.device.adapterInfo,
      dtype: this.dtype,
    });
    return { tensors, metadata, answer };
  }

  /**
   * Answers under each of up to 32 factors (1: unmodified) at the cost of one prefill and one batch of decode steps.
   * @throws as {@link ask}.
   */
  async sweep(inputs: ModelInputs, factors: readonly number[], options: SweepOptions = {}): Promise<SweepAnswer[]> {
    return this.inTurn("sweep", () => this.sweepInputs(inputs, factors, options));
  }

  /**
   * The natural logarithm of each text token's probability after those before it, [T − 1]: the first has none before it.
   * @throws InputError when the ids do not fit the context; GpuError when logits are not finite.
   */
  async score(inputs: ModelInputs): Promise<Float64Array<ArrayBuffer>> {
    return this.inTurn("score", async () => {
      checkInputs(inputs);
      const { inputIds } = inputs;
      const settings = settingsOf({ maxNewTokens: 1 }, this.config.text, inputIds.length);
      await this.embed(inputs, { settings, signal: undefined, reuse: false });
      const scores = new Float64Array(inputIds.length - 1);
      for (let position = 0; position < scores.length; position++) {
        await this.run.prefill([position, position + 1], { intervention: undefined });
        scores[position] = logProbability(await this.run.chooser.readLogits(), inputIds[position + 1] ?? 0);
      }
      return scores;
    });
  }

  /**
   * Waits for the kernels that compile since the load; a question asked before waits for those it needs by itself.
   * @param onProgress told how many are compiled, each time one more is
   * @throws GpuError `shader` when a kernel does not compile.
   */
  async compiled(onProgress?: (numCompiled: number, numKernels: number) => void): Promise<void> {
    return this.gpu.guard("compiling the kernels", () => this.gpu.pipelines.compiled(onProgress));
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

  private async answerInputs(
    inputs: ModelInputs,
    options: AnswerOptions,
    traced: TraceTensor[] | undefined,
  ): Promise<Answer> {
    checkInputs(inputs);
    const { run } = this;
    const { signal } = options;
    const promptLength = inputs.inputIds.length;
    const settings = settingsOf(options, this.config.text, promptLength);
    const recorders: TraceRecorder[] = [];
    const record = () => {
      if (traced === undefined && options.attention !== true) return undefined;
      const shape = { numKeys: promptLength, withVision: traced !== undefined };
      const recorder = new TraceRecorder(this.gpu, this.config, shape);
      recorders.push(recorder);
      return recorder;
    };
    try {
      // Picture → imageFeatures → inputsEmbeds
      const plainRecorder = record();
      const reuse = options.reusePrefix !== false && traced === undefined;
      const { onStage } = options;
      const numReused = await this.embed(inputs, { settings, signal, reuse, recorder: plainRecorder, traced, onStage });

      // Prefill: unmodified, or with ScalingVis' factor
      const rows = scaledRowRange(options.rows ?? "last", promptLength);
      const intervene = (by: number): Intervention => ({
        span: inputs.imageSpan,
        rows,
        factors: [by],
        layers: options.layers,
        heads: options.heads,
      });
      let factor = settings.method === "scaling" ? settings.factor : 1;
      let intervention = settings.method === "scaling" ? intervene(factor) : undefined;
      const start = intervention === undefined ? numReused : Math.min(numReused, rows[0]);
      onStage?.("prefill");
      await run.prefill([start, promptLength], { intervention, capture: plainRecorder?.layers, signal });

      // AdaptVis: the first token's confidence chooses the factor, and only the scaled rows run again
      let confidence: number | undefined;
      let recorder = plainRecorder;
      if (settings.method === "adaptvis" || (options.confidence ?? "vocabulary") !== "vocabulary") {
        confidence = await this.confidence(options);
      }
      if (settings.method === "adaptvis" && confidence !== undefined) {
        factor = chooseFactor(confidence, settings.adaptvis);
        onStage?.("factor");
        intervention = intervene(factor);
        recorder = record();
        const forward = { intervention, capture: recorder?.layers, signal };
        if (rows[0] === promptLength - 1) await run.repeatPromptRow(rows[0], { ...forward, stage: "adaptvis step" });
        else await run.prefill([rows[0], promptLength], { ...forward, stage: "adaptvis prefill" });
      }
      run.prefix.hold(inputs, intervention === undefined ? promptLength : rows[0]);
      if (traced !== undefined && recorder !== undefined) {
        const logits = await run.chooser.readLogits();
        traced.push(...(await recorder.layerTensors()));
        traced.push({ name: "logits", dtype: "F32", shape: [logits.length], data: logits });
      }

      // Token by token; the factor reaches generated rows only under rows: "generated"
      onStage?.("generate");
      const generated = await generate(
        run,
        { ids: inputs.inputIds, intervention: options.rows === "generated" ? intervention : undefined },
        {
          ...settings,
          eosTokenIds: options.ignoreEos === true ? [] : this.processor.eosTokenIds,
          textStream: this.processor.textStream(),
          onToken: options.onToken,
          signal,
        },
      );
      const numHeads = this.config.text.numAttentionHeads;
      const plainRows = settings.method === "scaling" ? undefined : await plainRecorder?.attention();
      const usedRows = recorder === plainRecorder && plainRows ? plainRows : await recorder?.attention();
      return {
        text: generated.text,
        tokens: generated.tokens,
        finishReason: generated.finishReason,
        method: settings.method,
        confidence: confidence ?? this.rounded(generated.firstConfidence, options),
        factor,
        promptTokens: promptLength,
        imageSpan: inputs.imageSpan,
        attention: usedRows && answerAttention({ used: usedRows, unmodified: plainRows }, imageOf(inputs), numHeads),
      };
    } finally {
      for (const recorder of recorders) recorder.dispose();
    }
  }

  private async sweepInputs(
    inputs: ModelInputs,
    factors: readonly number[],
    options: SweepOptions,
  ): Promise<SweepAnswer[]> {
    checkInputs(inputs);
    const { run } = this;
    const { signal } = options;
    const promptLength = inputs.inputIds.length;
    const settings = settingsOf(options, this.config.text, promptLength);
    checkFactors(factors);
    const reuse = options.reusePrefix !== false;
    const numReused = await this.embed(inputs, { settings, signal, reuse, batchRows: factors.length });
    await run.prefill([numReused, promptLength - 1], { intervention: undefined, signal });
    run.prefix.hold(inputs, promptLength - 1);
    const intervention: Intervention = {
      span: inputs.imageSpan,
      rows: scaledRowRange("last", promptLength),
      factors,
      layers: options.layers,
      heads: options.heads,
    };
    const swept = await sweep(
      run,
      { promptLength, intervention },
      {
        maxNewTokens: settings.maxNewTokens,
        eosTokenIds: options.ignoreEos === true ? [] : this.processor.eosTokenIds,
        signal,
      },
    );
    return swept.map(({ tokenIds, isEnded, confidence }, index) => ({
      factor: factors[index] ?? 1,
      text: this.processor.textOf(tokenIds),
      tokenIds,
      finishReason: isEnded ? "eos" : "length",
      confidence: this.rounded(confidence, options),
    }));
  }

  private async embed(
    inputs: ModelInputs,
    options: {
      readonly settings: Settings;
      readonly signal: AbortSignal | undefined;
      readonly reuse: boolean;
      readonly batchRows?: number;
      readonly recorder?: TraceRecorder | undefined;
      readonly traced?: TraceTensor[] | undefined;
      readonly onStage?: AnswerOptions["onStage"];
    },
  ): Promise<number> {
    const { signal, traced, batchRows } = options;
    const { pixelValues, imageSpan: span, imageRowIndex: rowIndex } = inputs;
    if (!options.reuse) this.run.prefix.clear();
    const numReused = await this.run.begin(inputs, { maxNewTokens: options.settings.maxNewTokens, batchRows });
    let features: GPUBuffer | undefined;
    try {
      let image: ImageRows | undefined;
      if (pixelValues !== undefined && numReused < span[1]) {
        if (this.encoder === undefined)
          throw new InputError(`Model ${this.name} has no vision tower: ask without a picture.`);
        options.onStage?.("vision");
        features = await this.encoder.encode(pixelValues, { signal, capture: options.recorder?.visionCapture });
        image = { features, span, rowIndex, newline: this.weights.projector?.imageNewline };
      }
      await this.run.embed(inputs, image);
      if (traced !== undefined) {
        const { inputsEmbeds } = this.run.state;
        traced.push(...(await inputTensors(this.gpu, this.config, { inputs, inputsEmbeds })));
        traced.push(...((await options.recorder?.visionTensors()) ?? []));
      }
      return numReused;
    } finally {
      if (features !== undefined) this.gpu.destroyBuffer(features);
    }
  }

  private async confidence(options: AnswerOptions): Promise<number> {
    const { confidence: kind = "vocabulary" } = options;
    if (kind === "vocabulary") {
      const choice = await this.run.chooser.choose({ repetitionPenalty: 1, topK: 0, stage: "confidence" });
      return this.rounded(choice.confidence, options);
    }
    const ids = kind.map((option) => this.processor.firstTokenOf(option));
    return this.rounded(optionConfidence(await this.run.chooser.readLogits(), ids), options);
  }

  private rounded(confidence: number, options: Pick<AnswerOptions, "roundConfidence">): number {
    return options.roundConfidence === false ? confidence : roundConfidence(confidence);
  }

  /** Runs `work` after everything asked before it, inside error scopes. */
  private inTurn<T>(phase: string, work: () => Promise<T>): Promise<T> {
    const { profiler } = this.gpu;
    const result = this.turn.then(async () => {
      this.gpu.throwIfDisposed();
      const guarded = () => this.gpu.guard("answering", work);
      try {
        return await (profiler === undefined ? guarded() : profiler.phase(phase, guarded));
      } catch (error) {
        this.gpu.throwIfLost(); // first: a model is often disposed because its device was lost
        this.gpu.throwIfDisposed(); // then whatever failed did so because its buffers are gone
        throw error;
      }
    });
    this.turn = result.catch(() => undefined);
    return result;
  }
}

function logProbability(logits: Float32Array, id: number): number {
  const largest = logits.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  const sum = logits.reduce((total, value) => total + Math.exp(value - largest), 0);
  const value = (logits[id] ?? Number.NaN) - largest - Math.log(sum);
  if (Number.isFinite(value)) return value;
  throw new GpuError(
    "shader",
    "The logits are not finite numbers; check the checkpoint's weights, or try another adapter.",
  );
}

function imageOf({ imageSpan, gridWidth, gridHeight }: ModelInputs) {
  return { span: imageSpan, gridWidth, gridHeight };
}
