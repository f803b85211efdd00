/**
 * A model in a worker of a page: the page stays free while the model loads and answers.
 * @module worker
 */

export type { KeepProgress, KeptForm } from "../store/model-store.ts";
export type {
  WorkerAnswerOptions,
  WorkerLoadOptions,
  WorkerMessage,
  WorkerModelInfo,
  WorkerPicture,
  WorkerPicturePart,
  WorkerProgress,
  WorkerQuestion,
  WorkerResult,
  WorkerSource,
  WorkerVideoPart,
} from "./protocol.ts";
export { serveModel } from "./serve-model.browser.ts";
export { WorkerAnswer } from "./worker-answer.ts";
export { WorkerModel, type WorkerModelOptions, WorkerSession } from "./worker-model.ts";
