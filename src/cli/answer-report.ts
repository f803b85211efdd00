// An answer as lines for people and as the fields of --json.
import type { AdaptVisSettings } from "../adaptvis.ts";
import type { Answer } from "../answer.ts";
import { InputError } from "../errors.ts";
import type { AttentionMap, MapSelection } from "../inspect/attention-map.ts";
import { describeSelection } from "../inspect/heat-map-png.node.ts";

const METHOD_NAMES = { greedy: "Greedy", scaling: "ScalingVis", adaptvis: "AdaptVis" } as const;

/** The maps of one answer: of the pass that gave it, and of the unmodified pass where AdaptVis ran one before. */
export interface AnswerMaps {
  readonly used: AttentionMap;
  readonly unmodified: AttentionMap | undefined;
}

/** What belongs to an answer's report. */
export interface ReportFacts {
  readonly maps: AnswerMaps | undefined;
  readonly settings: AdaptVisSettings;
}

/** The maps of an answer; undefined where there is no picture or its tiles make no single grid. */
export function attentionMaps(answer: Answer, selection: MapSelection): AnswerMaps | undefined {
  const [start, end] = answer.imageSpan;
  if (answer.attention === undefined || start === end) return undefined;
  try {
    const unmodified = answer.method === "adaptvis" ? answer.attention.unmodified(selection) : undefined;
    return { used: answer.attention.used(selection), unmodified };
  } catch (error) {
    if (error instanceof InputError) return undefined; // LLaVA-NeXT's tiles; layer and head were checked before
    throw error;
  }
}

/** An answer's title and facts under a heat map. */
export function describeMethod(answer: Answer): { readonly title: string; readonly lines: readonly string[] } {
  const confidence = `onfidence ${shorten(answer.confidence)}`;
  return {
    title: `${METHOD_NAMES[answer.method]}: ${answer.text.trim()}`,
    lines: [answer.method === "greedy" ? `C${confidence}` : `Factor ${answer.factor}, c${confidence}`],
  };
}

/** Why AdaptVis chose its factor: "0.32 is below 0.4". */
export function describeChoice(confidence: number, settings: AdaptVisSettings): string {
  return `${shorten(confidence)} is ${confidence < settings.beta ? "below" : "at least"} ${settings.beta}`;
}

/** What is said under an answer. */
export function answerLines(answer: Answer, facts: ReportFacts): readonly string[] {
  const why = answer.method === "adaptvis" ? ` (${describeChoice(answer.confidence, facts.settings)})` : "";
  const factor = answer.method === "greedy" ? "" : `, factor ${answer.factor}${why}`;
  const lines = [`${METHOD_NAMES[answer.method]}: confidence ${shorten(answer.confidence)}${factor}`];
  if (facts.maps === undefined) return lines;
  const { used, unmodified } = facts.maps;
  const change = (value: (map: AttentionMap) => string) =>
    unmodified === undefined ? value(used) : `${value(unmodified)} → ${value(used)}`;
  const share = change((map) => `${(map.share * 100).toFixed(1)} %`);
  const entropy = change((map) => map.entropy.toFixed(2));
  const place = `Attention of the last prompt token, ${describeSelection(used)}`;
  return [...lines, `${place}: on the image ${share}, entropy there ${entropy} bits`];
}

/** An answer's fields in --json; the pieces of `tokens` are as they came, `answer` is without the spaces around it. */
export function answerJson(answer: Answer, facts: ReportFacts): object {
  return {
    answer: answer.text.trim(),
    method: answer.method,
    confidence: answer.confidence,
    factor: answer.factor,
    adaptvis: answer.method === "adaptvis" ? facts.settings : null,
    finishReason: answer.finishReason,
    promptTokens: answer.promptTokens,
    imageSpan: answer.imageSpan,
    tokens: answer.tokens.map(({ tokenId, text, logProb, top }) => ({
      id: tokenId,
      text,
      logProb,
      top: top.map((other) => ({ id: other.tokenId, logProb: other.logProb })),
    })),
    attention: facts.maps === undefined ? null : attentionJson(facts.maps),
  };
}

function attentionJson({ used, unmodified }: AnswerMaps): object {
  return {
    layer: used.layer,
    head: used.head ?? null,
    share: used.share,
    entropy: used.entropy,
    unmodified: unmodified === undefined ? null : { share: unmodified.share, entropy: unmodified.entropy },
  };
}

/** At most four decimals, for people. */
export function shorten(value: number): number {
  return Math.round(value * 10_000) / 10_000;
}
