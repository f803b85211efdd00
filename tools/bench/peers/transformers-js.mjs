// transformers.js as a peer of the bench, on onnxruntime-web's WebAssembly or on onnxruntime-node's CPU provider.
//   node tools/bench/peers/transformers-js.mjs [--runtime wasm|node] [--threads N]      requests on stdin, see json-lines.mjs
//
// In Node the package takes onnxruntime-node. Where the host has a global under Symbol.for("onnxruntime"), it takes that one instead:
// so onnxruntime-web, which it takes in a browser, runs here too, without the WebGPU part of the build that it has there.

import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openWeights } from "../checkpoint.mjs";
import { exportTransformersJs, hubDtypes } from "../export-transformers-js.mjs";
import { onCpu } from "../onnx-layers.mjs";
import { CannotRun, pseudoRandom, requireOneOf, serve, timed } from "./json-lines.mjs";

const { runtime, threads } = parseArgs({
  options: {
    runtime: { type: "string", default: "wasm" },
    threads: { type: "string", default: String(cpus().length) },
  },
}).values;
requireOneOf("--runtime", runtime, ["wasm", "node"]);
const isWeb = runtime === "wasm";
if (isWeb) {
  const { default: ort } = await import("onnxruntime-web");
  ort.env.wasm.numThreads = Number(threads);
  // It would ask a content delivery network for the package's own files otherwise.
  ort.env.wasm.wasmPaths = new URL("../node_modules/onnxruntime-web/dist/", import.meta.url).href;
  globalThis[Symbol.for("onnxruntime")] = ort;
}
const { CLIPVisionModel, env, LlamaForCausalLM, LogLevel, Tensor } = await import("@huggingface/transformers");
env.allowRemoteModels = false;
env.logLevel = LogLevel.ERROR;

/** The loaded models with the sequence so far, undefined before `load`. */
let opened;

await serve({
  hello: async () => ({
    name: `transformers.js-${runtime}${isWeb && threads === "1" ? "-1-thread" : ""}`,
    version: packageVersion(),
    adapter: isWeb ? `WebAssembly on the CPU, ${threads === "1" ? "1 thread" : `${threads} threads`}` : "CPU",
  }),
  load: async (request) => {
    await unload();
    const { ms, value } = await timed(() => load(request));
    opened = value;
    return { ms };
  },
  prefill,
  decode,
  vision,
  gemv: async () => {
    throw new CannotRun("transformers.js has no single operations.");
  },
  matmul: async () => {
    throw new CannotRun("transformers.js has no single operations.");
  },
  unload: async () => {
    await unload();
    return {};
  },
});

function packageVersion() {
  const file = new URL("../node_modules/@huggingface/transformers/package.json", import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")).version;
}

async function load({ dir, dtype: wanted = "f32", parts = ["llama"], maxPositions = 1024, cacheDir }) {
  const dtype = onCpu(wanted);
  if (hubDtypes[dtype] === undefined) throw new CannotRun(`transformers.js is not given models of dtype ${wanted}.`);
  const weights = await openWeights(dir);
  const { config } = weights;
  await weights.close();
  if (parts.includes("llama") && config.text.headDim % 16 !== 0)
    throw new CannotRun(
      `GroupQueryAttention takes heads whose size is a multiple of 16, this model's is ${config.text.headDim}.`,
    );
  if (parts.includes("vision") && config.multimodal === undefined)
    throw new CannotRun("The checkpoint has no vision tower.");
  const folder = await exportTransformersJs(dir, { dtype, numPositions: maxPositions, cacheFolder: cacheDir });
  const decoder = parts.includes("llama")
    ? await open(LlamaForCausalLM, folder, { name: "decoder", dtype })
    : undefined;
  const tower = parts.includes("vision") ? await open(CLIPVisionModel, folder, { name: "vision", dtype }) : undefined;
  return { config, maxPositions, decoder, tower, ids: [], cache: undefined };
}

/** One of the export's models. */
function open(Model, folder, { name, dtype }) {
  const { name: hubDtype, suffix } = hubDtypes[dtype];
  const path = `${name === "decoder" ? "model" : "vision_model"}${suffix}.onnx_data`;
  const session = { intra_op: { allow_spinning: "0" }, inter_op: { allow_spinning: "0" } };
  return Model.from_pretrained(join(folder, name), {
    local_files_only: true,
    dtype: hubDtype,
    // With a runtime of the host's, the package knows no devices; the provider is named below.
    device: isWeb ? "auto" : "cpu",
    session_options: {
      extra: { session },
      ...(isWeb && {
        executionProviders: ["wasm"],
        externalData: [{ path, data: new Uint8Array(readFileSync(join(folder, name, "onnx", path))) }],
      }),
    },
  });
}

async function unload() {
  const before = opened;
  opened = undefined;
  await before?.decoder?.dispose();
  await before?.tower?.dispose();
}

function loaded() {
  if (opened === undefined) throw new CannotRun("No model is loaded.");
  return opened;
}

/** Evaluates the prompt and chooses the next token, which is not evaluated. */
async function prefill({ ids, embeds, reset = true }) {
  const state = loaded();
  if (embeds !== undefined) throw new CannotRun("This decoder takes token ids only, not embeddings.");
  if (reset) Object.assign(state, { ids: [], cache: undefined });
  const { ms, value } = await timed(() => greedy(state, ids, 1));
  return { ms, argmax: value[0] };
}

async function decode({ numTokens, firstToken }) {
  const state = loaded();
  const { ms, value } = await timed(() => greedy(state, [firstToken], numTokens));
  return { ms, ids: value };
}

/** `count` tokens that the package's own `generate` appends after `newIds`; the last one is not evaluated. */
async function greedy(state, newIds, count) {
  const { decoder, maxPositions } = state;
  if (decoder === undefined) throw new CannotRun("The model was loaded without its decoder.");
  const ids = [...state.ids, ...newIds];
  const numPositions = ids.length + count - 1;
  if (numPositions > maxPositions)
    throw new CannotRun(`${numPositions} positions do not fit the ${maxPositions} that were asked for.`);
  const shape = [1, ids.length];
  const { sequences, past_key_values: cache } = await decoder.generate({
    inputs: new Tensor("int64", BigInt64Array.from(ids, BigInt), shape),
    attention_mask: new Tensor("int64", new BigInt64Array(ids.length).fill(1n), shape),
    past_key_values: state.cache ?? null,
    max_new_tokens: count,
    do_sample: false,
    return_dict_in_generate: true,
  });
  const all = sequences.tolist()[0].map(Number);
  state.ids = all.slice(0, -1);
  state.cache = cache;
  return all.slice(ids.length);
}

/** `pixels`, where given, is the picture [C · S · S]; a pseudo-random one otherwise. With `features` the reply holds them. */
async function vision({ repeat = 1, pixels, features = false }) {
  const { config, tower } = loaded();
  if (tower === undefined) throw new CannotRun("The model was loaded without its vision tower.");
  const { numChannels, imageSize } = config.multimodal.vision;
  const picture = pixels === undefined ? pseudoRandom(numChannels * imageSize ** 2) : Float32Array.from(pixels);
  const shape = [1, numChannels, imageSize, imageSize];
  const input = new Tensor("float32", picture, shape);
  const { ms, value } = await timed(async () => {
    let result;
    for (let run = 0; run < repeat; run++) result = (await tower({ pixel_values: input })).image_features;
    return result;
  });
  const values = value.data;
  const checksum = values.reduce((sum, number) => sum + number, 0);
  return { ms: ms / repeat, checksum, ...(features && { features: Array.from(values) }) };
}
