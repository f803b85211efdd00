// Messages between the page and its worker about models on servers and models that are kept: plain data for structured cloning.

import type { StorageRoom } from "../store/file-store.ts";
import type { KeepProgress, KeptForm, KeptModel } from "../store/model-store.ts";
import type { RemoteModel } from "../store/remote-model.ts";

/** What a model needs in one form. */
export interface FormView {
  readonly form: KeptForm;
  /** Memory that a load and a question need at most, on the GPU; on an adapter that computes on the CPU, of the machine. */
  readonly neededBytes: number;
  /** Bytes that the model takes in the browser's storage. */
  readonly keptBytes: number;
  /** Why the adapter's limits forbid it, as one sentence. */
  readonly problem: string | undefined;
}

/** A model on a server, before any of its weights are fetched. */
export interface ModelOffer {
  readonly remote: RemoteModel;
  readonly downloadBytes: number;
  /** The dtype of its weights in the files, such as "F16". */
  readonly fileDtype: string;
  /** The most exact one first; each takes less memory than the one before it. */
  readonly forms: readonly FormView[];
  /** Positions of the question that the memory is for, and how many pictures it has. */
  readonly contextLength: number;
  readonly numImages: number;
  readonly adapter: string;
  readonly isSoftware: boolean;
}

/** The speed of a model on this adapter, measured with a few of its layers. */
export interface SpeedView {
  readonly form: KeptForm;
  /** Milliseconds of the picture, of the prompt behind it, and of a new token. */
  readonly pictureMs: number;
  readonly promptMs: number;
  readonly tokenMs: number;
}

/** What is kept, and the room for more. */
export interface ShelfView {
  readonly models: readonly KeptModel[];
  readonly room: StorageRoom;
}

/** The worker's interface for models. Every promise rejects with an Error whose `failure` is a `Failure`. */
export interface ModelsApi {
  /** Asks a server about a model by its id or address, and plans its memory; of its weights only the headers are fetched. */
  lookUp(text: string): Promise<ModelOffer>;
  /** Measures the speed of a model that was looked up, with weights of zeros. */
  measure(remote: RemoteModel, form: KeptForm): Promise<SpeedView>;
  /** Downloads a model, or goes on with its download; one at a time. */
  keep(remote: RemoteModel, form: KeptForm, onProgress: (progress: KeepProgress) => void): Promise<KeptModel>;
  /** Stops the running download, which rejects with `stopped` and keeps what has come. */
  pause(): Promise<void>;
  /** What is kept. */
  shelf(): Promise<ShelfView>;
  /** Removes a model that is kept. */
  remove(key: string): Promise<void>;
}
