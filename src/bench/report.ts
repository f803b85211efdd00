// The results of a bench run as plain data (the content of --json), and as text tables for a terminal.
import type { KernelFigure } from "./kernels.ts";
import type { ModelFigures, PeerFigures } from "./models.ts";
import type { ParityResult } from "./parity.ts";
import type { PeerIdentity } from "./peer.ts";
import type { Ratio } from "./ratios.ts";
import type { Roofline } from "./roofline.ts";
import type { ScalingSeries } from "./scaling.ts";
import { START_PARTS, type StartFigures, type StartSample } from "./start.ts";
import { digits, type Spread, spreadOf } from "./statistics.ts";
import type { SweepFigure } from "./sweeps.ts";
import type { Winner } from "./winners.ts";

/** The machine, adapter and versions of a run. */
export interface Stamp {
  /** ISO 8601 */
  readonly date: string;
  /** Commit of the checkout, followed by "+" when files differ from it; null outside of a checkout. */
  readonly revision: string | null;
  readonly versions: Readonly<Record<string, string>>;
  readonly cpu: string;
  readonly numCpus: number;
  readonly memoryBytes: number;
  readonly platform: string;
  readonly adapter: {
    readonly kind: string;
    readonly isSoftware: boolean;
    readonly description: string;
    readonly info: Readonly<Record<string, string>>;
    readonly features: readonly string[];
    readonly limits: Readonly<Record<string, number>>;
  };
  /** What a tuning table made of this run is valid for. */
  readonly tuningKey: string;
  readonly options: Readonly<Record<string, unknown>>;
}

/** A whole report; parts that were not selected are null. */
export interface BenchReport {
  readonly stamp: Stamp;
  readonly roofline: Roofline | null;
  readonly kernels: readonly KernelFigure[] | null;
  readonly sweeps: readonly SweepFigure[] | null;
  readonly parity: readonly ParityResult[] | null;
  readonly models: readonly ModelFigures[] | null;
  readonly scaling: readonly ScalingSeries[] | null;
  readonly start: readonly StartFigures[] | null;
  /** Identities of the peers that ran. */
  readonly peers: readonly PeerIdentity[];
  /** Peers that could not be started, and why. */
  readonly missingPeers: readonly { readonly file: string; readonly reason: string }[];
  readonly ratios: readonly Ratio[];
  /** The engine to use on this machine, per form of the weights and task; empty without peers. */
  readonly winners: readonly Winner[];
  /** Parts that failed, with one sentence each. */
  readonly failures: readonly { readonly part: string; readonly message: string }[];
  /** Seconds of each part. */
  readonly seconds: Readonly<Record<string, number>>;
}

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
  if (report.sweeps !== null && report.sweeps.length > 0) tables.push(sweepTable(report.sweeps));
  if (report.parity !== null && report.parity.length > 0) tables.push(parityTable(report.parity));
  for (const model of report.models ?? []) tables.push(modelTable(model));
  for (const curve of report.scaling ?? []) tables.push(scalingTable(curve));
  if (report.start !== null && report.start.length > 0) tables.push(startTable(report.start));
  const failures = [
    ...report.failures,
    ...report.missingPeers.map(({ file, reason }) => ({ part: `peer ${file}`, message: reason })),
    ...report.peers.flatMap(({ name, caveats = [] }) => caveats.map((message) => ({ part: `peer ${name}`, message }))),
  ];
  if (failures.length > 0) {
    tables.push({
      title: "Parts that could not run or have a caveat",
      head: ["part", "why"],
      rows: failures.map(({ part, message }) => [part, message]),
    });
  }
  tables.push(ratioTable(report.ratios));
  if (report.peers.length > 0) tables.push(peerTable(report.peers));
  if (report.winners.length > 0) tables.push(winnerTable(report.winners));
  return tables;
}

/** "median (min … max)". */
export function spreadText(spread: Spread): string {
  return `${digits(spread.median)} (${digits(spread.min)} … ${digits(spread.max)})`;
}

