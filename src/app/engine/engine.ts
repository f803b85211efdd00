// The playground's engine: one loaded model, one question at a time, and a new device after a loss.

import { AbortError, InputError } from "../../errors.ts";
import type { ExplainedPass } from "../../inspect/explained-pass.ts";
import type { RgbImage } from "../../preprocess/image.ts";
import type {
  AnswersView,
  AnswerView,
  AskEvent,
  AskRequest,
  ChatAnswerView,
  ChatRequest,
  CheckpointSource,
  CutView,
  EngineApi,
  EngineNotice,
  ExplanationView,
  Failure,
  LensView,
  LoadStep,
  MethodAnswerView,
  MethodChoice,
  MethodEvent,
  ModelView,
  WhichAnswer,
  WordsView,
} from "../protocol.ts";
import { EngineError, failureOf, isDeviceLoss, Losses, orAborted } from "./failure.ts";
import { type EngineHost, type LoadedModel, loadModel } from "./loaded-model.ts";
import { answerUnderFactor, askBoth, LastQuestion } from "./question.ts";
import { answerOf, messageOf, Talk } from "./talk.ts";

/** Delays before requesting an adapter again after a loss: the browser may be restarting its GPU process. */
const ADAPTER_WAITS_MS = [250, 1000, 4000];
/** Upper limit for picture files, which are read as a whole. */
const MAX_PICTURE_BYTES = 256 * 2 ** 20;
/** Larger pictures exceed a tab's memory: decoded, on a canvas, and without alpha. Phones do not take such pictures. */
const MAX_PICTURE_PIXELS = 50_000_000;

/** The failure of calls about a question before there is one. */
const NO_QUESTION = "No question was asked yet: ask a question first.";

const ignore = () => undefined;

/** What is asked after the first answers: a chunk of its own. */
const studies = () => import("./studies.ts");

/** See {@link EngineApi}. */
export class PlaygroundEngine implements EngineApi {
  private readonly host: EngineHost;
  private readonly watchers: ((notice: EngineNotice) => void)[] = [];
  private readonly losses = new Losses();
  private loaded: LoadedModel | undefined;
  private loading: AbortController | undefined;
  private running: { readonly controller: AbortController; readonly done: Promise<unknown> } | undefined;
  private recovery: Promise<void> | undefined;
  private last: LastQuestion | undefined;
  /** The answers to the last question. */
  private answers: AnswersView | undefined;
  private talk = new Talk();
  /** Whether the page was notified of a loss but not yet of the recovery. */
  private isLossTold = false;
  /** Why no model is available after a failed recovery. */
  private gaveUp: Failure | undefined;

  constructor(host: EngineHost) {
    this.host = host;
  }

  /** See {@link EngineApi.load}. @throws EngineError, CheckpointError, InputError, GpuError or AbortError. */
  async load(source: CheckpointSource, onStep: (step: LoadStep) => void): Promise<ModelView> {
    this.loading?.abort();
    const controller = new AbortController();
    this.loading = controller;
    try {
      const fresh = await this.open(source, { onStep, signal: controller.signal });
      this.last = undefined;
      this.talk = new Talk(); // the session of the one before goes with its model
      this.adopt(fresh);
      return fresh.view;
    } finally {
      if (this.loading === controller) {
        this.loading = undefined;
        // A device that was lost during the load no longer matters, with either result; a recovery sends its own notification.
        if (this.isLossTold && this.recovery === undefined) this.notify({ kind: "recovered" });
      }
    }
  }

  /** See {@link EngineApi.decodePicture}. @throws InputError when it cannot be decoded. */
  async decodePicture(file: Blob, name: string): Promise<RgbImage> {
    if (file.size > MAX_PICTURE_BYTES) {
      const megabytes = Math.round(file.size / 1e6);
      throw new InputError(`${name} has ${megabytes} MB: expected a JPEG, PNG or WebP picture of at most 268 MB.`);
    }
    return this.host.decodeImage(new Uint8Array(await file.arrayBuffer()), { name, maxPixels: MAX_PICTURE_PIXELS });
  }

  /** See {@link EngineApi.ask}. @throws EngineError `busy`; InputError, GpuError or AbortError. */
  async ask(request: AskRequest, onEvent: (event: AskEvent) => void): Promise<AnswersView> {
    return this.alone((signal) =>
      this.surviving(signal, onEvent, async ({ model, view }) => {
        const question = new LastQuestion(model, request, view);
        const answers = await askBoth(model, question, { onEvent, signal });
        this.talk.close();
        this.talk = new Talk();
        this.last = question;
        this.answers = answers;
        return answers;
      }),
    );
  }

  /** See {@link EngineApi.answerWithFactor}. @throws InputError without a question; as {@link ask}. */
  async answerWithFactor(factor: number, onEvent: (event: AskEvent) => void): Promise<AnswerView> {
    const question = this.lastQuestion();
    return this.alone((signal) =>
      this.surviving(signal, onEvent, ({ model }) =>
        answerUnderFactor(model, question, { kind: "factor", factor, onEvent, signal }),
      ),
    );
  }

