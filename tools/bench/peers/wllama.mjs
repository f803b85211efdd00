// wllama, llama.cpp compiled to WebAssembly, as a peer of the bench: in headless Chromium, as it needs a browser's workers.
//   node tools/bench/peers/wllama.mjs [--threads N]      requests on stdin, see json-lines.mjs
//
// Its own WebGPU backend is left out: this peer is the CPU of a browser. It takes texts only, so it is given the pieces of the ids;
// its times are the engine's own, without turning them back into ids.

import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { dtypeOf, exportGguf, pieceOf } from "../export-gguf.mjs";
import { openPage } from "./chromium.mjs";
import { CannotRun, serve } from "./json-lines.mjs";

const { threads } = parseArgs({ options: { threads: { type: "string", default: String(cpus().length) } } }).values;
const numThreads = Number(threads);
const packageFolder = fileURLToPath(new URL("../node_modules/@wllama/wllama", import.meta.url));

/** The page's side: one model, one sequence. */
const pageSource = `
import { Wllama } from "/wllama/index.js";
const nothing = () => undefined;
const logger = { debug: nothing, log: nothing, warn: nothing, error: (...args) => console.error(...args) };
let wllama;
export async function load({ numThreads, maxPositions }) {
  const start = performance.now();
  const blob = await (await fetch("/model.gguf")).blob();
  wllama = new Wllama({ default: "/wllama/wasm/wllama.wasm" }, { logger, suppressNativeLog: true });
  await wllama.loadModel([new File([blob], "model.gguf")], {
    n_threads: numThreads, n_ctx: maxPositions, n_batch: maxPositions, n_parallel: 1, n_gpu_layers: 0, warmup: false,
  });
  return { ms: performance.now() - start, numThreads: wllama.getNumThreads() };
}
export async function complete({ prompt, count, usesCache }) {
  const { choices, timings, usage } = await wllama.createCompletion({
    prompt, max_tokens: count, temperature: 0, top_k: 1, ignore_eos: true, cache_prompt: usesCache,
    logprobs: 1, post_sampling_probs: true,
  });
  return { timings, usage, newIds: choices[0].logprobs.content.map(({ id }) => id) };
}
export async function unload() {
  await wllama?.exit();
  wllama = undefined;
}
`;

/** The page, opened once, and the model's file that its server gives out. */
let opened;
let modelFile;
/** What the sequence holds, undefined before `load`. */
let sequence;

const operations = {
  hello: async () => {
    const { version } = await page();
    const count = numThreads === 1 ? "1 thread" : `${numThreads} threads`;
    return {
      name: `wllama${numThreads === 1 ? "-1-thread" : ""}`,
      version: packageVersion(),
      adapter: `WebAssembly on the CPU in Chromium ${version}, ${count}`,
    };
  },
  load: async ({ dir, dtype = "f32", maxPositions = 1024, cacheDir }) => {
    const known = dtypeOf(dtype);
    if (known === undefined) throw new CannotRun(`wllama is not given models of dtype ${dtype}.`);
    await unload();
    modelFile = await exportGguf(dir, { dtype: known, cacheFolder: cacheDir });
    const result = await inPage("load", { numThreads, maxPositions });
    if (result.numThreads !== numThreads)
      throw new CannotRun(`wllama computes with ${result.numThreads} threads where ${numThreads} were asked for.`);
    sequence = [];
    return { ms: result.ms };
  },
  prefill: async ({ ids, embeds, reset = true }) => {
    if (embeds !== undefined) throw new CannotRun("wllama takes token ids only, not embeddings.");
    const { ms, newIds } = await greedy([...(reset ? [] : loaded()), ...ids], { count: 1, usesCache: !reset });
    return { ms, argmax: newIds[0] };
  },
  decode: async ({ numTokens, firstToken }) => {
    const { ms, newIds } = await greedy([...loaded(), firstToken], { count: numTokens, usesCache: true });
    return { ms, ids: newIds };
  },
  vision: async () => {
    throw new CannotRun("wllama is not given the CLIP vision tower.");
  },
  gemv: async () => {
    throw new CannotRun("wllama has no single operations.");
  },
  matmul: async () => {
    throw new CannotRun("wllama has no single operations.");
  },
  unload: async () => {
    await unload();
    return {};
  },
};
await serve(operations, { atEnd: () => opened?.close() });

function packageVersion() {
  return JSON.parse(readFileSync(join(packageFolder, "package.json"), "utf8")).version;
}

async function page() {
  opened ??= await openPage((path) => {
    if (path === "/page.js") return { text: pageSource, extension: ".js" };
    if (path === "/model.gguf") return modelFile === undefined ? undefined : { file: modelFile };
    return path.startsWith("/wllama/")
      ? { file: join(packageFolder, "esm", path.slice("/wllama/".length)) }
      : undefined;
  });
  return opened;
}

/** Calls one of the page's functions. */
async function inPage(name, argument = null) {
  const call = `import("/page.js").then((module) => module.${name}(${JSON.stringify(argument)}))`;
  return (await page()).page.evaluate(call);
}

async function unload() {
  if (sequence === undefined) return;
  sequence = undefined;
  await inPage("unload");
}

function loaded() {
  if (sequence === undefined) throw new CannotRun("No model is loaded.");
  return sequence;
}

/** `count` tokens after `ids`; those of them that the sequence holds already are not evaluated again where `usesCache` is set. */
async function greedy(ids, { count, usesCache }) {
  loaded();
  const prompt = ids.map(pieceOf).join("");
  const { timings, usage, newIds } = await inPage("complete", { prompt, count, usesCache });
  if (usage.prompt_tokens !== ids.length)
    throw new CannotRun(`wllama read ${usage.prompt_tokens} tokens where ${ids.length} were given.`);
  sequence = [...ids, ...newIds.slice(0, -1)];
  return { ms: timings.prompt_ms + timings.predicted_ms, newIds };
}
