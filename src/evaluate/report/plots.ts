// The plots of a run as vega-lite specifications. Each is narrow enough for a phone, so that none is scaled down; wider windows
// put them side by side. Colours are explained once per run, in a legend outside of the plots.
import type { TopLevelSpec } from "vega-lite";
import { at } from "../../errors.ts";
import type { Share } from "../scores.ts";
import { type RuleName, titleOfRule } from "../verdicts.ts";
import { layersOf, type OverlapAnalysis, type ReportLayer } from "./layers.ts";
import type { ReportMethod, ReportRun } from "./report-run.ts";
import { relationsOf } from "./tables.ts";

/** A plot with its texts. */
export interface ReportPlot {
  readonly title: string;
  readonly caption: string;
  /** What it shows with its main numbers, for screen readers. */
  readonly label: string;
  readonly spec: TopLevelSpec;
}

/** A method's colour in the plots of its run. */
export interface PlotColor {
  readonly label: string;
  readonly color: string;
}

import { capital } from "./table.ts";

/** Width of a whole plot, pixels. */
const WIDTH = 336;
const HEIGHT = 230;

/** Distinguishable also with colour blindness, on white and on black (after Okabe and Ito, 2008). */
const COLORS = ["#e07b28", "#2f8ac9", "#2a9d78", "#b565a7", "#b0902a", "#c8545a"];
const GREEDY_COLOR = "#7c8894";
const MAX_RELATIONS = 12;

/**
 * The methods that plots of several methods show: greedy, of the scaling arms the one with the published factor or the only one,
 * and all others, as many as there are colours.
 */
export function plottedMethods({ methods, dataSet }: ReportRun): readonly ReportMethod[] {
  const scaling = methods.filter(({ method }) => method === "scaling");
  const published = scaling.find(({ settings }) => settings.factor === dataSet.published?.factor);
  const shown = scaling.length === 1 ? scaling[0] : published;
  const others = methods.filter((method) => method.method !== "scaling" || method === shown);
  const greedy = others.filter(({ method }) => method === "greedy").slice(0, 1);
  const rest = others.filter((method) => !greedy.includes(method));
  // AdaptVis first, so that it has the same colour in every run.
  const ordered = [
    ...rest.filter(({ method }) => method === "adaptvis"),
    ...rest.filter(({ method }) => method !== "adaptvis"),
  ];
  return [...greedy, ...ordered.slice(0, COLORS.length)];
}

/** Colours of {@link plottedMethods}. */
export function plotColors(run: ReportRun): readonly PlotColor[] {
  const shown = plottedMethods(run);
  const colored = shown.filter((method) => method !== run.greedy);
  return shown.map((method) => ({
    label: method.label,
    color: method === run.greedy ? GREEDY_COLOR : at(COLORS, colored.indexOf(method)),
  }));
}

/** All plots of a run, in the order of the page. */
export function plotsOf(run: ReportRun, analysis?: OverlapAnalysis): readonly ReportPlot[] {
  const layers = plottedMethods(run).map((method) => ({ method, layers: layersOf(run, method, analysis) }));
  return [
    accuracyPlot(run),
    ...factorPlots(run),
    relationPlot(run),
    ...reliabilityPlots(run),
    ...layerPlots(run, layers),
  ];
}

/** Axes, colours and size that the plots share. */
function colorOf(run: ReportRun) {
  const colors = plotColors(run);
  return {
    field: "method",
    type: "nominal",
    legend: null,
    scale: { domain: colors.map(({ label }) => label), range: colors.map(({ color }) => color) },
  };
}

const FIT = { width: WIDTH, autosize: { type: "fit", contains: "padding" } } as const;

function percentOf(share: Share | undefined): number | null {
  return share?.percent ?? null;
}

function intervalOf({ scored }: ReportMethod, rule: "paper" | "exactlyOne") {
  const interval = scored.metrics.rules[rule]?.individual ?? null;
  return interval === null ? null : { lower: 100 * interval.lower, upper: 100 * interval.upper };
}

function accuracyOf({ scored }: ReportMethod, rule: RuleName): number | null {
  return percentOf(scored.rules[rule]?.individual);
}

