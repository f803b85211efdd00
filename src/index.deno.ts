/**
 * The public API in Deno: the core, and local folders through Deno's node:fs. Pictures come in as pixels (an RgbImage):
 * Node's decoder, sharp, runs in Deno too, but is a native add-on that no bundle can hold, so npm:sharp is the caller's import.
 * @module deno
 */
export * from "./index.ts";
export { fileSource } from "./load/file-source.node.ts";
export { writeFileWhole } from "./load/write-file.node.ts";
