// One conversation with a model. Session.run is one answer: prompt → embed → prefill → (confidence → edits → again) → token by
// token. Keys and values stay from turn to turn, so that the next turn runs only what is new.
import type {
  Answer,
  AnswerOptions,
  AnswersOfEach,
  EachOptions,
  MethodOptions,
  SessionOptions,
  SweepAnswer,
  SweepOptions,
  Trace,
  TraceOptions,
} from "./answer.ts";
import { choosing, constraintOf, placesOf, readsOf, scorerOf, type TraceSink } from "./answer-parts.ts";
import type { RowHost } from "./answer-rows.ts";
import { type AnswerSteps, AnswerStream } from "./answer-stream.ts";
import type { ExperimentHost } from "./causal/changed-runs.ts";
import {
  answerOptions,
  eachOptions,
  factorList,
  methodList,
  modelInputs,
  runOptions,
  sweepOptions,
  traceOptions,
} from "./check-arguments.ts";
import { editContext, packedEdits, roundedConfidence, rowOfEdits } from "./edits.ts";
import { AbortError, accepts, InputError } from "./errors.ts";
import { logProbability } from "./generate/continuations.ts";
import type { DecodeBatch } from "./generate/decode-batch.ts";
import { EarlyExits } from "./generate/early-exits.ts";
import type { FeatureCache } from "./generate/feature-cache.ts";
import {
  chosenTokens,
  type Generated,
  type GeneratedToken,
  generate,
  type StepwiseOptions,
  type TurnChange,
} from "./generate/generate.ts";
import { endOf } from "./generate/prompt.ts";
import type { SecondStream } from "./generate/second-stream.ts";
import type { PrefillOptions, Sequence } from "./generate/sequence.ts";
import type { SequencePool } from "./generate/sequence-pool.ts";
import { TokenPicker } from "./generate/token-picker.ts";
import { type Executor, SubmitExecutor } from "./gpu/executor.ts";
import { inspection } from "./inspect/inspection-loader.ts";
import type { AttentionRow, Places, PlaceValues } from "./inspect/places.ts";
import type { TraceTensor } from "./inspect/trace.ts";
import { confidenceOf, optionConfidence } from "./interventions/confidence.ts";
import type {
  ChangedPictureContrast,
  ConfidenceMeasure,
  Edits,
  NoPictureContrast,
} from "./interventions/intervention.ts";
import type { Llava } from "./llava.ts";
import { type ImageInput, imageSpan, type ModelInputs } from "./models/inputs.ts";
import type { PictureEncoder } from "./models/layers/picture-encoder.ts";
import { hasRowStrengths, type ScoreEdit, type SinkRule } from "./models/layers/score-edits.ts";
import { checkedMessages, type ConversationMessage as Message } from "./models/processor.ts";
import { type MethodDefaults, type Settings, settingsOf } from "./settings.ts";

/** What sessions share with their model. @internal */
export interface SessionHost {
  readonly pool: SequencePool;
  readonly features: FeatureCache;
  /** Undefined for a model without pictures. */
  readonly encoder: PictureEncoder | undefined;
  /** [D] f32, where image positions without a feature are filled (LLaVA-NeXT's newline). */
  readonly filler: GPUBuffer | undefined;
  readonly defaults: MethodDefaults;
  /** Runs `work` when nothing else of the model runs, inside error scopes. */
  inTurn<T>(phase: string, work: () => Promise<T>): Promise<T>;
  /** Whether something else waits for its turn. */
  isContended(): boolean;
  /** The answers that decode together. */
  readonly batch: LazyBatch;
}

/** A batch that is made when the first answer joins it. */
export interface LazyBatch {
  /** Answers in it. */
  numRows(): number;
  get(): Promise<DecodeBatch>;
}

/** How a session shares the model with others. */
export type SharingOptions = Pick<SessionOptions, "batched" | "memoryBytes">;

