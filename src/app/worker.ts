// The playground's worker: the engine, off the page's thread. The page talks to it through engine-client.ts.
import * as Comlink from "comlink";
import { decodeImage } from "../preprocess/decode-image.browser.ts";
import { PlaygroundEngine } from "./engine/engine.ts";
import { EngineError } from "./engine/failure.ts";
import { WorkerApi } from "./engine/worker-api.ts";

const engine = new PlaygroundEngine({
  async requestAdapter() {
    // Types say that it is there; browsers without WebGPU differ.
    const gpu: GPU | undefined = navigator.gpu;
    if (gpu === undefined) {
      const message = isSecureContext
        ? "This browser has no WebGPU: use a recent Chrome, Edge, Firefox or Safari, or switch WebGPU on."
        : "This address has no WebGPU: browsers give it to pages over https and on localhost only.";
      throw new EngineError({ kind: "no-webgpu", message });
    }
    const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
    if (adapter !== null) return adapter;
    throw new EngineError({
      kind: "no-adapter",
      message:
        "This browser has WebGPU but finds no graphics adapter for it: check the driver, and that hardware acceleration is on.",
    });
  },
  decodeImage,
  now: () => performance.now(),
});

Comlink.expose(new WorkerApi(engine));
