// The tables of a report.
import { at } from "../../errors.ts";
import { METRIC_RULES } from "../run-metrics.ts";
import type { GroupScores, RuleScores, Share } from "../scores.ts";
import { RULES, type RuleName, titleOfRule } from "../verdicts.ts";
import { layersOf, type OverlapAnalysis } from "./layers.ts";
import { publishedTables } from "./published-table.ts";
import type { ReportMethod, ReportRun } from "./report-run.ts";
import {
  accuracyCell,
  type Cell,
  type Column,
  capital,
  countCell,
  emptyCell,
  fractionCell,
  INTERVAL_CSV,
  numberCell,
  pCell,
  percent,
  pointsCell,
  type ReportTable,
  shareCell,
  type TableGroup,
  textCell,
} from "./table.ts";

const METHOD: Column = { title: "Method", csv: ["method"] };

/** All tables: those of all runs together first. */
export function tableGroups(
  runs: readonly ReportRun[],
  analyses: ReadonlyMap<ReportRun, OverlapAnalysis> = new Map(),
): readonly TableGroup[] {
  return [
    { run: undefined, heading: "All runs", tables: [overviewTable(runs), ...publishedTables(runs)] },
    ...runs.map((run) => ({ run: runColumns(run), heading: run.label, tables: runTables(run, analyses.get(run)) })),
  ];
}

/** What the CSV files of a run's tables begin with. */
function runColumns({ label, dataSet, modelName, manifest }: ReportRun): Readonly<Record<string, string>> {
  return { run: label, data_set: dataSet.name, model: modelName, split: manifest.identity.split };
}

/** The tables of one run. */
export function runTables(run: ReportRun, analysis?: OverlapAnalysis): readonly ReportTable[] {
  return [
    accuracyTable(run),
    ...groupTables(run),
    ...yesNoTables(run),
    relationTable(run),
    ...pairedTables(run),
    ...calibrationTables(run),
    ...layerTables(run, analysis),
  ];
}

/** Every method of every run under the paper's rule, beside greedy. */
export function overviewTable(runs: readonly ReportRun[]): ReportTable {
  const columns: readonly Column[] = [
    { title: "Run", csv: ["run"] },
    METHOD,
    { title: "Right", term: "paper", csv: INTERVAL_CSV, isNumeric: true },
    {
      title: "Points beside greedy",
      term: "difference",
      csv: ["difference", "difference_lower", "difference_upper"],
      isNumeric: true,
    },
    { title: "McNemar p", term: "mcnemar", csv: ["p"], isNumeric: true },
    { title: "Fixed", term: "fixed", csv: ["fixed"], isNumeric: true },
    { title: "Broken", term: "broken", csv: ["broken"], isNumeric: true },
    { title: "Format only", term: "formatOnly", csv: ["format_gained", "format_lost"], isNumeric: true },
  ];
  const rows = runs.flatMap((run) =>
    run.methods.map((method) => {
      const { changes, paired } = method;
      const test = paired?.paper ?? null;
      return [
        textCell(run.label),
        textCell(method.label),
        accuracyCell(method, "paper"),
        test === null ? emptyCell(at(columns, 3)) : pointsCell(test.difference),
        test === null ? emptyCell(at(columns, 4)) : pCell(test.p),
        ...(changes === null
          ? [5, 6, 7].map((column) => emptyCell(at(columns, column)))
          : [countCell(changes.fixed), countCell(changes.broken), formatCell(changes)]),
      ];
    }),
  );
  return {
    name: "overview",
    title: "Accuracy of every method",
    caption:
      "Right answers under the paper’s rule, and what each method changes beside greedy decoding, question by question.",
    columns,
    rows,
    isGrouped: true,
  };
}

function formatCell({
  formatGained,
  formatLost,
}: {
  readonly formatGained: number;
  readonly formatLost: number;
}): Cell {
  const total = formatGained + formatLost;
  return {
    text: String(total),
    values: [formatGained, formatLost],
    ...(total > 0 && { detail: `${formatGained} gained, ${formatLost} lost` }),
  };
}

