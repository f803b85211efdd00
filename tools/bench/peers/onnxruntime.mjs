// ONNX Runtime as a peer of the bench: its WebGPU provider on the adapter that the environment's Vulkan driver gives, its CPU one, or
// onnxruntime-web's WebAssembly in Node, with one thread or as many as cores.
//   node tools/bench/peers/onnxruntime.mjs [--provider webgpu|cpu|wasm] [--attention fused|exact] [--threads N]
//   requests on stdin, see json-lines.mjs
//
// Keys and values stay on the GPU in buffers of the full length that are past and present at once; then GroupQueryAttention
// appends in place and takes its fused path. onnxruntime-node 1.30 allows that only without `preferredOutputLocation`: with it,
// outputs given by the caller are ignored and every step copies the whole cache. The other providers copy such buffers whole at every
// call (decode on the CPU takes twice the time), so there keys and values grow with the positions instead.
//
// Known wrong: for 32 query rows or more, the flash attention of 1.30's WebGPU provider differs from its CPU provider's on lavapipe
// and SwiftShader: one MultiHeadAttention node over numbers in [−1, 1) by 0.02 at 32 rows, by 1e-7 at 16. The error depends on the
// adapter's subgroup size alone (lavapipe with vectors of 128, 256 and 512 bits: 0.09, 0.02, 0.01). `load` with `attention: "exact"`
// (or with that argument, for all loads) takes a form that the provider computes along its other path, right to 1e-6; `hello` and
// `load` name as `caveats` what a form gets wrong.

import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { openWeights } from "../checkpoint.mjs";
import { exportOnnx } from "../export-onnx.mjs";
import { OnnxGraph } from "../onnx-file.mjs";
import { attentionForms, forms, onCpu } from "../onnx-layers.mjs";
import { fromF16Bits, toF16Bits } from "./float16-bits.mjs";
import { argmax, CannotRun, pseudoRandom, requireOneOf, serve, timed } from "./json-lines.mjs";

const {
  provider,
  attention: usualAttention,
  threads,
} = parseArgs({
  options: {
    provider: { type: "string", default: "webgpu" },
    attention: { type: "string", default: "fused" },
    threads: { type: "string", default: String(cpus().length) },
  },
}).values;
requireOneOf("--provider", provider, ["webgpu", "cpu", "wasm"]);
requireOneOf("--attention", usualAttention, attentionForms);
const isWeb = provider === "wasm";
const growsCache = provider !== "webgpu";
const packageName = isWeb ? "onnxruntime-web" : "onnxruntime-node";
const { default: ort } = await import(packageName);
if (isWeb) ort.env.wasm.numThreads = Number(threads);
const sessionOptions = {
  executionProviders: [provider],
  graphOptimizationLevel: "all",
  logSeverityLevel: 3,
  // An idle peer must not spin on the cores of the one that is being measured.
  extra: { session: { intra_op: { allow_spinning: "0" }, inter_op: { allow_spinning: "0" } } },
};
const typeNames = { f32: "float32", f16: "float16" };

/** The loaded model, undefined before `load`. */
let model;

await serve({
  hello: async () => ({
    name: `onnxruntime-${provider}${usualAttention === "fused" ? "" : `-${usualAttention}`}${isWeb && threads === "1" ? "-1-thread" : ""}`,
    version: packageVersion(),
    adapter: adapterName(),
    caveats: caveats(usualAttention),
  }),
  load: async (request) => {
    await unload();
    const { ms, value } = await timed(() => load(request));
    model = value;
    return { ms, attention: value.attention, caveats: caveats(value.attention) };
  },
  prefill: async (request) => prefill(loaded(), request),
  decode: async ({ numTokens, firstToken }) => decode(loaded(), numTokens, firstToken),
  vision: async (request) => vision(loaded(), request),
  gemv: async (request) => matmul(request),
  matmul: async (request) => matmul(request),
  unload: async () => {
    await unload();
    return {};
  },
});

