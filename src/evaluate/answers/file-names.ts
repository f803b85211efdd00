// What the names of result files say: the authors' code and its forks put data set, method, weight and half there.

import type { DataSet } from "../datasets/dataset.ts";

/** What the name of a result file says; null for parts that it leaves out. */
export interface NamedResult {
  /** The data set's name in reports. */
  readonly dataSet: string;
  readonly method: string;
  /** The argument --weight of the authors' code; under its adapt_vis that is not the factor. */
  readonly weight: number;
  /** Threshold that forks insert after the weight, whatever their gate compares with it. */
  readonly threshold: number | null;
  readonly alpha1: number | null;
  readonly alpha2: number | null;
  readonly beta: number | null;
  /** "True" in the name is the test half. */
  readonly split: "test" | "validation" | null;
}

const TAIL =
  /^_(?<method>.+?)(?<numbers>(?:_\d+\.\d+)+)(?:_(?:two|four|six)option)?(?:_threshold(?:_\d+)+)?(?:_(?<half>True|False))?(?:_?scores)?\.json$/;

/**
 * Reads the name of a result file such as results1.5_Controlled_Images_A_adapt_vis_1.0_fouroption_True.json.
 * @param path path or name; only its last part counts
 * @returns null for any other name.
 */
export function readResultName(path: string, dataSets: readonly DataSet[]): NamedResult | null {
  const name = path.split(/[/\\]/).at(-1) ?? "";
  const rest = /^results(?:1\.\d)?_(.*)$/.exec(name)?.[1];
  if (rest === undefined) return null;
  // The longest spelling first: one name may begin with another.
  const spellings = dataSets
    .flatMap((dataSet) => [dataSet.name, ...dataSet.aliases].map((spelling) => ({ dataSet, spelling })))
    .sort((a, b) => b.spelling.length - a.spelling.length);
  const found = spellings.find(({ spelling }) => rest.toLowerCase().startsWith(`${spelling.toLowerCase()}_`));
  const parts = found === undefined ? undefined : TAIL.exec(rest.slice(found.spelling.length))?.groups;
  if (found === undefined || parts === undefined) return null;
  const numbers = (parts.numbers ?? "").split("_").slice(1).map(Number);
  const [weight, second, third, fourth] = numbers;
  if (weight === undefined || parts.method === undefined) return null;
  const hasGate = numbers.length === 4;
  return {
    dataSet: found.dataSet.name,
    method: parts.method,
    weight,
    threshold: numbers.length === 2 ? (second ?? null) : null,
    alpha1: hasGate ? (second ?? null) : null,
    alpha2: hasGate ? (third ?? null) : null,
    beta: hasGate ? (fourth ?? null) : null,
    split: parts.half === undefined ? null : parts.half === "True" ? "test" : "validation",
  };
}

/** Names that the verdicts of an answers file may have beside it: the authors' code writes no separator, but for VSR. */
export function verdictNames(path: string): readonly string[] {
  return path.endsWith(".json")
    ? [path.replace(/\.json$/, "scores.json"), path.replace(/\.json$/, "_scores.json")]
    : [];
}
