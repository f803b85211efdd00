/**
 * The public API in Node: the core, files, picture decoding, adapters on any machine, heat maps as PNG.
 * @module node
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
export { type AdapterOptions, openNodeAdapter } from "./gpu/hosts/adapter.node.ts";
export {
  type AdapterChoice,
  type AdapterKind,
  adapterChoices,
  type OpenedAdapter,
} from "./gpu/hosts/adapter-choice.node.ts";
export { type DriverEnvironment, driverEnvironment } from "./gpu/hosts/vulkan-drivers.node.ts";
export * from "./index.ts";
export { type HeatMapPanel, type HeatMapRow, type HeatMapSheet, heatMapPng } from "./inspect/heat-map-png.node.ts";
export {
  layerHeadSection,
  type MapSheet,
  mapSheetPng,
  type SheetCell,
  type SheetSection,
} from "./inspect/map-sheet-png.node.ts";
export { decodeImage, readImageFile } from "./preprocess/decode-image.node.ts";

setSourceOpener(modelSource);
