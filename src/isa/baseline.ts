// The committed baseline of the compile lab, against which regressions are detected.
import { InputError } from "../errors.ts";
import { type IsaKernel, type IsaReport, isaName, multiplyAddShare } from "./lab.ts";
import { percent } from "./report.ts";

/** Baseline values of one pipeline. */
export interface BaselineEntry {
  readonly waves: number;
  readonly vectorRegisters: number;
  /** Share of the hot nest's vector instructions that multiply and add; null without instructions. */
  readonly multiplyAddShare: number | null;
  /** In all loops. */
  readonly clamps: number | null;
}

/** By target, then by {@link isaName}. */
export interface IsaBaseline {
  readonly format: 1;
  readonly driver: string;
  readonly targets: Readonly<Record<string, Readonly<Record<string, BaselineEntry>>>>;
}

/** How much smaller a share may be before it counts as worse. */
const TOLERANCE = 0.02;

/** Reads a baseline. @throws InputError for text that {@link baselineText} has not written. */
export function parseBaseline(text: string, file: string): IsaBaseline {
  const refusal = `${file} is not a baseline: expected JSON as --write-baseline writes it`;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new InputError(`${refusal}, got text that is not JSON.`, { cause });
  }
  const fields: Partial<Record<keyof IsaBaseline, unknown>> = value instanceof Object ? value : {};
  const isBaseline = fields.format === 1 && typeof fields.driver === "string" && fields.targets instanceof Object;
  if (!isBaseline) throw new InputError(`${refusal}.`);
  return value as unknown as IsaBaseline; // its entries are what baselineText wrote
}

/** The text of a baseline: one line per pipeline, sorted by name, so that a change is one line of a diff. */
export function baselineText({ format, driver, targets }: IsaBaseline): string {
  const object = (entries: readonly string[], indent: string) => `{\n${entries.join(",\n")}\n${indent}}`;
  const byName = <T>(record: Readonly<Record<string, T>>) =>
    Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
  const targetTexts = byName(targets).map(([name, kernels]) => {
    const lines = byName(kernels).map(([kernel, entry]) => `   ${JSON.stringify(kernel)}: ${JSON.stringify(entry)}`);
    return `  ${JSON.stringify(name)}: ${object(lines, "  ")}`;
  });
  return `{\n "format": ${format},\n "driver": ${JSON.stringify(driver)},\n "targets": ${object(targetTexts, " ")}\n}\n`;
}

/** The baseline of a report: of pipelines with the same name, the worst. */
export function baselineOf(report: IsaReport): IsaBaseline {
  const targets: Record<string, Record<string, BaselineEntry>> = {};
  for (const { target, kernels } of report.targets) {
    const entries: Record<string, BaselineEntry> = {};
    for (const kernel of kernels) {
      const name = isaName(kernel);
      entries[name] = worst(entryOf(kernel), entries[name]);
    }
    targets[target.name] = entries;
  }
  return { format: 1, driver: report.driver, targets };
}

/**
 * Regressions against the baseline, one sentence each. Pipelines that are not in the baseline, and those compiled by another driver
 * version, are only checked for spilled registers and scratch memory.
 */
export function regressions(report: IsaReport, baseline: IsaBaseline): readonly string[] {
  const isSameDriver = report.driver === baseline.driver;
  return report.targets.flatMap(({ target, kernels }) =>
    kernels.flatMap((kernel) => {
      const known = isSameDriver ? baseline.targets[target.name]?.[isaName(kernel)] : undefined;
      return problemsOf(kernel, known).map((problem) => `${isaName(kernel)} on ${target.name}: ${problem}.`);
    }),
  );
}

function problemsOf(kernel: IsaKernel, known: BaselineEntry | undefined): readonly string[] {
  const { spilledRegisters, scratchBytes } = kernel.statistics;
  const problems: string[] = [];
  if (spilledRegisters > 0) problems.push(`${spilledRegisters} registers are spilled`);
  if (scratchBytes > 0) problems.push(`${scratchBytes} bytes of scratch memory per lane`);
  if (known === undefined) return problems;
  const now = entryOf(kernel);
  if (now.waves < known.waves) problems.push(`${now.waves} waves per SIMD, before ${known.waves}`);
  if (now.clamps !== null && known.clamps !== null && now.clamps > known.clamps) {
    problems.push(`${now.clamps} clamps in its loops, before ${known.clamps}`);
  }
  const [share, before] = [now.multiplyAddShare, known.multiplyAddShare];
  if (share !== null && before !== null && share < before - TOLERANCE) {
    problems.push(`${percent(share)} of its hot loops are multiply-adds, before ${percent(before)}`);
  }
  return problems;
}

function entryOf({ statistics, nest, numClamps }: IsaKernel): BaselineEntry {
  return {
    waves: statistics.waves,
    vectorRegisters: statistics.vectorRegisters,
    multiplyAddShare: round(nest && multiplyAddShare(nest)),
    clamps: numClamps,
  };
}

function worst(a: BaselineEntry, b: BaselineEntry | undefined): BaselineEntry {
  if (b === undefined) return a;
  return {
    waves: Math.min(a.waves, b.waves),
    vectorRegisters: Math.max(a.vectorRegisters, b.vectorRegisters),
    multiplyAddShare: smaller(a.multiplyAddShare, b.multiplyAddShare),
    clamps: a.clamps === null || b.clamps === null ? null : Math.max(a.clamps, b.clamps),
  };
}

function smaller(a: number | null, b: number | null): number | null {
  return a === null || b === null ? null : Math.min(a, b);
}

function round(share: number | null): number | null {
  return share === null ? null : Math.round(share * 1000) / 1000;
}
