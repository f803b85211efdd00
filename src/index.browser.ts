/**
 * The public API in the browser: the core and the browser's own picture decoders.
 * @module browser
 */
export * from "./index.ts";
export { decodeImage } from "./preprocess/decode-image.browser.ts";
