// The report of adaptvis eval rescore as text.
import { dataSetNamed } from "../evaluate/datasets/registry.ts";
import type { BootstrapInterval } from "../evaluate/metrics/bootstrap.ts";
import type { BootstrapFacts, FileReport, PairedTest, RescoreReport, ScoredRun } from "../evaluate/rescore.ts";
import { METRIC_RULES } from "../evaluate/run-metrics.ts";
import type { GroupScores, Share, YesNoScores } from "../evaluate/scores.ts";
import { RULES, type RuleName, titleOfRule } from "../evaluate/verdicts.ts";
import { styled, table } from "./session.ts";

/** The report as tables. */
export function rescoreText(report: RescoreReport): string {
  const { dataSet, split, files, mcNemar, bootstrap } = report;
  const part = split.name === "all" ? "all rows" : `${split.name} half`;
  const lines = [
    styled("bold", `${dataSet}, ${part}: ${split.numExpected} of ${split.numQuestions} questions`),
    ...files.flatMap((file) => ["", ...fileLines(file, dataSet)]),
    ...pairedLines(mcNemar, { hasSeveralFiles: files.length > 1, dataSet }),
    "",
    intervalNote(bootstrap),
  ];
  return `${lines.join("\n")}\n`;
}

/** The title of a rule in tables: the first one is named after those whose rule it is. */
export function ruleTitle(rule: RuleName, dataSet: string): string {
  return titleOfRule(rule, dataSetNamed(dataSet));
}

function fileLines(file: FileReport, dataSet: string): readonly string[] {
  const { belowBeta, roundedField, fields } = file.confidence;
  const rules = RULES.filter(({ name }) => file.runs.some((run) => run.rules[name] !== null));
  const lines = [
    styled("bold", file.file),
    `${file.form}, ${file.n} of ${file.expected} answered${file.isComplete ? "" : " (incomplete)"}`,
    "",
    ...table(
      ["run", "n", ...rules.map(({ name }) => ruleTitle(name, dataSet)), "bare options"],
      file.runs.map((run) => [
        run.run,
        String(run.n),
        ...rules.map(({ name }) => percentOf(run.rules[name]?.individual) + rangeOf(run, name)),
        percentOf(run.text?.bareOption),
      ]),
    ),
    ...(rules.length === 0 ? ["no question has a right answer: nothing is judged"] : []),
    ...majorityLines(file.runs),
    ...groupLines(file.runs, dataSet),
    ...yesNoLines(file.runs, dataSet),
    ...relationLines(file.runs, dataSet),
    ...benchmarkLines(file.runs, dataSet),
    ...file.refused.map(({ run, reason }) => `${run}: not scored, ${reason}`),
  ];
  if (belowBeta !== null) {
    const unrounded = belowBeta.unrounded === null ? "" : `, ${countOf(belowBeta.unrounded)} unrounded`;
    lines.push(
      "",
      `confidence (${roundedField}) below ${belowBeta.beta}: ${countOf(belowBeta.rounded)} rounded${unrounded}`,
    );
  } else {
    const known = fields.map(({ field, meaning }) => `${field}: ${meaning}`);
    lines.push("", `no confidence recorded${known.length === 0 ? "" : ` (${known.join("; ")})`}`);
  }
  lines.push(...calibrationLines(file.runs, dataSet));
  if (file.form === "sweep" && file.gate.reason !== null) lines.push(`gate not applied: ${file.gate.reason}`);
  if (file.gate.equalToRecorded !== null) {
    const { count, of } = file.gate.equalToRecorded;
    lines.push(`gate applied anew: ${count} of ${of} answers equal the recorded gated ones`);
  }
  return [...lines, ...recordedLines(file)];
}

/** The interval of a run's accuracy under a rule, after its percentage; nothing for rules without metrics. */
function rangeOf({ metrics }: ScoredRun, rule: RuleName): string {
  const name = METRIC_RULES.find((each) => each === rule);
  const own = name === undefined ? null : metrics.rules[name];
  return own === null ? "" : ` ${percentRange(own.individual)}`;
}

