// What a page and the worker with its model say to each other: plain data, calls by Comlink.

import type { Answer, AnswerMaps, AnswerOptions, AnswerStage, LoadOptions, SessionOptions } from "../answer.ts";
import type { GeneratedToken } from "../generate/generate.ts";
import type { MapSelection } from "../inspect/attention-map.ts";
import type { MethodName } from "../interventions/registry.ts";
import type { ModelConfig } from "../models/config.ts";
import type { ConversationMessage, TextPart } from "../models/processor.ts";
import type { LoadProgress } from "../models/weights.ts";
import type { RgbImage } from "../preprocess/image.ts";
import type { MethodDefaults } from "../settings.ts";
import type { KeepProgress, KeptForm } from "../store/model-store.ts";
import type { Outcome } from "./failures.ts";

/** A picture: its pixels, or a file that the worker decodes, such as one of an input element. */
export type WorkerPicture = RgbImage | Blob;

/** Where a model is: an id on the hub, the address of a folder, files by path, or the key of a model in `adaptvis/store`. */
export type WorkerSource =
  | string
  | {
      /** Pairs of path and content. */
      readonly files: readonly (readonly [path: string, file: Blob])[];
      /** What messages call them. */
      readonly name?: string | undefined;
    }
  | {
      readonly key: string;
      /** The name of the store, where it is not the default. */
      readonly store?: string | undefined;
      /** What messages call the model. */
      readonly name?: string | undefined;
    };

/** Progress of {@link WorkerModel.load}: of a download into the store, then of the load. */
export type WorkerProgress = ({ readonly phase: "keep" } & KeepProgress) | ({ readonly phase: "load" } & LoadProgress);

/** How a model is loaded in the worker; as `Llava.load`, but for what cannot be sent there. */
export interface WorkerLoadOptions extends Omit<LoadOptions, "device" | "profiler" | "onProgress"> {
  /**
   * Downloads the model into the site's store first, in this form, and loads it from there; where it is there already, no network is
   * needed. A download that was stopped goes on. Of an id or an address only. Not kept unless given.
   */
  readonly keep?: KeptForm | undefined;
  readonly onProgress?: ((progress: WorkerProgress) => void) | undefined;
}

/** What a page knows of a loaded model. */
export interface WorkerModelInfo {
  /** What the source calls the checkpoint. */
  readonly name: string;
  readonly config: ModelConfig;
  readonly defaults: MethodDefaults;
  /** How the matrices are stored on the GPU. */
  readonly dtype: string;
  /** One line about the adapter. */
  readonly adapter: string;
  /** Whether the adapter computes on the CPU. */
  readonly isSoftware: boolean;
}

/** How an answer is made; as `AnswerOptions`, but for interventions of the caller's, which cannot be sent to a worker. */
export interface WorkerAnswerOptions extends Omit<AnswerOptions, "method" | "settings" | "onToken" | "attention"> {
  /** A registered method's name; `greedy` unless given. */
  readonly method?: MethodName | undefined;
  /** Captures attention; the answer then has the maps of this layer, head and picture (true: of the middle layer, the mean of heads). */
  readonly attention?: boolean | MapSelection | undefined;
}

/** A question; the pictures and texts are those of `Question`. */
export interface WorkerQuestion extends WorkerAnswerOptions {
  readonly image?: WorkerPicture | undefined;
  /** The pictures instead, in the order in which the prompt names them. */
  readonly images?: readonly WorkerPicture[] | undefined;
  /** Frames of a video, in order, for models that take videos. */
  readonly video?: readonly WorkerPicture[] | undefined;
  readonly question?: string | undefined;
  /** The whole prompt instead, `<image>` where each picture goes. */
  readonly prompt?: string | undefined;
  /** Text before the first turn, where the template takes one. */
  readonly system?: string | undefined;
}

/** A message of a conversation, whose pictures may be files. */
export interface WorkerMessage {
  readonly role: ConversationMessage["role"];
  readonly content: string | readonly (TextPart | WorkerPicturePart | WorkerVideoPart)[];
}

/** A picture of a message, which may be a file. */
export interface WorkerPicturePart {
  readonly type: "image";
  readonly image: WorkerPicture;
}

/** A video of a message, whose frames may be files. */
export interface WorkerVideoPart {
  readonly type: "video";
  readonly frames: readonly WorkerPicture[];
}

/** An answer and how it came about, as plain data: as `Answer`, with the attention maps that were asked for. */
export interface WorkerResult extends Omit<Answer, "attention"> {
  readonly attention: AnswerMaps | undefined;
}

/** An event of an answer. */
export type AnswerEvent =
  | { readonly kind: "stage"; readonly stage: AnswerStage }
  | { readonly kind: "token"; readonly token: GeneratedToken };

/** Options without the functions and signals of the page's side. */
export type Sent<T> = Omit<T, "signal" | "onProgress" | "onStage">;

/** What is asked: one question, or messages of a session. */
export type Asked =
  | { readonly question: Sent<WorkerQuestion> }
  | {
      readonly session: number;
      readonly messages: readonly WorkerMessage[];
      readonly options: Sent<WorkerAnswerOptions>;
    };

/** What the worker does for the page; calls are stopped by their ids. */
export interface HostApi {
  load(
    id: number,
    asked: { readonly source: WorkerSource; readonly options: Sent<WorkerLoadOptions> },
    onProgress: ((progress: WorkerProgress) => void) | undefined,
  ): Promise<Outcome<WorkerModelInfo>>;
  openSession(session: number, options: SessionOptions): Promise<Outcome<void>>;
  closeSession(session: number): void;
  ask(id: number, asked: Asked, onEvent: (event: AnswerEvent) => void): Promise<Outcome<WorkerResult>>;
  stop(id: number): void;
}
