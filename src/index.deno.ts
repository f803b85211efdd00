/**
 * The public API in Deno: the core, local folders and the hub's cache through Deno's node:fs, and picture files by npm:sharp, a native add-on
 * that is loaded when the first picture is decoded (permissions: --allow-read, --allow-env, --allow-ffi).
 * @module deno
 */

import { modelSource } from "./checkpoint/hub/resolve-model.node.ts";
import { setSourceOpener } from "./checkpoint/named-source.ts";

export { fileSource } from "./checkpoint/file-source.node.ts";
export type { PullProgress } from "./checkpoint/hub/pull.node.ts";
export { type HubSourceOptions, hubSource } from "./checkpoint/hub/resolve-model.node.ts";
export { writeFileWhole } from "./checkpoint/write-file.node.ts";
export {
  type BeforeAfter,
  type ChangedPass,
  compareEdits,
  type EditComparison,
  type EditedKey,
  type EditedRow,
  type EditedRowSelection,
  type FollowedKey,
  type LogitDifference,
} from "./explain-edits.ts";
export * from "./index.ts";
export { decodeImage, readImageFile } from "./preprocess/decode-image.node.ts";

setSourceOpener(modelSource);
