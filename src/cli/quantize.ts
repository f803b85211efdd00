// adaptvis quantize: writes a checkpoint with its matrices in q8 or q4, or reports how much they lose in each; needs no GPU.
import { realpath, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { type Command, Option } from "commander";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.ts";
import { fileSource } from "../checkpoint/file-source.node.ts";
import { CheckpointError } from "../errors.ts";
import { formatBytes } from "../gpu/device.ts";
import type { QuantizedDtype } from "../gpu/tensor.ts";
import { type QuantizedFile, quantizedConfig, quantizedFiles, quantizedIndex } from "../models/quantized-checkpoint.ts";
import { readArchitecture } from "../models/registry.ts";
import { companionFiles, ModelFolder } from "./model-folder.ts";
import { progressBar } from "./open-model.ts";
import { examples } from "./package-files.ts";
import { defineCommand, type Session, UsageError } from "./session.ts";

/** Parsed options of `quantize`. */
interface QuantizeFlags {
  readonly dtype: QuantizedDtype;
  readonly overwrite?: boolean;
}

/** `adaptvis quantize`. */
export const quantizeCommand = defineCommand("quantize", describeQuantize, quantize);

/** Describes `quantize` to commander. */
function describeQuantize(command: Command): Command {
  return command
    .description(
      "Write a checkpoint with its matrices in q8 or q4, which loads like the original with --dtype, from a smaller file. Needs no GPU.",
    )
    .argument("<model>", "folder with config.json and model.safetensors")
    .argument("<out>", "folder to write")
    .addOption(new Option("--dtype <dtype>", "integers of 8 or 4 bits").choices(["q8", "q4"]).makeOptionMandatory())
    .option("--overwrite", "replace the model in a folder that is not empty")
    .addHelpText(
      "after",
      examples(({ model }) => [`quantize ${model} ${basename(model)}-q4 --dtype q4`, `inspect ${basename(model)}-q4`]),
    );
}

/** Runs `quantize`. */
async function quantize(session: Session, model: string, out: string, flags: QuantizeFlags): Promise<void> {
  const { dtype, overwrite = false } = flags;
  await checkFolders(model, out);
  const checkpoint = await openCheckpoint(fileSource(model), session.signal);
  try {
    const files = quantizedFiles(checkpoint, readArchitecture(checkpoint.config), dtype);
    const folder = await ModelFolder.open(out, { overwrite });
    try {
      await writeModel(session, { checkpoint, files, folder, dtype, model });
      await folder.finish();
    } catch (error) {
      await folder.discard();
      throw error;
    }
    const bytes = files.reduce((sum, { fileBytes }) => sum + fileBytes, 0);
    session.result({
      model,
      out,
      dtype,
      files: files.map(({ name }) => name),
      sourceBytes: checkpoint.totalBytes,
      bytes,
    });
    session.print(`${out}: ${formatBytes(bytes)} in ${dtype}, from ${formatBytes(checkpoint.totalBytes)}\n`);
  } finally {
    await checkpoint.close();
  }
}

/** @throws CheckpointError unless `model` is a folder; UsageError when `out` is the same one. */
async function checkFolders(model: string, out: string): Promise<void> {
  const stats = await stat(model).catch(() => undefined);
  if (!stats?.isDirectory()) {
    const problem = stats === undefined ? "does not exist" : "is not a folder";
    const message = `${model} ${problem}: expected a folder with config.json and model.safetensors.`;
    throw new CheckpointError(message, { file: model });
  }
  const target = await realpath(out).catch(() => undefined);
  if (target === (await realpath(model))) {
    throw new UsageError(`${out} is the folder of the model itself: choose another folder.`);
  }
}

async function writeModel(
  session: Session,
  work: {
    readonly checkpoint: Checkpoint;
    readonly files: readonly QuantizedFile[];
    readonly folder: ModelFolder;
    readonly dtype: QuantizedDtype;
    readonly model: string;
  },
): Promise<void> {
  const { checkpoint, files, folder, dtype, model } = work;
  const totalBytes = files.reduce((sum, { sourceBytes }) => sum + sourceBytes, 0);
  let readBytes = 0;
  const bar = await progressBar(`quantising ${basename(model)}`);
  async function* shown(file: QuantizedFile) {
    for await (const chunk of file.chunks(session.signal)) {
      readBytes += chunk.readBytes;
      bar.show(readBytes, totalBytes);
      yield chunk;
    }
  }
  try {
    for (const name of await companionFiles(model)) await folder.copy(name, join(model, name));
    for (const [index, file] of files.entries()) {
      await folder.write(file.name, shown(file));
      if (files.length > 1) session.note(`adaptvis: ${file.name}, ${index + 1} of ${files.length}, is written`);
    }
  } finally {
    bar.stop();
  }
  const json = (value: object) => `${JSON.stringify(value, undefined, 2)}\n`;
  if (files.length > 1) await folder.writeText("model.safetensors.index.json", json(quantizedIndex(files)));
  await folder.writeText("config.json", json(quantizedConfig(checkpoint, dtype)));
}
