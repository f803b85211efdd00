// The report as a single HTML file, light and dark: tables and inline SVG plots, without scripts or external resources.
import type { TopLevelSpec } from "vega-lite";
import { escaped, pageHtml, svgOf, tableHtml } from "./html-page.node.ts";
import { type BenchReport, reportTables } from "./report.ts";
import type { ScalingSeries } from "./scaling.ts";
import { digits } from "./statistics.ts";

/** The whole page. */
export async function reportHtml(report: BenchReport): Promise<string> {
  const figures: string[] = [];
  for (const { title, caption, spec } of plotsOf(report)) {
    figures.push(
      `<figure><h2>${escaped(title)}</h2>${await svgOf(spec)}<figcaption>${escaped(caption)}</figcaption></figure>`,
    );
  }
  const { stamp } = report;
  const facts: readonly (readonly [string, string])[] = [
    ["adapter", `${stamp.adapter.description}${stamp.adapter.isSoftware ? ", computing on the CPU" : ""}`],
    [
      "adapter's description",
      Object.entries(stamp.adapter.info)
        .map(([key, value]) => `${key} ${value || "–"}`)
        .join(", "),
    ],
    ["features", stamp.adapter.features.join(", ")],
    ["CPU", `${stamp.cpu}, ${stamp.numCpus} cores, ${digits(stamp.memoryBytes / 1e9)} GB`],
    ["system", stamp.platform],
    [
      "versions",
      Object.entries(stamp.versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(", "),
    ],
    ["revision", stamp.revision ?? "not a checkout"],
    ["date", stamp.date],
    ["options", JSON.stringify(stamp.options)],
  ];
  const tables = reportTables(report).map(
    ({ title, head, rows }) => `<section><h2>${escaped(title)}</h2>${tableHtml(head, rows)}</section>`,
  );
  return pageHtml({
    title: `adaptvis bench: ${stamp.adapter.description}`,
    heading: "adaptvis bench",
    parts: [winnersHtml(report), tableHtml(["what", "where and with what"], facts), ...figures, ...tables],
  });
}

interface Plot {
  readonly title: string;
  readonly caption: string;
  readonly spec: TopLevelSpec;
}

const WIDTH = 640;

function plotsOf(report: BenchReport): readonly Plot[] {
  const plots: Plot[] = [];
  const judged = report.ratios.filter(({ ratio }) => ratio !== null);
  if (judged.length > 0) plots.push(barsPlot(judged));
  const { kernels, roofline } = report;
  if (kernels !== null && kernels.length > 0 && roofline !== null) {
    plots.push(rooflinePlot(kernels, { gflops: roofline.fma.rate.median, gbps: roofline.read.rate.median }));
    plots.push(sharesPlot(kernels));
  }
  for (const curve of report.scaling ?? []) plots.push(scalingPlot(curve));
  return plots;
}

function barsPlot(ratios: BenchReport["ratios"]): Plot {
  const values = ratios.map(({ name, ratio, wanted, spread, isMet }) => ({
    name,
    reached: (ratio ?? 0) / wanted,
    least: (spread?.min ?? 0) / wanted,
    most: (spread?.max ?? 0) / wanted,
    state: isMet === true ? "met" : "missed",
  }));
  return {
    title: "Bars",
    caption:
      "Reached ratio divided by the wanted ratio, with the smallest and largest of the rounds: a bar is met at 1 and above.",
    spec: {
      width: WIDTH,
      data: { values },
      encoding: { y: { field: "name", type: "nominal", sort: null, title: null, axis: { labelLimit: 300 } } },
      layer: [
        {
          mark: "bar",
          encoding: {
            x: { field: "reached", type: "quantitative", title: "reached over wanted" },
            color: {
              field: "state",
              type: "nominal",
              title: null,
              scale: { domain: ["met", "missed"], range: ["#4c9a6a", "#d9822b"] },
            },
          },
        },
        {
          mark: { type: "rule", color: "gray" },
          encoding: { x: { field: "least", type: "quantitative" }, x2: { field: "most" } },
        },
        { mark: { type: "rule", color: "gray", strokeDash: [4, 4] }, encoding: { x: { datum: 1 }, y: {} } },
      ],
    } as TopLevelSpec,
  };
}

function rooflinePlot(
  kernels: NonNullable<BenchReport["kernels"]>,
  ceilings: { readonly gflops: number; readonly gbps: number },
): Plot {
  const points = kernels
    .filter(({ flops }) => flops > 0)
    .map(({ name, flops, bytes, gflops, limit }) => ({ name, intensity: flops / bytes, gflops: gflops.median, limit }));
  const intensities = points.map(({ intensity }) => intensity);
  const ridge = ceilings.gflops / ceilings.gbps;
  const ends = [Math.min(...intensities, ridge) / 2, ridge, Math.max(...intensities, ridge) * 2];
  const roof = ends.map((intensity) => ({ intensity, gflops: Math.min(ceilings.gflops, ceilings.gbps * intensity) }));
  const axes = {
    x: { field: "intensity", type: "quantitative", scale: { type: "log" }, title: "operations per byte" },
    y: { field: "gflops", type: "quantitative", scale: { type: "log" }, title: "GFLOP/s" },
  };
  return {
    title: "Kernels under the roofline",
    caption: `Below ${digits(ridge)} operations per byte the streaming read is the ceiling, above it the multiply-adds.`,
    spec: {
      width: WIDTH,
      height: 380,
      layer: [
        { data: { values: roof }, mark: { type: "line", color: "gray" }, encoding: axes },
        {
          data: { values: points },
          mark: { type: "point", filled: true, opacity: 0.8 },
          encoding: { ...axes, color: { field: "limit", type: "nominal", title: "limiting ceiling" } },
        },
      ],
    } as TopLevelSpec,
  };
}

function sharesPlot(kernels: NonNullable<BenchReport["kernels"]>): Plot {
  const values = kernels.map(({ name, share, limit }) => ({
    name,
    limit,
    share: share.median,
    least: share.lowerQuartile,
    most: share.upperQuartile,
  }));
  return {
    title: "Share of the limiting ceiling by kernel",
    caption: "Time at the ceiling divided by the measured time; the thin line spans the middle half of the samples.",
    spec: {
      width: WIDTH,
      data: { values },
      encoding: { y: { field: "name", type: "nominal", sort: null, title: null, axis: { labelLimit: 420 } } },
      layer: [
        {
          mark: "bar",
          encoding: {
            x: { field: "share", type: "quantitative", axis: { format: "%" }, title: "share" },
            color: { field: "limit", type: "nominal", title: "nearer ceiling" },
          },
        },
        {
          mark: { type: "rule", color: "gray" },
          encoding: { x: { field: "least", type: "quantitative" }, x2: { field: "most" } },
        },
      ],
    } as TopLevelSpec,
  };
}

function scalingPlot({ title, xLabel, points, explanation }: ScalingSeries): Plot {
  const lines = points.flatMap(({ x, ms, modelMs, rooflineMs }) => [
    { x, ms: ms.median, line: "measured" },
    { x, ms: modelMs, line: "cost model" },
    ...(rooflineMs === null || rooflineMs <= 0 ? [] : [{ x, ms: rooflineMs, line: "roofline" }]),
  ]);
  const ranges = points.map(({ x, ms }) => ({ x, least: ms.min, most: ms.max }));
  const x = { field: "x", type: "quantitative", scale: { type: "log", base: 2 }, title: xLabel };
  const y = { type: "quantitative", scale: { type: "log" }, title: "ms" };
  return {
    title,
    caption: explanation,
    spec: {
      width: WIDTH,
      height: 320,
      layer: [
        {
          data: { values: ranges },
          mark: { type: "rule", color: "gray" },
          encoding: { x, y: { ...y, field: "least" }, y2: { field: "most" } },
        },
        {
          data: { values: lines },
          mark: { type: "line", point: true },
          encoding: { x, y: { ...y, field: "ms" }, color: { field: "line", type: "nominal", title: null } },
        },
      ],
    } as TopLevelSpec,
  };
}

/** The recommendations, which come first. */
function winnersHtml({ winners }: BenchReport): string {
  if (winners.length === 0) return "";
  return `<ul>${winners.map(({ sentence }) => `<li>${escaped(sentence)}</li>`).join("\n")}</ul>`;
}
