// The published accuracies beside those of the runs, with differences where the questions and the settings are the same.
import { at } from "../../errors.ts";
import { PUBLISHED_MODELS, publishedAccuracies, publishedModelNamed } from "../published-accuracies.ts";
import type { ReportMethod, ReportRun } from "./report-run.ts";
import {
  accuracyCell,
  type Cell,
  type Column,
  emptyCell,
  INTERVAL_CSV,
  percent,
  type ReportTable,
  signed,
  textCell,
} from "./table.ts";

const METHOD: Column = { title: "Method", csv: ["method"] };

/** The published numbers beside those of the runs; none where no data set has published numbers. */
export function publishedTables(runs: readonly ReportRun[]): readonly ReportTable[] {
  const columns: readonly Column[] = [
    { title: "Run", csv: ["run"] },
    METHOD,
    { title: "This run", term: "paper", csv: INTERVAL_CSV, isNumeric: true },
    ...PUBLISHED_MODELS.map((model) => ({
      title: `Published, ${model}`,
      csv: [`published_${model.toLowerCase().replaceAll(/[^a-z0-9]+/g, "_")}`],
      isNumeric: true,
    })),
    { title: "Difference", csv: ["difference", "difference_to"], isNumeric: true },
  ];
  const rows = runs.flatMap((run) => publishedRows(run, columns));
  if (rows.length === 0) return [];
  const reasons = runs.flatMap((run) => {
    const reason = notComparable(run);
    return reason === null || publishedAccuracies(run.dataSet).length === 0
      ? []
      : [`No difference for ${run.label}: ${reason}.`];
  });
  const models = [...new Set(runs.filter((run) => notComparable(run) === null).map(referenceModel))];
  return [
    {
      name: "published",
      title: "Beside the published numbers",
      caption: [
        "Right answers on the test half under the paper’s rule; of VSR also what the paper calls F1, under its true name.",
        ...(models.length > 0
          ? [
              `The difference is this run minus ${models.join(" or ")}, in points; methods with other settings than the published ones have none.`,
            ]
          : []),
        ...reasons,
      ].join(" "),
      columns,
      rows,
      isGrouped: true,
    },
  ];
}

function publishedRows(run: ReportRun, columns: readonly Column[]): readonly (readonly Cell[])[] {
  const published = publishedAccuracies(run.dataSet);
  const names = [...new Set(published.map(({ method }) => method))];
  const reference = referenceModel(run);
  const isComparable = notComparable(run) === null;
  return names.flatMap((name) => {
    const arms = run.methods.filter(({ method }) => method === name);
    const ofName = published.filter(({ method }) => method === name);
    const same = arms.find((each) => hasPublishedSettings(run, each, reference));
    // Of a sweep, no other factor stands in for the published one.
    const arm = same ?? (arms.length === 1 ? arms[0] : undefined);
    const title = arm?.label ?? methodTitle(name);
    const remark = arm === same ? undefined : "other settings than published";
    const values = (read: (accuracy: (typeof published)[number]) => number | null) =>
      PUBLISHED_MODELS.map((model) => {
        const found = ofName.find((each) => each.model === model);
        return found === undefined ? null : read(found);
      });
    const line = (label: string, own: Cell, numbers: readonly (number | null)[]) => {
      const [mine] = own.values;
      const to = numbers[PUBLISHED_MODELS.indexOf(reference)] ?? null;
      const difference = isComparable && arm === same && typeof mine === "number" && to !== null ? mine - to : null;
      return [
        textCell(run.label),
        textCell(label, remark),
        own,
        ...numbers.map((number): Cell => ({ text: number === null ? "–" : percent(number), values: [number] })),
        difference === null
          ? emptyCell(at(columns, columns.length - 1))
          : { text: signed(difference), values: [difference, reference] },
      ];
    };
    const accuracy = arm === undefined ? emptyCell(at(columns, 2)) : accuracyCell(arm, "paper");
    const harmonic = values(({ harmonicMeanOfRates }) => harmonicMeanOfRates);
    const ownHarmonic = arm?.scored.rules.paper?.yesNo?.harmonicMeanOfRates ?? null;
    const harmonicCell: Cell =
      ownHarmonic === null
        ? emptyCell(at(columns, 2))
        : { text: percent(100 * ownHarmonic), values: [100 * ownHarmonic, null, null, null] };
    return [
      line(
        title,
        accuracy,
        values((each) => each.accuracy),
      ),
      ...(harmonic.some((value) => value !== null)
        ? [line(`${title}: harmonic mean of the rates`, harmonicCell, harmonic)]
        : []),
    ];
  });
}

function methodTitle(name: string): string {
  return { greedy: "Greedy", vcd: "VCD", dola: "DoLa", scaling: "ScalingVis", adaptvis: "AdaptVis" }[name] ?? name;
}

function referenceModel({ modelName }: ReportRun): (typeof PUBLISHED_MODELS)[number] {
  return publishedModelNamed(modelName) ?? "LLaVA-1.5-7B";
}

/** Whether an arm has the settings that its published number has; none were published for LLaVA-1.6 and other methods. */
function hasPublishedSettings({ dataSet }: ReportRun, { method, settings }: ReportMethod, model: string): boolean {
  if (model !== "LLaVA-1.5-7B") return true;
  if (dataSet.published === null) return false;
  const { factor, adaptvis } = dataSet.published;
  if (method === "scaling") return settings.factor === factor;
  if (method !== "adaptvis") return true;
  return Object.entries(adaptvis).every(([name, value]) => settings[name] === value);
}

/** Why a run's numbers cannot be compared with the published ones; null where they can. */
function notComparable({ dataSet, scores, manifest }: ReportRun): string | null {
  const { numQuestions, name } = scores.split;
  if (dataSet.numRows !== numQuestions) {
    return `its file has ${numQuestions} questions and the published ${dataSet.name} ${dataSet.numRows}, so they are other questions`;
  }
  if (name !== "test") return "the published numbers are those of the test half";
  return manifest.identity.ids === null ? null : "only some questions of the test half were asked";
}
