// The compile lab's report as tables of text.
import type { ReportTable } from "../bench/report.ts";
import type { HotLoop } from "./hot-loops.ts";
import { type IsaKernel, type IsaReport, isaName, multiplyAddShare, vectorPerMultiplyAdd } from "./lab.ts";

const HEAD = [
  "kernel",
  "waves",
  "registers",
  "spills",
  "LDS",
  "instructions",
  "hot loop",
  "multiply-adds",
  "second loop",
  "nest",
  "clamps",
  "vector per multiply-add",
  "multiply-adds per loaded byte",
  "limit",
  "arithmetic",
  "memory",
  "cycles",
];

/** What the columns mean. */
export const COLUMNS_TEXT = `waves: waves of 64 lanes that a SIMD holds; registers: vector registers of a lane; LDS: bytes of workgroup memory; hot loop:
vector instructions in one iteration of the loop that runs the most multiply-adds, loops inside it left out, if every loop runs
eight times, and its share of what all loops run; multiply-adds: their share of those instructions; second loop: the same of the
heaviest other one; nest: multiply-adds as a share of the hot loop together with the loops around and beside it; clamps: v_min and
the like on integers in all loops; the next two of the hot loop; limit: what is busy longest in the nest if latencies are hidden,
and what share of the multiply-adds and of the memory bandwidth that leaves; cycles: the compiler's own estimate of one wave's
inverse throughput.`;

/** One table per target. */
export function isaTables(report: IsaReport): readonly ReportTable[] {
  return report.targets.map(({ target, kernels }) => ({
    title: `${target.name}, ${target.description}${report.isRobust ? "" : ", without robustness"}`,
    head: HEAD,
    rows: kernels.map(isaRow),
  }));
}

function isaRow(kernel: IsaKernel): readonly string[] {
  const { vectorRegisters, spilledRegisters, ldsBytes, numInstructions, inverseThroughput, waves } = kernel.statistics;
  const numbers = [waves, vectorRegisters, spilledRegisters, ldsBytes, numInstructions].map(String);
  return [isaName(kernel), ...numbers, ...loopCells(kernel), String(inverseThroughput)];
}

function loopCells({ loops: [hot, second], nest, numClamps, prediction }: IsaKernel): readonly string[] {
  if (hot === undefined || nest === null || prediction === null) return Array(10).fill("–");
  const perMultiplyAdd = vectorPerMultiplyAdd(hot.mix);
  const { loads, multiplyAdds } = hot.mix;
  return [
    hot.label === "no loop" ? `${hot.mix.vector}, no loop` : `${hot.mix.vector}, ${percent(hot.share)}`,
    percent(multiplyAddShare(hot.mix)),
    second === undefined ? "–" : secondText(second),
    percent(multiplyAddShare(nest)),
    String(numClamps),
    perMultiplyAdd === null ? "–" : perMultiplyAdd.toFixed(2),
    loads.bytes === 0 ? "–" : (multiplyAdds / loads.bytes).toFixed(2),
    prediction.limit,
    percent(prediction.arithmeticShare),
    percent(prediction.memoryShare),
  ];
}

function secondText({ mix, share }: HotLoop): string {
  return `${mix.vector}, ${percent(share)}: ${percent(multiplyAddShare(mix))}`;
}

/** 0.5 → "50 %"; "–" where there is no share. */
export function percent(share: number | null): string {
  return share === null ? "–" : `${Math.round(share * 100)} %`;
}
