// Which engine to use on this machine: per form of the weights and task, the one with the best measured median, adaptvis or a peer.

import type { WeightForm } from "./model-cases.ts";
import type { ModelFigures, PeerFigures } from "./models.ts";
import type { PeerIdentity } from "./peer.ts";
import { digits, spreadOf } from "./statistics.ts";

/** Tasks that engines are compared by. Whole answers are sums of the measured medians of their parts. */
export type Task = "vision" | "prefill" | "decode" | "a whole answer to a text" | "a whole answer about a picture";

/** One engine's figure for a task. */
export interface Contender {
  readonly name: string;
  /** Tokens per second, or ms. */
  readonly value: number;
  /** Clause on why it is not recommended although it was measured; undefined otherwise. */
  readonly exclusion?: string;
}

/** The engine to use for a task, and why. */
export interface Winner {
  /** The model that was measured. */
  readonly model: string;
  readonly weights: WeightForm;
  readonly task: Task;
  /** The engine's name: "adaptvis" or a peer's. */
  readonly use: string;
  readonly unit: "tokens/s" | "ms";
  /** All engines with a figure, best first. */
  readonly contenders: readonly Contender[];
  /** The recommendation as one sentence. */
  readonly sentence: string;
}

/** Name of this engine among the contenders. */
const OURS = "adaptvis";

/** The winners of every model that peers ran too, in the order of the models. */
export function winnersOf(
  models: readonly ModelFigures[] | null,
  identities: readonly PeerIdentity[],
): readonly Winner[] {
  const caveats = new Map(identities.map(({ name, caveats: known = [] }) => [name, known]));
  return (models ?? [])
    .filter(({ peers }) => peers.length > 0)
    .flatMap((model) => TASKS.flatMap((task) => winnerOf(model, task, caveats) ?? []));
}

/** Figures of one engine, adaptvis or a peer. */
type Figures = Pick<PeerFigures, "visionMs" | "prefill" | "decode">;

interface TaskKind {
  readonly task: Task;
  readonly unit: Winner["unit"];
  /** Undefined when the engine lacks a part of it. */
  readonly value: (figures: Figures, model: ModelFigures) => number | undefined;
  /** The work, as a phrase after "for". */
  readonly describe: (model: ModelFigures) => string;
  /** Whether the tokens that an engine chooses are part of it. */
  readonly hasTokens: boolean;
}

const TASKS: readonly TaskKind[] = [
  {
    task: "vision",
    unit: "ms",
    value: ({ visionMs }) => median(visionMs),
    describe: () => "vision (one picture)",
    hasTokens: false,
  },
  {
    task: "prefill",
    unit: "tokens/s",
    value: ({ prefill }) => median(prefill),
    describe: ({ prefillRows }) => `prefill (${prefillRows} tokens)`,
    hasTokens: true,
  },
  {
    task: "decode",
    unit: "tokens/s",
    value: ({ decode }) => median(decode),
    describe: ({ decodeTokens }) => `decode (${decodeTokens} tokens)`,
    hasTokens: true,
  },
  {
    task: "a whole answer to a text",
    unit: "ms",
    value: textAnswerMs,
    describe: ({ prefillRows, decodeTokens }) =>
      `a whole answer to a text (prefill of ${prefillRows}, ${decodeTokens} more tokens)`,
    hasTokens: true,
  },
  {
    task: "a whole answer about a picture",
    unit: "ms",
    value: (figures, model) => {
      const visionMs = median(figures.visionMs);
      const textMs = textAnswerMs(figures, model);
      return visionMs === undefined || textMs === undefined ? undefined : visionMs + textMs;
    },
    describe: ({ prefillRows, decodeTokens }) =>
      `a whole answer about a picture (vision, prefill of ${prefillRows}, ${decodeTokens} more tokens)`,
    hasTokens: true,
  },
];

function textAnswerMs({ prefill, decode }: Figures, model: ModelFigures): number | undefined {
  const [prefillRate, decodeRate] = [median(prefill), median(decode)];
  if (prefillRate === undefined || decodeRate === undefined) return undefined;
  return (1000 * model.prefillRows) / prefillRate + (1000 * model.decodeTokens) / decodeRate;
}

