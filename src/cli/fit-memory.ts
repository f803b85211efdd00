// Whether a model fits into the memory there is, found out before its weights are read, and the form that is loaded where it does not.

import { freemem } from "node:os";
import { InvalidArgumentError, Option } from "commander";
import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import type { Source } from "../checkpoint/source.ts";
import { chooseForm, neededBytes } from "../choose-form.ts";
import { formatBytes } from "../gpu/device.ts";
import type { OpenedAdapter } from "../gpu/hosts/adapter-choice.node.ts";
import type { WeightDtype } from "../gpu/tensor.ts";
import { type MemoryPlan, type PlannedDevice, planMemory } from "../memory-plan.ts";
import { architectureOf, withMaxPicturePixels } from "../models/checkpoint-architecture.ts";
import { keyValueBytes } from "../models/layers/decoder-state.ts";
import { asUsage } from "./checks.ts";
import type { ModelFlags } from "./flags.ts";
import type { Session } from "./session.ts";

/** Memory that a model may use, and how it is known. */
export interface KnownMemory {
  readonly bytes: number;
  readonly from: "--memory" | "free";
}

const UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
};

/** Parser of a size such as "8GB" (10⁹ bytes each) or "7.5 GiB" (2³⁰ bytes each). */
export function byteCount(text: string): number {
  const [, number, unit = ""] = /^\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*$/.exec(text) ?? [];
  const bytes = Math.floor(Number(number) * (UNITS[unit.toUpperCase()] ?? Number.NaN));
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new InvalidArgumentError('Expected a size above 0 with its unit, such as "8GB" or "512 MiB".');
}

/** The option `--memory`. */
export function memoryOption(): Option {
  const what =
    "memory that the model may use, such as 8GB (default: what is free, on an adapter that computes on the CPU; that of a GPU is not known)";
  return new Option("--memory <size>", what).argParser(byteCount);
}

/** The memory of `--memory`, else what is free where the adapter uses the host's; undefined for a GPU, which does not say. */
export function knownMemory(given: number | undefined, isSoftware: boolean): KnownMemory | undefined {
  if (given !== undefined) return { bytes: given, from: "--memory" };
  if (!isSoftware) return undefined;
  // Limits of a container count in it; Deno does not have it.
  return { bytes: process.availableMemory?.() ?? freemem(), from: "free" };
}

/** "8.0 GiB of --memory", "8.0 GiB of memory are free". */
export function memoryText({ bytes, from }: KnownMemory): string {
  return from === "free" ? `${formatBytes(bytes)} of memory are free` : `--memory is ${formatBytes(bytes)}`;
}

/**
 * The form to load a model in: that of `--dtype`, or where none is given the most exact one that fits, which is noted unless it is
 * the file's own. A form that is asked for and does not fit is noted, too. Reads headers only.
 * @throws CheckpointError for a checkpoint that a load would refuse; AbortError.
 */
export async function formToLoad(
  session: Session,
  source: Source,
  load: { readonly flags: ModelFlags; readonly adapter: OpenedAdapter; readonly signal: AbortSignal },
): Promise<WeightDtype | undefined> {
  const { signal } = load;
  const device = plannedDevice(load.adapter);
  const { dtype: asked = "auto", kv: kvDtype, activations, memory: given } = load.flags;
  const wanted = asked === "auto" ? undefined : asked;
  const memory = knownMemory(given, load.adapter.isSoftware);
  if (memory === undefined) return wanted;
  const checkpoint = await openCheckpoint(source, signal);
  try {
    const read = await architectureOf(checkpoint);
    const architecture = await asUsage(() => withMaxPicturePixels(read, load.flags.maxPicturePixels));
    if (wanted === undefined && given === undefined && load.flags.maxPicturePixels === undefined) {
      // Far below what is free, nothing has to be planned: twice the file, and keys and values of a long context.
      const { text } = architecture.config;
      const capacity = Math.min(text.maxPositionEmbeddings, 8192);
      const most = 2 * checkpoint.totalBytes + keyValueBytes(text, { capacity, dtype: "f32" }) + 2 ** 30;
      if (most < memory.bytes) return undefined;
    }
    const options = { device, kvDtype, activationDtype: activations };
    const plan = await planMemory(checkpoint, architecture, { ...options, dtype: wanted });
    if (isFit(plan, memory)) return wanted;
    if (wanted !== undefined || activations === "q8") {
      if (plan.problem === undefined) session.note(`adaptvis: ${shortage(plan, memory)}; it is loaded all the same`);
      return wanted; // the load says which limit forbids it
    }
    const choice = await chooseForm(checkpoint, architecture, { ...options, memoryBytes: memory.bytes });
    const { dtype } = choice.plan;
    const why = plan.problem === undefined ? shortage(plan, memory) : plan.problem.replace(/;.*$|\.$/, "");
    if (!choice.fits) {
      const needs = formatBytes(neededBytes(choice.plan));
      const advice = dtype === plan.dtype ? "it" : `even in ${dtype ?? "its smallest form"} it needs ${needs}, and`;
      session.note(`adaptvis: ${why}; ${advice} is loaded all the same`);
    } else session.note(`adaptvis: ${why}: it is loaded in ${dtype}, with ${formatBytes(neededBytes(choice.plan))}`);
    return dtype;
  } finally {
    await checkpoint.close();
  }
}

/** The traits of the device that an adapter gives. */
export function plannedDevice({ adapter, isSoftware }: OpenedAdapter): PlannedDevice {
  const { limits, features, info: adapterInfo } = adapter;
  return { limits, features, adapterInfo, isSoftware };
}

/** Whether a plan fits. */
export function isFit(plan: MemoryPlan, memory: KnownMemory): boolean {
  return plan.problem === undefined && neededBytes(plan) <= memory.bytes;
}

/** "the model needs 15.2 GiB in f32, and 8.0 GiB of memory are free". */
function shortage(plan: MemoryPlan, memory: KnownMemory): string {
  const form = plan.dtype === undefined ? "as in its file" : `in ${plan.dtype}`;
  return `the model needs ${formatBytes(neededBytes(plan))} ${form}, and ${memoryText(memory)}`;
}
