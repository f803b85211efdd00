// adaptvis quantize: writes a checkpoint with its matrices in q8, q4_1 or q4, or reports how much they lose in each; needs no GPU.
import { realpath } from "node:fs/promises";
import { basename, join } from "node:path";
import { type Command, Option } from "commander";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.ts";
import { fileSource } from "../checkpoint/file-source.node.ts";
import { formatBytes } from "../gpu/device.ts";
import { QUANTIZED_DTYPES, type QuantizedDtype } from "../gpu/tensor.ts";
import type { Architecture } from "../models/architecture.ts";
import { architectureOf } from "../models/checkpoint-architecture.ts";
import { type QuantizedFile, quantizedConfig, quantizedFiles, quantizedIndex } from "../models/quantized-checkpoint.ts";
import { type QuantizedErrors, quantizedErrors } from "../models/weight-errors.ts";
import { findModel } from "./find-model.ts";
import { revisionOption } from "./flags.ts";
import { companionFiles, ModelFolder } from "./model-folder.ts";
import { progressBar } from "./open-model.ts";
import { examples } from "./package-files.ts";
import { defineCommand, type Session, table, UsageError } from "./session.ts";

/** The form that --report shows the choice of without --dtype. */
const REPORTED: QuantizedDtype = "q4_1";

/** Parsed options of `quantize`. */
interface QuantizeFlags {
  readonly dtype?: QuantizedDtype;
  readonly overwrite?: boolean;
  readonly report?: boolean;
  readonly revision?: string;
}

/** `adaptvis quantize`. */
export const quantizeCommand = defineCommand("quantize", describeQuantize, quantize);

/** Describes `quantize` to commander. */
function describeQuantize(command: Command): Command {
  return command
    .description(
      "Write a checkpoint with its matrices in q8, q4_1 or q4, which loads like the original with --dtype, from a smaller file. Needs no GPU.",
    )
    .argument("<model>", "folder with config.json and model.safetensors, or an id on the hub")
    .argument("[out]", "folder to write; may be omitted with --report")
    .addOption(new Option("--dtype <dtype>", "integers of 8 or 4 bits, q4_1 with minima").choices(QUANTIZED_DTYPES))
    .addOption(revisionOption())
    .option("--overwrite", "replace the model in a folder that is not empty")
    .option(
      "--report",
      "list the error of each matrix in every form, the worst first, and the form that --dtype gives it (default: q4_1)",
    )
    .addHelpText(
      "after",
      examples(({ model }) => [
        `quantize ${model} ${basename(model)}-q4 --dtype q4_1`,
        `quantize ${model} --report`,
        `inspect ${basename(model)}-q4`,
      ]),
    );
}

/** Runs `quantize`. */
async function quantize(session: Session, given: string, out: string | undefined, flags: QuantizeFlags): Promise<void> {
  const { dtype, overwrite = false, report = false } = flags;
  if (out === undefined && !report) throw new UsageError("The folder to write is missing: give one, or --report.");
  if (out !== undefined && dtype === undefined) throw new UsageError("--dtype is missing: give q8, q4_1 or q4.");
  const { folder: model } = await findModel(session, { model: given, revision: flags.revision });
  await checkTarget(model, out);
  const checkpoint = await openCheckpoint(fileSource(model), session.signal);
  try {
    const architecture = await architectureOf(checkpoint);
    const plan = quantizedFiles(checkpoint, architecture, dtype ?? REPORTED); // also for its checks
    const written =
      out !== undefined && dtype !== undefined
        ? await writeModel(session, { checkpoint, files: plan, dtype, model, out, overwrite })
        : { model };
    const errors = report ? await measure(session, { checkpoint, architecture, dtype: dtype ?? REPORTED }) : undefined;
    session.result({ ...written, ...(errors && { errors }) });
    if (errors !== undefined) session.print(`${reportLines(errors, dtype ?? REPORTED).join("\n")}\n`);
  } finally {
    await checkpoint.close();
  }
}

/** The errors of all matrices, the largest in `dtype` first; one that no f16 scale fits is before all. */
async function measure(
  session: Session,
  {
    checkpoint,
    architecture,
    dtype,
  }: { readonly checkpoint: Checkpoint; readonly architecture: Architecture; readonly dtype: QuantizedDtype },
): Promise<readonly QuantizedErrors[]> {
  const bar = await progressBar("measuring");
  try {
    const onMatrix = (numDone: number, numMatrices: number) => bar.show(numDone, numMatrices);
    const errors = await quantizedErrors(checkpoint, architecture, { dtype, signal: session.signal, onMatrix });
    const rank = ({ relativeRms }: QuantizedErrors) =>
      Number.isNaN(relativeRms[dtype]) ? Number.POSITIVE_INFINITY : relativeRms[dtype];
    return errors.sort((a, b) => (rank(a) === rank(b) ? 0 : rank(b) - rank(a)));
  } finally {
    bar.stop();
  }
}

function reportLines(errors: readonly QuantizedErrors[], dtype: QuantizedDtype): readonly string[] {
  const percent = (share: number) => (Number.isFinite(share) ? `${(share * 100).toPrecision(3)} %` : "does not fit");
  const rows = errors.map(({ name, relativeRms, chosen }) => [
    name,
    ...QUANTIZED_DTYPES.map((each) => percent(relativeRms[each])),
    chosen,
  ]);
  return table(["matrix, by relative RMS error", ...QUANTIZED_DTYPES, `with --dtype ${dtype}`], rows);
}

/** @throws UsageError when `out` is the model's own folder. */
async function checkTarget(model: string, out: string | undefined): Promise<void> {
  if (out === undefined) return;
  const target = await realpath(out).catch(() => undefined);
  if (target === (await realpath(model))) {
    throw new UsageError(`${out} is the folder of the model itself: choose another folder.`);
  }
}

/** A checkpoint to write. */
interface Writing {
  readonly checkpoint: Checkpoint;
  readonly files: readonly QuantizedFile[];
  readonly dtype: QuantizedDtype;
  readonly model: string;
  readonly out: string;
  readonly overwrite: boolean;
}

/** Writes the folder. @returns the fields of --json */
async function writeModel(session: Session, writing: Writing): Promise<object> {
  const { checkpoint, files, dtype, model, out, overwrite } = writing;
  const folder = await ModelFolder.open(out, { overwrite });
  try {
    await writeFiles(session, folder, writing);
    await folder.finish();
  } catch (error) {
    await folder.discard();
    throw error;
  }
  const bytes = files.reduce((sum, { fileBytes }) => sum + fileBytes, 0);
  const sourceBytes = checkpoint.totalBytes;
  session.print(`${out}: ${formatBytes(bytes)} in ${dtype}, from ${formatBytes(sourceBytes)}\n`);
  return { model, out, dtype, files: files.map(({ name }) => name), sourceBytes, bytes };
}

async function writeFiles(session: Session, folder: ModelFolder, writing: Writing): Promise<void> {
  const { checkpoint, files, dtype, model } = writing;
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
