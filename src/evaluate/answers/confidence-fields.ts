// The fields in which recorded answers hold a confidence, which the authors' code calls uncertainty, and what each one means.

import { isObject } from "../../errors.ts";
import { roundConfidence } from "../../interventions/confidence.ts";
import type { JsonObject } from "../json-lines.ts";

/** What a field's values are. */
export type FieldMeaning = keyof typeof MEANINGS;

const MEANINGS = {
  rounded:
    "largest probability of the first token over the vocabulary, rounded to 2 decimals: the value that the gate compares",
  unrounded: "largest probability of the first token over the vocabulary, unrounded",
  logit: "not a probability: above 1 it is the largest raw logit or an entropy, so the file has no confidence here",
  "other-gate": "not rounded, so the value of an entropy or divergence gate: not the confidence",
  untrusted: "a maximum over the vocabulary in some files and over the options in others: not used as the confidence",
  other: "another measure: not the confidence",
  empty: "no value in any row",
} as const;

/** A field of the rows that holds a confidence or something similar. */
export interface ConfidenceField {
  readonly field: string;
  readonly kind: FieldMeaning;
  readonly meaning: string;
  /** Number of rows with a number. */
  readonly n: number;
  /** Number of rows without, null included. */
  readonly numMissing: number;
  readonly min: number | null;
  readonly max: number | null;
}

/** The confidence of the first token in an unmodified pass, by position. */
export interface Confidences {
  /** Rounded to two decimals as the gate compares it; null where a row has none. */
  readonly rounded: readonly (number | null)[];
  /** Unrounded; null where a row has none or the file holds only rounded values. */
  readonly unrounded: readonly (number | null)[];
  /** The fields that `rounded` and `unrounded` come from; null where there is none. */
  readonly roundedField: string | null;
  readonly unroundedField: string | null;
  /** Number of rows where a recorded rounded value is not the rounded one of the other field. */
  readonly numDisagreeing: number;
  readonly fields: readonly ConfidenceField[];
}

const SINGLE_FIELDS = ["uncertainty", "Uncertainty"];
const OBJECT_FIELDS = ["Uncertainties", "uncertainties"];
const UNTRUSTED_FIELD = "uncertainty_prob";
const OTHER_FIELDS = ["uncertainty_kl", "uncertainty_jsd", "uncertainty_entropy", "uncertainty_margin"];
/** Members of the object form besides `confidence`. */
const OTHER_MEMBERS = ["kld", "jsd", "entropy"];

/** f32 values that became f64 differ by up to 6e-8 from a hundredth that they were rounded to, or from a probability of 1. */
const ROUNDING_SLACK = 2e-7;

/**
 * Finds the confidence in rows of recorded answers.
 * @param rows by position; null where nothing was recorded
 */
export function readConfidences(rows: readonly (JsonObject | null)[]): Confidences {
  const columns = [
    ...SINGLE_FIELDS.map((field) => column(rows, field, (row) => row[field], kindOfSingle)),
    ...OBJECT_FIELDS.flatMap((field) => [
      column(rows, `${field}.confidence`, (row) => member(row[field], "confidence"), kindOfProbability),
      ...OTHER_MEMBERS.map((name) =>
        column(
          rows,
          `${field}.${name}`,
          (row) => member(row[field], name),
          () => "other",
        ),
      ),
    ]),
    // Our own samples hold the unrounded probability under its name.
    column(rows, "confidence", (row) => row.confidence, kindOfProbability),
    column(
      rows,
      UNTRUSTED_FIELD,
      (row) => row[UNTRUSTED_FIELD],
      () => "untrusted",
    ),
    ...OTHER_FIELDS.map((field) =>
      column(
        rows,
        field,
        (row) => row[field],
        () => "other",
      ),
    ),
  ].filter((each) => each.isPresent);
  const gate = columns.find(({ kind }) => kind === "rounded");
  const exact = columns.find(({ kind }) => kind === "unrounded");
  const unrounded = exact?.values ?? rows.map(() => null);
  const rounded = rows.map((_, position) => {
    const value = gate?.values[position] ?? exact?.values[position] ?? null;
    return value === null ? null : roundConfidence(value);
  });
  const numDisagreeing = rows.filter((_, position) => {
    const [kept, full] = [gate?.values[position] ?? null, unrounded[position] ?? null];
    return kept !== null && full !== null && roundConfidence(kept) !== roundConfidence(full);
  }).length;
  return {
    rounded,
    unrounded,
    roundedField: gate?.field ?? exact?.field ?? null,
    unroundedField: exact?.field ?? null,
    numDisagreeing,
    fields: columns.map(describe),
  };
}

interface Column {
  readonly field: string;
  readonly kind: FieldMeaning;
  readonly isPresent: boolean;
  /** Number of rows, with and without a value. */
  readonly numRows: number;
  readonly values: readonly (number | null)[];
}

function column(
  rows: readonly (JsonObject | null)[],
  field: string,
  read: (row: JsonObject) => unknown,
  kindOf: (values: readonly number[]) => FieldMeaning,
): Column {
  const raw = rows.map((row) => (row === null ? undefined : read(row)));
  const values = raw.map((value) => (typeof value === "number" && Number.isFinite(value) ? value : null));
  const numbers = values.filter((value) => value !== null);
  return {
    field,
    kind: numbers.length === 0 ? "empty" : kindOf(numbers),
    isPresent: raw.some((value) => value !== undefined),
    numRows: rows.filter((row) => row !== null).length,
    values,
  };
}

/** A member of the object form; where it is a list of two, the first is the value and the second is null in known files. */
function member(value: unknown, name: string): unknown {
  if (!isObject(value)) return undefined;
  const found = value[name];
  return Array.isArray(found) ? (found[0] ?? null) : found;
}

function kindOfSingle(values: readonly number[]): FieldMeaning {
  if (!values.every(isProbability)) return "logit";
  const isRounded = values.every((value) => Math.abs(value - roundConfidence(value)) < ROUNDING_SLACK);
  return isRounded ? "rounded" : "other-gate";
}

function kindOfProbability(values: readonly number[]): FieldMeaning {
  return values.every(isProbability) ? "unrounded" : "logit";
}

/** Whether a number is a probability; a softmax in f32 may exceed 1 by its rounding. */
export function isProbability(value: number): boolean {
  return value >= 0 && value <= 1 + ROUNDING_SLACK;
}

function describe({ field, kind, numRows, values }: Column): ConfidenceField {
  const numbers = values.filter((value) => value !== null);
  return {
    field,
    kind,
    meaning: MEANINGS[kind],
    n: numbers.length,
    numMissing: numRows - numbers.length,
    min: numbers.length === 0 ? null : numbers.reduce((least, value) => Math.min(least, value)),
    max: numbers.length === 0 ? null : numbers.reduce((most, value) => Math.max(most, value)),
  };
}
