// A run as the report shows it: its scores, its methods under names for people, and what its lines hold for plots and maps.
import { at, InputError, isObject } from "../../errors.ts";
import { DEFAULT_ADAPTVIS } from "../../interventions/adaptvis.ts";
import { INTERVENTIONS } from "../../interventions/registry.ts";
import { type ChangeCounts, countChanges } from "../answer-changes.ts";
import type { RecordedRun } from "../answers/recorded.ts";
import { readWholeRuns } from "../compare-runs.ts";
import type { DataSet, Question } from "../datasets/dataset.ts";
import { readQuestions } from "../datasets/question-files.ts";
import { type JsonObject, readJsonLines } from "../json-lines.ts";
import type { BoxIdentity } from "../metrics/question-boxes.ts";
import { comparePaired, type PairedResult } from "../paired-test.ts";
import { type FileReport, type NamedText, type RescoreReport, rescore, type ScoredRun, SPLITS } from "../rescore.ts";
import type { Shard } from "../run/shards.ts";
import { verdictsOf } from "../scores.ts";
import { type Answer, RULES, type RuleName } from "../verdicts.ts";

/** The part of a run's manifest that the report shows; the manifest itself is read where there are files. */
export interface ReportManifest {
  readonly identity: {
    readonly dataset: string;
    readonly split: string;
    readonly ids: string | null;
    readonly methods: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
    readonly prompts: string;
    readonly maxNewTokens: number;
    readonly model: string;
    readonly dtype: string;
    readonly kvDtype: string;
    readonly activationDtype: string;
    readonly questions: string;
    readonly boxes?: BoxIdentity;
    readonly mapLayer?: number;
    readonly referenceQuirks?: true;
  };
  readonly shard: Shard | null;
  readonly about: Readonly<Record<string, unknown>>;
}

/** A run's files. */
export interface RunFiles {
  readonly folder: string;
  readonly manifest: ReportManifest;
  readonly dataSet: DataSet;
  readonly questions: NamedText;
  readonly results: NamedText;
}

/** A run to report on. */
export interface ReportRun {
  /** Of its section, and in the names of its tables. */
  readonly id: string;
  /** Data set and model, and what else tells it from the other runs. */
  readonly label: string;
  readonly folder: string;
  readonly manifest: ReportManifest;
  readonly modelName: string;
  readonly dataSet: DataSet;
  readonly questions: readonly Question[];
  /** As in summary.json. */
  readonly scores: RescoreReport;
  /** The only file of `scores`. */
  readonly file: FileReport;
  /** In the order of the run. */
  readonly methods: readonly ReportMethod[];
  /** What the others are compared with; undefined where the run has no greedy arm. */
  readonly greedy: ReportMethod | undefined;
}

/** A method of a run. */
export interface ReportMethod {
  /** As in the lines. */
  readonly name: string;
  /** For people, such as "ScalingVis, factor 0.8". */
  readonly label: string;
  /** Name of the intervention; the arm's name where the manifest does not have it. */
  readonly method: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly scored: ScoredRun;
  /** By question of the whole file; null where there is no answer. */
  readonly answers: readonly (Answer | null)[];
  /** By question id. */
  readonly lines: ReadonlyMap<number, ReportLine>;
  /** Null for greedy itself, and without it. */
  readonly changes: ChangeCounts | null;
  /** By rule; null for greedy itself, and where no question is judged in both. */
  readonly paired: Readonly<Record<RuleName, PairedResult | null>> | null;
}

/** What a results line holds for plots and maps. */
export interface ReportLine {
  /** The picture's path within the data folder. */
  readonly image: string | null;
  readonly factor: number | null;
  readonly confidence: number | null;
  /** By layer; null where the line has no attention. */
  readonly imageShare: readonly number[] | null;
  readonly imageEntropy: readonly number[] | null;
  /** Attention of the pass that gave the answer; null where the run did not keep it. */
  readonly map: StoredMap | null;
  readonly unmodifiedMap: StoredMap | null;
}

/** Attention of the last prompt row on the patches of a picture in one layer, mean over heads. */
export interface StoredMap {
  readonly layer: number;
  readonly rows: number;
  readonly columns: number;
  /** [rows, columns] row-major, as a share of all attention */
  readonly values: Float64Array<ArrayBuffer>;
}

/**
 * Scores runs and reads their lines.
 * @throws InputError when results do not belong to their questions, or hold nothing to score.
 */
export function readReportRuns(files: readonly RunFiles[]): readonly ReportRun[] {
  const labels = labelsOf(files);
  return files.map((of, index) => readRun(of, { id: `run-${index + 1}`, label: at(labels, index) }));
}

