// The page's side: a model in a worker, which keeps the page free while it works.

import { proxy, type Remote, wrap } from "comlink";
import type { SessionOptions } from "../answer.ts";
import { AbortError } from "../errors.ts";
import type { ModelConfig } from "../models/config.ts";
import type { MethodDefaults } from "../settings.ts";
import { type Outcome, unwrapped } from "./failures.ts";
import type {
  AnswerEvent,
  Asked,
  HostApi,
  WorkerAnswerOptions,
  WorkerLoadOptions,
  WorkerMessage,
  WorkerModelInfo,
  WorkerQuestion,
  WorkerSource,
} from "./protocol.ts";
import { WorkerAnswer } from "./worker-answer.ts";

/** A call that can be stopped, and what it tells the page. */
interface Call<T> {
  readonly what: string;
  readonly signal?: AbortSignal | undefined;
  readonly run: (api: Remote<HostApi>, id: number) => Promise<Outcome<T>>;
}

/** The calls to one worker. */
class Connection {
  private readonly worker: Worker;
  private readonly api: Remote<HostApi>;
  private lastId = 0;
  private end: ((error: Error) => void) | undefined;
  /** Rejects when the worker fails or is ended. */
  private readonly ended: Promise<never>;

  constructor(worker: Worker) {
    this.worker = worker;
    this.ended = new Promise((_, reject) => {
      this.end = reject;
    });
    this.ended.catch(() => undefined); // calls tell it
    const onFailure = (event: Event) => {
      event.preventDefault();
      const why = event instanceof ErrorEvent && event.message !== "" ? ` (${event.message})` : "";
      this.terminate(new Error(`The worker that runs the model failed${why}: load the model again.`));
    };
    worker.addEventListener("error", onFailure);
    worker.addEventListener("messageerror", onFailure);
    this.api = wrap<HostApi>(worker);
  }

  /** Runs a call. @throws AbortError as soon as its signal fires; Error when the worker fails; the call's own error. */
  async call<T>({ what, signal, run }: Call<T>): Promise<T> {
    if (signal?.aborted) throw new AbortError(what);
    const id = ++this.lastId;
    let onAbort: () => void = () => undefined;
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => {
        this.stop(id);
        reject(new AbortError(what));
      };
      signal?.addEventListener("abort", onAbort, { once: true });
    });
    try {
      return unwrapped(await Promise.race([run(this.api, id), this.ended, aborted]));
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  /** The id that the next call will have. */
  get nextId(): number {
    return this.lastId + 1;
  }

  stop(id: number): void {
    void this.api.stop(id);
  }

  closeSession(session: number): void {
    void this.api.closeSession(session);
  }

  terminate(reason: Error): void {
    this.worker.terminate();
    this.end?.(reason);
  }
}

/** How a worker's model is loaded. */
export interface WorkerModelOptions extends WorkerLoadOptions {
  /** A worker whose script calls `serveModel()`; from then on it is the model's, which ends it. */
  readonly worker: Worker;
}

/**
 * A model in a worker: the page stays free while it loads and answers. Several answers may run at once, in turns.
 *
 * The worker's script is yours, and has one line beside the import: `serveModel()`.
 */
export class WorkerModel {
  /** What the source calls the checkpoint. */
  readonly name: string;
  readonly config: ModelConfig;
  /** Defaults of methods' settings that the checkpoint sets. */
  readonly defaults: MethodDefaults;
  /** How the matrices are stored on the GPU. */
  readonly dtype: string;
  /** One line about the adapter. */
  readonly adapter: string;
  /** Whether the adapter computes on the CPU. */
  readonly isSoftware: boolean;
  private readonly connection: Connection;
  private numSessions = 0;

  private constructor(connection: Connection, info: WorkerModelInfo) {
    this.connection = connection;
    this.name = info.name;
    this.config = info.config;
    this.defaults = info.defaults;
    this.dtype = info.dtype;
    this.adapter = info.adapter;
    this.isSoftware = info.isSoftware;
  }

