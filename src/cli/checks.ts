// Checks of the command line: option values, output files, layers and heads.

import { readFileSync, type Stats } from "node:fs";
import { access, constants, readdir, stat } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { InvalidArgumentError } from "commander";
import { SMALL_FILES } from "../checkpoint/hub/needed-files.ts";
import { InputError, oneLine, reasonOf } from "../errors.ts";
import type { JsonSchema } from "../generate/grammar/json-schema.ts";
import type { MapSelection } from "../inspect/attention-map.ts";
import { MAX_FACTOR, type RowSelection } from "../interventions/parameters.ts";
import type { ModelConfig } from "../models/config.ts";
import { MAX_BATCH_ROWS } from "../models/layers/step.ts";
import type { ModelFlags } from "./flags.ts";
import { embeddedModel, embeddedNamed } from "./package-files.ts";
import { UsageError } from "./session.ts";

/** Parser of a finite number within bounds. */
export function numberFrom(bounds: { readonly least?: number; readonly most?: number; readonly above?: number }) {
  const {
    least = Number.NEGATIVE_INFINITY,
    most = Number.POSITIVE_INFINITY,
    above = Number.NEGATIVE_INFINITY,
  } = bounds;
  const wanted = [
    ...(bounds.above === undefined ? [] : [`above ${above}`]),
    ...(bounds.least === undefined ? [] : [`at least ${least}`]),
    ...(bounds.most === undefined ? [] : [`at most ${most}`]),
  ].join(" and ");
  return (text: string): number => {
    const value = text.trim() === "" ? Number.NaN : Number(text);
    if (Number.isFinite(value) && value >= least && value <= most && value > above) return value;
    throw new InvalidArgumentError(`Expected a number that is ${wanted}.`);
  };
}

/** Parser of a whole number from `least` to `most`. */
export function wholeFrom(least: number, most: number = Number.MAX_SAFE_INTEGER) {
  const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
  return (text: string): number => {
    const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`Expected a whole number ${range}.`);
  };
}

/** Collects the values of a repeatable option, in order. */
export function collected(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text];
}

/** `0,2,5-7` → 0, 2, 5, 6, 7. */
export function indexList(text: string): readonly number[] {
  const indices = text.split(",").flatMap((part) => {
    const range = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part.trim());
    const first = Number(range?.[1]);
    const last = Number(range?.[2] ?? range?.[1]);
    if (range === null || last < first) {
      throw new InvalidArgumentError('Expected numbers and ranges such as "0,1" or "8-15".');
    }
    return Array.from({ length: last - first + 1 }, (_, offset) => first + offset);
  });
  return [...new Set(indices)];
}

/** `0.5,1,2` → 0.5, 1, 2. */
export function factorList(text: string): readonly number[] {
  const factors = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  if (factors.length <= MAX_BATCH_ROWS && factors.every((factor) => factor >= 0 && factor <= MAX_FACTOR)) {
    return factors;
  }
  throw new InvalidArgumentError(
    `Expected 1 to ${MAX_BATCH_ROWS} numbers from 0 to ${MAX_FACTOR}, separated by commas, such as "0.5,1,2".`,
  );
}

/** `Left, Right` → "Left", "Right". */
export function wordList(text: string): readonly string[] {
  const words = text.split(",").map((word) => word.trim());
  if (words.every((word) => word !== "")) return words;
  throw new InvalidArgumentError('Expected words separated by commas, such as "Left,Right".');
}

/** `0,12.5,64,48` → left 0, top 12.5, right 64, bottom 48. */
export function pictureBox(text: string): readonly number[] {
  const numbers = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  if (numbers.length === 4 && numbers.every(Number.isFinite)) return numbers;
  throw new InvalidArgumentError('Expected left, top, right and bottom in pixels, such as "0,12,64,48".');
}

/** The lists of numbers of a JSON file, one list per layer; their sizes are checked when the model is known. */
export function strengthsOfFile(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new InvalidArgumentError(
      `${path} must be a JSON file with a list of numbers for each layer (${oneLine(reasonOf(error))}).`,
    );
  }
}