/** All rules side by side. */
export function accuracyTable(run: ReportRun): ReportTable {
  const rules = judgedRules(run.methods);
  const [first] = run.methods;
  const columns: readonly Column[] = [
    METHOD,
    ...rules.map(({ name, title }) => ({
      title: capital(title),
      term: name,
      csv: INTERVAL_CSV.map((of) => `${name}_${of}`),
      isNumeric: true,
    })),
    { title: "Bare options", term: "bare", csv: ["bare_percent", "bare_count", "bare_n"], isNumeric: true },
  ];
  const majority = first?.scored.majority;
  return {
    name: "accuracy",
    title: "Right answers under four rules",
    caption:
      "The rules differ in what they accept as an answer. Where they disagree, a method may have changed how answers are worded rather than what they say.",
    columns,
    rows: [
      ...run.methods.map((method) => [
        textCell(method.label),
        ...rules.map(({ name }) => accuracyCell(method, name)),
        shareCell(method.scored.text?.bareOption),
      ]),
      ...(majority === undefined
        ? []
        : [
            [
              textCell(`Always “${majority.answer}”`, "majority answer"),
              ...rules.map(() => shareCell(majority.share, null)),
              emptyCell(at(columns, columns.length - 1)),
            ],
          ]),
    ],
  };
}

function judgedRules(methods: readonly ReportMethod[]) {
  return RULES.filter(({ name }) => methods.some(({ scored }) => scored.rules[name] !== null));
}

/** Pairs and sets, with ceilings; none for data sets without pairs. */
function groupTables(run: ReportRun): readonly ReportTable[] {
  if (run.dataSet.pairAxes.length === 0) return [];
  const rules = judgedRules(run.methods);
  const kinds = [
    { name: "pairs", title: "Pairs", read: (scores: RuleScores) => scores.pairs },
    { name: "sets", title: "Sets", read: (scores: RuleScores) => scores.sets },
  ] as const;
  return kinds.map(({ name, title, read }) => {
    const columns: readonly Column[] = [
      METHOD,
      ...rules.map((rule) => ({
        title: capital(rule.title),
        term: rule.name,
        csv: ["percent", "count", "n", "percent_of_complete", "ceiling_percent"].map((of) => `${rule.name}_${of}`),
        isNumeric: true,
      })),
    ];
    const groupsOf = (method: ReportMethod, rule: RuleName) => {
      const scores = method.scored.rules[rule];
      return scores === null ? null : read(scores);
    };
    const ceilings = rules.map((rule) =>
      run.methods.map((method) => groupsOf(method, rule.name)?.ceiling).find((share) => share !== undefined),
    );
    return {
      name,
      title: `${title}: all questions about the same two objects right`,
      caption:
        name === "pairs"
          ? "A pair is both questions of one kind, such as left and right; shown as a share of n/2, below it as a share of the complete pairs."
          : "A set is all four questions; shown as a share of n/4, below it as a share of the complete sets.",
      columns,
      rows: [
        ...run.methods.map((method) => [
          textCell(method.label),
          ...rules.map((rule, index) => groupCell(groupsOf(method, rule.name), at(columns, index + 1))),
        ]),
        [
          textCell("Ceiling", "most that is possible"),
          ...ceilings.map((share, index) => ceilingCell(share, at(columns, index + 1))),
        ],
      ],
    };
  });
}

function groupCell(groups: GroupScores | null, column: Column): Cell {
  if (groups === null || groups.right.percent === null) return emptyCell(column);
  const { right, rightOfComplete, ceiling } = groups;
  return {
    text: percent(groups.right.percent),
    detail: rightOfComplete.percent === null ? "none complete" : `${percent(rightOfComplete.percent)} of complete`,
    values: [right.percent, right.count, right.of, rightOfComplete.percent, ceiling.percent],
  };
}

function ceilingCell(share: Share | undefined, column: Column): Cell {
  if (share === undefined || share.percent === null) return emptyCell(column);
  return { text: percent(share.percent), values: [share.percent, share.count, share.of, null, share.percent] };
}

