// Repositories for the store: a checkpoint in shards that the engine can load and ask, and one large file.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type CheckpointSpec, checkpointFiles } from "../../src/bench/random-checkpoint.ts";
import { repositoryRoot } from "../setup/bundle.ts";
import { commitNamed, type HubRepo } from "../setup/local-hub.ts";

const EMBEDDED = join(repositoryRoot, "weights", "tiny-spatial");
const { text_config } = JSON.parse(readFileSync(join(EMBEDDED, "config.json"), "utf8"));

/** A small random checkpoint with the embedded one's vocabulary. */
export const SMALL: CheckpointSpec = {
  name: "small",
  seed: 7,
  dtype: "F16",
  decoder: {
    name: "small",
    hiddenSize: 64,
    intermediateSize: 160,
    numHiddenLayers: 2,
    numAttentionHeads: 4,
    numKeyValueHeads: 2,
    headDim: 16,
    vocabSize: text_config.vocab_size,
    numKeys: 64,
    prefillRows: [64],
  },
  vision: {
    name: "small",
    hiddenSize: 32,
    intermediateSize: 64,
    numHiddenLayers: 3,
    numAttentionHeads: 2,
    imageSize: 56,
    patchSize: 14,
  },
  tieWordEmbeddings: false,
  maxPositions: 512,
};

/** The files of a spec's checkpoint with the embedded one's tokenizer, by path. */
export function checkpointOf(spec: CheckpointSpec): ReadonlyMap<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  for (const { name, content } of checkpointFiles(spec)) {
    files.set(name, typeof content === "string" ? Buffer.from(content) : content);
  }
  for (const name of ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]) {
    files.set(name, readFileSync(join(EMBEDDED, name)));
  }
  return files;
}

/** Files as a repository on main, with a licence and files that no model needs. */
export function repositoryOf(files: ReadonlyMap<string, Uint8Array>, name: string): HubRepo {
  const commit = commitNamed(name);
  const more = [["README.md", Buffer.from("a model card")] as const, ["onnx/model.onnx", new Uint8Array(9)] as const];
  return {
    revisions: { main: commit, v1: commit },
    commits: { [commit]: new Map([...files, ...more]) },
    licence: "apache-2.0",
  };
}

/** A model whose weights are one file of so many bytes, which is no checkpoint. */
export function largeFiles(numBytes: number): Map<string, Uint8Array> {
  const bytes = new Uint8Array(numBytes);
  const words = new Uint32Array(bytes.buffer);
  for (let index = 0; index < words.length; index++) words[index] = Math.imul(index + 1, 0x9e3779b9);
  return new Map<string, Uint8Array>([
    ["config.json", Buffer.from("{}")],
    ["model.safetensors", bytes],
  ]);
}