/** The JSON schema of a file; what it says is checked when the answer begins. */
export function jsonSchemaOfFile(path: string): JsonSchema {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new InvalidArgumentError(`${path} must be a JSON file with a JSON schema (${oneLine(reasonOf(error))}).`);
  }
}

/** `last`, `generated`, `after-image`, or a count of prompt rows from the end. */
export function rowSelection(text: string): RowSelection {
  if (text === "last" || text === "generated" || text === "after-image") return text;
  const last = /^\d+$/.test(text) ? Number(text) : 0;
  if (Number.isSafeInteger(last) && last >= 1) return { last };
  throw new InvalidArgumentError('Expected "last", "generated", "after-image" or a whole number of at least 1.');
}

/** Parser of non-empty text. */
export function someText(text: string): string {
  if (text !== "") return text;
  throw new InvalidArgumentError("Expected non-empty text.");
}

/** As {@link collected}, for non-empty text. */
export function repeated(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, someText(text)];
}

/**
 * Checks, before the work begins, that a file can be written at `path`.
 * @param inputs files that the command reads and must not overwrite, under whatever name or link; of a checkpoint's folder, its files
 * @throws InputError when `path` cannot be written; UsageError when it is one of the inputs.
 */
export async function checkOutput(
  option: string,
  path: string | undefined,
  inputs: readonly (string | undefined)[],
): Promise<void> {
  if (path === undefined) return;
  const existing = await stat(path).catch(() => undefined);
  for (const input of inputs) {
    if (input === undefined) continue;
    if (resolve(input) !== resolve(path) && !(existing?.isFile() && (await isFileOf(input, existing)))) continue;
    throw new UsageError(`${option} ${path} would overwrite an input file: choose another place.`);
  }
  if (existing?.isDirectory()) throw cannotWrite(path, "it is a folder");
  const folder = existing === undefined ? dirname(path) : path;
  const stats = await stat(folder).catch(() => undefined);
  if (stats === undefined) throw cannotWrite(path, "its folder does not exist");
  if (existing === undefined && !stats.isDirectory()) throw cannotWrite(path, "its folder is a file");
  await access(folder, constants.W_OK).catch(() => {
    throw cannotWrite(path, "permission is denied");
  });
}

/** The folder or hub id of `--model`. */
export function modelPath({ model }: Pick<ModelFlags, "model">): string {
  return model === undefined ? embeddedModel() : (embeddedNamed(model) ?? model);
}

/** Whether a file is an input itself, or a file of the checkpoint in that folder. */
async function isFileOf(input: string, { dev, ino }: Stats): Promise<boolean> {
  const isSame = (stats: Stats | undefined) => stats?.dev === dev && stats.ino === ino;
  const stats = await stat(input).catch(() => undefined);
  if (stats?.isDirectory() !== true) return isSame(stats);
  const names = (await readdir(input)).filter(
    (name) => SMALL_FILES.includes(name) || /\.safetensors(\.index\.json)?$/.test(name),
  );
  const files = await Promise.all(names.map((name) => stat(join(input, name)).catch(() => undefined)));
  return files.some(isSame);
}

function cannotWrite(path: string, reason: string): InputError {
  return new InputError(`${path} cannot be written: ${reason}; choose another place.`);
}

/** Runs `work`, whose remaining unchecked inputs all come from the command line. @throws UsageError for an InputError. */
export async function asUsage<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof InputError) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

/** Checks the selected layer and head. @throws UsageError when the model has no such layer or head. */
export function checkSelection(config: ModelConfig, selection: MapSelection): void {
  const { numHiddenLayers, numAttentionHeads } = config.text;
  const check = (option: string, index: number | undefined, count: number) => {
    if (index === undefined || index < count) return;
    throw new UsageError(`${option} must be a whole number from 0 to ${count - 1} for this model, got ${index}.`);
  };
  check("--layer", selection.layer, numHiddenLayers);
  check("--head", selection.head, numAttentionHeads);
}