  /**
   * Loads a model in a worker. When that fails or is stopped, the worker is ended.
   * @param source an id on the hub, an address, files, or the key of a model in `adaptvis/store`
   * @throws CheckpointError, GpuError (`no-adapter` without WebGPU), StoreError, InputError or AbortError, as they are in the worker; Error
   * when the worker itself fails.
   */
  static async load(source: WorkerSource, options: WorkerModelOptions): Promise<WorkerModel> {
    const { worker, onProgress, signal, ...sent } = options;
    const connection = new Connection(worker);
    const tell = onProgress && proxy(onProgress);
    try {
      const run: Call<WorkerModelInfo>["run"] = (api, id) => api.load(id, { source, options: sent }, tell);
      const info = await connection.call({ what: "Loading the model", signal, run });
      return new WorkerModel(connection, info);
    } catch (error) {
      connection.terminate(new Error("The model was not loaded."));
      throw error;
    }
  }

  /**
   * Answers a question about a picture (or a text-only one). It begins at once.
   *
   * The answer rejects with InputError for a bad picture, prompt or option; AbortError; GpuError (`device-lost`: load the model again);
   * Error when the worker fails.
   */
  ask(question: WorkerQuestion): WorkerAnswer {
    const { signal, onStage, ...sent } = question;
    return answerOf(this.connection, { question: sent }, { signal, onStage });
  }

  /** Opens a conversation; many may be open at once. */
  session(options: SessionOptions = {}): WorkerSession {
    return new WorkerSession(this.connection, ++this.numSessions, options);
  }

  /** Ends the worker, and with it frees the model's memory; answers that run reject with an AbortError. A second call does nothing. */
  dispose(): void {
    this.connection.terminate(new AbortError("The work", "by disposing the model"));
  }

  /** As {@link dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** A conversation with a model in a worker; its keys and values stay there from turn to turn. */
export class WorkerSession {
  private readonly connection: Connection;
  private readonly id: number;
  private readonly opening: Promise<void>;
  private history: readonly WorkerMessage[] = [];

  /** @internal */
  constructor(connection: Connection, id: number, options: SessionOptions) {
    this.connection = connection;
    this.id = id;
    const run: Call<void>["run"] = (api) => api.openSession(id, options);
    this.opening = connection.call({ what: "Opening a session", run });
    this.opening.catch(() => undefined); // the first answer tells it
  }

  /** The messages so far, answers included. */
  get messages(): readonly WorkerMessage[] {
    return this.history;
  }

  /**
   * Asks the next question of the conversation, which begins at once. One answer at a time.
   * @param question text, a message of the user's, or all messages of a conversation, which replace those so far
   * @returns an answer that rejects as {@link WorkerModel.ask} says; the messages are then as they were
   */
  ask(question: string | WorkerMessage | readonly WorkerMessage[], options: WorkerAnswerOptions = {}): WorkerAnswer {
    const { signal, onStage, ...sent } = options;
    const asked: readonly WorkerMessage[] =
      typeof question === "string"
        ? [...this.history, { role: "user", content: question }]
        : isList(question)
          ? question
          : [...this.history, question];
    const { opening } = this;
    const answer = answerOf(
      this.connection,
      { session: this.id, messages: asked, options: sent },
      { signal, onStage, opening },
    );
    answer.answer.then(
      ({ text }) => {
        this.history = [...asked, { role: "assistant", content: text.trim() }];
      },
      () => undefined,
    );
    return answer;
  }

  /** Gives the session's keys and values back. A second call does nothing. */
  close(): void {
    this.connection.closeSession(this.id);
  }

  /** As {@link close}, for `using`. */
  [Symbol.dispose](): void {
    this.close();
  }
}

function isList(value: WorkerMessage | readonly WorkerMessage[]): value is readonly WorkerMessage[] {
  return Array.isArray(value);
}

function answerOf(
  connection: Connection,
  asked: Asked,
  followed: {
    readonly signal: AbortSignal | undefined;
    readonly onStage: WorkerAnswerOptions["onStage"];
    readonly opening?: Promise<void> | undefined;
  },
): WorkerAnswer {
  const { signal, onStage, opening } = followed;
  const left = new AbortController();
  const stopped = signal === undefined ? left.signal : AbortSignal.any([signal, left.signal]);
  return new WorkerAnswer(
    async (onToken) => {
      await opening;
      const onEvent = (event: AnswerEvent) => {
        if (event.kind === "token") onToken(event.token);
        else onStage?.(event.stage);
      };
      return connection.call({
        what: "The answer",
        signal: stopped,
        run: (api, id) => api.ask(id, asked, proxy(onEvent)),
      });
    },
    () => left.abort(),
  );
}
