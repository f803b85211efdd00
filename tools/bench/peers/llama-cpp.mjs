// llama.cpp as a peer of the bench, through node-llama-cpp's prebuilt binaries.
//   node tools/bench/peers/llama-cpp.mjs [--backend cpu|vulkan]      requests on stdin, see json-lines.mjs
//
// ggml's threads wait for each other by spinning, a few times a layer. Where other programs use the cores, that costs a time slice
// each: decode of a 0.7 M model on two busy cores takes 0.5 ms a token with one thread and 210 with two. So `load` tries both and
// keeps the faster. ggml's Vulkan backend passes over software adapters unless told which device to take, and then computes on the
// CPU without a word; it is told.

import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import { dtypeOf, exportGguf } from "../export-gguf.mjs";
import { CannotRun, requireOneOf, serve, timed } from "./json-lines.mjs";

const { backend } = parseArgs({ options: { backend: { type: "string", default: "cpu" } } }).values;
requireOneOf("--backend", backend, ["cpu", "vulkan"]);
if (backend === "vulkan") process.env.GGML_VK_VISIBLE_DEVICES ??= "0";

let llama;
/** The loaded model with its one sequence, undefined before `load`. */
let opened;

await serve({
  hello: async () => {
    await start();
    const adapter = backend === "cpu" ? "CPU" : await deviceNames();
    return { name: `llama.cpp-${backend}`, version: packageVersion(), adapter };
  },
  load: async (request) => {
    await unload();
    const { ms, value } = await timed(() => load(request));
    opened = value;
    return { ms, threads: value.threads };
  },
  prefill,
  decode,
  vision: async () => {
    throw new CannotRun("node-llama-cpp has no CLIP vision tower.");
  },
  gemv: async () => {
    throw new CannotRun("node-llama-cpp has no single operations.");
  },
  matmul: async () => {
    throw new CannotRun("node-llama-cpp has no single operations.");
  },
  unload: async () => {
    await unload();
    return {};
  },
});

async function start() {
  if (llama !== undefined) return llama;
  const engine = await getLlama({
    gpu: backend === "vulkan" ? "vulkan" : false,
    build: "never",
    progressLogs: false,
    logLevel: LlamaLogLevel.error,
    maxThreads: cpus().length,
    vramPadding: 0,
  });
  if (backend === "vulkan" && (engine.gpu !== "vulkan" || (await engine.getGpuDeviceNames()).length === 0))
    throw new CannotRun("llama.cpp's Vulkan backend finds no device on this machine.");
  llama = engine;
  return llama;
}

/** What the driver calls its device: lavapipe's is "llvmpipe". */
async function deviceNames() {
  const names = await (await start()).getGpuDeviceNames();
  return names.map((name) => (name.startsWith("llvmpipe") ? `lavapipe: ${name}` : name)).join(", ");
}

function packageVersion() {
  const file = new URL("../node_modules/node-llama-cpp/package.json", import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")).version;
}

async function load({ dir, dtype = "f32", maxPositions = 1024, threads, cacheDir }) {
  const known = dtypeOf(dtype);
  if (known === undefined) throw new CannotRun(`llama.cpp is not given models of dtype ${dtype}.`);
  // It would end with a segmentation fault instead of an error.
  if (backend === "vulkan" && /SwiftShader/.test(await deviceNames()))
    throw new CannotRun("llama.cpp's Vulkan backend needs 16-bit storage, which SwiftShader does not have.");
  const modelPath = await exportGguf(dir, { dtype: known, cacheFolder: cacheDir });
  const engine = await start();
  const model = await engine.loadModel({
    modelPath,
    gpuLayers: backend === "vulkan" ? "max" : 0,
    ignoreMemorySafetyChecks: true,
  });
  // What it could not put on the device it would compute on the CPU without a word.
  if (backend === "vulkan" && model.gpuLayers === 0) {
    await model.dispose();
    throw new CannotRun("llama.cpp put no layer of the model on the Vulkan device.");
  }
  const contextOf = (count) =>
    model.createContext({
      contextSize: maxPositions,
      batchSize: maxPositions,
      threads: count,
      ignoreMemorySafetyChecks: true,
    });
  const chosen = threads ?? (await fasterThreads(contextOf));
  const context = await contextOf(chosen);
  return { model, context, sequence: context.getSequence(), threads: chosen };
}

/** One thread or as many as cores, whichever decodes a few tokens sooner. */
async function fasterThreads(contextOf) {
  const counts = backend === "cpu" && cpus().length > 1 ? [1, cpus().length] : [1];
  if (counts.length === 1) return 1;
  const times = [];
  for (const count of counts) {
    const context = await contextOf(count);
    const sequence = context.getSequence();
    await greedy(sequence, [1], 1);
    times.push((await timed(() => greedy(sequence, [2], 8))).ms);
    await context.dispose();
  }
  return counts[times.indexOf(Math.min(...times))];
}

async function unload() {
  const before = opened;
  opened = undefined;
  await before?.context.dispose();
  await before?.model.dispose();
}

function sequence() {
  if (opened === undefined) throw new CannotRun("No model is loaded.");
  return opened.sequence;
}

/** Evaluates the prompt and chooses the next token, which is not evaluated. */
async function prefill({ ids, embeds, reset = true }) {
  if (embeds !== undefined) throw new CannotRun("node-llama-cpp takes token ids only, not embeddings.");
  if (reset) await sequence().clearHistory();
  const { ms, value } = await timed(() => greedy(sequence(), ids, 1));
  return { ms, argmax: value[0] };
}

async function decode({ numTokens, firstToken }) {
  const { ms, value } = await timed(() => greedy(sequence(), [firstToken], numTokens));
  return { ms, ids: value };
}

async function greedy(from, tokens, count) {
  const ids = [];
  for await (const token of from.evaluate(tokens, { temperature: 0, yieldEogToken: true })) {
    ids.push(token);
    if (ids.length === count) break;
  }
  return ids;
}