function median(rounds: readonly number[]): number | undefined {
  return rounds.length === 0 ? undefined : spreadOf(rounds).median;
}

/** The winner of one task; undefined when not even adaptvis has a figure. */
function winnerOf(
  model: ModelFigures,
  kind: TaskKind,
  caveats: ReadonlyMap<string, readonly string[]>,
): Winner | undefined {
  const isBetter = (a: number, b: number) => (kind.unit === "ms" ? a < b : a > b);
  const contenders: Contender[] = [];
  const add = (name: string, figures: Figures, exclusion?: string) => {
    const value = kind.value(figures, model);
    if (value !== undefined) contenders.push({ name, value, ...(exclusion !== undefined && { exclusion }) });
  };
  add(OURS, model);
  for (const peer of model.peers) add(peer.name, peer, exclusionOf(peer, { model, kind, caveats }));
  contenders.sort((a, b) => (isBetter(a.value, b.value) ? -1 : isBetter(b.value, a.value) ? 1 : 0));
  const best = contenders.find(({ exclusion }) => exclusion === undefined);
  if (best === undefined) return undefined;
  const sentence = sentenceOf({ model, kind, contenders, best });
  return {
    model: model.name,
    weights: model.weights,
    task: kind.task,
    use: best.name,
    unit: kind.unit,
    contenders,
    sentence,
  };
}

/**
 * Numbers that are known to be wrong, or that begin with another token than ours in f32, do not win. Later tokens may differ where
 * two are nearly as probable, and in the other forms engines round activations differently.
 */
function exclusionOf(
  peer: PeerFigures,
  { model, kind, caveats }: { model: ModelFigures; kind: TaskKind; caveats: ReadonlyMap<string, readonly string[]> },
): string | undefined {
  if ((caveats.get(peer.name) ?? []).length > 0) return "its results are known to be wrong on this machine";
  const isWrong = model.weights === "f32" && peer.agreement?.numEqual === 0 && peer.agreement.numCompared > 0;
  return isWrong && kind.hasTokens ? "it gives other tokens than adaptvis" : undefined;
}

function sentenceOf({
  model,
  kind,
  contenders,
  best,
}: {
  readonly model: ModelFigures;
  readonly kind: TaskKind;
  readonly contenders: readonly Contender[];
  readonly best: Contender;
}): string {
  const text = ({ value }: Contender) => `${digits(value)} ${kind.unit}`;
  const times = (other: Contender) => digits(kind.unit === "ms" ? other.value / best.value : best.value / other.value);
  const eligible = contenders.filter(({ exclusion }) => exclusion === undefined);
  const other = best.name === OURS ? eligible[1] : eligible.find(({ name }) => name === OURS);
  const compared =
    other === undefined
      ? best.name === OURS
        ? "no other engine has a figure"
        : "adaptvis has no figure"
      : best.name === OURS
        ? `${times(other)} times as fast as the next, ${other.name} (${text(other)})`
        : `${times(other)} times as fast as adaptvis (${text(other)}), which loses here`;
  const excluded = contenders
    .slice(0, contenders.indexOf(best))
    .map((contender) => `; ${contender.name} (${text(contender)}) is left out because ${contender.exclusion}`);
  const differing = tokensDiffer(model, kind, best.name);
  return `On this machine, with ${model.weights} weights, use ${best.name} for ${kind.describe(model)}: ${text(best)}, ${compared}${differing}${excluded.join("")}.`;
}

/** Notes where the tokens of a recommended peer diverge from ours. */
function tokensDiffer(model: ModelFigures, { hasTokens }: TaskKind, name: string): string {
  const agreement = model.peers.find((peer) => peer.name === name)?.agreement ?? null;
  if (!hasTokens || agreement === null || agreement.numEqual === agreement.numCompared) return "";
  return `; of its tokens the first ${agreement.numEqual} of ${agreement.numCompared} are adaptvis'`;
}
