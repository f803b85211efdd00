/**
 * The public API in Deno: the core, local folders through Deno's node:fs, and picture files by npm:sharp, a native add-on
 * that is loaded when the first picture is decoded (permissions: --allow-read, --allow-env, --allow-ffi).
 * @module deno
 */

export { fileSource } from "./checkpoint/file-source.node.ts";
export { writeFileWhole } from "./checkpoint/write-file.node.ts";
export * from "./index.ts";
export { decodeImage, readImageFile } from "./preprocess/decode-image.node.ts";
