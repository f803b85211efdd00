// The report of adaptvis eval tune as text.
import type { Share } from "../evaluate/scores.ts";
import type { HalfRows, SettingsOrigin, TunedMethod, TuneReport } from "../evaluate/tune.ts";
import type { HeldOut, Spread } from "../evaluate/tuning/cross-validation.ts";
import type { Plateau } from "../evaluate/tuning/search.ts";
import { RULES, type RuleName } from "../evaluate/verdicts.ts";
import { countOf, differenceText, intervalNote, percentOf } from "./rescore-text.ts";
import { styled, table } from "./session.ts";

/** Ranges of betas, and settings across folds, that are printed; --json has all. */
const MAX_PRINTED = 5;

const ORIGINS: Readonly<Record<SettingsOrigin, string>> = {
  unmodified: "unmodified pass",
  tuned: "tuned",
  published: "published",
  oracle: "oracle, not to quote",
};

/** The report as tables. */
export function tuneText(report: TuneReport): string {
  const { dataSet, validation, test, bootstrap } = report;
  const rule = titleOf(report.rule);
  const halves = [
    ...(validation === null ? [] : [halfText("validation", validation)]),
    ...(test === null ? [] : [halfText("test", test)]),
  ];
  const lines = [
    styled("bold", `${dataSet}, tuned by the ${rule}: ${halves.join(", ")}`),
    ...curveLines(report),
    ...choiceLines(report),
    ...(report.testReason === null
      ? methodLines("test half", report.onTest, report.rule)
      : [
          "",
          report.testReason,
          ...methodLines("validation half, on which the settings were chosen", report.onValidation, report.rule),
        ]),
    ...spreadLines(report),
    "",
    intervalNote(bootstrap),
  ];
  return `${lines.join("\n")}\n`;
}

function titleOf(rule: RuleName): string {
  return RULES.find(({ name }) => name === rule)?.title ?? rule;
}

function halfText(name: string, { n, numQuestions }: HalfRows): string {
  return `${n} of ${numQuestions} ${name} questions`;
}

function curveLines({ curve }: TuneReport): readonly string[] {
  const rules = RULES.filter(({ name }) => curve.some(({ validation, test }) => (validation ?? test)?.[name] !== null));
  const rows = (["validation", "test"] as const).flatMap((half) =>
    curve.flatMap((point) => {
      const shares = point[half];
      if (shares === null) return [];
      return [[half, String(point.factor), ...rules.map(({ name }) => rightText(shares[name] ?? undefined))]];
    }),
  );
  return ["", ...table(["half", "factor", ...rules.map(({ title }) => title)], rows)];
}

function choiceLines({ scaling, adaptvis, adaptvisReason, pairs, confidence }: TuneReport): readonly string[] {
  const lines: string[] = [];
  if (scaling !== null) {
    const ties = scaling.ties.length === 1 ? "" : `; as many right: ${scaling.ties.join(", ")}`;
    lines.push("", `ScalingVis: factor ${scaling.factor}, ${countOf(scaling.right)} right${ties}`);
  }
  if (adaptvis !== null) {
    const { alpha1, alpha2, beta, right, plateau, ties, numBetas } = adaptvis;
    lines.push(
      `AdaptVis: alpha1 ${alpha1}, alpha2 ${alpha2}, beta ${shortened(beta)}, ${countOf(right)} right; the same for beta ${rangeText(plateau)}`,
      `searched: ${numBetas} betas between ${confidence} confidences for each of ${pairs.map((pair) => pair.join("/")).join(", ")}`,
    );
    const others = ties.filter((tie) => tie !== plateau);
    const shown = others.slice(0, MAX_PRINTED).map((tie) => `${tie.alpha1}/${tie.alpha2} for beta ${rangeText(tie)}`);
    if (others.length > 0) lines.push(`as many right: ${shown.join("; ")}${moreThan(others.length)}`);
  }
  if (adaptvisReason !== null) lines.push(`AdaptVis is not searched: ${adaptvisReason}`);
  return lines;
}

function moreThan(count: number): string {
  return count > MAX_PRINTED ? `; … (${count} in all)` : "";
}

/** Four decimals of a confidence; --json has all. */
function shortened(confidence: number): string {
  return String(Math.round(confidence * 1e4) / 1e4);
}

function rangeText({ above, upTo }: Plateau): string {
  return above === null ? `from 0 to ${shortened(upTo)}` : `above ${shortened(above)} and up to ${shortened(upTo)}`;
}

