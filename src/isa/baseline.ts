// The committed baseline: what the kernels compiled to when it was written, so that a change for the worse does not go unseen.
import { type IsaKernel, type IsaReport, isaName } from "./lab.ts";

/** What is kept of one pipeline. */
export interface BaselineEntry {
  readonly waves: number;
  readonly vectorRegisters: number;
  /** Share of the hot loop's vector instructions that multiply and add; null without instructions. */
  readonly multiplyAddShare: number | null;
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
 * What is worse than the baseline, one sentence each; pipelines that the baseline does not have are judged only by what none may
 * have: spilled registers and scratch memory. Of another driver version nothing else is judged.
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
  if (scratchBytes > 0) problems.push(`${scratchBytes} bytes of scratch memory a lane`);
  if (known === undefined) return problems;
  const now = entryOf(kernel);
  if (now.waves < known.waves) problems.push(`${now.waves} waves a SIMD, before ${known.waves}`);
  if (now.clamps !== null && known.clamps !== null && now.clamps > known.clamps) {
    problems.push(`${now.clamps} clamps in the hot loop, before ${known.clamps}`);
  }
  const [share, before] = [now.multiplyAddShare, known.multiplyAddShare];
  if (share !== null && before !== null && share < before - TOLERANCE) {
    problems.push(`${percent(share)} of the hot loop are multiply-adds, before ${percent(before)}`);
  }
  return problems;
}

function entryOf({ statistics, mix }: IsaKernel): BaselineEntry {
  return {
    waves: statistics.waves,
    vectorRegisters: statistics.vectorRegisters,
    multiplyAddShare: mix === null || mix.vector === 0 ? null : round(mix.counts["multiply-add"] / mix.vector),
    clamps: mix === null ? null : mix.counts.clamp,
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

function round(share: number): number {
  return Math.round(share * 1000) / 1000;
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
