/**
 * The public API in Node: the core, files, picture decoding, adapters on any machine, heat maps as PNG.
 * @module node
 */
export { type AdapterOptions, openNodeAdapter } from "./gpu/adapter.node.ts";
export { type AdapterChoice, type AdapterKind, adapterChoices, type OpenedAdapter } from "./gpu/adapter-choice.node.ts";
export { type DriverEnvironment, driverEnvironment } from "./gpu/vulkan-drivers.node.ts";
export * from "./index.ts";
export { fileSource } from "./load/file-source.node.ts";
export { writeFileWhole } from "./load/write-file.node.ts";
export { decodeImage, readImageFile } from "./preprocess/decode-image.node.ts";
export { type HeatMapPanel, type HeatMapSheet, heatMapPng } from "./trace/heat-map-png.node.ts";
