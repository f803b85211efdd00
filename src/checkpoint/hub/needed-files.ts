// Which files of a repository a model needs: its configuration, tokenizer and processor, and the weights as safetensors.

import { CheckpointError } from "../../errors.ts";
import { checkPath, listNames, quote } from "../source.ts";
import { INDEX_FILE, parseIndex, SINGLE_FILE } from "../weight-files.ts";

/** Small files that are taken where the repository has them; config.json has to be there. */
export const SMALL_FILES: readonly string[] = [
  "config.json",
  "generation_config.json",
  "preprocessor_config.json",
  "video_preprocessor_config.json",
  "processor_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "chat_template.json",
  "chat_template.jinja",
  "additional_chat_templates/default.jinja",
  "adaptvis.json",
];

/** Weights in forms that are not read, by the ending of their names. */
const OTHER_WEIGHTS: readonly { readonly pattern: RegExp; readonly advice: string }[] = [
  { pattern: /\.(bin|pt|pth)$/, advice: "convert it to safetensors with save_pretrained of transformers" },
  { pattern: /\.gguf$/, advice: "choose the repository that it was converted from" },
  { pattern: /\.onnx(_data)?$/, advice: "choose the repository that it was exported from" },
  { pattern: /\.(msgpack|h5|mlmodel|tflite)$/, advice: "choose a repository with safetensors" },
  { pattern: /\.safetensors$/, advice: "choose the repository of the whole model, such as that of an adapter's base" },
];

/** The small files among `paths`, and the file that holds the weights or says where they are. */
export interface NeededFiles {
  readonly small: readonly string[];
  /** Matched by the patterns that were given, and not small. */
  readonly included: readonly string[];
  readonly weights: typeof SINGLE_FILE | typeof INDEX_FILE;
}

/**
 * Chooses from a repository's paths.
 * @param include patterns of further files, with `*` for anything
 * @throws CheckpointError when the repository has no config.json or no safetensors, or nothing fits a pattern.
 */
export function neededFiles(id: string, paths: readonly string[], include: readonly string[] = []): NeededFiles {
  const has = (path: string) => paths.includes(path);
  const weights = [SINGLE_FILE, INDEX_FILE].find(has);
  if (weights === undefined) throw noSafetensors(id, paths);
  if (!has("config.json")) {
    throw new CheckpointError(
      `${id} has no config.json: choose a repository in the layout of transformers, such as llava-hf/llava-1.5-7b-hf.`,
      { file: "config.json" },
    );
  }
  const small = SMALL_FILES.filter(has);
  const known = new Set<string>([...small, weights]);
  const included = include.flatMap((pattern) => {
    const matching = paths.filter((path) => globOf(pattern).test(path));
    if (matching.length > 0) return matching;
    throw new CheckpointError(`${id} has no file that fits ${quote(pattern)}, but ${listNames(paths)}.`, {
      file: id,
    });
  });
  return {
    small,
    included: [...new Set(included)].filter((path) => !known.has(path)),
    weights: weights === SINGLE_FILE ? SINGLE_FILE : INDEX_FILE,
  };
}

/**
 * The shards that an index names.
 * @param index the text of model.safetensors.index.json
 * @throws CheckpointError when the index is not one, or the repository lacks a shard.
 */
export function shardsOf(id: string, index: string, paths: readonly string[]): readonly string[] {
  const shards = [...new Set(parseIndex(index).values())].sort();
  for (const shard of shards) {
    checkPath(shard);
    if (paths.includes(shard)) continue;
    throw new CheckpointError(
      `${INDEX_FILE} of ${id} names the shard ${quote(shard)}, which the repository lacks; choose another revision.`,
      { file: shard },
    );
  }
  return shards;
}

function noSafetensors(id: string, paths: readonly string[]): CheckpointError {
  for (const { pattern, advice } of OTHER_WEIGHTS) {
    const found = paths.filter((path) => pattern.test(path));
    if (found.length === 0) continue;
    const lacks = `${id} has neither ${SINGLE_FILE} nor ${INDEX_FILE}`;
    return new CheckpointError(`${lacks}, but ${listNames(found)}: ${advice}.`, { file: SINGLE_FILE });
  }
  return new CheckpointError(`${id} has no weights: choose a repository with ${SINGLE_FILE} or its shards.`, {
    file: SINGLE_FILE,
  });
}

function globOf(pattern: string): RegExp {
  const escaped = pattern.replaceAll(/[.+^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replaceAll("*", ".*").replaceAll("?", ".")}$`);
}