function rooflineTable(roofline: Roofline): ReportTable {
  const { fma, read, copy, dispatchUs, submitUs, readbackMs } = roofline;
  return {
    title: "Roofline: ceilings of this adapter",
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
    title: "Kernels at real shapes, against the limiting ceiling",
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

function sweepTable(sweeps: readonly SweepFigure[]): ReportTable {
  return {
    title: "Candidates of tuning at LLaVA-1.5-7B's shapes, against the limiting ceiling",
    head: ["case", "kernel", "ms, median (min … max)", "GFLOP/s", "GB/s", "share", "of", "difference"],
    rows: sweeps.flatMap(({ name, variants, failures }) => [
      ...variants.map((figure) => [
        name,
        figure.name,
        spreadText(figure.ms),
        digits(figure.gflops.median),
        digits(figure.gbps.median),
        `${(100 * figure.share.median).toFixed(0)} %`,
        figure.limit,
        figure.isSame ? "" : `${figure.difference.toExponential(1)}: WRONG`,
      ]),
      ...failures.map(({ variant, message }) => [name, variant, message]),
    ]),
  };
}

function parityTable(parity: readonly ParityResult[]): ReportTable {
  return {
    title: "Parity with stored results",
    head: ["what", "", "got", "stored"],
    rows: parity.flatMap(({ checks }) =>
      checks.map(({ name, got, expected, isEqual }) => [name, isEqual ? "equal" : "DIFFERENT", got, expected]),
    ),
  };
}

/** "median (min … max)" of some rounds, "–" without rounds. */
export function roundsText(rounds: readonly number[]): string {
  return rounds.length === 0 ? "–" : spreadText(spreadOf(rounds));
}

function modelTable(model: ModelFigures): ReportTable {
  const { questions, peers, peakRssBytes } = model;
  const of = (name: string, unit: string, ours: string, theirs: (peer: PeerFigures) => string = () => "") => [
    name,
    unit,
    ours,
    ...peers.map(theirs),
  ];
  const refusal = (peer: PeerFigures, what: string, rounds: readonly number[]) =>
    rounds.length > 0 ? roundsText(rounds) : (peer.refusals.load ?? peer.refusals[what] ?? "–");
  const rows = [
    of("load", "MB/s", digits(model.loadMbps)),
    of("load", "ms", digits(model.loadMs), ({ loadMs }) => (loadMs === null ? "–" : digits(loadMs))),
    of("warm-up after it", "ms", digits(model.warmUpMs)),
    of("vision, one picture", "ms", roundsText(model.visionMs), (peer) => refusal(peer, "vision", peer.visionMs)),
    of(`prefill of ${model.prefillRows}`, "tokens/s", roundsText(model.prefill), (peer) =>
      refusal(peer, "prefill", peer.prefill),
    ),
    of(`decode of ${model.decodeTokens}`, "tokens/s", roundsText(model.decode), (peer) =>
      refusal(peer, "decode", peer.decode),
    ),
  ];
  if (peers.length > 0) {
    rows.push(
      of("greedy ids as ours", "", "", ({ agreement }) =>
        agreement === null ? "–" : `first ${agreement.numEqual} of ${agreement.numCompared}`,
      ),
    );
  }
  for (const { stage, gpuMs } of model.stages ?? []) rows.push(of(`${stage}, on the GPU`, "ms", digits(gpuMs)));
  if (questions !== null) {
    const { greedy, adaptvis, sweep6Ms, evaluation1Ms, evaluation6Ms, secondMs } = questions;
    const { patchedCells, patchMs, naivePatch } = questions;
    const ms = (name: string, rounds: readonly number[]) => of(name, "ms", roundsText(rounds));
    rows.push(
      ms(
        `question of ${questions.promptTokens} (${questions.imageTokens} of the picture): token 1`,
        greedy.map((t) => t.token1),
      ),
      ms(
        "greedy, 16 tokens",
        greedy.map((t) => t.token16),
      ),
      ms(
        "AdaptVis, 16 tokens",
        adaptvis.map((t) => t.token16),
      ),
      ms(
        "greedy, 64 tokens",
        greedy.map((t) => t.token64),
      ),
      ms(
        "AdaptVis, 64 tokens",
        adaptvis.map((t) => t.token64),
      ),
      ms("six factors, token 1", sweep6Ms),
      ms("evaluation of one factor, 8 tokens", evaluation1Ms),
      ms("evaluation of six factors, 8 tokens", evaluation6Ms),
      ms("second question, token 1", secondMs),
      ms(`patching grid of ${patchedCells} cells, last row`, patchMs),
      ms(`${naivePatch.cells} of its cells one by one, once`, [naivePatch.ms]),
    );
  }
  rows.push(of("weights", "MB", digits(model.weightBytes / 1e6)));
  rows.push(of("GPU memory", "MB", digits(model.gpuBytes / 1e6)));
  if (peakRssBytes !== null) rows.push(of("largest resident set so far", "MB", digits(peakRssBytes / 1e6)));
  return {
    title: `${model.name}: ${model.description}`,
    head: ["what", "unit", "adaptvis", ...peers.map(({ name }) => name)],
    rows,
  };
}

function scalingTable({ title, xLabel, points, explanation }: ScalingSeries): ReportTable {
  return {
    title: `${title}. ${explanation}`,
    head: [xLabel, "ms, median (min … max)", "cost model, ms", "roofline, ms"],
    rows: points.map(({ x, ms, modelMs, rooflineMs }) => [
      String(x),
      spreadText(ms),
      digits(modelMs),
      rooflineMs === null ? "–" : digits(rooflineMs),
    ]),
  };
}

const START_TITLES: Readonly<Record<keyof StartSample, string>> = {
  imported: "modules loaded",
  device: "device open",
  loaded: "weights loaded",
  compiled: "kernels compiled",
  firstToken: "first token",
  process: "whole process, from outside",
};

function startTable(starts: readonly StartFigures[]): ReportTable {
  return {
    title: "The start: ms since the process began at which each part was over, median (min … max)",
    head: ["part", ...starts.flatMap(({ name }) => [`${name}, driver's cache empty`, "filled"])],
    rows: START_PARTS.map((part) => [
      START_TITLES[part],
      ...starts.flatMap(({ first, repeat }) => [spreadText(first[part]), spreadText(repeat[part])]),
    ]),
  };
}

/** The bars as a table. */
export function ratioTable(ratios: readonly Ratio[]): ReportTable {
  return {
    title: "Bars (higher is better, costs are inverted)",
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

function peerTable(peers: readonly PeerIdentity[]): ReportTable {
  return {
    title: "Engines compared with",
    head: ["engine", "version", "runs on"],
    rows: peers.map(({ name, version, adapter }) => [name, version, adapter]),
  };
}

function winnerTable(winners: readonly Winner[]): ReportTable {
  const figure = ({ unit, contenders }: Winner, name: string) => {
    const contender = contenders.find((candidate) => candidate.name === name);
    return contender === undefined ? "–" : `${digits(contender.value)} ${unit}`;
  };
  return {
    title: "What to use on this machine",
    head: ["weights", "for", "use", "its figure", "adaptvis"],
    rows: winners.map((winner) => [
      winner.weights,
      winner.task,
      winner.use,
      figure(winner, winner.use),
      figure(winner, "adaptvis"),
    ]),
  };
}