function methodLines(title: string, methods: readonly TunedMethod[], rule: RuleName): readonly string[] {
  if (methods.length === 0) return [];
  const judged = methods.filter(({ reason }) => reason === null);
  const rules = RULES.filter(({ name }) => judged.some((method) => method.rules[name] !== null));
  const rows = judged.map((method) => [
    method.method,
    ORIGINS[method.origin],
    settingsText(method.settings),
    ...rules.map(({ name }) => rightText(method.rules[name]?.right)),
    percentOf(method.bareOption ?? undefined),
    ...againstGreedy(method, rule),
  ]);
  const head = ["method", "settings", "", ...rules.map((each) => each.title), "bare options"];
  const reasons = methods.filter(({ reason }) => reason !== null);
  return [
    "",
    styled("bold", title),
    ...table([...head, `− greedy, points (${titleOf(rule)})`, "McNemar p"], rows),
    ...reasons.map(({ method, origin, settings, reason }) => {
      const named = [method, ORIGINS[origin], settingsText(settings)].filter((part) => part !== "");
      return `${named.join(" ")}: not judged, ${reason}`;
    }),
    ...formatLines(judged),
  ];
}

function settingsText(settings: TunedMethod["settings"]): string {
  if (settings === null) return "";
  if ("factor" in settings) return String(settings.factor);
  return `${settings.alpha1}/${settings.alpha2} at ${shortened(settings.beta)}`;
}

function rightText(right: Share | undefined): string {
  return right === undefined ? "-" : `${percentOf(right)} (${countOf(right)})`;
}

function againstGreedy({ rules }: TunedMethod, rule: RuleName): readonly string[] {
  const paired = rules[rule]?.againstGreedy ?? null;
  return paired === null ? ["", ""] : [differenceText(paired.difference), paired.p.toPrecision(3)];
}

const READING_TITLES = {
  onlyOption: "the only option in the text",
  firstOption: "the first option in the text",
  wholeString: "the best whole option",
} as const;

/** What the gains under the paper's rule consist of, where an answer changed its verdict. */
function formatLines(methods: readonly TunedMethod[]): readonly string[] {
  const rows = methods
    .filter(({ origin }) => origin !== "oracle")
    .flatMap(({ method, origin, format }) =>
      format.flatMap(({ reading, gain, fixed, broken, formatFixed, formatBroken }) => {
        const counts = [fixed, broken, formatFixed, formatBroken];
        const signed = `${gain > 0 ? "+" : ""}${gain}`;
        return counts.every((count) => count === 0)
          ? []
          : [[method, ORIGINS[origin], signed, READING_TITLES[reading], ...counts.map(String)]];
      }),
    );
  if (rows.length === 0) return [];
  const head = ["method", "settings", "gain", "chosen option", "fixed", "broken", "format fixed", "format broken"];
  return ["", "gain over greedy in questions, paper's rule", ...table(head, rows)];
}

function spreadLines({ crossValidation, rule }: TuneReport): readonly string[] {
  const { numFolds, numRepeats, seed, numQuestions, numClusters, greedy, scaling, adaptvis } = crossValidation;
  const held = (name: string, { accuracy, gain, pooled }: HeldOut<unknown>) => [
    name,
    spreadText(accuracy),
    spreadText(gain),
    spreadText(pooled),
  ];
  return [
    "",
    styled(
      "bold",
      `${numFolds} folds, ${numRepeats} times from seed ${seed}: ${numQuestions} questions in ${numClusters} clusters, ${titleOf(rule)}`,
    ),
    ...table(
      ["method", "held-out accuracy per fold", "− greedy, points", "over all folds"],
      [
        ["greedy", spreadText(greedy.accuracy), "", ""],
        held("scaling", scaling),
        ...(adaptvis === null ? [] : [held("adaptvis", adaptvis)]),
      ],
    ),
    chosenText("scaling", scaling),
    ...(adaptvis === null ? [] : [chosenText("adaptvis", adaptvis)]),
  ];
}

function chosenText(
  name: string,
  { chosen }: HeldOut<number> | HeldOut<{ readonly alpha1: number; readonly alpha2: number; readonly beta: number }>,
): string {
  const shown = chosen
    .slice(0, MAX_PRINTED)
    .map(
      ({ settings, count }) =>
        `${settingsText(typeof settings === "number" ? { factor: settings } : settings)} ×${count}`,
    );
  return `chosen for ${name}: ${shown.join(", ")}${moreThan(chosen.length).replace(";", ",")}`;
}

/** Mean and standard deviation in percent. */
function spreadText({ mean, deviation }: Spread): string {
  return `${(100 * mean).toFixed(1)}${deviation === null ? "" : ` ± ${(100 * deviation).toFixed(1)}`}`;
}
