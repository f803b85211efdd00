// The model families. A new one is a folder beside this file and a line in the list.
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
  config.refuse("quantization_config", "quantised checkpoints");
  const family = FAMILIES.find(({ modelTypes }) => modelTypes.includes(modelType));
  if (family === undefined) {
    const known = FAMILIES.flatMap(({ modelTypes }) => modelTypes);
    throw config.error("model_type", `${known.slice(0, -1).join(", ")} or ${known.at(-1)}`, modelType);
  }
  return family.read(config);
}

/** The numbers of config.json alone. @throws as `readArchitecture`. */
export function readModelConfig(json: unknown, file = "config.json"): ModelConfig {
  return readArchitecture(json, file).config;
}