function accuracyPlot(run: ReportRun): ReportPlot {
  const shown = plottedMethods(run);
  const values = shown.flatMap((method) => {
    const percent = accuracyOf(method, "paper");
    return percent === null ? [] : [{ method: method.label, percent, ...intervalOf(method, "paper") }];
  });
  const { majority } = at(run.methods, 0).scored;
  const baseline = percentOf(majority.share);
  const x = { type: "quantitative", scale: { domain: [0, 100] }, title: "right answers, %" };
  // The settings in a second line, so that names leave room for the plot.
  const y = {
    field: "method",
    type: "nominal",
    sort: null,
    title: null,
    axis: { labelExpr: "split(datum.label, ', ')", labelLimit: 150, ticks: false, labelPadding: 8 },
  };
  return {
    title: "Accuracy",
    caption: `${capital(titleOfRule("paper", run.dataSet))}, with 95 % intervals.${baseline === null ? "" : ` Dashed: always answering “${majority.answer}” (${baseline.toFixed(1)} %).`}`,
    label: `Accuracy: ${values.map(({ method, percent }) => `${method} ${percent.toFixed(1)} %`).join("; ")}.`,
    spec: {
      ...FIT,
      height: 64 + 38 * values.length,
      data: { values },
      layer: [
        ...(baseline === null
          ? []
          : [
              {
                mark: { type: "rule", strokeDash: [4, 4], color: "gray" },
                encoding: { x: { datum: baseline, type: "quantitative" } },
              },
            ]),
        {
          mark: { type: "rule", strokeWidth: 2 },
          encoding: { x: { ...x, field: "lower" }, x2: { field: "upper" }, y, color: colorOf(run) },
        },
        {
          mark: { type: "point", filled: true, size: 70, opacity: 1 },
          encoding: { x: { ...x, field: "percent" }, y, color: colorOf(run) },
        },
      ],
    } as TopLevelSpec,
  };
}

/** Accuracy against the factor of the scaling arms; none with fewer than two of them. */
function factorPlots(run: ReportRun): readonly ReportPlot[] {
  const arms = run.methods.flatMap((method) => {
    const { factor } = method.settings;
    return method.method === "scaling" && typeof factor === "number" ? [{ method, factor }] : [];
  });
  if (arms.length < 2) return [];
  // Greedy is the factor 1.
  const points = [
    ...arms,
    ...(run.greedy === undefined || arms.some(({ factor }) => factor === 1) ? [] : [{ method: run.greedy, factor: 1 }]),
  ];
  const values = points
    .sort((a, b) => a.factor - b.factor)
    .map(({ method, factor }) => ({
      factor,
      paper: accuracyOf(method, "paper"),
      exactlyOne: accuracyOf(method, "exactlyOne"),
      ...intervalOf(method, "paper"),
    }));
  const adaptvis = run.methods.find(({ method }) => method === "adaptvis");
  const gated = adaptvis === undefined ? null : accuracyOf(adaptvis, "paper");
  const blue = at(COLORS, 1);
  const x = {
    field: "factor",
    type: "quantitative",
    scale: { zero: false, nice: false, padding: 8 },
    title: "factor of the image scores",
    axis: { values: values.map(({ factor }) => factor), format: "~g", labelOverlap: true },
  };
  const y = { type: "quantitative", scale: { zero: false }, title: "right answers, %" };
  return [
    {
      title: "Accuracy against the factor",
      caption: `ScalingVis at each factor; greedy is factor 1. Solid: paper’s rule, with 95 % intervals. Dashed: exactly one option.${gated === null ? "" : " Orange: AdaptVis, paper’s rule."}`,
      label: `Accuracy against the factor: ${values.map(({ factor, paper }) => `${factor}: ${paper === null ? "none" : `${paper.toFixed(1)} %`}`).join("; ")}.`,
      spec: {
        ...FIT,
        height: HEIGHT,
        data: { values },
        layer: [
          {
            mark: { type: "area", color: blue, opacity: 0.15 },
            encoding: { x, y: { ...y, field: "lower" }, y2: { field: "upper" } },
          },
          ...(gated === null
            ? []
            : [
                {
                  mark: { type: "rule", color: at(COLORS, 0), strokeWidth: 1.5 },
                  encoding: { y: { datum: gated, type: "quantitative" } },
                },
              ]),
          {
            mark: { type: "line", color: blue, strokeDash: [5, 4], strokeWidth: 1.5 },
            encoding: { x, y: { ...y, field: "exactlyOne" } },
          },
          {
            mark: { type: "line", color: blue, point: { filled: true, color: blue, size: 45 } },
            encoding: { x, y: { ...y, field: "paper" } },
          },
        ],
      } as TopLevelSpec,
    },
  ];
}

