// From a run's figures to its bars: every bar appears, with its figures or with the reason why they are missing.

import type { ModelFigures, PeerFigures, QuestionFigures, QuestionTimes } from "./models.ts";
import { type Bar, type Bars, barsFor, costRatio, missingRatio, type Ratio, rateRatio } from "./ratios.ts";
import type { BenchReport } from "./report.ts";
import { spreadOf } from "./statistics.ts";

/** The figures that the bars are judged by. */
export interface Found {
  /** The measured shares of the roofline. */
  readonly shares: readonly Ratio[];
  readonly models: readonly ModelFigures[] | null;
  readonly missingPeers: BenchReport["missingPeers"];
}

/** The peers that the bars compare with: for each figure, the fastest form of ONNX Runtime's WebGPU provider. */
const PEER = /^onnxruntime-webgpu/;
/** The model that the bars are measured on. */
const MODEL = "models/llava-110m";

/** One ratio per bar, in a fixed order. */
export function verdicts(isSoftware: boolean, found: Found): readonly Ratio[] {
  const bars = barsFor(isSoftware);
  const share = (bar: Bar) =>
    found.shares.find(({ name }) => name === bar.name) ??
    missingRatio(bar, "This share of the roofline was not measured.");
  return [
    ...peerVerdicts(bars, found),
    share(bars.gemm),
    share(bars.gemv),
    ...questionVerdicts(bars, found),
    ...bars.decodeShares.map(({ bar }) => share(bar)),
  ];
}

function peerVerdicts(bars: Bars, found: Found): readonly Ratio[] {
  const model = found.models?.find(({ name }) => name === MODEL);
  const peers = model?.peers.filter(({ name }) => PEER.test(name)) ?? [];
  const rate = (bar: Bar, what: "decode" | "prefill"): Ratio => {
    const peer = best(peers, (figures) => figures[what]);
    if (model === undefined || peer === undefined) return missingRatio(bar, whyNoPeer(model, found));
    if (peer[what].length === 0) return missingRatio(bar, refusalOf(peer, what));
    const reason = `Tokens per second on ${MODEL.slice("models/".length)}, against ${peer.name}.`;
    return rateRatio(bar, { ours: model[what], theirs: peer[what], unit: "tokens/s", reason });
  };
  const vision = (bar: Bar): Ratio => {
    const peer = best(peers, ({ visionMs }) => visionMs.map((ms) => 1 / ms));
    if (model === undefined || peer === undefined) return missingRatio(bar, whyNoPeer(model, found));
    if (peer.visionMs.length === 0) return missingRatio(bar, refusalOf(peer, "vision"));
    const reason = `One picture through the vision tower (ours with the projector), against ${peer.name}.`;
    return costRatio(bar, { ours: model.visionMs, theirs: peer.visionMs, unit: "ms", reason });
  };
  return [rate(bars.decode, "decode"), rate(bars.prefill, "prefill"), vision(bars.vision)];
}

/** The peer with the highest median; a peer without figures only if all lack them. */
function best(peers: readonly PeerFigures[], rates: (peer: PeerFigures) => readonly number[]): PeerFigures | undefined {
  const median = (peer: PeerFigures) => (rates(peer).length === 0 ? -1 : spreadOf(rates(peer)).median);
  return [...peers].sort((a, b) => median(b) - median(a))[0];
}

function whyNoPeer(model: ModelFigures | undefined, { missingPeers }: Found): string {
  if (model === undefined) return `${MODEL} was not measured.`;
  const missing = missingPeers.find(({ file }) => file.includes("onnx"));
  return missing?.reason ?? "ONNX Runtime is not available for comparison: npm run bench installs and starts it.";
}

function refusalOf(peer: PeerFigures, what: string): string {
  return peer.refusals.load ?? peer.refusals[what] ?? peer.refusals.prefill ?? `${peer.name} gave no figure.`;
}

function questionVerdicts(bars: Bars, found: Found): readonly Ratio[] {
  const model = found.models?.find(({ name }) => name === MODEL);
  const questions = model?.questions;
  const judge = (bar: Bar, reason: string, costs: (of: QuestionFigures) => Costs): Ratio =>
    questions
      ? costRatio(bar, { ...costs(questions), unit: "ms", reason })
      : missingRatio(bar, `${MODEL} was not measured.`);
  const times = (of: readonly QuestionTimes[], token: keyof QuestionTimes) => of.map((answer) => answer[token]);
  return [
    judge(bars.adaptvis16, "Whole time of 16 new tokens: greedy over AdaptVis.", ({ greedy, adaptvis }) => ({
      ours: times(adaptvis, "token16"),
      theirs: times(greedy, "token16"),
    })),
    judge(bars.adaptvis64, "Whole time of 64 new tokens: greedy over AdaptVis.", ({ greedy, adaptvis }) => ({
      ours: times(adaptvis, "token64"),
      theirs: times(greedy, "token64"),
    })),
    judge(bars.sweep6, "One greedy first token over six factors' first tokens.", ({ greedy, sweep6Ms }) => ({
      ours: sweep6Ms,
      theirs: times(greedy, "token1"),
    })),
    judge(
      bars.evaluation6,
      "An evaluation's question, 8 tokens with attention maps: one factor over six.",
      ({ evaluation1Ms, evaluation6Ms }) => ({ ours: evaluation6Ms, theirs: evaluation1Ms }),
    ),
    judge(bars.secondQuestion, "First question's first token over the second's.", ({ greedy, secondMs }) => ({
      ours: secondMs,
      theirs: times(greedy, "token1"),
    })),
    judge(bars.patch32, "One greedy first token over a patching grid of 32 cells.", ({ greedy, patchMs }) => ({
      ours: patchMs,
      theirs: times(greedy, "token1"),
    })),
  ];
}

interface Costs {
  readonly ours: readonly number[];
  readonly theirs: readonly number[];
}
