// The page's side of the worker: typed calls of the engine, failures as errors, and a new worker after a crash.
import * as Comlink from "comlink";
import type { ExplainedPass } from "../inspect/explained-pass.ts";
import type { RgbImage } from "../preprocess/image.ts";
import type { KeepProgress, KeptForm, KeptModel } from "../store/model-store.ts";
import type { RemoteModel } from "../store/remote-model.ts";
import { EngineError, failureOf, type Outcome, unwrap } from "./engine/failure.ts";
import type { WorkerApi } from "./engine/worker-api.ts";
import type { ModelOffer, ModelsApi, ShelfView, SpeedView } from "./models-protocol.ts";
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
  LensView,
  LoadStep,
  MethodAnswerView,
  MethodChoice,
  MethodEvent,
  ModelView,
  WhichAnswer,
  WordsView,
} from "./protocol.ts";
import { startWorker } from "./start-worker.ts";

export { EngineError } from "./engine/failure.ts";

/** The failure of calls whose worker crashed. */
const CRASHED = { kind: "internal", message: "The worker that runs the model stopped: load the model again." } as const;

/** The engine in its worker. Every promise rejects with an {@link EngineError}. */
export class EngineClient implements EngineApi, ModelsApi {
  private readonly startWorker: () => Worker | Promise<Worker>;
  private readonly watchers: ((notice: EngineNotice) => void)[] = [];
  private current: { readonly started: Started; readonly api: Promise<Comlink.Remote<WorkerApi>> } | undefined;
  private crash = new AbortController();

  /** @param startWorker creates the worker; called at the first call and after each crash */
  constructor(startWorker: () => Worker | Promise<Worker>) {
    this.startWorker = startWorker;
  }

  /** See {@link EngineApi.load}. @throws EngineError. */
  load(source: CheckpointSource, onStep: (step: LoadStep) => void): Promise<ModelView> {
    return this.call((api) => api.load(source, Comlink.proxy(onStep)));
  }

  /** See {@link EngineApi.decodePicture}. @throws EngineError. */
  decodePicture(file: Blob, name: string): Promise<RgbImage> {
    return this.call((api) => api.decodePicture(file, name));
  }

  /** See {@link EngineApi.ask}. @throws EngineError. */
  ask(request: AskRequest, onEvent: (event: AskEvent) => void): Promise<AnswersView> {
    return this.call((api) => api.ask(request, Comlink.proxy(onEvent)));
  }

  /** See {@link EngineApi.answerWithFactor}. @throws EngineError. */
  answerWithFactor(factor: number, onEvent: (event: AskEvent) => void): Promise<AnswerView> {
    return this.call((api) => api.answerWithFactor(factor, Comlink.proxy(onEvent)));
  }

  /** See {@link EngineApi.answerBy}. @throws EngineError. */
  answerBy(method: MethodChoice, onEvent: (event: MethodEvent) => void): Promise<MethodAnswerView> {
    return this.call((api) => api.answerBy(method, Comlink.proxy(onEvent)));
  }

  /** See {@link EngineApi.cut}. @throws EngineError. */
  cut(method: MethodChoice, cells: readonly number[], onEvent: (event: MethodEvent) => void): Promise<CutView> {
    return this.call((api) => api.cut(method, cells, Comlink.proxy(onEvent)));
  }

  /** See {@link EngineApi.chat}. @throws EngineError. */
  chat(request: ChatRequest, onEvent: (event: MethodEvent) => void): Promise<ChatAnswerView> {
    return this.call((api) => api.chat(request, Comlink.proxy(onEvent)));
  }

  /** See {@link EngineApi.words}. @throws EngineError. */
  words(which: WhichAnswer, layer: number): Promise<WordsView> {
    return this.call((api) => api.words(which, layer));
  }

  /** See {@link EngineApi.lens}. @throws EngineError. */
  lens(cell: number): Promise<LensView> {
    return this.call((api) => api.lens(cell));
  }

  /** See {@link EngineApi.trace}. @throws EngineError. */
  trace(): Promise<Uint8Array<ArrayBuffer>> {
    return this.call((api) => api.trace());
  }

  /** See {@link EngineApi.explain}. @throws EngineError. */
  explain(onPass: (pass: ExplainedPass) => void): Promise<ExplanationView> {
    return this.call((api) => api.explain(Comlink.proxy(onPass)));
  }

