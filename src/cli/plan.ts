// adaptvis plan: what a model needs, before any of its weights are read or downloaded.
import type { Command } from "commander";
import { type PredictedSpeed, predictSpeed } from "../bench/machine-speed.ts";
import { type ModelSpeed, measureModelSpeed } from "../bench/model-speed.ts";
import { type Checkpoint, openCheckpoint } from "../checkpoint/checkpoint.ts";
import { fileSource } from "../checkpoint/file-source.node.ts";
import { type ModelView, viewModel } from "../checkpoint/hub/remote-source.node.ts";
import { loadableForms, nearestFit, neededBytes } from "../choose-form.ts";
import { CACHE_DTYPES, type CacheDtype } from "../gpu/cache-format.ts";
import { formatBytes, requestGpuDevice } from "../gpu/device.ts";
import type { OpenedAdapter } from "../gpu/hosts/adapter-choice.node.ts";
import { tuningKey } from "../gpu/ops/tuning.ts";
import type { WeightDtype } from "../gpu/tensor.ts";
import { type MemoryPlan, PLAN_PARTS, type PlannedDevice, type PlanOptions, planMemory } from "../memory-plan.ts";
import type { Architecture } from "../models/architecture.ts";
import { architectureOf, withMaxPicturePixels } from "../models/checkpoint-architecture.ts";
import { keyValueBytes } from "../models/layers/decoder-state.ts";
import { asUsage, modelPath, wholeFrom } from "./checks.ts";
import {
  byteCount,
  isFit,
  type KnownMemory,
  knownMemory,
  memoryOption,
  memoryText,
  plannedDevice,
} from "./fit-memory.ts";
import { activationsOption, autoDtypeOption, kvOption, maxPicturePixelsOption, revisionOption } from "./flags.ts";
import { embeddedNamed, examples } from "./package-files.ts";
import { defineCommand, type Session, styled, table, UsageError } from "./session.ts";
import { readSpeed } from "./speed-cache.ts";

/** Parsed options of `plan`. */
interface PlanFlags {
  readonly revision?: string;
  readonly dtype?: WeightDtype | "auto";
  readonly kv?: CacheDtype;
  readonly activations?: PlanOptions["activationDtype"];
  readonly context?: number;
  readonly images?: number;
  readonly maxPicturePixels?: number;
  readonly memory?: number;
  readonly rate: number;
  readonly measure?: boolean;
}

/** Bytes a second of a download unless `--rate` says otherwise. */
const DEFAULT_RATE = 20e6;

/** Splits in the table, at most. */
const MAX_SPLITS = 6;

/** `adaptvis plan`. */
export const planCommand = defineCommand("plan", describePlan, plan);

/** Describes `plan` to commander. */
function describePlan(command: Command): Command {
  return command
    .description(
      "Say what a model needs before any of its weights are read or downloaded: memory by part, whether it fits, the nearest form that does, and the time to download it. With --measure, also the time to load it and to answer. Of a model on the hub, only small files and the headers of its weights are read.",
    )
    .argument(
      "[model]",
      "folder with config.json and model.safetensors, or an id on the hub (default: the embedded model)",
    )
    .addOption(revisionOption())
    .addOption(autoDtypeOption())
    .addOption(kvOption("how keys and values are stored on the GPU (default: f32)"))
    .addOption(activationsOption())
    .option("--context <positions>", "positions of the prompt, its pictures and the answer", wholeFrom(1))
    .option("--images <number>", "pictures of the question (default: 1)", wholeFrom(0))
    .addOption(maxPicturePixelsOption())
    .addOption(memoryOption())
    .option("--rate <size>", "bytes that a download takes per second", byteCount, DEFAULT_RATE)
    .option("--measure", "measure how fast this adapter runs the model, with a few of its layers")
    .addHelpText(
      "after",
      examples(() => [
        "plan llava-hf/llava-1.5-7b-hf",
        "plan llava-hf/llava-1.5-7b-hf --memory 8GB --context 2048",
        "plan llava-hf/llava-1.5-7b-hf --dtype q4 --json",
      ]),
    );
}

