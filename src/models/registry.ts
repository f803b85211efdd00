// The model families. A new one is a folder beside this file and a line in the list.
import { quote } from "../checkpoint/source.ts";
import type { Architecture, ModelFamily } from "./architecture.ts";
import type { ModelConfig } from "./config.ts";
import { ConfigReader } from "./config-reader.ts";
import { llava } from "./llava/llava.ts";
import { llavaNext } from "./llava-next/llava-next.ts";
import { text } from "./text/text.ts";

const FAMILIES: readonly ModelFamily[] = [llava, llavaNext, text];

/**
 * Reads config.json of any family.
 * @throws CheckpointError naming the key, what is possible and what was found.
 */
export function readArchitecture(json: unknown, file = "config.json"): Architecture {
  const config = new ConfigReader(json, file);
  const modelType = config.string("model_type", undefined);
  refuseOtherForms(config);
  const family = FAMILIES.find(({ modelTypes }) => modelTypes.includes(modelType));
  if (family === undefined) {
    const known = FAMILIES.flatMap(({ modelTypes }) => modelTypes);
    throw config.error("model_type", `${known.slice(0, -1).join(", ")} or ${known.at(-1)}`, modelType);
  }
  return family.read(config);
}

/** Versions of the files that `adaptvis quantize` writes: 2 has q4_1, and 1 is what is written without it. */
export const QUANTIZED_VERSIONS: readonly number[] = [1, 2];

/** What `quantization_config.quant_method` of a checkpoint is that `adaptvis quantize` wrote. */
export const QUANT_METHOD = "adaptvis";

/** @throws CheckpointError for a checkpoint that another program quantised, or a later version of this one. */
function refuseOtherForms(config: ConfigReader): void {
  const form = config.child("quantization_config");
  const method = form.raw("quant_method");
  if (method !== QUANT_METHOD) {
    const by = typeof method === "string" ? quote(method) : "another program";
    config.refuse("quantization_config", `checkpoints quantised by ${by}`);
  } else if (!QUANTIZED_VERSIONS.some((version) => version === form.raw("version"))) {
    const known = QUANTIZED_VERSIONS.join(" or ");
    throw form.error("version", `${known}, which this adaptvis reads`, form.raw("version"));
  }
}

/** The numbers of config.json alone. @throws as `readArchitecture`. */
export function readModelConfig(json: unknown, file = "config.json"): ModelConfig {
  return readArchitecture(json, file).config;
}
