// Exports a checkpoint in Hugging Face's layout for ONNX Runtime: decoder (from ids and from embeddings) and vision tower.
//   node tools/bench/export-onnx.mjs CHECKPOINT [--dtype f32|f16|q4|q4f16] [--attention fused|exact] [--positions N] [--cache FOLDER]
// prints the folder with llama-ids.onnx, llama-embeds.onnx, vision.onnx (where there is a tower) and their weights.bin.

import { join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { cachedExport, openWeights } from "./checkpoint.mjs";
import { clipGraph } from "./onnx-clip.mjs";
import { attentionForms, forms, OnnxExport } from "./onnx-layers.mjs";
import { llamaGraph } from "./onnx-llama.mjs";

/** Exports once, then answers from the cache. Returns the folder. */
export async function exportOnnx(
  folder,
  { dtype = "f32", attention = "fused", numPositions = 1024, cacheFolder } = {},
) {
  if (forms[dtype] === undefined)
    throw new Error(`dtype: expected one of ${Object.keys(forms).join(", ")}, got ${dtype}.`);
  if (!attentionForms.includes(attention))
    throw new Error(`attention: expected one of ${attentionForms.join(", ")}, got ${attention}.`);
  const write = async (staging) => {
    const weights = await openWeights(folder);
    const target = new OnnxExport(staging, { weights, dtype });
    try {
      const { config } = weights;
      for (const fromEmbeds of [false, true]) {
        const writer = target.graph("llama");
        await llamaGraph(writer, { text: config.text, weights, numPositions, fromEmbeds, attention });
        writer.write(join(staging, fromEmbeds ? "llama-embeds.onnx" : "llama-ids.onnx"));
      }
      if (config.multimodal !== undefined) {
        const writer = target.graph("vision");
        await clipGraph(writer, { config, attention });
        writer.write(join(staging, "vision.onnx"));
      }
    } finally {
      target.close();
      await weights.close();
    }
  };
  return cachedExport(folder, `onnx-${dtype}-${attention}-${numPositions}`, { cacheFolder, write });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values, positionals } = parseArgs({
    options: {
      dtype: { type: "string" },
      attention: { type: "string" },
      positions: { type: "string" },
      cache: { type: "string" },
    },
    allowPositionals: true,
  });
  const [folder] = positionals;
  if (folder === undefined || positionals.length > 1) {
    process.stderr.write(
      "usage: node tools/bench/export-onnx.mjs CHECKPOINT [--dtype f32|f16|q4|q4f16] [--attention fused|exact] [--positions N] [--cache FOLDER]\n",
    );
    process.exitCode = 2;
  } else {
    const numPositions = values.positions === undefined ? undefined : Number(values.positions);
    const { dtype, attention, cache: cacheFolder } = values;
    process.stdout.write(`${await exportOnnx(resolve(folder), { dtype, attention, numPositions, cacheFolder })}\n`);
  }
}