/** What is planned for. */
interface Subject {
  readonly checkpoint: Checkpoint;
  readonly architecture: Architecture;
  readonly options: Omit<PlanOptions, "dtype"> & { readonly device: PlannedDevice };
  readonly memory: KnownMemory | undefined;
}

/** Runs `plan`. */
async function plan(session: Session, model: string | undefined, flags: PlanFlags): Promise<void> {
  const { signal } = session;
  const adapter = await session.openAdapter();
  const view = await asUsage(() => openView(session, model, flags.revision));
  try {
    const checkpoint = await openCheckpoint(view.source, signal);
    const read = await architectureOf(checkpoint);
    const architecture = await asUsage(() => withMaxPicturePixels(read, flags.maxPicturePixels));
    const device = plannedDevice(adapter);
    const { context: contextLength, images: numImages, kv: kvDtype, activations: activationDtype } = flags;
    const options = { device, contextLength, numImages, kvDtype, activationDtype };
    const memory = knownMemory(flags.memory, adapter.isSoftware);
    await report(session, { checkpoint, architecture, options, memory }, { view, adapter, flags });
  } finally {
    await view.source.close?.();
  }
}

/** The speed of the model in the chosen form: measured now, else predicted from rates that a bench kept for the adapter. */
async function speedOf(
  session: Session,
  { checkpoint, architecture, options }: Subject,
  of: ReportContext & { readonly chosen: MemoryPlan },
): Promise<KnownSpeed | undefined> {
  const { chosen, view, flags } = of;
  const { adapter, isSoftware } = of.adapter;
  if (flags.measure !== true) {
    const rates = await readSpeed(tuningKey({ adapterInfo: adapter.info, features: adapter.features }));
    return rates && { from: "bench", ...predictSpeed(chosen, rates) };
  }
  if (chosen.problem !== undefined) throw new UsageError(`--measure: ${chosen.problem}`);
  session.note("adaptvis: measuring the model's layers on this adapter");
  const device = await requestGpuDevice(adapter);
  const { dtype, kvDtype, contextLength } = chosen;
  const isRead = view.downloadBytes === 0;
  try {
    const speed = await measureModelSpeed(device, {
      checkpoint,
      architecture,
      options: { ...options, dtype, kvDtype, contextLength },
      plan: chosen,
      isSoftware,
      isRead,
      signal: session.signal,
    });
    return { from: "layers", ...speed };
  } finally {
    device.destroy();
  }
}

function openView(session: Session, model: string | undefined, revision: string | undefined): Promise<ModelView> {
  if (model !== undefined && embeddedNamed(model) === undefined) {
    const onNote = (text: string) => session.note(`adaptvis: ${text}`);
    return viewModel(model, { revision, signal: session.signal, onNote });
  }
  if (revision !== undefined) throw new UsageError("--revision belongs to a model on the hub: give its id.");
  const folder = modelPath({ model });
  return Promise.resolve({ source: fileSource(folder), name: folder, commit: undefined, downloadBytes: 0 });
}

/** What a report is about, beside the model. */
interface ReportContext {
  readonly view: ModelView;
  readonly adapter: OpenedAdapter;
  readonly flags: PlanFlags;
}

/** A speed, and where it is from. */
type KnownSpeed = ({ readonly from: "bench" } & PredictedSpeed) | ({ readonly from: "layers" } & ModelSpeed);

