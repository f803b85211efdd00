// adaptvis inspect: the contents of a checkpoint or of any safetensors file; needs no GPU.
import { stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { Command } from "commander";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.ts";
import { fileSource } from "../checkpoint/file-source.node.ts";
import { readSafetensorsHeader, type TensorEntry } from "../checkpoint/safetensors.ts";
import type { Source } from "../checkpoint/source.ts";
import { CACHE_DTYPES, type CacheDtype } from "../gpu/cache-format.ts";
import { formatBytes } from "../gpu/device.ts";
import { WEIGHT_DTYPES, type WeightDtype } from "../gpu/tensor.ts";
import type { Architecture } from "../models/architecture.ts";
import { architectureOf } from "../models/checkpoint-architecture.ts";
import type { ModelConfig, TextConfig } from "../models/config.ts";
import { keyValueBytes } from "../models/layers/decoder-state.ts";
import { type MatrixError, weightErrors } from "../models/weight-errors.ts";
import { codesName, listWeights, otherForm, planWeights, scalesName, weightMemory } from "../models/weight-table.ts";
import { findModel } from "./find-model.ts";
import { dtypeOption, revisionOption } from "./flags.ts";
import { examples } from "./package-files.ts";
import { defineCommand, type Session, styled, table, UsageError } from "./session.ts";

/** A tensor in the list. */
interface ListedTensor {
  /** The engine's canonical name. */
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly file: string;
}

/** Totals of one part of the model. */
interface PartTotal {
  readonly part: string;
  readonly tensors: number;
  readonly parameters: number;
  readonly bytes: number;
}

/** Tensors that no weight of the model is. */
const OTHER = "other";

/** Parsed options of `inspect`. */
interface InspectFlags {
  readonly dtype?: WeightDtype;
  readonly revision?: string;
}

/** `adaptvis inspect`. */
export const inspectCommand = defineCommand("inspect", describeInspect, inspect);

/** Describes `inspect` to commander. */
function describeInspect(command: Command): Command {
  return command
    .description("List a checkpoint's configuration and tensors, or the tensors of one safetensors file. Needs no GPU.")
    .argument("<model>", "folder with config.json and model.safetensors, an id on the hub, or a safetensors file")
    .addOption(revisionOption())
    .addOption(dtypeOption("also measure the error of each matrix when it is stored in this dtype"))
    .addHelpText(
      "after",
      examples(({ model }) => [
        `inspect ${model}`,
        `inspect ${model} --dtype q4`,
        `inspect ${model}/model.safetensors --json`,
      ]),
    );
}

/** Runs `inspect`. */
async function inspect(session: Session, model: string, flags: InspectFlags): Promise<void> {
  const isFile = (await stat(model).catch(() => undefined))?.isFile() === true;
  if (isFile && (flags.dtype ?? flags.revision) !== undefined) {
    throw new UsageError("--dtype and --revision need a whole model, not a single file.");
  }
  const found = isFile ? undefined : await findModel(session, { model, revision: flags.revision });
  const source = fileSource(found?.folder ?? dirname(model));
  try {
    if (found !== undefined) await inspectFolder(session, found.name, { source, dtype: flags.dtype });
    else await inspectFile(session, model, source);
  } finally {
    await source.close?.();
  }
}

async function inspectFolder(
  session: Session,
  name: string,
  { source, dtype }: { readonly source: Source; readonly dtype: WeightDtype | undefined },
): Promise<void> {
  const checkpoint = await openCheckpoint(source, session.signal);
  const architecture = await architectureOf(checkpoint);
  const { config } = architecture;
  const tensors = listedTensors(checkpoint, architecture);
  const files = [...new Set(tensors.map(({ file }) => file))].sort();
  const metadata: Record<string, Readonly<Record<string, string>>> = {};
  for (const file of files) metadata[file] = (await readSafetensorsHeader(source, file, session.signal)).metadata;
  const parts = totals(tensors, architecture);
  const isLoadable = (each: WeightDtype) => !planWeights(checkpoint, architecture, each).some(otherForm);
  const dtypes = WEIGHT_DTYPES.filter(isLoadable);
  if (dtype !== undefined && dtypes.length < WEIGHT_DTYPES.length) {
    throw new UsageError(`--dtype measures what quantising loses, but ${name} is quantised already: omit it.`);
  }
  const memory = Object.fromEntries(dtypes.map((each) => [each, weightMemory(checkpoint, architecture, each)]));
  const cacheBytes = (each: CacheDtype) => keyValueBytes(config.text, { capacity: 1, dtype: each });
  const cachePerToken = Object.fromEntries(CACHE_DTYPES.map((each) => [each, cacheBytes(each)]));
  const errors = dtype && (await measure(checkpoint, architecture, { dtype, signal: session.signal }));
  session.result({
    model: name,
    config,
    totals: parts,
    total: sum("all", tensors),
    memory,
    cachePerToken,
    metadata,
    tensors,
    ...(errors && { errors }),
  });
  session.print(
    [
      ...configLines(name, config),
      "",
      ...table(["part", "tensors", "parameters", "bytes"], [...parts, sum("all", tensors)].map(totalRow)),
      "",
      ...memoryLines(memory),
      "",
      ...cacheLines(cachePerToken),
      "",
      ...tensorLines(tensors),
      ...(errors === undefined ? [] : ["", ...errorLines(errors)]),
      ...Object.entries(metadata).flatMap(([file, values]) => metadataLines(file, values)),
      "",
    ].join("\n"),
  );
}

async function inspectFile(session: Session, path: string, source: Source): Promise<void> {
  const file = basename(path);
  const { metadata, tensors: entries } = await readSafetensorsHeader(source, file, session.signal);
  const tensors = [...entries].map(([name, entry]) => listed(name, entry, file));
  session.result({
    model: path,
    config: null,
    totals: [],
    total: sum("all", tensors),
    metadata: { [file]: metadata },
    tensors,
  });
  const total = sum("all", tensors);
  session.print(
    [
      styled("bold", path),
      `${total.tensors} tensors, ${count(total.parameters)} numbers, ${formatBytes(total.bytes)}`,
      "",
      ...tensorLines(tensors),
      ...metadataLines(file, metadata),
      "",
    ].join("\n"),
  );
}

/** Errors of the matrices that a dtype changes: of each, the worst, and the mean. */
interface MeasuredErrors {
  readonly dtype: WeightDtype;
  readonly matrices: readonly MatrixError[];
  readonly worst: MatrixError | null;
  readonly meanRelativeRms: number;
}

async function measure(
  checkpoint: Checkpoint,
  architecture: Architecture,
  options: { readonly dtype: WeightDtype; readonly signal: AbortSignal },
): Promise<MeasuredErrors> {
  const matrices = await weightErrors(checkpoint, architecture, options);
  const sum = matrices.reduce((total, { relativeRms }) => total + relativeRms, 0);
  const [worst = null] = [...matrices].sort((a, b) => b.relativeRms - a.relativeRms);
  return { dtype: options.dtype, matrices, worst, meanRelativeRms: sum / Math.max(1, matrices.length) };
}

function memoryLines(memory: Readonly<Record<string, number>>): readonly string[] {
  const rows = Object.entries(memory).map(([dtype, bytes]) => [dtype, formatBytes(bytes)]);
  return table(["--dtype", "weights on the GPU"], rows);
}

function cacheLines(cachePerToken: Readonly<Record<string, number>>): readonly string[] {
  const rows = Object.entries(cachePerToken).map(([dtype, bytes]) => [dtype, formatBytes(bytes)]);
  return table(["--kv", "keys and values per token"], rows);
}

function errorLines({ dtype, matrices, worst, meanRelativeRms }: MeasuredErrors): readonly string[] {
  if (worst === null) return [`No matrix changes in ${dtype}.`];
  const rows = matrices.map(({ name, relativeRms, maxError }) => [name, percent(relativeRms), maxError.toPrecision(3)]);
  return [
    ...table([`matrix in ${dtype}`, "relative RMS error", "largest error"], rows),
    `mean ${percent(meanRelativeRms)}, worst ${percent(worst.relativeRms)} in ${worst.name}`,
  ];
}

function percent(share: number): string {
  return `${(share * 100).toPrecision(3)} %`;
}

/** The tensors, a quantised one as one: its dtype is its form, its shape the unpadded one, its bytes those of codes and scales. */
function listedTensors(checkpoint: Checkpoint, architecture: Architecture): readonly ListedTensor[] {
  const packed = planWeights(checkpoint, architecture, undefined).flatMap(({ tensors }) =>
    tensors.flatMap(({ name, shape, packed }) => (packed === undefined ? [] : [{ name, shape, dtype: packed }])),
  );
  const byCodes = new Map(packed.map((tensor) => [codesName(tensor.name), tensor]));
  const scales = new Set(packed.map(({ name }) => scalesName(name)));
  return [...checkpoint.tensors].flatMap(([name, { file, entry }]) => {
    const tensor = byCodes.get(name);
    if (tensor === undefined) return scales.has(name) ? [] : [listed(name, entry, file)];
    const scaleBytes = checkpoint.tensors.has(scalesName(tensor.name))
      ? checkpoint.tensorBytes(scalesName(tensor.name))
      : 0; // of a damaged checkpoint
    return [{ ...tensor, bytes: entry.end - entry.start + scaleBytes, file }];
  });
}

function listed(name: string, entry: TensorEntry, file: string): ListedTensor {
  return { name, dtype: entry.dtype, shape: entry.shape, bytes: entry.end - entry.start, file };
}

/** By the parts that the model's weights are declared in; what no weight is, such as tables of old versions, is another. */
function totals(tensors: readonly ListedTensor[], architecture: Architecture): readonly PartTotal[] {
  const partOf = new Map<string, string>();
  for (const { tensors: declared, part } of listWeights((w) => architecture.weights(w))) {
    for (const { name, otherNames } of declared) for (const each of [name, ...otherNames]) partOf.set(each, part);
  }
  const parts = [...new Set([...partOf.values(), OTHER])];
  const inPart = (part: string) => tensors.filter(({ name }) => (partOf.get(name) ?? OTHER) === part);
  return parts.map((part) => sum(part, inPart(part))).filter((total) => total.tensors > 0);
}

function sum(part: string, tensors: readonly ListedTensor[]): PartTotal {
  return {
    part,
    tensors: tensors.length,
    parameters: tensors.reduce((total, { shape }) => total + shape.reduce((product, size) => product * size, 1), 0),
    bytes: tensors.reduce((total, { bytes }) => total + bytes, 0),
  };
}

function totalRow(total: PartTotal): readonly string[] {
  return [total.part, String(total.tensors), count(total.parameters), formatBytes(total.bytes)];
}

function configLines(name: string, config: ModelConfig): readonly string[] {
  const { text, multimodal } = config;
  const lines = [`${styled("bold", name)}  ${config.modelType}`];
  if (multimodal !== undefined) {
    const { vision } = multimodal;
    const { imageSize, patchSize } = vision;
    lines.push(
      `vision   ${multimodal.numVisionLayers} of ${vision.numHiddenLayers} layers run, width ${vision.hiddenSize}, ${vision.numAttentionHeads} heads, mlp ${vision.intermediateSize} ${vision.hiddenAct}, ${imageSize} × ${imageSize} pixels in patches of ${patchSize}`,
      `image    ${multimodal.featureSummary}, token ${multimodal.imageTokenId}`,
    );
  }
  lines.push(
    `decoder  ${text.modelType}, ${text.numHiddenLayers} layers, width ${text.hiddenSize}, ${text.numAttentionHeads} heads of ${text.headDim} (${text.numKeyValueHeads} for keys and values), mlp ${text.intermediateSize} ${text.hiddenAct}`,
    `text     vocabulary ${text.vocabSize}, context ${text.maxPositionEmbeddings}${contextParts(text)}, embeddings ${text.tieWordEmbeddings ? "tied" : "untied"}`,
  );
  return lines;
}

/** What the context is made of, where it is not plain: scaled rotary embeddings, sliding windows. */
function contextParts({ rope, slidingWindows, numHiddenLayers }: TextConfig): string {
  const scaling = rope.type === "default" ? "" : ` (${rope.type} rotary embeddings, factor ${rope.factor})`;
  const windows = (slidingWindows ?? []).filter((window) => window !== undefined);
  if (windows.length === 0) return scaling;
  return `${scaling}, a window of ${windows[0]} positions in ${windows.length} of ${numHiddenLayers} layers`;
}

function tensorLines(tensors: readonly ListedTensor[]): readonly string[] {
  const rows = tensors.map(({ name, dtype, shape, bytes, file }) => {
    return [name, dtype, `[${shape.join(", ")}]`, formatBytes(bytes), file];
  });
  return table(["tensor", "dtype", "shape", "bytes", "file"], rows);
}

/** At most this much of a value is shown; --json has all. */
const LONGEST_VALUE = 200;

function shortened(value: string): string {
  const line = value.replaceAll("\n", " ");
  return line.length <= LONGEST_VALUE ? line : `${line.slice(0, LONGEST_VALUE)}… (${line.length} characters)`;
}

function metadataLines(file: string, metadata: Readonly<Record<string, string>>): readonly string[] {
  const entries = Object.entries(metadata);
  if (entries.length === 0) return [];
  return ["", `metadata of ${file}`, ...entries.map(([key, value]) => `  ${key}: ${shortened(value)}`)];
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}