function packageVersion() {
  const file = new URL(`../node_modules/${packageName}/package.json`, import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")).version;
}

/** The provider does not tell its adapter; the driver that it was started with decides. */
function adapterName() {
  if (provider === "cpu") return "CPU";
  if (isWeb) return `WebAssembly on the CPU, ${threads === "1" ? "1 thread" : `${threads} threads`}`;
  const driver = process.env.VK_DRIVER_FILES ?? process.env.VK_ICD_FILENAMES ?? "";
  if (/lvp/.test(driver)) return "lavapipe";
  return /swiftshader/i.test(driver) ? "SwiftShader" : driver || "the system's default";
}

/** What a report has to say beside this peer's numbers under a form of attention. */
function caveats(attention) {
  if (provider !== "webgpu" || attention === "exact" || !["lavapipe", "SwiftShader"].includes(adapterName())) return [];
  return [
    "Its flash attention is wrong for 32 rows or more on this adapter's subgroup size, so the times of prefill and vision are those of other results.",
  ];
}

function loaded() {
  if (model === undefined) throw new CannotRun("No model is loaded.");
  return model;
}

async function load({
  dir,
  dtype: wanted = "f32",
  attention = usualAttention,
  parts = ["llama"],
  maxPositions = 1024,
  cacheDir,
}) {
  const dtype = provider === "webgpu" ? wanted : onCpu(wanted);
  if (forms[dtype] === undefined) throw new CannotRun(`ONNX Runtime is not given models of dtype ${wanted}.`);
  if (!attentionForms.includes(attention)) throw new CannotRun(`There is no form of attention ${attention}.`);
  const weights = await openWeights(dir);
  const { config } = weights;
  await weights.close();
  const { headDim } = config.text;
  if (parts.includes("llama") && headDim % 16 !== 0)
    throw new CannotRun(`GroupQueryAttention takes heads whose size is a multiple of 16, this model's is ${headDim}.`);
  const folder = await exportOnnx(dir, { dtype, numPositions: maxPositions, cacheFolder: cacheDir });
  const type = forms[dtype].activations;
  const opened = { folder, config, type, attention, sessions: new Map(), cache: undefined, numCached: 0, maxPositions };
  if (parts.includes("llama")) {
    await session(opened, "llama-ids");
    opened.cache = await createCache(opened);
  }
  if (parts.includes("vision")) {
    if (config.multimodal === undefined) throw new CannotRun("The checkpoint has no vision tower.");
    await session(opened, "vision");
  }
  return opened;
}

/** The session of one of the export's graphs, opened when first asked for. */
async function session({ folder, attention, sessions }, name) {
  const known = sessions.get(name);
  if (known !== undefined) return known;
  // onnxruntime-web reads no files that a model refers to.
  const externalData = isWeb && { externalData: [{ path: "weights.bin", data: join(folder, "weights.bin") }] };
  const file = join(folder, `${name}.${attention}.onnx`);
  const opened = await ort.InferenceSession.create(file, { ...sessionOptions, ...externalData });
  sessions.set(name, opened);
  return opened;
}

/** Runs a session; that the adapter lacks a feature is said only now, when shaders are compiled. */
async function runSession(runnable, feeds, fetches) {
  try {
    return fetches === undefined ? await runnable.run(feeds) : await runnable.run(feeds, fetches);
  } catch (error) {
    if (/requires f16 but the device/.test(String(error)))
      throw new CannotRun("ONNX Runtime needs f16 arithmetic for this dtype, which the adapter does not have.");
    throw error;
  }
}

async function unload() {
  if (model === undefined) return;
  const { sessions, cache } = model;
  model = undefined;
  for (const tensor of cache?.tensors ?? []) tensor.dispose?.();
  for (const opened of sessions.values()) await opened.release();
  await cache?.maker?.release();
}

/** Zeroed keys and values of all layers [1, Hkv, C, headDim], on the GPU for the WebGPU provider; empty ones for the others. */
async function createCache({ config, type, maxPositions }) {
  const { numHiddenLayers, numKeyValueHeads, headDim } = config.text;
  const numRows = growsCache ? 0 : maxPositions;
  const shape = [1, numKeyValueHeads, numRows, headDim];
  const maker = growsCache ? undefined : await copySession(type, shape);
  const feeds = {};
  const fetches = {};
  const tensors = [];
  for (let layer = 0; layer < numHiddenLayers; layer++) {
    for (const part of ["key", "value"]) {
      const zeros = tensorOf(type, new Float32Array(numKeyValueHeads * numRows * headDim), shape);
      const tensor = maker === undefined ? zeros : (await maker.run({ x: zeros })).y;
      feeds[`past.${layer}.${part}`] = tensor;
      fetches[`present.${layer}.${part}`] = tensor;
      tensors.push(tensor);
    }
  }
  return { maker, feeds, fetches, tensors };
}

/** A session that copies `x` to a GPU buffer `y`: onnxruntime-node has no other way to allocate one. */
function copySession(type, shape) {
  const graph = new OnnxGraph("copy");
  graph.input("x", type, shape);
  graph.node("Identity", ["x"], { outputs: ["y"] });
  graph.output("y", type, shape);
  return ort.InferenceSession.create(graph.encode(), { ...sessionOptions, preferredOutputLocation: "gpu-buffer" });
}

function tensorOf(type, values, shape) {
  const data = type === "f16" ? toF16Bits(values) : values;
  return new ort.Tensor(typeNames[type], data, shape);
}

function valuesOf(tensor) {
  return tensor.type === "float16" ? fromF16Bits(tensor.data) : tensor.data;
}

function int32(values, shape) {
  return new ort.Tensor("int32", Int32Array.from(values), shape);
}

/** One forward call over `numRows` new positions; returns the last row's logits, read back, and their argmax. */
async function forward(opened, name, { input, numRows }) {
  const { cache, numCached, maxPositions } = opened;
  if (cache === undefined) throw new CannotRun("The model was loaded without its decoder.");
  const end = numCached + numRows;
  if (end > maxPositions) throw new CannotRun(`${end} positions do not fit the ${maxPositions} that were asked for.`);
  const runnable = await session(opened, name);
  const feeds = { ...input, ...cache.feeds, seqlens_k: int32([end - 1], [1]), total_sequence_length: int32([end], []) };
  const results = await runSession(runnable, feeds, growsCache ? undefined : { logits: null, ...cache.fetches });
  if (growsCache) growCache(cache, results);
  opened.numCached = end;
  const { logits } = results;
  const values = valuesOf(logits);
  return { values, argmax: argmax(values) };
}

/** The keys and values of a call are the next one's past. */
function growCache({ feeds, fetches }, results) {
  for (const name of Object.keys(fetches)) feeds[name.replace("present", "past")] = results[name];
}

/** With `logits` the reply holds the last row's. */
async function prefill(opened, { ids, embeds, reset = true, logits = false }) {
  if (reset) {
    opened.numCached = 0;
    if (growsCache && opened.cache !== undefined) opened.cache = await createCache(opened);
  }
  if (embeds === undefined) {
    const input = { input_ids: int32(ids, [1, ids.length]) };
    return measured(() => forward(opened, "llama-ids", { input, numRows: ids.length }), logits);
  }
  const { numRows } = embeds;
  const { hiddenSize } = opened.config.text;
  const rows = pseudoRandom(numRows * hiddenSize);
  const input = { inputs_embeds: tensorOf(opened.type, rows, [1, numRows, hiddenSize]) };
  return measured(() => forward(opened, "llama-embeds", { input, numRows }), logits);
}

async function measured(work, withLogits) {
  const { ms, value } = await timed(work);
  return { ms, argmax: value.argmax, ...(withLogits && { logits: Array.from(value.values) }) };
}

async function decode(opened, numTokens, firstToken) {
  const { ms, value } = await timed(async () => {
    const ids = [];
    for (let token = firstToken; ids.length < numTokens; ids.push(token)) {
      const input = { input_ids: int32([token], [1, 1]) };
      token = (await forward(opened, "llama-ids", { input, numRows: 1 })).argmax;
    }
    return ids;
  });
  return { ms, ids: value };
}

/** `pixels`, where given, is the picture [C · S · S]; a pseudo-random one otherwise. With `features` the reply holds them. */
async function vision(opened, { repeat = 1, pixels, features = false }) {
  if (opened.config.multimodal === undefined) throw new CannotRun("The checkpoint has no vision tower.");
  const { numChannels, imageSize } = opened.config.multimodal.vision;
  const picture = pixels === undefined ? pseudoRandom(numChannels * imageSize ** 2) : Float32Array.from(pixels);
  const feeds = { pixel_values: tensorOf(opened.type, picture, [1, numChannels, imageSize, imageSize]) };
  const runnable = await session(opened, "vision");
  const { ms, value } = await timed(async () => {
    let result;
    for (let run = 0; run < repeat; run++) result = (await runSession(runnable, feeds)).image_features;
    return result;
  });
  const values = valuesOf(value);
  const checksum = values.reduce((sum, number) => sum + number, 0);
  return { ms: ms / repeat, checksum, ...(features && { features: Array.from(values) }) };
}

/**
 * One MatMul [rows, k] × [k, n]. Its result is summed on the GPU, or reading it back would be part of the time: the sum adds
 * rows · n additions to rows · k · n multiplications.
 */
async function matmul({ rows = 1, k, n, dtype = "f32", repeat = 1 }) {
  if (typeNames[dtype] === undefined)
    throw new CannotRun(`The MatMul of one operation is not given in dtype ${dtype}.`);
  const graph = new OnnxGraph("matmul");
  graph.input("x", dtype, [rows, k]);
  const matrix = pseudoRandom(k * n, 2);
  graph.constant("w", dtype, { shape: [k, n], data: dtype === "f16" ? toF16Bits(matrix) : matrix });
  const product = graph.node("MatMul", ["x", "w"]);
  graph.node("ReduceSum", [product], { attributes: { keepdims: { int: 0 } }, outputs: ["y"] });
  graph.output("y", dtype, []);
  const opened = await ort.InferenceSession.create(graph.encode(), sessionOptions);
  try {
    const feeds = { x: tensorOf(dtype, pseudoRandom(rows * k), [rows, k]) };
    await runSession(opened, feeds); // compiles the pipelines
    const { ms } = await timed(async () => {
      for (let run = 0; run < repeat; run++) await runSession(opened, feeds);
    });
    return { ms: ms / repeat };
  } finally {
    await opened.release();
  }
}
