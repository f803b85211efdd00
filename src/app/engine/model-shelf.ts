// The worker's models: looked up on a server with a plan of their memory, measured, downloaded into the browser's storage, removed.

import { measureModelSpeed } from "../../bench/model-speed.ts";
import { type Checkpoint, openCheckpoint } from "../../checkpoint/checkpoint.ts";
import type { Source } from "../../checkpoint/source.ts";
import { loadableForms, neededBytes } from "../../choose-form.ts";
import { CheckpointError } from "../../errors.ts";
import { isSoftwareAdapter, requestGpuDevice } from "../../gpu/device.ts";
import { isQuantized, type WeightDtype } from "../../gpu/tensor.ts";
import { type MemoryPlan, type PlannedDevice, planMemory } from "../../memory-plan.ts";
import type { Architecture } from "../../models/architecture.ts";
import { architectureOf } from "../../models/checkpoint-architecture.ts";
import { quantizedFiles } from "../../models/quantized-checkpoint.ts";
import type { KeepProgress, KeptForm, KeptModel, ModelStore } from "../../store/model-store.ts";
import {
  downloadBytes,
  findRemoteModel,
  type RemoteModel,
  type RemoteOptions,
  remoteSource,
} from "../../store/remote-model.ts";
import type { FormView, ModelOffer, ModelsApi, ShelfView, SpeedView } from "../models-protocol.ts";
import { EngineError } from "./failure.ts";
import type { EngineHost } from "./loaded-model.ts";

/** What a {@link ModelShelf} needs of its host. */
export interface ShelfHost extends Pick<EngineHost, "requestAdapter"> {
  readonly store: ModelStore;
  /** How servers are asked. */
  readonly remote?: RemoteOptions;
  /** The origin that the page's Content-Security-Policy refused since it was asked for last; undefined for none. */
  readonly refusedOrigin?: () => string | undefined;
}

/** The shortest time between two reports of progress, milliseconds. */
const PROGRESS_MS = 100;

/** See {@link ModelsApi}. */
export class ModelShelf implements ModelsApi {
  private readonly host: ShelfHost;
  private keeping: AbortController | undefined;

  constructor(host: ShelfHost) {
    this.host = host;
  }

  /** See {@link ModelsApi.lookUp}. @throws InputError, CheckpointError or EngineError. */
  async lookUp(text: string): Promise<ModelOffer> {
    return this.asking(async (options) => {
      const remote = await findRemoteModel(text, options);
      return withCheckpoint(remoteSource(remote, options), async (checkpoint, architecture) => {
        const device = await this.plannedDevice();
        const forms: FormView[] = [];
        let planned: MemoryPlan | undefined;
        for (const dtype of loadableForms(checkpoint, architecture)) {
          const form = keptForm(dtype);
          if (form === undefined) continue;
          const plan = await planMemory(checkpoint, architecture, { device, dtype });
          planned ??= plan;
          const keptBytes = keptSize(remote, { checkpoint, architecture, form });
          forms.push({ form, neededBytes: neededBytes(plan), keptBytes, problem: plan.problem });
        }
        if (planned === undefined) throw new RangeError("a checkpoint can be loaded in no form");
        const { vendor, architecture: family, description } = device.adapterInfo;
        return {
          remote,
          downloadBytes: downloadBytes(remote),
          fileDtype: fileDtypeOf(checkpoint),
          forms,
          contextLength: planned.contextLength,
          numImages: planned.numImages,
          adapter: description === "" ? `${vendor} ${family}`.trim() : description,
          isSoftware: planned.isSoftware,
        };
      });
    });
  }

  /** See {@link ModelsApi.measure}. @throws CheckpointError, GpuError or EngineError. */
  async measure(remote: RemoteModel, form: KeptForm): Promise<SpeedView> {
    return this.asking((options) =>
      withCheckpoint(remoteSource(remote, options), async (checkpoint, architecture) => {
        const adapter = await this.host.requestAdapter();
        const planned = deviceOf(adapter);
        const dtype = form === "file" ? undefined : form;
        const plan = await planMemory(checkpoint, architecture, { device: planned, dtype });
        if (plan.problem !== undefined) throw new EngineError({ kind: "limit", message: plan.problem });
        const device = await requestGpuDevice(adapter);
        try {
          const { pictureMs, promptMs, tokenMs } = await measureModelSpeed(device, {
            checkpoint,
            architecture,
            options: { dtype },
            plan,
            isSoftware: plan.isSoftware,
            isRead: false,
            signal: new AbortController().signal,
          });
          return { form, pictureMs, promptMs, tokenMs };
        } finally {
          device.destroy();
        }
      }),
    );
  }

