// Exports a checkpoint's decoder for llama.cpp, with a vocabulary of placeholders: only ids are fed.
//   node tools/bench/export-gguf.mjs CHECKPOINT [--dtype f32|f16|q8|q4] [--cache FOLDER]      prints the file's path
// Source of names and keys: https://github.com/ggml-org/llama.cpp/blob/master/gguf-py/gguf/constants.py

import { join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { cachedExport, openWeights } from "./checkpoint.mjs";
import { writeGguf } from "./gguf-file.mjs";
import { groupSize, quantize, weightBits } from "./quantized-blocks.mjs";
import { frequencyFactors } from "./rope-frequencies.mjs";

const MODEL = "language_model.model";
const LM_HEAD = "language_model.lm_head.weight";
/** What the matrices may be written as. */
export const dtypes = ["f32", "f16", "q8", "q4"];

const USER_DEFINED = 4;

/** The text of a token. */
export function pieceOf(id) {
  return `<${id}>`;
}

/** The file's dtype for one of the bench's: a quantised model's activations are llama.cpp's own affair. Undefined if there is none. */
export function dtypeOf(wanted) {
  const dtype = wanted.replace(/^(q\d)f16$/, "$1");
  return dtypes.includes(dtype) ? dtype : undefined;
}

const layerNames = {
  "input_layernorm.weight": "attn_norm.weight",
  "self_attn.q_proj.weight": "attn_q.weight",
  "self_attn.q_proj.bias": "attn_q.bias",
  "self_attn.k_proj.weight": "attn_k.weight",
  "self_attn.k_proj.bias": "attn_k.bias",
  "self_attn.v_proj.weight": "attn_v.weight",
  "self_attn.v_proj.bias": "attn_v.bias",
  "self_attn.o_proj.weight": "attn_output.weight",
  "self_attn.o_proj.bias": "attn_output.bias",
  "post_attention_layernorm.weight": "ffn_norm.weight",
  "mlp.gate_proj.weight": "ffn_gate.weight",
  "mlp.gate_proj.bias": "ffn_gate.bias",
  "mlp.up_proj.weight": "ffn_up.weight",
  "mlp.up_proj.bias": "ffn_up.bias",
  "mlp.down_proj.weight": "ffn_down.weight",
  "mlp.down_proj.bias": "ffn_down.bias",
};

/** Exports once, then answers from the cache. Returns the file. */
export async function exportGguf(folder, { dtype = "f32", cacheFolder } = {}) {
  if (!dtypes.includes(dtype)) throw new Error(`dtype: expected one of ${dtypes.join(", ")}, got ${dtype}.`);
  const write = async (staging) => {
    const weights = await openWeights(folder);
    try {
      requireSupported(weights);
      await writeGguf(join(staging, "model.gguf"), metadataOf(weights.config.text), await tensorsOf(weights, dtype));
    } finally {
      await weights.close();
    }
  };
  return join(await cachedExport(folder, `gguf-${dtype}`, { cacheFolder, write }), "model.gguf");
}

/** @throws Error where llama.cpp's LLaMA would compute something else than the checkpoint says. */
function requireSupported({ config: { text } }) {
  if (text.hiddenAct !== "silu")
    throw new Error(`llama.cpp's LLaMA has SiLU only, the checkpoint asks for ${text.hiddenAct}.`);
}

function metadataOf(text) {
  const number = (key, value) => ({ key: `llama.${key}`, type: "u32", value });
  const array = (key, type, items) => ({ key: `tokenizer.ggml.${key}`, type: "array", value: { type, items } });
  const ids = Array.from({ length: text.vocabSize }, (_, id) => id);
  return [
    { key: "general.architecture", type: "string", value: "llama" },
    number("context_length", text.maxPositionEmbeddings),
    number("embedding_length", text.hiddenSize),
    number("block_count", text.numHiddenLayers),
    number("feed_forward_length", text.intermediateSize),
    number("attention.head_count", text.numAttentionHeads),
    number("attention.head_count_kv", text.numKeyValueHeads),
    number("attention.key_length", text.headDim),
    number("attention.value_length", text.headDim),
    number("rope.dimension_count", text.headDim),
    number("vocab_size", text.vocabSize),
    { key: "llama.attention.layer_norm_rms_epsilon", type: "f32", value: text.rmsNormEps },
    { key: "llama.rope.freq_base", type: "f32", value: text.rope.theta },
    // A byte-pair vocabulary without merges, whose tokens are all the user's own: any ids can be given as the text of their pieces,
    // which peers need that take no ids, and what a peer tokenises while it loads gives no tokens.
    { key: "tokenizer.ggml.model", type: "string", value: "gpt2" },
    { key: "tokenizer.ggml.pre", type: "string", value: "default" },
    array("tokens", "string", ids.map(pieceOf)),
    array(
      "token_type",
      "i32",
      ids.map(() => USER_DEFINED),
    ),
    array("merges", "string", []),
    { key: "tokenizer.ggml.eos_token_id", type: "u32", value: 2 },
    { key: "tokenizer.ggml.add_bos_token", type: "bool", value: false },
  ];
}

async function tensorsOf(weights, dtype) {
  const { text } = weights.config;
  const embedTokens = weights.has(`${MODEL}.embed_tokens.weight`) ? `${MODEL}.embed_tokens.weight` : LM_HEAD;
  const names = [
    [embedTokens, "token_embd.weight"],
    [`${MODEL}.norm.weight`, "output_norm.weight"],
    ...(text.tieWordEmbeddings ? [] : [[LM_HEAD, "output.weight"]]),
  ];
  for (let index = 0; index < text.numHiddenLayers; index++) {
    for (const [from, to] of Object.entries(layerNames)) {
      const name = `${MODEL}.layers.${index}.${from}`;
      if (weights.has(name)) names.push([name, `blk.${index}.${to}`]);
    }
  }
  const tensors = [];
  for (const [from, name] of names) tensors.push(await tensorOf(weights, { from, name, dtype }));
  const factors = frequencyFactors(text.rope, text.headDim);
  if (factors.some((factor) => factor !== 1)) {
    const bytes = bytesOf(Float32Array.from(factors));
    tensors.push({
      name: "rope_freqs.weight",
      type: "f32",
      shape: [factors.length],
      byteLength: bytes.length,
      make: async () => bytes,
    });
  }
  return tensors;
}

async function tensorOf(weights, { from, name, dtype }) {
  const { shape } = await weights.read(from);
  const numElements = shape.reduce((product, size) => product * size, 1);
  const type = typeOf({ name, shape, dtype, text: weights.config.text });
  const bytesPer = { f32: 4, f16: 2, q8_0: 34 / groupSize, q4_0: 18 / groupSize };
  const make = async () => {
    const data = rotaryOrder(weights.config.text, name, (await weights.read(from)).data);
    if (type === "f32") return bytesOf(data);
    return type === "f16" ? bytesOf(weights.toF16(data)) : packBlocks(data, weights.toF16, weightBits[dtype]);
  };
  return { name, type, shape, byteLength: numElements * bytesPer[type], make };
}

/**
 * The type of a tensor in a file of `dtype`: llama.cpp wants vectors in f32; rows that do not divide into groups, and an embedding
 * table that is not the lm_head too, are not quantised.
 */
function typeOf({ name, shape, dtype, text }) {
  if (shape.length < 2) return "f32";
  if (weightBits[dtype] === undefined) return dtype;
  const isTable = name === "token_embd.weight" && !text.tieWordEmbeddings;
  return shape[1] % groupSize !== 0 || isTable ? "f32" : `${dtype}_0`;
}

/** llama.cpp's rotary embedding pairs neighbours, Hugging Face's the two halves of a head: q and k rows change places. */
export function rotaryOrder({ numAttentionHeads, numKeyValueHeads, headDim }, name, data) {
  const match = /attn_([qk])\./.exec(name);
  if (match === null) return data;
  const heads = match[1] === "q" ? numAttentionHeads : numKeyValueHeads;
  const columns = data.length / (heads * headDim);
  const result = new Float32Array(data.length);
  for (let row = 0; row < heads * headDim; row++) {
    const inHead = row % headDim;
    const source = row - inHead + (inHead % 2) * (headDim / 2) + Math.floor(inHead / 2);
    result.set(data.subarray(source * columns, (source + 1) * columns), row * columns);
  }
  return result;
}

/**
 * Blocks of q8_0 or q4_0: an f16 scale, then 32 bytes, or 16 with element i in the low half (plus 8) and i + 16 in the high half.
 */
export function packBlocks(data, toF16, bits) {
  const numBlocks = data.length / groupSize;
  const blockBytes = 2 + (groupSize * bits) / 8;
  const bytes = new Uint8Array(numBlocks * blockBytes);
  const view = new DataView(bytes.buffer);
  const steps = new Int8Array(groupSize);
  for (let block = 0; block < numBlocks; block++) {
    const scale = quantize(data.subarray(block * groupSize, (block + 1) * groupSize), steps, bits);
    const start = block * blockBytes + 2;
    view.setUint16(start - 2, toF16(Float32Array.of(scale))[0], true);
    if (bits === 8) bytes.set(new Uint8Array(steps.buffer), start);
    else for (let i = 0; i < 16; i++) bytes[start + i] = (steps[i] + 8) | ((steps[i + 16] + 8) << 4);
  }
  return bytes;
}

function bytesOf(data) {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({
    options: { dtype: { type: "string" }, cache: { type: "string" } },
    allowPositionals: true,
  });
  const [folder] = positionals;
  const isKnown = values.dtype === undefined || dtypes.includes(values.dtype);
  if (folder === undefined || positionals.length > 1 || !isKnown) {
    process.stderr.write(
      "usage: node tools/bench/export-gguf.mjs CHECKPOINT [--dtype f32|f16|q8|q4] [--cache FOLDER]\n",
    );
    process.exitCode = 2;
  } else {
    process.stdout.write(`${await exportGguf(resolve(folder), { dtype: values.dtype, cacheFolder: values.cache })}\n`);
  }
}
