// The worker's side: loads one model and answers what the page asks.

import { expose, type Remote, releaseProxy } from "comlink";
import type { Answer, AnswerMaps, AnswerOptions, SessionOptions } from "../answer.ts";
import { blobSource } from "../checkpoint/blob-source.ts";
import type { Source } from "../checkpoint/source.ts";
import { GpuError, InputError } from "../errors.ts";
import { isSoftwareAdapter, requestGpuDevice } from "../gpu/device.ts";
import type { MapSelection } from "../inspect/attention-map.ts";
import { Llava } from "../llava.ts";
import type { ConversationMessage } from "../models/processor.ts";
import type { LoadProgress } from "../models/weights.ts";
import { decodeImage } from "../preprocess/decode-image.browser.ts";
import type { RgbImage } from "../preprocess/image.ts";
import type { Session } from "../session.ts";
import { type KeepProgress, type KeptForm, ModelStore } from "../store/model-store.ts";
import { opfsFiles } from "../store/opfs-files.browser.ts";
import { findRemoteModel } from "../store/remote-model.ts";
import { type Outcome, outcomeOf } from "./failures.ts";
import type {
  AnswerEvent,
  Asked,
  HostApi,
  Sent,
  WorkerAnswerOptions,
  WorkerLoadOptions,
  WorkerMessage,
  WorkerModelInfo,
  WorkerPicture,
  WorkerProgress,
  WorkerResult,
  WorkerSource,
} from "./protocol.ts";

/**
 * Makes this worker one that `WorkerModel.load` takes: call it at the top of the worker's script, before anything is awaited.
 */
export function serveModel(): void {
  expose(new ModelHost());
}

/** A function of the page. */
type Listener<E> = (event: E) => unknown;

/** The worker's model and its sessions. */
class ModelHost implements HostApi {
  private model: Llava | undefined;
  private readonly sessions = new Map<number, Session>();
  private readonly running = new Map<number, AbortController>();

  load(
    id: number,
    asked: { readonly source: WorkerSource; readonly options: Sent<WorkerLoadOptions> },
    onProgress?: Listener<WorkerProgress>,
  ): Promise<Outcome<WorkerModelInfo>> {
    return this.told(id, onProgress, async (tell, signal) => {
      const { keep, ...options } = asked.options;
      const source = await sourceOf(asked.source, { keep, signal, tell });
      const adapter = await requestAdapter();
      const device = await requestGpuDevice(adapter);
      const report = (progress: LoadProgress) => tell({ phase: "load", ...progress });
      const model = await Llava.load(source, { ...options, device, signal, onProgress: report });
      this.model = model;
      const { name, config, defaults, dtype } = model;
      const { vendor, architecture, description } = adapter.info;
      const line = description === "" ? `${vendor} ${architecture}`.trim() : description;
      return { name, config, defaults, dtype, adapter: line, isSoftware: isSoftwareAdapter(adapter.info) };
    });
  }

  openSession(session: number, options: SessionOptions): Promise<Outcome<void>> {
    return outcomeOf(async () => void this.sessions.set(session, this.loaded().session(options)));
  }

  closeSession(session: number): void {
    this.sessions.get(session)?.close();
    this.sessions.delete(session);
  }

  ask(id: number, asked: Asked, onEvent: Listener<AnswerEvent>): Promise<Outcome<WorkerResult>> {
    return this.told(id, onEvent, async (tell, signal) => {
      const followed = (options: Sent<WorkerAnswerOptions>): AnswerOptions & { readonly attention: boolean } => ({
        ...options,
        attention: options.attention !== undefined && options.attention !== false,
        signal,
        onStage: (stage) => tell({ kind: "stage", stage }),
        onToken: (token) => tell({ kind: "token", token }),
      });
      if ("question" in asked) {
        const { image, images, video, ...question } = asked.question;
        const pictures = {
          ...(image !== undefined && { image: await decoded(image) }),
          ...(images !== undefined && { images: await Promise.all(images.map(decoded)) }),
          ...(video !== undefined && { video: await Promise.all(video.map(decoded)) }),
        };
        const answer = await this.loaded().ask({ ...question, ...followed(question), ...pictures });
        return resultOf(answer, question.attention);
      }
      const session = this.sessions.get(asked.session);
      if (session === undefined) throw new InputError("The session is closed: open another.");
      const messages = await Promise.all(asked.messages.map(decodedMessage));
      const answer = await session.ask(messages, followed(asked.options)).answer;
      return resultOf(answer, asked.options.attention);
    });
  }