function relationPlot(run: ReportRun): ReportPlot {
  const shown = plottedMethods(run);
  const all = relationsOf(run);
  const countOf = (relation: string) => at(run.methods, 0).scored.rules.paper?.byRelation[relation]?.of ?? 0;
  const frequent = [...all].sort((a, b) => countOf(b) - countOf(a)).slice(0, MAX_RELATIONS);
  const relations = all.filter((relation) => frequent.includes(relation));
  const values = relations.flatMap((relation) =>
    shown.flatMap(({ label, scored }) => {
      const percent = percentOf(scored.rules.paper?.byRelation[relation]);
      return percent === null ? [] : [{ relation: inTwoLines(relation), method: label, percent }];
    }),
  );
  const left = all.length - relations.length;
  return {
    title: "By relation",
    caption: `Paper’s rule.${left > 0 ? ` The ${relations.length} most frequent relations; ${left} others are in the table.` : ""}`,
    label: `Accuracy by relation: ${values.map(({ relation, method, percent }) => `${relation.replace("|", " ")}, ${method} ${percent.toFixed(1)} %`).join("; ")}.`,
    spec: {
      ...FIT,
      height: 50 + relations.length * (12 + 11 * shown.length),
      data: { values },
      mark: { type: "bar", cornerRadiusEnd: 2 },
      encoding: {
        y: {
          field: "relation",
          type: "nominal",
          sort: null,
          title: null,
          scale: { paddingInner: 0.25 },
          axis: { ticks: false, labelLimit: 150, labelPadding: 6, labelExpr: "split(datum.label, '|')" },
        },
        yOffset: { field: "method", type: "nominal", sort: shown.map(({ label }) => label) },
        x: { field: "percent", type: "quantitative", scale: { domain: [0, 100] }, title: "right answers, %" },
        color: colorOf(run),
      },
    } as TopLevelSpec,
  };
}

/** A long name with a bar at the space nearest to its middle, where the axis breaks it. */
function inTwoLines(name: string): string {
  if (name.length <= 14) return name;
  const spaces = [...name].flatMap((character, index) => (character === " " ? [index] : []));
  const [place] = spaces.sort((a, b) => Math.abs(a - name.length / 2) - Math.abs(b - name.length / 2));
  return place === undefined ? name : `${name.slice(0, place)}|${name.slice(place + 1)}`;
}

/** Accuracy in bins of confidence, of greedy and of the first other method that has confidences. */
function reliabilityPlots(run: ReportRun): readonly ReportPlot[] {
  const shown = plottedMethods(run).filter(({ scored }) => (scored.metrics.rules.paper?.confidence ?? null) !== null);
  const colors = plotColors(run);
  return shown.slice(0, 2).flatMap((method) => {
    const confidence = method.scored.metrics.rules.paper?.confidence ?? null;
    if (confidence === null) return [];
    const { bins, expectedCalibrationError, count } = confidence;
    const values = bins.flatMap(({ lower, upper, accuracy, meanConfidence, count: inBin }) =>
      accuracy === null || meanConfidence === null
        ? []
        : [
            {
              lower,
              upper,
              accuracy: 100 * accuracy,
              confidence: meanConfidence,
              count: inBin,
              share: (100 * inBin) / count,
            },
          ],
    );
    const color = colors.find(({ label }) => label === method.label)?.color ?? GREEDY_COLOR;
    const x = { type: "quantitative", scale: { domain: [0, 1] }, axis: { values: [0, 0.2, 0.4, 0.6, 0.8, 1] } };
    const ece = expectedCalibrationError === null ? "" : ` ECE ${(100 * expectedCalibrationError).toFixed(1)} %.`;
    return [
      {
        title: `Reliability: ${method.label}`,
        caption: `Above: right answers by confidence, paper’s rule; on the dashed line confidence and accuracy agree. Below: where the ${count} questions are.${ece}`,
        label: `Reliability of ${method.label}.${ece} ${values.map(({ lower, upper, accuracy, count: inBin }) => `Confidence ${lower} to ${upper}: ${accuracy.toFixed(1)} % of ${inBin}`).join("; ")}.`,
        spec: {
          spacing: 8,
          vconcat: [
            {
              width: WIDTH - 66,
              height: 130,
              layer: [
                {
                  data: { values },
                  mark: { type: "rect", color, opacity: 0.75 },
                  encoding: {
                    x: { ...x, field: "lower", title: null, axis: { ...x.axis, labels: false } },
                    x2: { field: "upper" },
                    y: { field: "accuracy", type: "quantitative", scale: { domain: [0, 100] }, title: "right, %" },
                    y2: { datum: 0 },
                  },
                },
                {
                  data: {
                    values: [
                      { x: 0, y: 0 },
                      { x: 1, y: 100 },
                    ],
                  },
                  mark: { type: "line", color: "gray", strokeDash: [4, 4], strokeWidth: 1.5 },
                  encoding: { x: { ...x, field: "x" }, y: { field: "y", type: "quantitative" } },
                },
              ],
            },
            {
              width: WIDTH - 66,
              height: 50,
              data: { values },
              mark: { type: "rect", color: "gray", opacity: 0.6 },
              encoding: {
                x: { ...x, field: "lower", title: "confidence" },
                x2: { field: "upper" },
                y: {
                  field: "share",
                  type: "quantitative",
                  scale: { domain: [0, 100] },
                  title: "of all, %",
                  axis: { values: [0, 50, 100] },
                },
                y2: { datum: 0 },
              },
            },
          ],
        } as TopLevelSpec,
      },
    ];
  });
}