async function report(session: Session, subject: Subject, of: ReportContext): Promise<void> {
  const { checkpoint, architecture, options, memory } = subject;
  const { view, adapter, flags } = of;
  const { dtype: asked = "auto", rate } = flags;
  const memoryBytes = memory?.bytes ?? Number.POSITIVE_INFINITY;
  const wanted = await asUsage(() =>
    planMemory(checkpoint, architecture, { ...options, dtype: asked === "auto" ? undefined : asked }),
  );
  const fits = memory === undefined && wanted.problem === undefined ? undefined : isFit(wanted, memory ?? UNLIMITED);
  const nearest = fits === false ? await nearestFit(checkpoint, architecture, { ...options, memoryBytes }) : undefined;
  // What a load without --dtype does.
  const chosen = asked === "auto" && nearest !== undefined ? nearest : wanted;
  const forms = await formsOf(subject);
  const cachePerToken = Object.fromEntries(
    CACHE_DTYPES.map((dtype) => [dtype, keyValueBytes(architecture.config.text, { capacity: 1, dtype })]),
  );
  const download =
    view.downloadBytes === 0 ? undefined : { bytes: view.downloadBytes, rate, seconds: view.downloadBytes / rate };
  const speed = await speedOf(session, subject, { ...of, chosen });
  const { kind, isSoftware, description } = adapter;
  session.result({
    model: view.name,
    ...(view.commit === undefined ? {} : { commit: view.commit }),
    adapter: { kind, isSoftware, description },
    asked,
    memory: memory ?? null,
    fits: fits ?? null,
    plan: jsonOf(wanted),
    nearest: nearest === undefined ? null : jsonOf(nearest),
    forms: forms.map((form) => ({ ...shortForm(form), fits: memory === undefined ? null : isFit(form, memory) })),
    cachePerToken,
    download: download ?? null,
    speed: speed ?? null,
  });
  session.print(
    [
      `${styled("bold", view.name)}  on ${description}`,
      `${questionText(chosen)}, weights ${formText(chosen)}, keys and values in ${chosen.kvDtype}`,
      "",
      ...partLines(chosen),
      "",
      ...table(
        ["--dtype", "on the GPU", "most of the host", ""],
        forms.map((form) => formRow(form, memory)),
      ),
      "",
      ...table(
        ["--kv", "keys and values per token"],
        Object.entries(cachePerToken).map(([dtype, bytes]) => [dtype, formatBytes(bytes)]),
      ),
      "",
      ...splitLines(chosen),
      ...verdictLines({ wanted, nearest, memory, fits, asked }),
      ...(download === undefined ? [] : [downloadText(download)]),
      ...speedLines(speed),
      "",
    ].join("\n"),
  );
}

/** Where only limits decide. */
const UNLIMITED: KnownMemory = { bytes: Number.POSITIVE_INFINITY, from: "--memory" };

/** The plan in each form that the checkpoint can be loaded in. */
async function formsOf({ checkpoint, architecture, options }: Subject): Promise<readonly MemoryPlan[]> {
  const plans: MemoryPlan[] = [];
  for (const dtype of loadableForms(checkpoint, architecture)) {
    plans.push(await planMemory(checkpoint, architecture, { ...options, dtype }));
  }
  return plans;
}

/** The plan with what JSON can hold. */
function jsonOf(plan: MemoryPlan): object {
  return { ...plan, dtype: plan.dtype ?? "file", neededBytes: neededBytes(plan), problem: plan.problem ?? null };
}

function shortForm({ dtype, loadedBytes, peakBytes, hostPeakBytes }: MemoryPlan) {
  return { dtype: dtype ?? "file", loadedBytes, peakBytes, hostPeakBytes };
}

function questionText({ contextLength, promptLength, numImages }: MemoryPlan): string {
  const pictures = numImages === 1 ? "1 picture" : `${numImages} pictures`;
  return `${contextLength} positions: a prompt of ${promptLength} with ${pictures}, and ${contextLength - promptLength} new tokens`;
}

function formText({ dtype }: MemoryPlan): string {
  return dtype === undefined ? "as in the file" : `in ${dtype}`;
}

function partLines(plan: MemoryPlan): readonly string[] {
  const rows = PLAN_PARTS.filter((part) => plan.parts[part] > 0).map((part) => [part, formatBytes(plan.parts[part])]);
  const { loadedBytes, answeredBytes, peakBytes, stagingBytes, hostPeakBytes, isSoftware } = plan;
  return table(
    ["part", "bytes"],
    [
      ...rows,
      ["on the GPU after the load", formatBytes(loadedBytes)],
      ["on the GPU after the question", formatBytes(answeredBytes)],
      ["most at once on the GPU", formatBytes(peakBytes)],
      ["on its way during the load", formatBytes(stagingBytes)],
      [isSoftware ? "most of the host, with the GPU's" : "most of the host", formatBytes(hostPeakBytes)],
    ],
  );
}

