// Reads a checkpoint for the exporters, through the built engine: its config, and tensors as f32 under the engine's names.

import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { build, isBuilt } from "../build.mjs";

/** Rotary embeddings of rope-frequencies.mjs. */
const exportedRopes = ["default", "linear", "llama3"];

const here = dirname(fileURLToPath(import.meta.url));

/** The built engine for Node; built first where the sources changed. */
export async function loadEngine() {
  if (!isBuilt()) await build();
  return import("../../dist/node.js");
}

/**
 * Opens the checkpoint in `folder`. Close it after use.
 * @throws Error where the exporters would write something else than the checkpoint says.
 */
export async function openWeights(folder) {
  const { fileSource, openCheckpoint, readModelConfig, toF32, f32ToF16 } = await loadEngine();
  const checkpoint = await openCheckpoint(fileSource(folder));
  const config = readModelConfig(checkpoint.config);
  const { rope, slidingWindows } = config.text;
  if (slidingWindows !== undefined) throw new Error(`${folder}: sliding windows are not exported for the peers.`);
  if (!exportedRopes.includes(rope.type))
    throw new Error(`${folder}: ${rope.type} rotary embeddings are not exported for the peers.`);
  return {
    config,
    has: (name) => checkpoint.tensors.has(name),
    /** Values of a tensor as f32, with its shape. */
    read: async (name) => {
      const tensor = checkpoint.tensors.get(name);
      if (tensor === undefined)
        throw new Error(`${folder}: no tensor ${name}; the checkpoint is not of a kind that the peers can be given.`);
      const { dtype, shape } = tensor.entry;
      return { data: toF32(await checkpoint.read(name), dtype), shape };
    },
    toF16: f32ToF16,
    close: () => checkpoint.close(),
  };
}

/**
 * The folder `name` under `cacheFolder` (`.peers` inside the checkpoint's folder unless given) with an export of the checkpoint in
 * `folder`. `write(stagingFolder)` makes it when there is none that is newer than the checkpoint and the exporters.
 */
export async function cachedExport(folder, name, { cacheFolder, write }) {
  const root = cacheFolder ?? join(folder, ".peers");
  const target = join(root, name);
  if (existsSync(target) && statSync(target).mtimeMs > newestInput(folder)) return target;
  const staging = join(root, `.${name}-${process.pid}`);
  mkdirSync(staging, { recursive: true });
  try {
    await write(staging);
    rmSync(target, { recursive: true, force: true });
    renameSync(staging, target);
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
  return target;
}

function newestInput(folder) {
  const inputs = [
    ...readdirSync(folder)
      .filter((name) => /\.(safetensors|json)$/.test(name))
      .map((name) => join(folder, name)),
    ...readdirSync(here)
      .filter((name) => name.endsWith(".mjs"))
      .map((name) => join(here, name)),
  ];
  return Math.max(...inputs.map((file) => statSync(file).mtimeMs));
}
