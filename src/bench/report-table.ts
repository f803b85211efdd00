// The report as text tables for a terminal.
import type { KernelFigure } from "./kernels.ts";
import type { Ratio } from "./ratios.ts";
import type { BenchReport } from "./report.ts";
import type { Roofline } from "./roofline.ts";
import type { Spread } from "./spread.ts";

/** A titled table of cells. */
export interface ReportTable {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** All tables of a report, in its order. */
export function reportTables(report: BenchReport): readonly ReportTable[] {
  const tables: ReportTable[] = [];
  if (report.roofline !== null) tables.push(rooflineTable(report.roofline));
  if (report.kernels !== null && report.kernels.length > 0) tables.push(kernelTable(report.kernels));
  if (report.failures.length > 0) {
    tables.push({
      title: "Could not run",
      head: ["part", "why"],
      rows: report.failures.map(({ part, message }) => [part, message]),
    });
  }
  tables.push(ratioTable(report.ratios));
  return tables;
}

/** Three significant digits without an exponent. */
export function digits(value: number): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const places = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(Math.min(places, 6));
}

/** "median (min … max)". */
export function spreadText(spread: Spread): string {
  return `${digits(spread.median)} (${digits(spread.min)} … ${digits(spread.max)})`;
}

function rooflineTable(roofline: Roofline): ReportTable {
  const { fma, read, copy, dispatchUs, submitUs, readbackMs } = roofline;
  return {
    title: "Roofline: what this adapter can do at best",
    head: ["what", "median (min … max)", "unit", "best variant"],
    rows: [
      ["multiply-adds", spreadText(fma.rate), "GFLOP/s", fma.variant],
      ["streaming read", spreadText(read.rate), "GB/s", read.variant],
      ["copy", spreadText(copy.rate), "GB/s", copy.variant],
      ["dispatch", spreadText(dispatchUs), "µs", ""],
      ["submit", spreadText(submitUs), "µs", ""],
      ["readback", spreadText(readbackMs), "ms", ""],
    ],
  };
}

function kernelTable(kernels: readonly KernelFigure[]): ReportTable {
  return {
    title: "Kernels: each at real shapes, against the nearer ceiling",
    head: ["kernel", "ms, median (min … max)", "IQR", "GFLOP/s", "GB/s", "share", "of"],
    rows: kernels.map((figure) => [
      figure.name,
      spreadText(figure.ms),
      `${digits(figure.ms.lowerQuartile)} … ${digits(figure.ms.upperQuartile)}`,
      digits(figure.gflops.median),
      digits(figure.gbps.median),
      `${(100 * figure.share.median).toFixed(0)} %`,
      figure.limit,
    ]),
  };
}

function ratioTable(ratios: readonly Ratio[]): ReportTable {
  return {
    title: "Bars: higher is better, costs are inverted",
    head: ["bar", "ratio", "wanted", "", "spread", "ours", "theirs", "what"],
    rows: ratios.map(({ name, ours, theirs, unit, ratio, wanted, spread, isMet, reason }) => [
      name,
      ratio === null ? "–" : digits(ratio),
      digits(wanted),
      isMet === null ? "open" : isMet ? "met" : "missed",
      spread === null ? "" : `${digits(spread.min)} … ${digits(spread.max)}`,
      ours === null ? "" : `${digits(ours)} ${unit}`,
      theirs === null ? "" : `${digits(theirs)} ${unit}`,
      reason,
    ]),
  };
}