/** Features that a picture was encoded to. */
interface MadeFeatures extends Pick<ImageInput, "pixelValues" | "grid" | "featureGrids"> {
  readonly buffer: GPUBuffer;
}

/** How a prompt is embedded. */
interface EmbedOptions {
  /** The first position that has to run: pictures before it are not encoded. */
  readonly start: number;
  /** Whether features of earlier questions are used again. */
  readonly reuse: boolean;
  readonly executor: Executor;
  readonly places?: Places | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onStage?: AnswerOptions["onStage"];
}

/** How an answer is run, for explanations, traces and profiles. */
export interface RunOptions {
  /** Submits unless given. */
  readonly executor?: Executor | undefined;
  /** Name of the profiler's phase; "answer" unless given. */
  readonly phase?: string | undefined;
  readonly trace?: TraceSink | undefined;
}

/** A conversation: its keys and values, and the messages so far. One answer at a time; many sessions may be open at once. */
export class Session {
  private readonly model: Llava;
  private readonly host: SessionHost;
  private readonly sharing: SharingOptions;
  private readonly history: Message[] = [];
  private sequence: Sequence | undefined;
  private isAnswering = false;
  private isClosed = false;

  /** @internal */
  constructor(model: Llava, host: SessionHost, sharing: SharingOptions = {}) {
    this.model = model;
    this.host = host;
    this.sharing = sharing;
  }

  /** The messages so far, answers included. */
  get messages(): readonly Message[] {
    return this.history;
  }

  /**
   * Asks the next question of the conversation.
   * @param question text, a message of the user's, or all messages of a conversation, which replace those so far
   * @returns the answer: its tokens as they come with `for await`, the whole as `.answer`; nothing runs before either is asked for
   * @throws InputError for a bad question or option, when the answer is asked for.
   */
  ask(question: string | Message | readonly Message[], options: AnswerOptions = {}): AnswerStream {
    const before = [...this.history];
    let messages: readonly Message[] = [];
    const onAnswer = (answer: Answer) => {
      this.history.length = 0;
      this.history.push(...messages, { role: "assistant", content: answer.text.trim() });
    };
    const inputs = () => {
      const { processor } = this.model;
      const asked = checkedMessages(messagesOf(question));
      messages = accepts(question, Array.isArray) ? asked : [...before, ...asked];
      const { prompt, images, videos } = processor.conversation(messages);
      return processor.inputs(prompt, images, videos);
    };
    return this.stream(inputs, options, { onAnswer });
  }

  /** Answers prepared inputs; the conversation's messages stay as they are. As {@link Session.ask}. */
  answer(inputs: ModelInputs, options: AnswerOptions = {}, run: RunOptions = {}): AnswerStream {
    return this.stream(() => inputs, options, runOptions(run));
  }

  /** Answers and returns every trace point of the run with it. @throws as {@link Session.ask}. */
  async trace(inputs: ModelInputs, given: AnswerOptions = {}, points: TraceOptions = {}): Promise<Trace> {
    const { model } = this;
    const { generated = false, unmodified = false, read } = traceOptions(points);
    const options = answerOptions(given);
    if (read !== undefined) return this.traceOfReads(inputs, { ...options, read: [...(options.read ?? []), ...read] });
    const tensors: TraceTensor[] = [];
    const answer = await this.answer(inputs, options, { phase: "trace", trace: { tensors, generated } }).answer;
    const generatedIds = Int32Array.from(answer.tokens, ({ tokenId }) => tokenId);
    tensors.push({ name: "generated_ids", dtype: "I32", shape: [generatedIds.length], data: generatedIds });
    const { traceMetadata, unmodifiedTensors } = await inspection();
    if (unmodified && (answer.method !== "greedy" || options.write !== undefined)) {
      const plain: TraceTensor[] = [];
      const { signal } = options;
      const run = { phase: "trace", trace: { tensors: plain, generated: false } };
      await this.answer(inputs, { maxNewTokens: 1, signal }, run).answer;
      tensors.push(...unmodifiedTensors(tensors, plain));
    }
    return { tensors, metadata: traceMetadata(model, { inputs, answer }), answer };
  }

