// Exports a checkpoint in the layout that transformers.js loads: config.json, onnx/NAME.onnx and its NAME.onnx_data.
//   node tools/bench/export-transformers-js.mjs CHECKPOINT [--dtype f32|q8|q4] [--positions N] [--cache FOLDER]
// prints the folder with decoder/ (for LlamaForCausalLM) and, where there is a tower, vision/ (for CLIPVisionModel, which gives
// image_features behind the projector). q8 and q4 are the same MatMulNBits weights as ONNX Runtime's other exports.
// Source of names: https://github.com/huggingface/transformers.js (src/utils/dtypes.js, src/models/modeling_utils.js)

import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { cachedExport, openWeights } from "./checkpoint.mjs";
import { clipGraph } from "./onnx-clip.mjs";
import { OnnxExport } from "./onnx-layers.mjs";
import { llamaGraph } from "./onnx-llama.mjs";

/** transformers.js' name of a dtype, and what it appends to a model's file name for it. */
export const hubDtypes = {
  f32: { name: "fp32", suffix: "" },
  q8: { name: "q8", suffix: "_quantized" },
  q4: { name: "q4", suffix: "_q4" },
};

/** Exports once, then answers from the cache. Returns the folder. */
export async function exportTransformersJs(folder, { dtype = "f32", numPositions = 1024, cacheFolder } = {}) {
  if (hubDtypes[dtype] === undefined)
    throw new Error(`dtype: expected one of ${Object.keys(hubDtypes).join(", ")}, got ${dtype}.`);
  const write = async (staging) => {
    const weights = await openWeights(folder);
    const { config } = weights;
    try {
      await writeModel(join(staging, "decoder"), {
        config: decoderConfig(config.text),
        name: `model${hubDtypes[dtype].suffix}`,
        weights,
        dtype,
        graph: (writer) => llamaGraph(writer, { text: config.text, weights, numPositions, isHub: true }),
      });
      if (config.multimodal === undefined) return;
      await writeModel(join(staging, "vision"), {
        config: { architectures: ["CLIPVisionModel"], model_type: "clip_vision_model", ...external },
        name: `vision_model${hubDtypes[dtype].suffix}`,
        weights,
        dtype,
        graph: (writer) => clipGraph(writer, { config }),
      });
    } finally {
      await weights.close();
    }
  };
  return cachedExport(folder, `transformers-js-${dtype}-${numPositions}`, { cacheFolder, write });
}

const external = { "transformers.js_config": { use_external_data_format: true } };

function decoderConfig(text) {
  return {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    hidden_size: text.hiddenSize,
    num_hidden_layers: text.numHiddenLayers,
    num_attention_heads: text.numAttentionHeads,
    num_key_value_heads: text.numKeyValueHeads,
    head_dim: text.headDim,
    vocab_size: text.vocabSize,
    max_position_embeddings: text.maxPositionEmbeddings,
    ...external,
  };
}

/** Writes a model's folder; `graph` fills the writer of its graph. */
async function writeModel(folder, { config, name, weights, dtype, graph }) {
  mkdirSync(join(folder, "onnx"), { recursive: true });
  writeFileSync(join(folder, "config.json"), `${JSON.stringify(config, undefined, 2)}\n`);
  const target = new OnnxExport(join(folder, "onnx"), { weights, dtype, weightFile: `${name}.onnx_data` });
  try {
    const writer = target.graph(name);
    await graph(writer);
    writer.write(join(folder, "onnx", `${name}.onnx`));
  } finally {
    target.close();
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({
    options: { dtype: { type: "string" }, positions: { type: "string" }, cache: { type: "string" } },
    allowPositionals: true,
  });
  const [folder] = positionals;
  const isKnown = values.dtype === undefined || hubDtypes[values.dtype] !== undefined;
  if (folder === undefined || positionals.length > 1 || !isKnown) {
    process.stderr.write(
      "usage: node tools/bench/export-transformers-js.mjs CHECKPOINT [--dtype f32|q8|q4] [--positions N] [--cache FOLDER]\n",
    );
    process.exitCode = 2;
  } else {
    const numPositions = values.positions === undefined ? undefined : Number(values.positions);
    const { dtype, cache: cacheFolder } = values;
    process.stdout.write(`${await exportTransformersJs(resolve(folder), { dtype, numPositions, cacheFolder })}\n`);
  }
}