function readRun(of: RunFiles, { id, label }: { readonly id: string; readonly label: string }): ReportRun {
  const { folder, manifest, dataSet, questions: questionFile, results } = of;
  const split = SPLITS.find((name) => name === manifest.identity.split);
  if (split === undefined) {
    throw new InputError(`${folder}/manifest.json: expected "split" to be one of ${SPLITS.join(", ")}.`);
  }
  const scores = rescore({
    dataSet,
    split,
    questions: questionFile,
    answers: [{ ...results, named: null, gate: dataSet.published?.adaptvis ?? DEFAULT_ADAPTVIS }],
  });
  const file = at(scores.files, 0);
  const questions = readQuestions(questionFile.text, questionFile.name, dataSet);
  const answers = new Map(
    readWholeRuns(results, { dataSet, questions, split }).map(({ run, recorded }) => [run, recorded]),
  );
  const lines = linesByMethod(results.text);
  const settingsOf = (name: string) => manifest.identity.methods[name] ?? {};
  const greedyRun = [...answers.values()].find(({ name }) => settingsOf(name).method === "greedy");
  const methods = file.runs.flatMap((scored): readonly ReportMethod[] => {
    const recorded = answers.get(scored.run);
    if (recorded === undefined) return [];
    const { method = scored.run, ...settings } = settingsOf(scored.run);
    const isCompared = greedyRun !== undefined && greedyRun !== recorded;
    return [
      {
        name: scored.run,
        label: labelOf(scored.run, String(method), settings),
        method: String(method),
        settings,
        scored,
        answers: recorded.answers,
        lines: lines.get(scored.run) ?? new Map(),
        changes: isCompared ? countChanges(greedyRun.answers, recorded.answers, { questions, dataSet }) : null,
        paired: isCompared ? pairedWith(greedyRun, recorded, { scores, questions, dataSet }) : null,
      },
    ];
  });
  const greedy = methods.find(({ method }) => method === "greedy");
  const modelName = modelNameOf(manifest);
  return { id, label, folder, manifest, modelName, dataSet, questions, scores, file, methods, greedy };
}

/** McNemar's tests of a run beside greedy, by rule: those of the scores where greedy comes first in the file. */
function pairedWith(
  greedy: RecordedRun,
  run: RecordedRun,
  of: Pick<ReportRun, "scores" | "questions" | "dataSet">,
): NonNullable<ReportMethod["paired"]> {
  const entries = RULES.map(({ name: rule }) => {
    const known = of.scores.mcNemar.find(
      (test) => test.rule === rule && test.a.run === greedy.name && test.b.run === run.name,
    );
    return [
      rule,
      known ?? comparePaired(verdictsOf(greedy, rule, of), verdictsOf(run, rule, of), of.questions),
    ] as const;
  });
  return Object.fromEntries(entries) as NonNullable<ReportMethod["paired"]>; // one entry per rule
}

function modelNameOf({ about, identity }: ReportManifest): string {
  return typeof about.modelName === "string" ? about.modelName : identity.model.slice(0, 12);
}

/** A method's name for people: its title in papers and the settings that tell arms apart. */
function labelOf(arm: string, method: string, settings: Readonly<Record<string, unknown>>): string {
  const title = INTERVENTIONS.find(({ name }) => name === method)?.title ?? method;
  const [, ...written] = arm.split(":");
  const given = method === "scaling" && written.length === 0 ? [`factor=${settings.factor}`] : written;
  return [
    title,
    ...given.map((setting) =>
      setting
        .replace("=", " ")
        .replace(/(\.\d*?)0+$/, "$1")
        .replace(/\.$/, ""),
    ),
  ].join(", ");
}

/** What tells runs apart, most telling first. */
const TELLING: readonly ((run: RunFiles) => string)[] = [
  ({ manifest }) => modelNameOf(manifest),
  ({ manifest: { identity } }) => (identity.split === "all" ? "all questions" : `${identity.split} half`),
  ({ manifest }) => manifest.identity.dtype,
  ({ manifest }) => `${manifest.identity.prompts} prompts`,
  ({ folder }) => folder,
];

/** Data set and model of every run, and more where two runs would have one label. */
function labelsOf(files: readonly RunFiles[]): readonly string[] {
  return files.map((own) => {
    const parts: string[] = [own.dataSet.name];
    let alike = files.filter((other) => other !== own && other.dataSet.name === own.dataSet.name);
    for (const [index, tell] of TELLING.entries()) {
      const others = alike.filter((other) => tell(other) === tell(own));
      if (index === 0 || others.length < alike.length) parts.push(tell(own));
      alike = others;
    }
    return parts.join(" · ");
  });
}

function linesByMethod(text: string): ReadonlyMap<string, ReadonlyMap<number, ReportLine>> {
  const methods = new Map<string, Map<number, ReportLine>>();
  for (const { object } of readJsonLines(text)) {
    // A cut last line is counted in the scores' notes.
    if (object === null || typeof object.doc_id !== "number") continue;
    const name = typeof object.method === "string" ? object.method : "answer";
    const own = methods.get(name) ?? new Map<number, ReportLine>();
    methods.set(name, own);
    own.set(object.doc_id, readLine(object));
  }
  return methods;
}

function readLine(row: JsonObject): ReportLine {
  const number = (value: unknown) => (typeof value === "number" ? value : null);
  return {
    image: typeof row.image === "string" ? row.image : null,
    factor: number(row.factor),
    confidence: number(row.confidence),
    imageShare: numbers(row.image_share),
    imageEntropy: numbers(row.image_entropy),
    map: readMap(row.image_map),
    unmodifiedMap: readMap(row.unmodified_map),
  };
}

function numbers(value: unknown): readonly number[] | null {
  const isList = Array.isArray(value) && value.every((entry): entry is number => typeof entry === "number");
  return isList ? value : null;
}

/** A map as the results keep it: bytes relative to its largest value; null for anything else. */
function readMap(value: unknown): StoredMap | null {
  if (!isObject(value)) return null;
  const { layer, rows, columns, weights, peak } = value;
  const sizes = [layer, rows, columns];
  if (!sizes.every((size) => typeof size === "number") || typeof weights !== "string") return null;
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(weights)) return null;
  const bytes = Uint8Array.from(atob(weights), (character) => character.charCodeAt(0));
  if (bytes.length === 0 || bytes.length !== Number(rows) * Number(columns)) return null;
  const scale = (typeof peak === "number" ? peak : 1) / 255;
  return {
    layer: Number(layer),
    rows: Number(rows),
    columns: Number(columns),
    values: Float64Array.from(bytes, (byte) => byte * scale),
  };
}