  /** A trace of what is read. */
  private async traceOfReads(inputs: ModelInputs, options: AnswerOptions): Promise<Trace> {
    const answer = await this.answer(inputs, options, { phase: "trace" }).answer;
    const { readTrace } = await inspection();
    return { ...readTrace(this.model, inputs, answer), answer };
  }

  /**
   * Answers under each of up to 32 factors (1: unmodified) at the cost of one prefill and one batch of decode steps.
   * @throws as {@link Session.ask}.
   */
  async sweep(inputs: ModelInputs, factors: readonly number[], options: SweepOptions = {}): Promise<SweepAnswer[]> {
    const checked = modelInputs(inputs, this.model);
    const asked = { ...sweepOptions(options), factors: factorList(factors) };
    return this.alone(async () => {
      const { sweepRows } = await answersInRows();
      return this.host.inTurn("sweep", () => sweepRows(this.rowHost, checked, asked));
    });
  }

  /**
   * Answers a prompt under each of several methods, greedily. Those whose edits begin at the last prompt row share one prefill and
   * answer as rows of one batch; methods with the same edits share a row. The others answer one after the other, as
   * {@link Session.answer}.
   * @param inputs the prompt
   * @param methods each with its settings
   * @throws as {@link Session.ask}.
   */
  async answerEach(
    inputs: ModelInputs,
    methods: readonly MethodOptions[],
    options: EachOptions = {},
  ): Promise<AnswersOfEach> {
    const checked = modelInputs(inputs, this.model);
    const { maxRows, ...shared } = eachOptions(options);
    const asked = { ...shared, ...(maxRows !== undefined && { maxRows }), methods: methodList(methods) };
    const { answers, unmodifiedConfidence } = await this.alone(async () => {
      const { answerRows } = await answersInRows();
      return this.host.inTurn("answer", () => answerRows(this.rowHost, checked, asked));
    });
    const all: Answer[] = [];
    for (const [index, method] of asked.methods.entries()) {
      all.push(answers.get(index) ?? (await this.answer(checked, { ...shared, ...method }).answer));
    }
    return { answers: all, unmodifiedConfidence };
  }

  /**
   * The natural logarithm of each text token's probability after those before it, [T − 1]: the first has none before it.
   * @throws InputError when the ids do not fit the context; GpuError when logits are not finite.
   */
  async score(inputs: ModelInputs): Promise<Float64Array<ArrayBuffer>> {
    return this.alone(() => this.host.inTurn("score", () => this.scoreInputs(inputs)));
  }

  /** Runs a causal experiment. @internal */
  async experiment<T>(work: (host: ExperimentHost) => Promise<T>): Promise<T> {
    const { model } = this;
    const { text } = model.config;
    const { gpu, processor } = model;
    const host: ExperimentHost = {
      gpu,
      text,
      processor,
      checked: (given) => {
        const inputs = modelInputs(given, model);
        settingsOf({}, { text, defaults: {} }, inputs.inputIds.length);
        return inputs;
      },
      context: (inputs) => editContext(inputs, model.config),
      pack: packedEdits,
      prepare: (inputs, run) => this.prepare(inputs, run),
    };
    return this.alone(() => this.host.inTurn("experiment", () => work(host)));
  }

