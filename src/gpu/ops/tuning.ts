// The table of tuned constants: plain JSON, valid for one adapter and the kernels it was measured with.
import { InputError, isObject, shown } from "../../errors.ts";
import { data, read } from "../../options.ts";
import {
  choiceText,
  isSameChoice,
  type TunableChoice,
  type TunableName,
  type TuningTable,
  usableOf,
} from "../tunables.ts";
import { TUNABLES, tunedTexts } from "./linear-kernels.ts";

/** Names of what can be chosen, in the order of measuring. */
export const TUNABLE_NAMES = Object.keys(TUNABLES).filter(isTunableName);

function isTunableName(name: string): name is TunableName {
  return Object.hasOwn(TUNABLES, name);
}

/** Candidates that the device has the feature and the limits for; there is one at least on every WebGPU device. */
export function usableCandidates(name: TunableName, device: GPUDevice): readonly TunableChoice[] {
  return usableOf(TUNABLES[name], device);
}

/** What a table is valid for: the adapter with its driver, the feature that kernels differ by, and the kernels' text. */
export function tuningKey(device: Pick<GPUDevice, "adapterInfo" | "features">): string {
  const { vendor, architecture, device: model, description } = device.adapterInfo;
  const subgroups = device.features.has("subgroups") ? "subgroups" : "no subgroups";
  return [vendor, architecture, model, description, subgroups, kernelDigest()].join(" | ");
}

/**
 * Reads a table out of parsed JSON.
 * @throws InputError when it is not a tuning table, or selects an unknown candidate.
 */
export function parseTuningTable(json: unknown): TuningTable {
  const refuse = (problem: string): never => {
    throw new InputError(`Tuning table: ${problem}; measure again.`);
  };
  const table = read("tuning table", json, data);
  if (!isObject(table)) return refuse("expected an object");
  const { format, key, choices } = table;
  if (format !== 1) return refuse(`expected format 1, got ${shown(format)}`);
  if (typeof key !== "string") return refuse(`expected a key of text, got ${shown(key)}`);
  if (!isObject(choices)) return refuse("expected an object choices");
  const known: Partial<Record<TunableName, TunableChoice>> = {};
  for (const [name, value] of Object.entries(choices)) {
    if (!isTunableName(name)) return refuse(`nothing named ${shown(name)} can be chosen`);
    const candidates: readonly TunableChoice[] = TUNABLES[name];
    const choice = candidates.find((candidate) => isObject(value) && isSameChoice(candidate, value));
    if (choice === undefined) {
      const expected = candidates.map((candidate) => `(${choiceText(candidate)})`).join(" or ");
      return refuse(`${name}: expected ${expected}, got ${shown(value)}`);
    }
    known[name] = choice;
  }
  return { format, key, choices: known };
}

/**
 * Checks that a table was measured on this adapter with these kernels.
 * @throws InputError when it was not.
 */
export function checkTuningTable(table: TuningTable, device: GPUDevice): void {
  const key = tuningKey(device);
  if (table.key !== key) {
    throw new InputError(`The tuning table is for "${table.key}", this is "${key}"; measure again.`);
  }
  for (const [name, choice] of Object.entries(table.choices)) {
    if (isTunableName(name) && !usableCandidates(name, device).some((usable) => isSameChoice(usable, choice))) {
      throw new InputError(`Tuning table: ${name}: this device cannot run ${choiceText(choice)}; measure again.`);
    }
  }
}

let digest: string | undefined;

/** FNV-1a (32 bits) of all texts of kernels that have tunable constants, in hexadecimal. */
function kernelDigest(): string {
  if (digest !== undefined) return digest;
  let hash = 0x811c9dc5;
  for (const code of tunedTexts()) {
    for (let i = 0; i < code.length; i++) hash = Math.imul(hash ^ code.charCodeAt(i), 0x01000193);
  }
  digest = (hash >>> 0).toString(16).padStart(8, "0");
  return digest;
}