  /** See {@link EngineApi.answerBy}. @throws InputError without a question; as {@link ask}. */
  async answerBy(method: MethodChoice, onEvent: (event: MethodEvent) => void): Promise<MethodAnswerView> {
    const question = this.lastQuestion();
    return this.alone((signal) =>
      this.surviving(signal, onEvent, async ({ model }) => {
        const { answerBy } = await studies();
        return answerBy(model, question, { method, onEvent, signal });
      }),
    );
  }

  /** See {@link EngineApi.cut}. @throws InputError without a question; as {@link ask}. */
  async cut(method: MethodChoice, cells: readonly number[], onEvent: (event: MethodEvent) => void): Promise<CutView> {
    const question = this.lastQuestion();
    return this.alone((signal) =>
      this.surviving(signal, onEvent, async ({ model }) => {
        const { cutOut } = await studies();
        return cutOut(model, question, { method, cells, onEvent, signal });
      }),
    );
  }

  /** See {@link EngineApi.chat}. @throws InputError without a question; as {@link ask}. */
  async chat(request: ChatRequest, onEvent: (event: MethodEvent) => void): Promise<ChatAnswerView> {
    const { question, image } = this.lastQuestion().request;
    const start = [messageOf(question, image), answerOf(this.lastAnswers()[request.after].text)];
    const { talk } = this;
    return this.alone((signal) =>
      this.surviving(signal, onEvent, ({ model }) => talk.ask(model, request, { start, run: { onEvent, signal } })),
    );
  }

  /** See {@link EngineApi.words}. @throws InputError without such an answer; as {@link ask}. */
  async words(which: WhichAnswer, layer: number): Promise<WordsView> {
    const question = this.lastQuestion();
    const answers = this.lastAnswers();
    const { talk } = this;
    return this.alone((signal) =>
      this.surviving(signal, ignore, async ({ model }) => {
        const { answeredFirst, lookForWords } = await studies();
        const answered =
          typeof which === "number"
            ? talk.answered(model, which)
            : answeredFirst(model, question, { kind: which, numTokens: answers[which].tokens.length });
        return lookForWords(model, answered, { layer, signal });
      }),
    );
  }

  /** See {@link EngineApi.lens}. @throws InputError without a question about a picture; as {@link ask}. */
  async lens(cell: number): Promise<LensView> {
    const question = this.lastQuestion();
    return this.alone((signal) =>
      this.surviving(signal, ignore, async ({ model }) => {
        const { lensOf } = await studies();
        return lensOf(model, question, { cell, signal });
      }),
    );
  }

  /** See {@link EngineApi.trace}. @throws InputError without a question; as {@link ask}. */
  async trace(): Promise<Uint8Array<ArrayBuffer>> {
    const { inputs, request, method } = this.lastQuestion();
    return this.alone((signal) =>
      this.surviving(signal, ignore, async ({ model }) => {
        const { settings, maxNewTokens } = request;
        const options = { method, ...(method === "adaptvis" && settings), maxNewTokens, signal };
        const { encodeSafetensors } = await import("../../checkpoint/safetensors-writer.ts"); // a chunk of its own
        const { tensors, metadata } = await model.trace(inputs, options, { unmodified: true });
        return encodeSafetensors(tensors, metadata);
      }),
    );
  }

  /** See {@link EngineApi.explain}. @throws InputError without a question; as {@link ask}. */
  async explain(onPass: (pass: ExplainedPass) => void): Promise<ExplanationView> {
    const { inputs, request, method } = this.lastQuestion();
    const { settings } = request;
    return this.alone((signal) =>
      this.surviving(signal, ignore, async ({ model }) => {
        const { explain } = await import("../../explain.ts"); // a chunk of its own
        const { answer, passes, kernels } = await explain(model, inputs, {
          method,
          ...(method === "adaptvis" && settings),
          onPass,
          signal,
        });
        return { text: answer.text.trim(), factor: answer.factor, passes, kernels };
      }),
    );
  }

  /** See {@link EngineApi.stop}. */
  async stop(): Promise<void> {
    this.loading?.abort();
    this.running?.controller.abort();
  }

  /** See {@link EngineApi.watch}. */
  async watch(onNotice: (notice: EngineNotice) => void): Promise<void> {
    this.watchers.push(onNotice);
  }

  private lastQuestion(): LastQuestion {
    if (this.last === undefined) throw new InputError(NO_QUESTION);
    return this.last;
  }

  private lastAnswers(): AnswersView {
    if (this.answers === undefined) throw new InputError(NO_QUESTION);
    return this.answers;
  }

