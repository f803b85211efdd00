// The compile lab's report as tables of text.
import type { ReportTable } from "../bench/report.ts";
import { type IsaKernel, type IsaReport, isaName, vectorPerMultiplyAdd } from "./lab.ts";

const HEAD = [
  "kernel",
  "waves",
  "registers",
  "spills",
  "LDS",
  "instructions",
  "hot loop",
  "multiply-adds",
  "clamps",
  "vector per multiply-add",
  "multiply-adds per loaded byte",
  "limit",
  "arithmetic",
  "memory",
  "cycles",
];

/** What the columns mean. */
export const COLUMNS_TEXT = `waves: waves of 64 lanes that a SIMD holds; registers: vector registers of a lane; LDS: bytes of workgroup memory; hot loop: vector
instructions of the innermost loop with the most multiply-adds, then the share of them that multiply and add; clamps: v_min and the like
on integers there; limit: what is busy longest there if latencies are hidden, and what share of the multiply-adds and of the memory
bandwidth that leaves; cycles: the compiler's own estimate of one wave's inverse throughput, every loop counted eight times.`;

/** One table a target. */
export function isaTables(report: IsaReport): readonly ReportTable[] {
  return report.targets.map(({ target, kernels }) => ({
    title: `${target.name}, ${target.description}${report.isRobust ? "" : ", without robustness"}`,
    head: HEAD,
    rows: kernels.map(isaRow),
  }));
}

function isaRow(kernel: IsaKernel): readonly string[] {
  const { statistics, mix, prediction } = kernel;
  const { waves, vectorRegisters, spilledRegisters, ldsBytes, numInstructions, inverseThroughput } = statistics;
  const perMultiplyAdd = vectorPerMultiplyAdd(mix);
  const loop =
    mix === null || prediction === null
      ? ["–", "–", "–", "–", "–", "–", "–", "–"]
      : [
          `${mix.vector}${kernel.numLoops === 0 ? ", no loop" : ""}`,
          mix.vector === 0 ? "–" : percent(mix.counts["multiply-add"] / mix.vector),
          String(mix.counts.clamp),
          perMultiplyAdd === null ? "–" : perMultiplyAdd.toFixed(2),
          mix.loads.bytes === 0 ? "–" : (mix.multiplyAdds / mix.loads.bytes).toFixed(2),
          prediction.limit,
          percent(prediction.arithmeticShare),
          prediction.memoryShare === null ? "–" : percent(prediction.memoryShare),
        ];
  return [
    isaName(kernel),
    String(waves),
    String(vectorRegisters),
    String(spilledRegisters),
    String(ldsBytes),
    String(numInstructions),
    ...loop,
    String(inverseThroughput),
  ];
}

function percent(share: number): string {
  return `${Math.round(share * 100)} %`;
}