  /** See {@link ModelsApi.keep}. @throws EngineError `busy`; CheckpointError, StoreError or AbortError. */
  async keep(remote: RemoteModel, form: KeptForm, onProgress: (progress: KeepProgress) => void): Promise<KeptModel> {
    if (this.keeping !== undefined) {
      throw new EngineError({ kind: "busy", message: "A model is being downloaded: wait for it, or pause it." });
    }
    const controller = new AbortController();
    this.keeping = controller;
    const calm = new CalmProgress(onProgress);
    try {
      return await this.asking((options) =>
        this.host.store.keep(remote, {
          ...options,
          form,
          onProgress: (progress) => calm.note(progress),
          signal: controller.signal,
        }),
      );
    } finally {
      calm.stop();
      this.keeping = undefined;
    }
  }

  /** See {@link ModelsApi.pause}. */
  async pause(): Promise<void> {
    this.keeping?.abort();
  }

  /** See {@link ModelsApi.shelf}. @throws StoreError. */
  async shelf(): Promise<ShelfView> {
    const { store } = this.host;
    return { models: await store.list(), room: await store.room() };
  }

  /** See {@link ModelsApi.remove}. @throws StoreError. */
  async remove(key: string): Promise<void> {
    await this.host.store.remove(key);
  }

  /** Runs `work`, and says so where the page's own policy is why a server could not be reached. */
  private async asking<T>(work: (options: RemoteOptions) => Promise<T>): Promise<T> {
    const { remote = {}, refusedOrigin } = this.host;
    refusedOrigin?.();
    try {
      return await work(remote);
    } catch (cause) {
      const origin = cause instanceof CheckpointError ? refusedOrigin?.() : undefined;
      if (origin === undefined) throw cause;
      const message = `This page may not load models from ${origin}: its Content-Security-Policy names the servers, which whoever builds the page chooses (--connect).`;
      throw new EngineError({ kind: "checkpoint", message }, { cause });
    }
  }

  private async plannedDevice(): Promise<PlannedDevice> {
    return deviceOf(await this.host.requestAdapter());
  }
}

/** Passes on progress no more often than a page draws; the last of it always, until it is stopped. */
class CalmProgress {
  private readonly tell: (progress: KeepProgress) => void;
  private latest: KeepProgress | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(tell: (progress: KeepProgress) => void) {
    this.tell = tell;
  }

  note(progress: KeepProgress): void {
    const isNew = this.latest?.path !== progress.path || this.latest.step !== progress.step;
    this.latest = progress;
    if (isNew) this.tell(progress);
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      if (this.latest !== undefined) this.tell(this.latest);
    }, PROGRESS_MS);
  }

  stop(): void {
    clearTimeout(this.timer);
  }
}

function deviceOf({ limits, features, info }: GPUAdapter): PlannedDevice {
  return { limits, features, adapterInfo: info, isSoftware: isSoftwareAdapter(info) };
}

async function withCheckpoint<T>(
  source: Source,
  work: (checkpoint: Checkpoint, architecture: Architecture) => Promise<T>,
): Promise<T> {
  const checkpoint = await openCheckpoint(source);
  try {
    return await work(checkpoint, await architectureOf(checkpoint));
  } finally {
    await checkpoint.close();
  }
}

/** The form in which a model is kept that is loaded in a dtype; undefined for one that files are not written in. */
function keptForm(dtype: WeightDtype | undefined): KeptForm | undefined {
  if (dtype === undefined) return "file";
  return isQuantized(dtype) ? dtype : undefined;
}

/** Bytes that a model takes in the store. */
function keptSize(
  remote: RemoteModel,
  of: { readonly checkpoint: Checkpoint; readonly architecture: Architecture; readonly form: KeptForm },
): number {
  const { checkpoint, architecture, form } = of;
  if (form === "file") return downloadBytes(remote);
  const isWeights = ({ path }: { readonly path: string }) => path.endsWith(".safetensors");
  const others = remote.files.filter((file) => !isWeights(file));
  const made = quantizedFiles(checkpoint, architecture, form);
  return made.reduce((sum, { fileBytes }) => sum + fileBytes, downloadBytes({ files: others }));
}

/** The dtype that most of a checkpoint's bytes have. */
function fileDtypeOf({ tensors }: Checkpoint): string {
  const bytes = new Map<string, number>();
  for (const { entry, aliasOf } of tensors.values()) {
    if (aliasOf !== undefined) continue;
    bytes.set(entry.dtype, (bytes.get(entry.dtype) ?? 0) + entry.end - entry.start);
  }
  const [most] = [...bytes].sort(([, a], [, b]) => b - a);
  return most?.[0] ?? "";
}
