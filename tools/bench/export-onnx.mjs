// Exports a checkpoint in Hugging Face's layout for ONNX Runtime: decoder (from ids and from embeddings) and vision tower.
//   node tools/bench/export-onnx.mjs CHECKPOINT [--dtype f32|f16|q8|q8f16|q4|q4f16] [--positions N] [--cache FOLDER]
// prints the folder with llama-ids, llama-embeds and vision (where there is a tower), each as .fused.onnx and .exact.onnx for the two
// forms of attention, and their weights.bin.

import { join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { cachedExport, openWeights } from "./checkpoint.mjs";
import { clipGraph } from "./onnx-clip.mjs";
import { attentionForms, forms, OnnxExport } from "./onnx-layers.mjs";
import { llamaGraph } from "./onnx-llama.mjs";

/** Exports once, then answers from the cache. Returns the folder. */
export async function exportOnnx(folder, { dtype = "f32", numPositions = 1024, cacheFolder } = {}) {
  if (forms[dtype] === undefined)
    throw new Error(`dtype: expected one of ${Object.keys(forms).join(", ")}, got ${dtype}.`);
  const write = async (staging) => {
    const weights = await openWeights(folder);
    const target = new OnnxExport(staging, { weights, dtype });
    const { config } = weights;
    try {
      for (const attention of attentionForms) {
        for (const fromEmbeds of [false, true]) {
          const writer = target.graph("llama");
          await llamaGraph(writer, { text: config.text, weights, numPositions, fromEmbeds, attention });
          writer.write(join(staging, `${fromEmbeds ? "llama-embeds" : "llama-ids"}.${attention}.onnx`));
        }
        if (config.multimodal !== undefined) {
          const writer = target.graph("vision");
          await clipGraph(writer, { config, attention });
          writer.write(join(staging, `vision.${attention}.onnx`));
        }
      }
    } finally {
      target.close();
      await weights.close();
    }
  };
  return cachedExport(folder, `onnx-${dtype}-${numPositions}`, { cacheFolder, write });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({
    options: { dtype: { type: "string" }, positions: { type: "string" }, cache: { type: "string" } },
    allowPositionals: true,
  });
  const [folder] = positionals;
  const isKnown = values.dtype === undefined || forms[values.dtype] !== undefined;
  if (folder === undefined || positionals.length > 1 || !isKnown) {
    process.stderr.write(
      "usage: node tools/bench/export-onnx.mjs CHECKPOINT [--dtype f32|f16|q8|q8f16|q4|q4f16] [--positions N] [--cache FOLDER]\n",
    );
    process.exitCode = 2;
  } else {
    const numPositions = values.positions === undefined ? undefined : Number(values.positions);
    const { dtype, cache: cacheFolder } = values;
    process.stdout.write(`${await exportOnnx(resolve(folder), { dtype, numPositions, cacheFolder })}\n`);
  }
}