function formRow(plan: MemoryPlan, memory: KnownMemory | undefined): readonly string[] {
  const { dtype, peakBytes, hostPeakBytes, problem } = plan;
  const verdict = memory === undefined ? "" : isFit(plan, memory) ? "fits" : "does not fit";
  const forbidden = problem === undefined ? verdict : "the adapter's limits forbid it";
  return [dtype ?? "as in the file", formatBytes(peakBytes), formatBytes(hostPeakBytes), forbidden];
}

function splitLines({ splits }: MemoryPlan): readonly string[] {
  if (splits.length === 0) return [];
  const shown = splits.slice(0, MAX_SPLITS).map(({ name, numPieces }) => [name, String(numPieces)]);
  const rest = splits.length > MAX_SPLITS ? [`and ${splits.length - MAX_SPLITS} more`] : [];
  return [...table(["matrix larger than one binding", "pieces"], shown), ...rest, ""];
}

function verdictLines(of: {
  readonly wanted: MemoryPlan;
  readonly nearest: MemoryPlan | undefined;
  readonly memory: KnownMemory | undefined;
  readonly fits: boolean | undefined;
  readonly asked: string;
}): readonly string[] {
  const { wanted, nearest, memory, fits, asked } = of;
  const lines: string[] = [];
  if (memory === undefined) lines.push("WebGPU does not say how much memory a GPU has: state it with --memory.");
  if (wanted.problem !== undefined) lines.push(wanted.problem);
  const needs = `needs ${formatBytes(neededBytes(wanted))} ${formText(wanted)}`;
  if (memory !== undefined && fits === true) lines.push(`It fits: it ${needs}, and ${memoryText(memory)}.`);
  if (fits !== false) return lines;
  if (memory !== undefined) lines.push(`It does not fit: it ${needs}, and ${memoryText(memory)}.`);
  if (nearest === undefined) return [...lines, "Nothing that can be chosen makes it fit."];
  const options = [
    ...(nearest.dtype === undefined || nearest.dtype === asked ? [] : [`--dtype ${nearest.dtype}`]),
    ...(nearest.kvDtype === wanted.kvDtype ? [] : [`--kv ${nearest.kvDtype}`]),
    ...(nearest.contextLength === wanted.contextLength ? [] : [`a context of ${nearest.contextLength} positions`]),
  ];
  return [...lines, `It fits with ${options.join(" and ")}, in ${formatBytes(neededBytes(nearest))}.`];
}

function downloadText({
  bytes,
  rate,
  seconds,
}: {
  readonly bytes: number;
  readonly rate: number;
  readonly seconds: number;
}): string {
  return `The download is ${formatBytes(bytes)}: ${durationText(seconds)} at ${rate / 1e6} MB/s (--rate).`;
}

function speedLines(speed: KnownSpeed | undefined): readonly string[] {
  if (speed === undefined)
    return ["The speed is not known: plan --measure measures it with a few of the model's layers."];
  const { promptMs, promptRate, tokenMs, tokenRate } = speed;
  const prompt = `${durationText(promptMs / 1000)} (${promptRate.toPrecision(3)} positions/s)`;
  const token = `a new token ${tokenMs.toPrecision(3)} ms (${tokenRate.toPrecision(3)}/s)`;
  if (speed.from === "bench") {
    return [
      `Predicted from rates of a bench, which may be off by half: the prompt without its pictures' encoding ${prompt}, ${token}.`,
      "plan --measure measures more exactly, with a few of the model's layers.",
    ];
  }
  const { loadMs, isRead, pictureMs, decoderLayers, visionLayers } = speed;
  const counts = [
    `${decoderLayers.measured} of ${decoderLayers.all} decoder layers`,
    ...(visionLayers === undefined ? [] : [`${visionLayers.measured} of ${visionLayers.all} vision layers`]),
  ];
  const load = `the load ${durationText(loadMs / 1000)}${isRead ? "" : " and what reading the disk takes beyond that"}`;
  const pictures = pictureMs === 0 ? "" : ` pictures ${durationText(pictureMs / 1000)},`;
  return [`Measured with ${counts.join(" and ")}: ${load},${pictures} the prompt ${prompt}, ${token}.`];
}

/** "45 s", "12 min", "1.5 h". */
function durationText(seconds: number): string {
  if (seconds < 1) return `${Math.ceil(1000 * seconds)} ms`;
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
