/**
 * The public API in the browser: the core and the browser's own picture decoders.
 * @module browser
 */

export {
  type WebHubSourceOptions as HubSourceOptions,
  webHubSource as hubSource,
} from "./checkpoint/hub/web-hub-source.ts";
export * from "./index.ts";
export { decodeImage } from "./preprocess/decode-image.browser.ts";