/** Expected calibration error of every run that has confidences, under the paper's rule. */
function calibrationLines(runs: readonly ScoredRun[], dataSet: string): readonly string[] {
  const errors = runs.flatMap(({ run, metrics }) => {
    const error = metrics.rules.paper?.confidence?.expectedCalibrationError ?? null;
    return error === null ? [] : [`${run} ${percent(error, 100)}`];
  });
  return errors.length === 0
    ? []
    : [`expected calibration error, ${ruleTitle("paper", dataSet)}: ${errors.join(", ")}`];
}

function majorityLines(runs: readonly ScoredRun[]): readonly string[] {
  const [first] = runs;
  if (first === undefined || first.majority.answer === null) return [];
  return [`always answering "${first.majority.answer}": ${percentOf(first.majority.share)}`];
}

function groupLines(runs: readonly ScoredRun[], dataSet: string): readonly string[] {
  const rows = runs.flatMap((run) =>
    RULES.flatMap(({ name }) => {
      const rule = run.rules[name];
      return rule === null || rule.pairs === null || rule.sets === null
        ? []
        : [[run.run, ruleTitle(name, dataSet), ...groupCells(rule.pairs), ...groupCells(rule.sets)]];
    }),
  );
  const head = ["run", "rule", "pairs of n/2", "ceiling", "of complete", "sets of n/4", "ceiling", "of complete"];
  return rows.length === 0 ? [] : ["", ...table(head, rows)];
}

function groupCells({ right, ceiling, rightOfComplete }: GroupScores): readonly string[] {
  return [percentOf(right), percentOf(ceiling), percentOf(rightOfComplete)];
}

function yesNoLines(runs: readonly ScoredRun[], dataSet: string): readonly string[] {
  const rows = runs.flatMap((run) =>
    RULES.flatMap(({ name }) => {
      const scores = run.rules[name]?.yesNo ?? null;
      return scores === null ? [] : [[run.run, ruleTitle(name, dataSet), ...yesNoCells(scores)]];
    }),
  );
  const head = ["run", "rule", "true positive rate", "true negative rate", "balanced", "F1"];
  if (rows.length === 0) return [];
  // Only the paper's authors call it so.
  if (dataSetNamed(dataSet).authorsRule.title === undefined) head.push('authors\' "F1" (harmonic mean of the rates)');
  return [
    "",
    ...table(
      head,
      rows.map((row) => row.slice(0, head.length)),
    ),
  ];
}

function yesNoCells(scores: YesNoScores): readonly string[] {
  const { truePositiveRate, trueNegativeRate, balancedAccuracy, f1, harmonicMeanOfRates } = scores;
  const fractions = [balancedAccuracy, f1, harmonicMeanOfRates];
  return [percentOf(truePositiveRate), percentOf(trueNegativeRate), ...fractions.map((value) => percent(value, 100))];
}

/** Right answers by relation under the paper's rule. */
function relationLines(runs: readonly ScoredRun[], dataSet: string): readonly string[] {
  const judged = runs.flatMap((run) =>
    run.rules.paper === null ? [] : [{ run: run.run, shares: run.rules.paper.byRelation }],
  );
  const relations = [...new Set(judged.flatMap(({ shares }) => Object.keys(shares)))];
  if (relations.length === 0) return [];
  const rows = judged.map(({ run, shares }) => [
    run,
    ...relations.map((relation) => (shares[relation] === undefined ? "-" : countOf(shares[relation]))),
  ]);
  return ["", ...table([ruleTitle("paper", dataSet), ...relations], rows)];
}

