// The playground's worker: runs the engine outside of the page's thread. The page calls it through engine-client.ts.
import * as Comlink from "comlink";
import { PlaygroundEngine } from "./engine/engine.ts";
import { EngineError } from "./engine/failure.ts";
import type { EngineHost } from "./engine/loaded-model.ts";
import { WorkerApi } from "./engine/worker-api.ts";
import { lazyShelf } from "./lazy-shelf.ts";

/** How often an adapter is asked for, and the time between two attempts. */
const ADAPTER_ATTEMPTS = 3;
const ADAPTER_PAUSE_MS = 1000;

/** What the page's policy refused last. */
let refused: string | undefined;
addEventListener("securitypolicyviolation", (event) => {
  if (URL.canParse(event.blockedURI)) refused = new URL(event.blockedURI).origin;
});

const requestAdapter = async (): Promise<GPUAdapter> => {
  // The types declare it as present, but browsers without WebGPU lack it.
  const gpu: GPU | undefined = navigator.gpu;
  if (gpu === undefined) {
    const isSandboxed = self.origin === "null";
    const message = isSandboxed
      ? "WebGPU is not available in this sandboxed frame: open the page by itself, or give the frame allow-same-origin."
      : isSecureContext
        ? "This browser does not support WebGPU: use a recent Chrome, Edge, Firefox or Safari, or enable WebGPU."
        : "WebGPU is not available at this address: browsers offer it over https and on localhost only.";
    throw new EngineError({ kind: "no-webgpu", message });
  }
  // While a browser starts its GPU process, also again after a crash, it finds no adapter for a moment.
  for (let attempt = 1; attempt <= ADAPTER_ATTEMPTS; attempt++) {
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    if (adapter !== null) return adapter;
    await new Promise((resolve) => setTimeout(resolve, ADAPTER_PAUSE_MS));
  }
  throw new EngineError({
    kind: "no-adapter",
    message:
      "This browser supports WebGPU but finds no graphics adapter: check the driver, and that hardware acceleration is enabled.",
  });
};

const { models, openKept } = lazyShelf({
  requestAdapter,
  refusedOrigin: () => {
    const origin = refused;
    refused = undefined;
    return origin;
  },
});

const host: EngineHost = {
  requestAdapter,
  openKept,
  async decodeImage(bytes, options) {
    const { decodeImage } = await import("../preprocess/decode-image.browser.ts"); // only pictures of the reader's need it
    return decodeImage(bytes, options);
  },
  now: () => performance.now(),
};

Comlink.expose(new WorkerApi(new PlaygroundEngine(host), models));
// The page waits for a first message; calls that came before it are answered all the same.
postMessage("started");