  /** Gives the session's keys and values back; an answer that runs is rejected at its next token. A second call does nothing. */
  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    if (!this.isAnswering) this.giveBack();
  }

  /** As {@link Session.close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }

  private stream(
    inputs: () => ModelInputs,
    options: AnswerOptions,
    run: RunOptions & { readonly onAnswer?: (answer: Answer) => void },
  ): AnswerStream {
    const begin = () => {
      this.begin();
      try {
        return this.run(inputs(), options, run);
      } catch (error) {
        this.end(); // the inputs cannot be: nothing runs
        throw error;
      }
    };
    const end = (answer: Answer | undefined) => {
      if (answer !== undefined) run.onAnswer?.(answer);
      this.end();
    };
    const inTurn = <T>(work: () => Promise<T>) => this.host.inTurn(run.phase ?? "answer", work);
    return new AnswerStream({ begin, end, inTurn });
  }

  private begin(): void {
    if (this.isClosed) throw new InputError("The session is closed: open another with model.session().");
    if (this.isAnswering) {
      throw new InputError("The session is answering already: wait for that answer, or open another session.");
    }
    this.isAnswering = true;
  }

  private end(): void {
    this.isAnswering = false;
    if (this.isClosed) this.giveBack();
  }

  private async alone<T>(work: () => Promise<T>): Promise<T> {
    this.begin();
    try {
      return await work();
    } finally {
      this.end();
    }
  }

  private giveBack(): void {
    if (this.sequence !== undefined) this.host.pool.release(this.sequence);
    this.sequence = undefined;
  }

  private throwIfClosed(): void {
    if (this.isClosed) throw new AbortError("The answer", "because its session was closed");
  }

  /** The whole of one answer; yields its tokens. */
  private async *run(givenInputs: ModelInputs, given: AnswerOptions, run: RunOptions): AnswerSteps {
    const { model } = this;
    const { defaults } = this.host;
    const { config, gpu, processor } = model;
    const options = answerOptions(given);
    const inputs = modelInputs(givenInputs, model);
    const { text } = config;
    const { signal, onStage } = options;
    const { executor = new SubmitExecutor(gpu) } = run;
    const promptLength = inputs.inputIds.length;
    const settings = settingsOf(options, { text, defaults }, promptLength);
    const { method, values } = settings;
    const context = editContext(inputs, model.config);
    const measure = method.reads?.(values);
    let edits = measure === undefined ? method.edits(values, context, { confidence: undefined }) : undefined;
    const isMapped = inputs.images.length > 0 && (options.attention === true || run.trace !== undefined);
    const contrast = method.contrast?.(values, context);
    const scorer = scorerOf(model, options.continuations, promptLength);
    const constraint = await constraintOf(model, options);
    let early: EarlyExits | undefined;
    let second: SecondStream | undefined;
    const asked = await readsOf(model, options.read, { inputs, settings });
    const places = await placesOf(model, { ...options, read: asked }, { settings, promptLength, trace: run.trace });
    try {
      // Picture → imageFeatures → inputsEmbeds → logits: unmodified, or with the edits of a method that reads nothing
      const firstEdited = firstRow(edits, promptLength);
      const first = Math.min(firstEdited, places?.firstPosition ?? promptLength);
      const reuse = options.reusePrefix !== false && run.trace === undefined;
      const room = { maxNewTokens: Math.max(settings.maxNewTokens, scorer?.maxTokens ?? 0) };
      const sinks = edits?.scores.find((edit) => edit.sinks !== undefined)?.sinks;
      const prepared = { settings: room, executor, reuse, first, sinks, places, signal, onStage };
      const { sequence, start } = await this.prepare(inputs, prepared);
      onStage?.("prefill");
      if (contrast?.against === "early-layers") {
        early = new EarlyExits(sequence.shared, { ...contrast, executor, places });
      }
      const forward = { executor, places: early ?? places, signal };
      const prefilled = { ...forward, edits: packedEdits([edits?.scores ?? []], context) };
      yield* this.prefill(sequence, [start, promptLength], prefilled);

      // The first token's confidence decides on edits, and only the rows that they act on run again
      let read: number | undefined;
      let plainRows: readonly AttentionRow[] | undefined;
      if (measure !== undefined || (options.confidence ?? "vocabulary") !== "vocabulary") {
        read = await this.confidence(sequence, { options, measure: measure ?? "probability", executor });
      }
      if (isMapped && (measure !== undefined || edits?.scores.length === 0)) {
        plainRows = await places?.attentionRows(promptLength - 1);
      }
      if (measure !== undefined) {
        edits = method.edits(values, context, {
          confidence: read === undefined ? undefined : roundedConfidence(read, options),
        });
        if (edits.scores.some(({ sinks }) => sinks !== undefined)) {
          throw new InputError(`Method ${method.name}: an edit of attention sinks cannot follow a confidence (reads).`);
        }
        const words = packedEdits([edits?.scores ?? []], context);
        const from = firstRow(edits, promptLength);
        if (words !== undefined && from < promptLength) {
          onStage?.("factor");
          const again = { ...forward, edits: words };
          if (from === promptLength - 1)
            await sequence.repeatPromptRow(from, { ...again, stage: `${method.name} step` });
          else yield* this.prefill(sequence, [from, promptLength], { ...again, stage: `${method.name} prefill` });
        }
      }
      const numPlain = Math.min(firstRow(edits, promptLength), places?.firstWritten ?? promptLength);
      sequence.hold(inputs, numPlain);
      sequence.forgetEmbeddings();
      if (run.trace !== undefined && places !== undefined) {
        const logits = await sequence.chooser.readLogits();
        const tileShape = model.tileShape;
        const { traceTensors } = await inspection();
        run.trace.tensors.push(...(await traceTensors(places, { inputs, text, tileShape, logits })));
      }

      // Token by token; edits reach generated rows only where their range does
      onStage?.("generate");
      const isEdited = edits?.scores.some(({ rows: [, end] }) => end > promptLength) === true;
      if (contrast !== undefined && contrast.against !== "early-layers" && inputs.images.length > 0) {
        second = await this.secondStream(inputs, { settings: room, executor, reuse, signal, contrast });
      }
      const change = await choosing(model, options, early ?? second);
      const recorded = run.trace?.generated === true ? (await inspection()).recordLogits(change) : undefined;
      const stepping = { ...forward, edits: isEdited ? packedEdits([edits?.scores ?? []], context) : undefined };
      const scoring = { sequence, promptLength, forward: stepping, change };
      await scorer?.first(scoring);
      const picker = new TokenPicker(inputs.inputIds, { ...settings, change: recorded ?? change, constraint });
      const steps = { ...stepping, promptLength, maxNewTokens: settings.maxNewTokens };
      const runsAlone = early !== undefined || second !== undefined || scorer !== undefined || run.trace !== undefined;
      const edited = isEdited ? rowOfEdits(edits?.scores ?? [], context) : [];
      const isBatched = !runsAlone && this.mayBatch(steps, edited);
      const chosen = isBatched
        ? await this.batchedTokens(sequence, picker, { ...steps, edited })
        : chosenTokens(sequence, picker, steps);
      const tokens = generate(chosen, {
        ...settings,
        signal,
        eosTokenIds: options.ignoreEos === true ? [] : processor.eosTokenIds,
        textStream: processor.textStream(),
      });
      const generated = yield* this.emitting(tokens, options.onToken);
      const isJoined = this.sequence !== sequence;
      if (isJoined) yield "inside";
      if (recorded !== undefined && places !== undefined) {
        const numTokens = generated.tokens.length;
        const steps = { text, promptLength, numTokens, logits: recorded.logits };
        run.trace?.tensors.push(...(await (await inspection()).generatedTensors(places, steps)));
      }
      if (numPlain === promptLength && !isEdited && scorer === undefined && !isJoined) {
        // The last token was chosen, but not run.
        sequence.hold(
          inputs,
          promptLength,
          generated.tokens.slice(0, -1).map(({ tokenId }) => tokenId),
        );
      }
      const usedRows = isMapped ? await places?.attentionRows(promptLength - 1) : undefined;
      const attention =
        usedRows &&
        (await inspection()).answerAttention(
          { used: usedRows, unmodified: plainRows },
          inputs.images,
          text.numAttentionHeads,
        );
      const reads: PlaceValues[] = [];
      const numRun = promptLength + generated.tokens.length - 1;
      if (places !== undefined) {
        const decoder = sequence.shared;
        for (const one of asked) reads.push(await places.readValues(one, { numRun, decoder }));
      }
      await scorer?.rest(scoring);
      return {
        text: generated.text,
        tokens: generated.tokens,
        finishReason: generated.finishReason,
        method: method.name,
        settings: values,
        confidence: roundedConfidence(read ?? generated.firstConfidence, options),
        exactConfidence: read ?? generated.firstConfidence,
        factor: edits?.factor ?? 1,
        promptTokens: promptLength,
        reusedTokens: start,
        imageSpan: imageSpan(inputs),
        attention,
        reads,
        continuations: scorer?.continuations() ?? [],
      };
    } finally {
      places?.dispose();
      early?.dispose();
      if (second !== undefined) this.host.pool.release(second.sequence);
    }
  }

  /** Runs the prompt of a second stream, unmodified, in a sequence that is the caller's to release. */
  private async secondStream(
    inputs: ModelInputs,
    run: {
      readonly settings: Pick<Settings, "maxNewTokens">;
      readonly executor: Executor;
      readonly reuse: boolean;
      readonly signal: AbortSignal | undefined;
      readonly contrast: NoPictureContrast | ChangedPictureContrast;
    },
  ): Promise<SecondStream> {
    const { SecondStream, secondPrompt } = await import("./generate/second-stream.ts"); // a chunk of its own for bundlers
    const { executor, reuse, signal, contrast } = run;
    const { combine } = contrast;
    const prompt = secondPrompt(inputs, contrast.against === "changed-picture" ? contrast.changed : undefined);
    const promptLength = prompt.inputIds.length;
    const room = { maxNewTokens: run.settings.maxNewTokens, executor };
    const { sequence, numReused } = await this.host.pool.acquire(prompt, room);
    try {
      const start = reuse ? Math.min(numReused, promptLength - 1) : 0;
      await this.embed(sequence, prompt, { start, reuse, executor, signal });
      await sequence.prefill([start, promptLength], { executor, signal, stage: "prefill of the second stream" });
      sequence.hold(prompt, promptLength);
    } catch (error) {
      this.host.pool.release(sequence);
      throw error;
    }
    return new SecondStream(sequence, promptLength, { combine, executor, signal });
  }

  /** Hands tokens on; a closed session or a throwing callback ends the answer. */
  private async *emitting(
    tokens: AsyncGenerator<GeneratedToken | TurnChange, Generated, void>,
    onToken: AnswerOptions["onToken"],
  ): AsyncGenerator<GeneratedToken | TurnChange, Generated, void> {
    try {
      for (;;) {
        const next = await tokens.next();
        if (next.done === true) return next.value;
        this.throwIfClosed();
        if (typeof next.value !== "string") onToken?.(next.value);
        yield next.value;
      }
    } finally {
      await tokens.return(undefined as unknown as Generated); // cancels what is still on its way; the value is dropped
    }
  }

  /** Prefills; in a batched session, those that wait run between two chunks. */
  private async *prefill(
    sequence: Sequence,
    range: readonly [start: number, end: number],
    options: PrefillOptions,
  ): AsyncGenerator<TurnChange, void, void> {
    for await (const _ of sequence.prefillChunks(range, options)) {
      if (this.sharing.batched !== true) continue;
      // Else the steps of others would wait for all chunks that were submitted meanwhile.
      await sequence.gpu.device.queue.onSubmittedWorkDone();
      if (!this.host.isContended()) continue;
      await sequence.keepEmbeddings(options.executor);
      yield "inside";
      this.throwIfClosed();
      sequence.throwIfVoid();
    }
  }

  /** Whether an answer may go on in a batch: nothing is read or written on the way, and its edits need nothing beside their words. */
  private mayBatch({ places, promptLength, maxNewTokens }: StepwiseOptions, edited: readonly ScoreEdit[]): boolean {
    if (this.sharing.batched !== true) return false;
    if (places?.visitor(promptLength, maxNewTokens) !== undefined) return false;
    return !edited.some(({ operation }) => hasRowStrengths(operation));
  }

  /** Tokens that are chosen alone as long as nothing else wants the model, then in a batch. */
  private async batchedTokens(
    sequence: Sequence,
    picker: TokenPicker,
    { edited, ...steps }: StepwiseOptions & { readonly edited: readonly ScoreEdit[] },
  ) {
    const { batchedTokens } = await import("./generate/batched-tokens.ts"); // a chunk of its own for bundlers
    const { promptLength, maxNewTokens } = steps;
    const { memoryBytes: maxBytes = Number.POSITIVE_INFINITY } = this.sharing;
    return batchedTokens(sequence, picker, {
      ...steps,
      isContended: () => this.host.isContended() || this.host.batch.numRows() > 0,
      join: async () => {
        const numPositions = promptLength + picker.numTaken - 1; // the last token was not run
        const numSlots = promptLength + maxNewTokens;
        const { rotary } = sequence;
        const batch = await this.host.batch.get();
        return batch.join(sequence, { numSlots, numPositions, rotary, picker, edits: edited, maxBytes });
      },
      onJoined: () => this.giveBack(),
    });
  }

  /**
   * A sequence with room for the prompt and its answer, and the prompt's embeddings written.
   * @returns the sequence, and the first position that has to run
   */
  private async prepare(
    inputs: ModelInputs,
    run: {
      readonly settings: Pick<Settings, "maxNewTokens">;
      readonly executor: Executor;
      readonly reuse: boolean;
      /** Positions from here on run in any case. */
      readonly first: number;
      /** Edits need to know the sinks of every position. */
      readonly sinks?: SinkRule | undefined;
      readonly places?: Places | undefined;
      readonly signal: AbortSignal | undefined;
      readonly onStage?: AnswerOptions["onStage"];
      readonly batchRows?: number;
    },
  ): Promise<{ readonly sequence: Sequence; readonly start: number }> {
    const { executor, batchRows } = run;
    const { maxNewTokens } = run.settings;
    const room = { maxNewTokens, executor, batchRows };
    let numReused: number;
    if (this.sequence?.isVoid) this.giveBack();
    if (this.sequence === undefined) {
      const acquired = await this.host.pool.acquire(inputs, room);
      this.sequence = acquired.sequence;
      numReused = acquired.numReused;
    } else {
      numReused = this.sequence.reusable(inputs);
      await this.sequence.begin(inputs, { ...room, keep: numReused });
    }
    const { sequence } = this;
    const numKnown = run.sinks === undefined ? numReused : sequence.numWithSinks(run.sinks.dimensions);
    const start = run.reuse ? Math.min(numReused, run.first, numKnown) : 0;
    await this.embed(sequence, inputs, { ...run, start });
    return { sequence, start };
  }

  /** Writes a prompt's embeddings, encoding the pictures that have positions to run and whose features are not held. */
  private async embed(sequence: Sequence, inputs: ModelInputs, run: EmbedOptions): Promise<void> {
    const made: MadeFeatures[] = [];
    try {
      const features = await this.features(inputs, { ...run, made });
      await sequence.embed(inputs, features, { executor: run.executor, filler: this.host.filler });
    } finally {
      // Only now: one that is kept may free another that the prompt needs.
      for (const { buffer, ...source } of made) this.host.features.add(source, buffer);
    }
  }

  /** Features of each picture that has positions to run; undefined for the others. Adds those that are new to `made`. */
  private async features(
    inputs: ModelInputs,
    run: EmbedOptions & { readonly made: MadeFeatures[] },
  ): Promise<(GPUBuffer | undefined)[]> {
    const { model } = this;
    const { encoder, features } = this.host;
    const found: (GPUBuffer | undefined)[] = [];
    let firstTile = 0;
    for (const image of inputs.images) {
      const { pixelValues, grid, featureGrids } = image;
      if (endOf(image) <= run.start) {
        found.push(undefined);
        continue;
      }
      if (encoder === undefined)
        throw new InputError(`Model ${model.name} has no vision tower: ask without a picture.`);
      const isRead = run.places?.visionVisitor(firstTile) !== undefined;
      let buffer = isRead || !run.reuse ? undefined : features.find(image);
      if (buffer === undefined) {
        run.onStage?.("vision");
        const { executor, places, signal } = run;
        const tile = firstTile;
        const visitor = (index: number) => places?.visionVisitor(tile + index);
        buffer = await encoder.encode(pixelValues, { grid, featureGrids, executor, signal, visitor });
        run.made.push({ pixelValues, grid, featureGrids, buffer });
      }
      firstTile += encoder.numTiles(image);
      found.push(buffer);
    }
    return found;
  }

  /** What answers in rows need of the session. */
  private get rowHost(): RowHost {
    return {
      model: this.model,
      settings: (options, promptLength) => {
        const { defaults } = this.host;
        return settingsOf(options, { text: this.model.config.text, defaults }, promptLength);
      },
      prepare: (inputs, run) => this.prepare(inputs, run),
      pack: packedEdits,
      scorer: (texts, promptLength) => scorerOf(this.model, texts, promptLength),
      confidence: (sequence, run) => this.confidence(sequence, run),
      attentionPlaces: async (promptLength) => {
        const { attentionReads, Places } = await inspection();
        const { gpu, config } = this.model;
        const reads = attentionReads(config.text);
        return new Places(gpu, config.text, { reads, promptLength, maxPositions: promptLength });
      },
    };
  }

  private async scoreInputs(asked: ModelInputs): Promise<Float64Array<ArrayBuffer>> {
    const { model } = this;
    const inputs = modelInputs(asked, model);
    const { defaults } = this.host;
    const { inputIds } = inputs;
    const settings = settingsOf({ maxNewTokens: 1 }, { text: model.config.text, defaults }, inputIds.length);
    const executor = new SubmitExecutor(model.gpu);
    const prepared = { settings, executor, reuse: false, first: 0, signal: undefined };
    const { sequence } = await this.prepare(inputs, prepared);
    const scores = new Float64Array(inputIds.length - 1);
    for (let position = 0; position < scores.length; position++) {
      await sequence.prefill([position, position + 1], { executor });
      scores[position] = logProbability(await sequence.chooser.readLogits(), Number(inputIds[position + 1]));
    }
    return scores;
  }

  private async confidence(
    sequence: Sequence,
    run: { readonly options: AnswerOptions; readonly measure: ConfidenceMeasure; readonly executor: Executor },
  ): Promise<number> {
    const { options, measure, executor } = run;
    const { confidence: over = "vocabulary" } = options;
    const { chooser } = sequence;
    if (over === "vocabulary" && measure === "probability") {
      const choice = await chooser.choose(executor, { repetitionPenalty: 1, topK: 0, stage: "confidence" });
      return choice.confidence;
    }
    const logits = await chooser.readLogits();
    if (over === "vocabulary") return confidenceOf(logits, measure);
    const ids = over.map((option) => this.model.processor.firstTokenOf(option));
    return optionConfidence(logits, ids, measure);
  }
}

/** The first prompt row that edits act on; the prompt's length where there is none. */
function firstRow(edits: Edits | undefined, promptLength: number): number {
  return (edits?.scores ?? []).reduce((first, { rows: [start] }) => Math.min(first, start), promptLength);
}

/** A chunk of its own for bundlers. */
function answersInRows() {
  return import("./answer-rows.ts");
}

/** A type guard, because Array.isArray does not narrow read-only arrays. */
function isList(question: Message | readonly Message[]): question is readonly Message[] {
  return accepts(question, Array.isArray);
}

function messagesOf(question: string | Message | readonly Message[]): readonly Message[] {
  if (typeof question === "string") return [{ role: "user", content: question }];
  return isList(question) ? question : [question];
}
