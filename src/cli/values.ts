// The values of options: text → checked value, or one sentence that commander puts behind the option's name.
import { InvalidArgumentError } from "commander";
import { MAX_FACTOR, type ScaledRows } from "../adaptvis.ts";
import { MAX_BATCH_ROWS } from "../models/layers/step.ts";

/** A finite number within bounds. */
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

/** A whole number from `least` to `most`. */
export function wholeFrom(least: number, most: number = Number.MAX_SAFE_INTEGER) {
  const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
  return (text: string): number => {
    const value = /^-?\d+$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isSafeInteger(value) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`Expected a whole number ${range}.`);
  };
}

/** The values of an option that may be given several times, in order. */
export function collected(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text];
}

/** `0,2,5-7` → 0, 2, 5, 6, 7. */
export function indexList(text: string): readonly number[] {
  const indices = text.split(",").flatMap((part) => {
    const range = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part.trim());
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
    `Expected 1 to ${MAX_BATCH_ROWS} numbers from 0 to ${MAX_FACTOR} with commas between them, such as "0.5,1,2".`,
  );
}

/** `last`, `generated`, or a count of prompt rows from the end. */
export function scaledRows(text: string): ScaledRows {
  if (text === "last" || text === "generated") return text;
  const last = /^\d+$/.test(text) ? Number(text) : 0;
  if (Number.isSafeInteger(last) && last >= 1) return { last };
  throw new InvalidArgumentError('Expected "last", "generated" or a whole number of at least 1.');
}

/** Text that is not empty. */
export function someText(text: string): string {
  if (text !== "") return text;
  throw new InvalidArgumentError("Expected some text, got none.");
}

/** One more value of an option that may stand several times. */
export function repeated(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, someText(text)];
}