/** The benchmark's own numbers. */
function benchmarkLines(runs: readonly ScoredRun[], dataSet: string): readonly string[] {
  const rows = runs.flatMap(({ run, benchmark = {} }) =>
    Object.entries(benchmark).map(([name, numbers]) => ({ run, name, numbers })),
  );
  const columns = [...new Set(rows.flatMap(({ numbers }) => Object.keys(numbers)))];
  if (rows.length === 0) return [];
  const cells = rows.map(({ run, name, numbers }) => [
    run,
    name,
    ...columns.map((column) => numberText(numbers[column])),
  ]);
  return ["", ...table(["run", `as ${dataSet} is scored`, ...columns], cells)];
}

function numberText(value: number | null | undefined): string {
  if (value === null || value === undefined) return "-";
  return Number.isInteger(value) ? String(value) : value.toFixed(3);
}

function recordedLines({ recordedScores }: FileReport): readonly string[] {
  if (recordedScores === null) return [];
  const { file } = recordedScores;
  switch (recordedScores.status) {
    case "stale":
      return [`${file} belongs to another run: ${recordedScores.reason}`];
    case "agrees":
      return [`${file} agrees with ${recordedScores.agreeingRuns.join(", ")}`];
    case "differs":
      return [
        `${file} agrees with no run`,
        ...recordedScores.runs.map(
          ({ run, onlyRecorded, onlyRecomputed }) =>
            `  ${run}: ${onlyRecorded.length} right only there, ${onlyRecomputed.length} right only here`,
        ),
      ];
    case "lines": {
      const { lines, skippedLines } = recordedScores;
      const skipped = skippedLines.length === 0 ? "" : `; skipped broken lines ${skippedLines.join(", ")}`;
      return [
        `${file}: ${lines.length} runs of this data set${skipped}`,
        ...lines
          .filter(({ agreeingRuns }) => agreeingRuns.length > 0)
          .map(({ lineNumber, agreeingRuns }) => `  line ${lineNumber} agrees with ${agreeingRuns.join(", ")}`),
      ];
    }
  }
}

/** McNemar's test between the first run and each other under the paper's rule; --json has all pairs and the other rules. */
function pairedLines(
  tests: readonly PairedTest[],
  { hasSeveralFiles, dataSet }: { readonly hasSeveralFiles: boolean; readonly dataSet: string },
): readonly string[] {
  const [first] = tests;
  if (first === undefined) return [];
  const own = tests.filter(({ rule, a }) => rule === first.rule && a.file === first.a.file && a.run === first.a.run);
  const nameOf = ({ file, run }: PairedTest["a"]) => (hasSeveralFiles ? `${file} ${run}` : run);
  const head = ["A", "B", "n", "both right", "only A", "only B", "neither", "McNemar p", "B − A, points"];
  const rows = own.map(({ a, b, n, both, onlyA, onlyB, neither, p, difference }) => [
    nameOf(a),
    nameOf(b),
    ...[n, both, onlyA, onlyB, neither].map(String),
    p.toPrecision(3),
    differenceText(difference),
  ]);
  return ["", styled("bold", `${ruleTitle(first.rule, dataSet)}, question by question`), ...table(head, rows)];
}

/** A difference in accuracy in percentage points, with its interval. */
export function differenceText(difference: BootstrapInterval): string {
  const points = 100 * difference.mean;
  return `${points > 0 ? "+" : ""}${points.toFixed(1)} ${percentRange(difference)}`;
}

/** What the brackets of intervals are. */
export function intervalNote({ numResamples, level, seed, clusters }: BootstrapFacts): string {
  return `[ ]: ${100 * level} % bootstrap interval, ${numResamples} resamples, seed ${seed}. ${clusters}`;
}

function percentRange({ lower, upper }: BootstrapInterval): string {
  return `[${(100 * lower).toFixed(1)}, ${(100 * upper).toFixed(1)}]`;
}

/** A share in percent, or a hyphen. */
export function percentOf(share: Share | undefined): string {
  return share === undefined ? "-" : percent(share.percent, 1);
}

function percent(value: number | null, scale: number): string {
  return value === null ? "-" : `${(value * scale).toFixed(1)} %`;
}

/** A share as counts. */
export function countOf({ count, of }: Share): string {
  return `${count} of ${of}`;
}
