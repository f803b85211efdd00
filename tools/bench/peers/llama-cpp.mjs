// llama.cpp as a peer of the bench, through node-llama-cpp's prebuilt binaries.
//   node tools/bench/peers/llama-cpp.mjs [--backend cpu|vulkan]      requests on stdin, see json-lines.mjs

import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
import { exportGguf } from "../export-gguf.mjs";
import { CannotRun, serve, timed } from "./json-lines.mjs";

const { backend } = parseArgs({ options: { backend: { type: "string", default: "cpu" } } }).values;
if (backend !== "cpu" && backend !== "vulkan") {
  process.stderr.write(`--backend: expected cpu or vulkan, got ${backend}\n`);
  process.exit(2);
}

let llama;
/** The loaded model with its one sequence, undefined before `load`. */
let opened;

await serve({
  hello: async () => {
    const engine = await start();
    const adapter = engine.gpu === false ? "CPU" : (await engine.getGpuDeviceNames()).join(", ");
    return { name: `llama.cpp-${backend}`, version: packageVersion(), adapter };
  },
  load: async (request) => {
    await unload();
    const { ms, value } = await timed(() => load(request));
    opened = value;
    return { ms };
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
  llama ??= await getLlama({
    gpu: backend === "vulkan" ? "vulkan" : false,
    build: "never",
    progressLogs: false,
    logLevel: LlamaLogLevel.error,
    maxThreads: cpus().length,
    vramPadding: 0,
  });
  return llama;
}

function packageVersion() {
  const file = new URL("../node_modules/node-llama-cpp/package.json", import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")).version;
}

async function load({ dir, dtype = "f32", maxPositions = 1024, cacheDir }) {
  if (!["f32", "f16", "q4"].includes(dtype)) throw new CannotRun(`llama.cpp is not given models of dtype ${dtype}.`);
  const modelPath = await exportGguf(dir, { dtype, cacheFolder: cacheDir });
  const engine = await start();
  const model = await engine.loadModel({
    modelPath,
    gpuLayers: backend === "vulkan" ? "max" : 0,
    ignoreMemorySafetyChecks: true,
  });
  const context = await model.createContext({
    contextSize: maxPositions,
    batchSize: maxPositions,
    threads: cpus().length,
    ignoreMemorySafetyChecks: true,
  });
  return { model, context, sequence: context.getSequence() };
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
  const { ms, value } = await timed(() => greedy(ids, 1));
  return { ms, argmax: value[0] };
}

async function decode({ numTokens, firstToken }) {
  const { ms, value } = await timed(() => greedy([firstToken], numTokens));
  return { ms, ids: value };
}

async function greedy(tokens, count) {
  const ids = [];
  for await (const token of sequence().evaluate(tokens, { temperature: 0, yieldEogToken: true })) {
    ids.push(token);
    if (ids.length === count) break;
  }
  return ids;
}
