// An answer as lines for people.
import type { Answer, AnswerMaps } from "../answer.ts";
import type { AttentionMap, MapSelection } from "../inspect/attention-map.ts";
import { effectOfFactor } from "../inspect/factor-effect.ts";
import { describeSelection, unplacedText } from "../inspect/heat-map-png.node.ts";
import { titleOf } from "../interventions/registry.ts";

/** The maps of an answer over each picture of its prompt; none without a picture. */
export function attentionMaps(answer: Answer, selection: MapSelection): readonly AnswerMaps[] {
  const { attention, method } = answer;
  return Array.from({ length: attention?.numImages ?? 0 }, (_, image) => {
    const of = { ...selection, image };
    return {
      used: attention?.used(of),
      unmodified: method === "greedy" ? undefined : attention?.unmodified(of),
      negativeScoresByHead: attention?.negativeScores(image),
    };
  }).flatMap(({ used, ...others }) => (used === undefined ? [] : [{ used, ...others }]));
}

/** An answer's title and facts under a heat map. */
export function describeMethod(answer: Answer): { readonly title: string; readonly lines: readonly string[] } {
  const facts = [...numbersOf(answer), `confidence ${shorten(answer.confidence)}`].join(", ");
  return {
    title: `${titleOf(answer.method)}: ${answer.text.trim()}`,
    lines: [facts.charAt(0).toUpperCase() + facts.slice(1)],
  };
}

/** Why AdaptVis chose its factor: "0.32 is below 0.4". */
export function describeChoice({ confidence, settings }: Pick<Answer, "confidence" | "settings">): string {
  const beta = Number(settings.beta);
  const width = Number(settings.gateWidth ?? 0);
  if (width > 0)
    return `${shorten(confidence)} on a gate from ${shorten(beta - width / 2)} to ${shorten(beta + width / 2)}`;
  const [less, more] = settings.gate === "entropy" ? ["at most", "above"] : ["below", "at least"];
  const isLess = settings.gate === "entropy" ? confidence <= beta : confidence < beta;
  return `${shorten(confidence)} is ${isLess ? less : more} ${beta}`;
}

/** The summary below an answer. @param maps over each picture */
export function answerLines(answer: Answer, maps: readonly AnswerMaps[]): readonly string[] {
  const why = answer.method === "adaptvis" ? ` (${describeChoice(answer)})` : "";
  const numbers = numbersOf(answer).map((number) => `, ${number}${why}`);
  const title = `${titleOf(answer.method)}: confidence ${shorten(answer.confidence)}${numbers.join("")}`;
  const ofMaps = maps.map(({ used, unmodified }, index) => {
    const change = (value: (map: AttentionMap) => string) =>
      unmodified === undefined ? value(used) : `${value(unmodified)} → ${value(used)}`;
    const share = change((map) => `${(map.share * 100).toFixed(1)} %`);
    const entropy = change((map) => map.entropy.toFixed(2));
    const place = `Attention of the last prompt token, ${describeSelection(used)}`;
    const image = maps.length === 1 ? "the image" : `image ${index + 1}`;
    return [
      `${place}: on ${image} ${share}${unplacedText(used)}, entropy there ${entropy} bits`,
      ...signLines(answer, { used, unmodified }),
    ];
  });
  return [title, ...ofMaps.flat()];
}

/** The signs of the scores that a factor multiplies, and what it did where they allow to say so. */
function signLines({ factor }: Answer, { used, unmodified }: AnswerMaps): readonly string[] {
  const { negativeScores } = used;
  if (negativeScores === undefined) return [];
  const effect = effectOfFactor(factor, used, unmodified);
  const negative = `Scores on the image, ${describeSelection(used)}: ${(negativeScores * 100).toFixed(1)} % negative`;
  return [effect === undefined ? negative : `${negative}; factor ${factor}: ${effect}`];
}

/** The factor that AdaptVis chose, or the numbers that another method was set to: "factor 0.8". */
export function numbersOf({ method, factor, settings }: Answer): readonly string[] {
  if (method === "adaptvis") return [`factor ${factor}`];
  return Object.entries(settings).flatMap(([name, value]) => (typeof value === "number" ? [`${name} ${value}`] : []));
}

/** Rounds to four decimals for display. */
export function shorten(value: number): number {
  return Math.round(value * 10_000) / 10_000;
}