/** Rates of yes and no under their true names; none for other data sets. */
function yesNoTables(run: ReportRun): readonly ReportTable[] {
  if (!run.dataSet.isYesNo) return [];
  const rates = ["percent", "count", "n"];
  const columns: readonly Column[] = [
    METHOD,
    { title: "Rule", csv: ["rule"] },
    { title: "True positive rate", term: "rates", csv: rates.map((of) => `true_positive_rate_${of}`), isNumeric: true },
    { title: "True negative rate", term: "rates", csv: rates.map((of) => `true_negative_rate_${of}`), isNumeric: true },
    { title: "Balanced accuracy", term: "rates", csv: ["balanced_accuracy_percent"], isNumeric: true },
    { title: "F1", term: "rates", csv: ["f1_percent"], isNumeric: true },
    { title: "Harmonic mean of the rates", term: "harmonic", csv: ["harmonic_mean_of_rates_percent"], isNumeric: true },
  ];
  const rows = run.methods.flatMap((method) =>
    RULES.flatMap(({ name }) => {
      const scores = method.scored.rules[name]?.yesNo ?? null;
      if (scores === null) return [];
      const { truePositiveRate, trueNegativeRate, balancedAccuracy, f1, harmonicMeanOfRates } = scores;
      return [
        [
          textCell(method.label),
          textCell(capital(titleOfRule(name, run.dataSet))),
          shareCell(truePositiveRate),
          shareCell(trueNegativeRate),
          ...[balancedAccuracy, f1, harmonicMeanOfRates].map(fractionCell),
        ],
      ];
    }),
  );
  return [
    {
      name: "yes-no",
      title: "Answers yes and no",
      caption:
        "The published table calls the last column F1, and the authors’ code calls the two rates precision and recall.",
      columns,
      rows,
      isGrouped: true,
    },
  ];
}

/** Right answers by relation under the paper's rule. */
function relationTable(run: ReportRun): ReportTable {
  const relations = relationsOf(run);
  // More relations than fit side by side, as of VSR, are rows.
  const isLong = relations.length > 8;
  const cellOf = ({ scored }: ReportMethod, relation: string) => {
    const share = scored.rules.paper?.byRelation[relation];
    return share === undefined ? { text: "–", values: [null, null, null] } : shareCell(share);
  };
  const csvOf = (name: string) => ["percent", "count", "n"].map((of) => `${name} ${of}`);
  const base = {
    name: "relations",
    title: "By relation",
    caption: `Right answers to the questions with each relation. Rule: ${titleOfRule("paper", run.dataSet)}.`,
    isDetail: isLong,
  };
  if (isLong) {
    return {
      ...base,
      columns: [
        { title: "Relation", term: "relation", csv: ["relation"] },
        ...run.methods.map(({ label }) => ({ title: label, csv: csvOf(label), isNumeric: true })),
      ],
      rows: relations.map((relation) => [textCell(relation), ...run.methods.map((method) => cellOf(method, relation))]),
    };
  }
  return {
    ...base,
    columns: [
      METHOD,
      ...relations.map((relation) => ({ title: relation, term: "relation", csv: csvOf(relation), isNumeric: true })),
    ],
    rows: run.methods.map((method) => [
      textCell(method.label),
      ...relations.map((relation) => cellOf(method, relation)),
    ]),
  };
}

/** The relations of a run, in the order of its scores. */
export function relationsOf({ methods }: ReportRun): readonly string[] {
  return [...new Set(methods.flatMap(({ scored }) => Object.keys(scored.rules.paper?.byRelation ?? {})))];
}

/** McNemar's test against greedy under every rule; none without greedy. */
function pairedTables(run: ReportRun): readonly ReportTable[] {
  const columns: readonly Column[] = [
    METHOD,
    { title: "Rule", csv: ["rule"] },
    ...["Both right", "Only greedy", "Only method", "Neither"].map((title) => ({
      title,
      csv: [title.toLowerCase().replaceAll(" ", "_")],
      isNumeric: true,
    })),
    { title: "McNemar p", term: "mcnemar", csv: ["p"], isNumeric: true },
    {
      title: "Points",
      term: "difference",
      csv: ["difference", "difference_lower", "difference_upper"],
      isNumeric: true,
    },
  ];
  const rows = run.methods.flatMap(({ label, paired }) =>
    RULES.flatMap(({ name }) => {
      const test = paired?.[name] ?? null;
      if (test === null) return [];
      const { both, onlyA, onlyB, neither, p, difference } = test;
      return [
        [
          textCell(label),
          textCell(capital(titleOfRule(name, run.dataSet))),
          ...[both, onlyA, onlyB, neither].map(countCell),
          pCell(p),
          pointsCell(difference),
        ],
      ];
    }),
  );
  if (rows.length === 0) return [];
  return [
    {
      name: "beside-greedy",
      title: "Beside greedy, question by question",
      caption:
        "Numbers of questions by which of the two answers them right, and McNemar’s test on the questions that only one does.",
      columns,
      rows,
      isDetail: true,
      isGrouped: true,
    },
  ];
}