interface LayersOfMethod {
  readonly method: ReportMethod;
  readonly layers: readonly ReportLayer[];
}

function layerPlots(run: ReportRun, methods: readonly LayersOfMethod[]): readonly ReportPlot[] {
  const plot = (
    texts: Pick<ReportPlot, "title" | "caption">,
    axis: { readonly title: string; readonly zero: boolean; readonly around?: number },
    read: (layer: ReportLayer) => number | null,
  ): readonly ReportPlot[] => {
    const values = methods.flatMap(({ method, layers }) =>
      layers.flatMap((layer) => {
        const value = read(layer);
        return value === null ? [] : [{ method: method.label, layer: layer.layer, value }];
      }),
    );
    if (values.length === 0) return [];
    // Differences that are too small to mean anything should not fill the plot.
    const { around } = axis;
    const all = values.map(({ value }) => value);
    const domain =
      around === undefined ? {} : { domain: [Math.min(around - 0.15, ...all), Math.max(around + 0.15, ...all)] };
    const last = Math.max(...values.map(({ layer }) => layer));
    const range = methods.flatMap(({ method }) => {
      const own = values.filter((value) => value.method === method.label);
      const [first] = own;
      if (first === undefined) return [];
      const most = own.reduce((best, value) => (value.value > best.value ? value : best), first);
      return [`${method.label} is largest in layer ${most.layer}, ${most.value.toFixed(2)}`];
    });
    return [
      {
        ...texts,
        label: `${texts.title}: ${range.join("; ")}.`,
        spec: {
          ...FIT,
          height: HEIGHT,
          layer: [
            ...(around === undefined
              ? []
              : [
                  {
                    data: { values: [{}] },
                    mark: { type: "rule", color: "gray", strokeDash: [4, 4] },
                    encoding: { y: { datum: around, type: "quantitative" } },
                  },
                ]),
            {
              data: { values },
              mark: { type: "line", point: last < 16, strokeWidth: 2 },
              encoding: {
                x: {
                  field: "layer",
                  type: "quantitative",
                  title: "layer",
                  scale: { domain: [0, last], nice: false, padding: 8 },
                  axis: { format: "d", tickCount: Math.min(last, 8), tickMinStep: 1 },
                },
                y: { field: "value", type: "quantitative", title: axis.title, scale: { zero: axis.zero, ...domain } },
                color: colorOf(run),
              },
            },
          ],
        } as TopLevelSpec,
      },
    ];
  };
  const aurocs = (title: string, what: string, read: (layer: ReportLayer) => number | null) =>
    plot(
      {
        title,
        caption: `How well ${what} separates right from wrong answers in each layer; 0.5 (dashed): not at all.`,
      },
      { title: "AUROC", zero: false, around: 0.5 },
      read,
    );
  return [
    ...plot(
      {
        title: "Image share by layer",
        caption: "Attention of the prompt’s last token on the picture, as a share of all; mean over the questions.",
      },
      { title: "share of attention, %", zero: true },
      ({ imageShare }) => 100 * imageShare.mean,
    ),
    ...plot(
      {
        title: "Image entropy by layer",
        caption: "How evenly that attention is spread over the patches: a higher value is flatter.",
      },
      { title: "bits", zero: false },
      ({ imageEntropy }) => imageEntropy.mean,
    ),
    ...aurocs(
      "AUROC of mass in the boxes",
      "the share of attention inside the objects’ boxes",
      ({ overlap }) => overlap?.mass ?? null,
    ),
    ...aurocs(
      "AUROC of cosine with the boxes",
      "the cosine between attention and the objects’ boxes",
      ({ overlap }) => overlap?.cosine ?? null,
    ),
    ...aurocs("AUROC of image share by layer", "the image share", ({ imageShare }) => imageShare.auroc),
  ];
}