  stop(id: number): void {
    this.running.get(id)?.abort();
  }

  private loaded(): Llava {
    if (this.model === undefined) throw new InputError("The worker has no model: load one first.");
    return this.model;
  }

  /** Runs `work`, and returns after the page has received all of its events: message ports do not order among each other. */
  private async told<E, T>(
    id: number,
    listener: Listener<E> | undefined,
    work: (tell: (event: E) => void, signal: AbortSignal) => Promise<T>,
  ): Promise<Outcome<T>> {
    const controller = new AbortController();
    this.running.set(id, controller);
    const heard: unknown[] = [];
    const tell = (event: E) => void (listener && heard.push(listener(event)));
    const outcome = await outcomeOf(() => work(tell, controller.signal));
    this.running.delete(id);
    await Promise.all(heard);
    (listener as Partial<Remote<Listener<E>>> | undefined)?.[releaseProxy]?.();
    return outcome;
  }
}

/** @throws CheckpointError or StoreError when a model that is to be kept cannot be; AbortError. */
async function sourceOf(
  source: WorkerSource,
  {
    keep,
    signal,
    tell,
  }: {
    readonly keep: KeptForm | undefined;
    readonly signal: AbortSignal;
    readonly tell: (progress: WorkerProgress) => void;
  },
): Promise<Source | string> {
  if (typeof source === "string") {
    if (keep === undefined) return source;
    const store = new ModelStore(opfsFiles());
    const known = await store.find(store.keyOf({ name: source }, keep));
    const onProgress = (progress: KeepProgress) => tell({ phase: "keep", ...progress });
    const remote = known?.isComplete === true ? known.remote : await findRemoteModel(source, { signal });
    const { key } = await store.keep(remote, { form: keep, signal, onProgress });
    return store.source(key, remote.name);
  }
  if (keep !== undefined) throw new InputError("keep: expected an id or an address as the source, got another.");
  if ("files" in source) return blobSource(source.files, source.name);
  return new ModelStore(opfsFiles(source.store)).source(source.key, source.name);
}

/** @throws GpuError `no-adapter`. */
async function requestAdapter(): Promise<GPUAdapter> {
  // The types declare it as present, but browsers without WebGPU lack it.
  const gpu: GPU | undefined = navigator.gpu;
  const adapter = (await gpu?.requestAdapter({ powerPreference: "high-performance" })) ?? null;
  if (adapter !== null) return adapter;
  const why = !isSecureContext
    ? "WebGPU is not available at this address: browsers offer it over https and on localhost only."
    : gpu === undefined
      ? "This browser does not support WebGPU: use a recent Chrome, Edge, Firefox or Safari, or enable WebGPU."
      : "This browser supports WebGPU but finds no adapter: check the driver, and that hardware acceleration is enabled.";
  throw new GpuError("no-adapter", why);
}

async function decoded(picture: WorkerPicture): Promise<RgbImage> {
  return picture instanceof Blob ? decodeImage(picture) : picture;
}

async function decodedMessage({ role, content }: WorkerMessage): Promise<ConversationMessage> {
  if (typeof content === "string") return { role, content };
  const parts = content.map(async (part) => {
    if (part.type === "image") return { type: part.type, image: await decoded(part.image) };
    if (part.type === "video") return { type: part.type, frames: await Promise.all(part.frames.map(decoded)) };
    return part;
  });
  return { role, content: await Promise.all(parts) };
}

/** An answer as plain data. */
function resultOf({ attention, ...answer }: Answer, wanted: WorkerAnswerOptions["attention"]): WorkerResult {
  const selection: MapSelection = typeof wanted === "object" ? wanted : {};
  const maps: AnswerMaps | undefined = attention && {
    used: attention.used(selection),
    unmodified: attention.unmodified(selection),
  };
  return { ...answer, attention: maps };
}