  /** Runs one question; a second one is refused meanwhile, and the first continues. */
  private async alone<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.running !== undefined) {
      throw new EngineError({ kind: "busy", message: "A question is being answered: wait for it, or stop it." });
    }
    const controller = new AbortController();
    const done = work(controller.signal);
    this.running = { controller, done };
    try {
      return await done;
    } finally {
      this.running = undefined;
    }
  }

  /** Runs `work` on the loaded model, and once more if the device is lost meanwhile and recovered. */
  private async surviving<T>(
    signal: AbortSignal,
    onEvent: (event: { readonly kind: "restart" }) => void,
    work: (loaded: LoadedModel) => Promise<T>,
  ): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const loaded = await this.standing(signal);
      if (attempt === 2) onEvent({ kind: "restart" });
      try {
        return await work(loaded);
      } catch (cause) {
        if (signal.aborted || !(await isDeviceLoss(cause, loaded.lost))) throw cause;
        if (attempt < 2) continue;
        const message =
          "The GPU device was lost again during this question: ask a shorter one, or use a smaller model.";
        throw new EngineError({ kind: "device-lost", message }, { cause });
      }
    }
  }

  /** The loaded model, after a recovery in progress. @throws EngineError without a model; AbortError. */
  private async standing(signal: AbortSignal): Promise<LoadedModel> {
    while (this.recovery !== undefined) await orAborted(this.recovery, signal, "The question");
    if (this.loaded !== undefined) return this.loaded;
    throw new EngineError(this.gaveUp ?? { kind: "checkpoint", message: "No model is loaded: load one first." });
  }

  /**
   * Opens a checkpoint; if the device is lost meanwhile, again on a new one.
   * @param options.waitsMs delays before each further request when no adapter is found
   */
  private async open(
    source: CheckpointSource,
    options: {
      readonly onStep: (step: LoadStep) => void;
      readonly signal: AbortSignal;
      readonly waitsMs?: readonly number[];
    },
  ): Promise<LoadedModel> {
    const waitsMs = [...(options.waitsMs ?? [])];
    for (;;) {
      try {
        const fresh = await loadModel(this.host, source, options);
        if (!options.signal.aborted) return fresh;
        fresh.close();
        throw new AbortError("Loading the model");
      } catch (error) {
        if (options.signal.aborted) throw new AbortError("Loading the model");
        const { kind, message } = failureOf(error);
        const waitMs = kind === "no-adapter" ? waitsMs.shift() : undefined;
        if (waitMs !== undefined) {
          const passed = new Promise<void>((resolve) => setTimeout(resolve, waitMs));
          await orAborted(passed, options.signal, "Loading the model");
          continue;
        }
        if (!(await isDeviceLoss(error))) throw error;
        this.losses.count(message, this.host.now());
        this.notify({ kind: "device-lost", message });
      }
    }
  }

  /** Replaces the loaded model; the previous one is freed when its question is answered. */
  private adopt(fresh: LoadedModel): void {
    const before = this.loaded;
    this.loaded = fresh;
    this.gaveUp = undefined;
    void fresh.lost.then((reason) => {
      if (this.loaded !== fresh) return;
      const recovery = this.recover(fresh, reason).finally(() => {
        if (this.recovery === recovery) this.recovery = undefined;
      });
      this.recovery = recovery;
    });
    if (before !== undefined) this.retire(before);
  }

  /** Frees a model after the question running on it has ended; freeing it earlier would abort the question. */
  private retire(loaded: LoadedModel): void {
    const isIdle = this.running?.done.catch(() => undefined) ?? Promise.resolve();
    void isIdle.then(() => loaded.close());
  }

  /** Loads a lost model again on a new device; never rejects. */
  private async recover(lost: LoadedModel, reason: string): Promise<void> {
    this.notify({ kind: "device-lost", message: `The GPU device was lost: ${reason}` });
    this.retire(lost);
    const controller = new AbortController();
    try {
      this.losses.count(reason, this.host.now());
      const onStep = (step: LoadStep) => this.notify({ kind: "recovering", step });
      const fresh = await this.open(lost.source, { onStep, signal: controller.signal, waitsMs: ADAPTER_WAITS_MS });
      if (this.loaded === lost) this.adopt(fresh);
      else fresh.close(); // another checkpoint was loaded meanwhile
      this.notify({ kind: "recovered" });
    } catch (error) {
      if (this.loaded !== lost) return this.notify({ kind: "recovered" }); // another checkpoint replaced it
      this.loaded = undefined;
      this.gaveUp = givenUp(failureOf(error));
      this.notify({ kind: "gave-up", failure: this.gaveUp });
    }
  }

  private notify(notice: EngineNotice): void {
    this.isLossTold = notice.kind === "device-lost" || notice.kind === "recovering";
    for (const watcher of this.watchers) watcher(notice);
  }
}

/** After too many crashes of its GPU process, a browser refuses adapters to a page until it is reloaded. */
function givenUp(failure: Failure): Failure {
  if (failure.kind !== "no-adapter") return failure;
  const message =
    "The GPU device was lost and the browser offers no other: load this page again, or restart the browser.";
  return { kind: "device-lost", message };
}
