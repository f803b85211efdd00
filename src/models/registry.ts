// The model families. A new one is a folder beside this file and a line in the list.
import { quote } from "../checkpoint/source.ts";
import { CheckpointError } from "../errors.ts";
import type { Architecture, ModelFamily } from "./architecture.ts";
import type { ModelConfig } from "./config.ts";
import { ConfigReader } from "./config-reader.ts";
import { idefics3 } from "./idefics3/idefics3.ts";
import { llava } from "./llava/llava.ts";
import { llavaNext } from "./llava-next/llava-next.ts";
import { llavaOnevision } from "./llava-onevision/llava-onevision.ts";
import { qwen2Vl } from "./qwen2-vl/qwen2-vl.ts";
import { qwen3Vl } from "./qwen3-vl/qwen3-vl.ts";
import { text } from "./text/text.ts";

const FAMILIES: readonly ModelFamily[] = [llava, llavaNext, llavaOnevision, idefics3, qwen2Vl, qwen3Vl, text];

/**
 * Reads config.json of any family.
 * @throws CheckpointError naming the key, what is possible and what was found.
 */
export function readArchitecture(json: unknown, file = "config.json"): Architecture {
  const config = new ConfigReader(json, file);
  const modelType = config.string("model_type", undefined);
  refuseOtherForms(config);
  refuseOriginalLayout(config, file);
  const family = FAMILIES.find(({ modelTypes }) => modelTypes.includes(modelType));
  if (family === undefined) {
    const known = FAMILIES.flatMap(({ modelTypes }) => modelTypes);
    const nearest = nearestName(modelType, known);
    const hint = nearest === undefined ? "" : ` (the nearest is ${nearest})`;
    throw config.error("model_type", `${known.slice(0, -1).join(", ")} or ${known.at(-1)}${hint}`, modelType);
  }
  return family.read(config);
}

/** Names of one family begin alike, such as llava_next and llava_next_video. */
const MIN_COMMON_LETTERS = 4;

/** The name that begins with the most letters of `name`, if there are at least four. */
function nearestName(name: string, known: readonly string[]): string | undefined {
  const commonLetters = (other: string) => {
    const end = [...other].findIndex((letter, index) => letter !== name[index]);
    return end === -1 ? other.length : end;
  };
  const most = Math.max(...known.map(commonLetters));
  return most < MIN_COMMON_LETTERS ? undefined : known.find((other) => commonLetters(other) === most);
}

/** @throws CheckpointError for a checkpoint as LLaVA's own repository writes it, whose config and tensors have other names. */
function refuseOriginalLayout(config: ConfigReader, file: string): void {
  if (!config.has("mm_vision_tower") || config.has("vision_config")) return;
  throw new CheckpointError(
    `${file}: mm_vision_tower is a setting of LLaVA's own repository, whose checkpoints are not read; use the same model in Hugging Face's layout, such as llava-hf/llava-1.5-7b-hf, or convert it with convert_llava_weights_to_hf.py of transformers.`,
    { file },
  );
}

/** Versions of the files that `adaptvis quantize` writes: 2 for those with q4_1, 1 for all others. */
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