  /** See {@link EngineApi.stop}. @throws EngineError. */
  stop(): Promise<void> {
    return this.call((api) => api.stop());
  }

  /** See {@link ModelsApi.lookUp}. @throws EngineError. */
  lookUp(text: string): Promise<ModelOffer> {
    return this.call((api) => api.lookUp(text));
  }

  /** See {@link ModelsApi.measure}. @throws EngineError. */
  measure(remote: RemoteModel, form: KeptForm): Promise<SpeedView> {
    return this.call((api) => api.measure(remote, form));
  }

  /** See {@link ModelsApi.keep}. @throws EngineError. */
  keep(remote: RemoteModel, form: KeptForm, onProgress: (progress: KeepProgress) => void): Promise<KeptModel> {
    return this.call((api) => api.keep(remote, form, Comlink.proxy(onProgress)));
  }

  /** See {@link ModelsApi.pause}. @throws EngineError. */
  pause(): Promise<void> {
    return this.call((api) => api.pause());
  }

  /** See {@link ModelsApi.shelf}. @throws EngineError. */
  shelf(): Promise<ShelfView> {
    return this.call((api) => api.shelf());
  }

  /** See {@link ModelsApi.remove}. @throws EngineError. */
  remove(key: string): Promise<void> {
    return this.call((api) => api.remove(key));
  }

  /** See {@link EngineApi.watch}; continues in the worker that replaces a crashed one. @throws EngineError. */
  async watch(onNotice: (notice: EngineNotice) => void): Promise<void> {
    const isRunning = this.current !== undefined;
    this.watchers.push(onNotice);
    if (isRunning) await this.call((api) => api.watch(Comlink.proxy(onNotice)));
    else await this.api().catch(() => undefined); // a new worker registers all watchers; a call tells why there is none
  }

  /** Terminates the worker at once, freeing everything in it; the next call starts a new one. */
  terminate(): void {
    this.end("The worker was ended.");
  }

  private async call<T>(work: (api: Comlink.Remote<WorkerApi>) => Promise<Outcome<T>>): Promise<T> {
    const { signal } = this.crash;
    let end: () => void = () => undefined;
    const crashed = new Promise<never>((_, reject) => {
      end = () => reject(new EngineError({ ...CRASHED, message: String(signal.reason) }));
      signal.addEventListener("abort", end);
    });
    try {
      return unwrap(await Promise.race([this.api().then(work), crashed]));
    } finally {
      signal.removeEventListener("abort", end);
    }
  }

  private api(): Promise<Comlink.Remote<WorkerApi>> {
    if (this.current === undefined) {
      const started: Started = { worker: undefined };
      this.current = { started, api: this.start(started) };
    }
    return this.current.api;
  }

  private async start(started: Started): Promise<Comlink.Remote<WorkerApi>> {
    let worker: Worker;
    try {
      worker = await this.startWorker();
    } catch (cause) {
      if (this.current?.started === started) this.current = undefined;
      const message = `The worker that runs the model could not be started: ${failureOf(cause).message}`;
      throw new EngineError({ kind: "internal", message }, { cause });
    }
    if (this.current?.started !== started) {
      worker.terminate();
      throw new EngineError(CRASHED);
    }
    started.worker = worker;
    const onCrash = (event: Event) => {
      event.preventDefault();
      if (this.current?.started !== started) return;
      this.end(CRASHED.message);
      for (const watcher of this.watchers) watcher({ kind: "gave-up", failure: CRASHED });
    };
    worker.addEventListener("error", onCrash);
    worker.addEventListener("messageerror", onCrash);
    const api = Comlink.wrap<WorkerApi>(worker);
    for (const watcher of this.watchers) void api.watch(Comlink.proxy(watcher));
    return api;
  }

  private end(reason: string): void {
    this.current?.started.worker?.terminate();
    this.current = undefined;
    this.crash.abort(reason);
    this.crash = new AbortController();
  }
}

/** Starts the worker whose file the build writes beside the page. */
export function startEngine(): EngineClient {
  return new EngineClient(() => startWorker(WORKER_FILE));
}

/** A worker, once it has started. */
interface Started {
  worker: Worker | undefined;
}

/** The worker's file beside index.html, which the build fills in. */
declare const WORKER_FILE: string;