/** Calibration under the rules that metrics are computed for; none without confidences. */
function calibrationTables(run: ReportRun): readonly ReportTable[] {
  const { methods, file } = run;
  const columns: readonly Column[] = [
    METHOD,
    { title: "Rule", csv: ["rule"] },
    { title: "Questions", csv: ["n"], isNumeric: true },
    { title: "ECE", term: "ece", csv: ["ece_percent"], isNumeric: true },
    { title: "Brier score", term: "brier", csv: ["brier"], isNumeric: true },
    { title: "AUROC of confidence", term: "auroc", csv: ["auroc"], isNumeric: true },
  ];
  const rows = methods.flatMap(({ label, scored }) =>
    METRIC_RULES.flatMap((name) => {
      const own = scored.metrics.rules[name]?.confidence ?? null;
      if (own === null) return [];
      return [
        [
          textCell(label),
          textCell(capital(titleOfRule(name, run.dataSet))),
          countCell(own.count),
          fractionCell(own.expectedCalibrationError),
          numberCell(own.brierScore, 3),
          numberCell(own.auroc, 3),
        ],
      ];
    }),
  );
  if (rows.length === 0) return [];
  const { belowBeta } = file.confidence;
  const below =
    belowBeta === null
      ? ""
      : ` Below the published β of ${belowBeta.beta}: ${belowBeta.rounded.count} of ${belowBeta.rounded.of} questions.`;
  return [
    {
      name: "calibration",
      title: "Calibration",
      caption: `How well the confidence of the unmodified pass predicts that an answer is right.${below}`,
      columns,
      rows,
      isDetail: true,
      isGrouped: true,
    },
  ];
}

/** Share, entropy and AUROC per layer; none where the run did not keep them. */
function layerTables(run: ReportRun, analysis: OverlapAnalysis | undefined): readonly ReportTable[] {
  const methods = run.methods.map((method) => ({ method, layers: layersOf(run, method, analysis) }));
  const hasOverlap = methods.some(({ layers }) => layers.some(({ overlap }) => overlap !== null));
  const columns: readonly Column[] = [
    METHOD,
    { title: "Layer", csv: ["layer"], isNumeric: true },
    { title: "Image share", term: "share", csv: ["share", "share_right", "share_wrong"], isNumeric: true },
    {
      title: "Image entropy, bits",
      term: "entropy",
      csv: ["entropy", "entropy_right", "entropy_wrong"],
      isNumeric: true,
    },
    { title: "AUROC of share", term: "auroc", csv: ["share_auroc"], isNumeric: true },
    { title: "AUROC of entropy", term: "auroc", csv: ["entropy_auroc"], isNumeric: true },
    ...(hasOverlap
      ? [
          { title: "AUROC of mass in boxes", term: "auroc", csv: ["mass_auroc"], isNumeric: true },
          { title: "AUROC of cosine with boxes", term: "auroc", csv: ["cosine_auroc"], isNumeric: true },
        ]
      : []),
  ];
  const rows = methods.flatMap(({ method, layers }) =>
    layers.map(({ layer, imageShare, imageEntropy, overlap }) => {
      const part = (value: number | null, show: (number: number) => string) => (value === null ? "–" : show(value));
      const detail = (mean: typeof imageShare, show: (number: number) => string) =>
        `right ${part(mean.right, show)}, wrong ${part(mean.wrong, show)}`;
      const inPercent = (value: number) => percent(100 * value);
      const inBits = (value: number) => value.toFixed(2);
      return [
        textCell(method.label),
        countCell(layer),
        {
          text: inPercent(imageShare.mean),
          detail: detail(imageShare, inPercent),
          values: [imageShare.mean, imageShare.right, imageShare.wrong],
        },
        {
          text: inBits(imageEntropy.mean),
          detail: detail(imageEntropy, inBits),
          values: [imageEntropy.mean, imageEntropy.right, imageEntropy.wrong],
        },
        numberCell(imageShare.auroc, 3),
        numberCell(imageEntropy.auroc, 3),
        ...(hasOverlap ? [numberCell(overlap?.mass ?? null, 3), numberCell(overlap?.cosine ?? null, 3)] : []),
      ];
    }),
  );
  if (rows.length === 0) return [];
  return [
    {
      name: "layers",
      title: "Attention on the picture, layer by layer",
      caption: "Means over the questions, below them apart for right and wrong answers under the paper’s rule.",
      columns,
      rows,
      isDetail: true,
      isGrouped: true,
    },
  ];
}
