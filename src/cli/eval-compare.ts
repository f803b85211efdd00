// adaptvis eval compare: two runs over the same questions, with the questions that the second one fixes and breaks.
import { stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { type Command, Option } from "commander";
import { readFileText } from "../checkpoint/read-file.node.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { InputError } from "../errors.ts";
import { type NamedResult, readResultName } from "../evaluate/answers/file-names.ts";
import { areSampleLines } from "../evaluate/answers/sample-lines.ts";
import { chooseRun, compareRuns, type RunComparison, readWholeRuns } from "../evaluate/compare-runs.ts";
import type { DataSet } from "../evaluate/datasets/dataset.ts";
import { readQuestions } from "../evaluate/datasets/question-files.ts";
import { DATA_SETS, dataSetNamed } from "../evaluate/datasets/registry.ts";
import { type NamedText, SPLITS, type SplitName } from "../evaluate/rescore.ts";
import { readQuestionFile } from "../evaluate/run/question-file.node.ts";
import { differences, type Manifest, readManifest } from "../evaluate/run/run-folder.node.ts";
import { RULES, type RuleName } from "../evaluate/verdicts.ts";
import { asUsage, checkOutput, someText } from "./checks.ts";
import { questionsOf } from "./eval-merge.ts";
import { examples } from "./package-files.ts";
import { countOf, differenceText, intervalNote, percentOf, ruleTitle } from "./rescore-text.ts";
import { defineCommand, type Session, styled, table, UsageError } from "./session.ts";

/** Parsed options of `eval compare`. */
interface CompareFlags {
  readonly methodA?: string;
  readonly methodB?: string;
  readonly rule: RuleName;
  readonly questions?: string;
  readonly dataset?: string;
  readonly split?: SplitName;
  readonly fixed?: string;
  readonly broken?: string;
}

/** A run as it was given. */
export interface Side extends NamedText {
  /** Undefined for a results file outside of a run's folder. */
  readonly manifest: Manifest | undefined;
  /** What the file's name says. */
  readonly named: NamedResult | null;
}

const RESULTS = "results.jsonl";

/** Ids that are printed; --json and the files have all. */
const MAX_PRINTED_IDS = 20;

/** `adaptvis eval compare`. */
export const evalCompareCommand = defineCommand("compare", describeCompare, compare);

/** Describes `eval compare` to commander. */
function describeCompare(command: Command): Command {
  const rules = RULES.map(({ name }) => name);
  return command
    .description("Compare two runs question by question; needs no model and no GPU.")
    .argument("<run-a>", 'folder that "adaptvis eval" wrote, or a results file')
    .argument("<run-b>", "the run to compare with it; may be the same with another method")
    .option("--method-a <name>", "method of run A, or factor of a sweep, where the run has several", someText)
    .option("--method-b <name>", "the same for run B", someText)
    .addOption(new Option("--rule <name>", "rule that decides what is right").choices(rules).default("paper"))
    .option("--questions <file>", "question file (default: the one that the runs were answered with)", someText)
    .option(
      "--dataset <name>",
      "data set of results files outside of a run's folder (default: as their names say)",
      someText,
    )
    .addOption(
      new Option("--split <name>", "rows that arrays of answers belong to (default: as their names say)").choices(
        SPLITS,
      ),
    )
    .option("--fixed <file>", "write the ids that are wrong in A and right in B, for eval --only-file", someText)
    .option("--broken <file>", "write the ids that are right in A and wrong in B, for eval --only-file", someText)
    .addHelpText(
      "after",
      examples(() => [
        "eval compare run run --method-a greedy --method-b adaptvis",
        "eval compare run-f16 run-q8 --method-a greedy --method-b greedy --rule exactlyOne --broken broken.json",
      ]),
    );
}

/** Runs `eval compare`. */
async function compare(session: Session, runA: string, runB: string, flags: CompareFlags): Promise<void> {
  const { fixed, broken } = flags;
  if (fixed !== undefined && broken !== undefined && resolve(fixed) === resolve(broken)) {
    throw new UsageError(`--fixed and --broken are both ${fixed}: give each a file of its own.`);
  }
  const [a, b] = [await sideOf(runA), await sideOf(runB)];
  for (const [option, path] of [
    ["--fixed", fixed],
    ["--broken", broken],
  ] as const) {
    await checkOutput(option, path, [a.name, b.name, flags.questions]);
  }
  const dataSet = await commonDataSet(a, b, flags);
  checkQuestions(a, b);
  const file = await questionFile(a, b, { ...flags, dataSet });
  const questions = readQuestions(file.text, file.name, dataSet);
  const runsOf = (side: Side) => readWholeRuns(side, { dataSet, questions, split: splitOf(side, flags) });
  const [runsA, runsB] = [runsOf(a), runsOf(b)];
  const chosen = await asUsage(() => ({
    a: chooseRun(runsA, flags.methodA, { option: "--method-a" }),
    b: chooseRun(runsB, flags.methodB, { option: "--method-b" }),
  }));
  const comparison = compareRuns(chosen.a, chosen.b, { dataSet, questions, rule: flags.rule });
  noteDifferences(session, a, b);
  if (fixed !== undefined) await writeIds(fixed, comparison.fixed);
  if (broken !== undefined) await writeIds(broken, comparison.broken);
  session.result(comparison);
  session.print(comparisonText(comparison));
}

/** Reads a run's folder or a results file. @throws InputError when it is neither. */
export async function sideOf(path: string): Promise<Side> {
  const stats = await stat(path).catch(() => undefined);
  if (stats === undefined) {
    throw new InputError(`${path} does not exist: give the folder of a run, or a file with its results.`);
  }
  const isFolder = stats.isDirectory();
  const name = isFolder ? join(path, RESULTS) : path;
  const manifest = isFolder || basename(path) === RESULTS ? readManifest(dirname(name)) : undefined;
  if (isFolder && manifest === undefined) {
    throw new InputError(`${path} has no manifest.json: expected the folder of a run.`);
  }
  const text = await readFileText(name).catch((cause: unknown) => {
    throw new InputError(`${name} cannot be read (${cause instanceof Error ? cause.message : cause}).`);
  });
  return { name, text, manifest, named: readResultName(name, DATA_SETS) };
}

/** The data set of both runs. @throws InputError when they differ; UsageError when nothing says it. */
async function commonDataSet(a: Side, b: Side, { dataset }: CompareFlags): Promise<DataSet> {
  const given = dataset === undefined ? undefined : await asUsage(() => dataSetNamed(dataset));
  const [ofA, ofB] = [a, b].map(({ name, manifest, named }) => {
    const said = manifest?.identity.dataset ?? given?.name ?? named?.dataSet;
    if (said === undefined) throw new UsageError(`--dataset is missing, and ${name} does not say its data set.`);
    if (given !== undefined && said !== given.name) {
      throw new InputError(`${name} holds answers to ${said}, not to ${given.name}: omit --dataset.`);
    }
    return said;
  });
  if (ofA === undefined || ofA !== ofB) {
    throw new InputError(
      `${a.name} holds answers to ${ofA} and ${b.name} to ${ofB}: only runs of one data set can be compared.`,
    );
  }
  return dataSetNamed(ofA);
}

/** Checks that two runs were asked the same question file. @throws InputError. */
function checkQuestions(a: Side, b: Side): void {
  const [ofA, ofB] = [a.manifest?.identity.questions, b.manifest?.identity.questions];
  if (ofA === undefined || ofB === undefined || ofA === ofB) return;
  throw new InputError(
    `${a.name} and ${b.name} were answered with different question files: only runs over the same questions can be compared.`,
  );
}

/** The question file of the runs. @throws InputError when it cannot be read or is another one; UsageError without one. */
async function questionFile(
  a: Side,
  b: Side,
  { questions, dataSet }: CompareFlags & { readonly dataSet: DataSet },
): Promise<NamedText> {
  const manifest = a.manifest ?? b.manifest;
  if (manifest !== undefined) {
    const { questionFile: name, questionText: text } = await questionsOf(manifest, questions);
    return { name, text };
  }
  if (questions === undefined) {
    throw new UsageError("--questions is missing: results files do not say where their questions are.");
  }
  return { name: questions, text: (await readQuestionFile(questions, dataSet)).text };
}

/** The part that an array's rows belong to; sample lines name their questions. @throws UsageError when nothing says it. */
function splitOf({ name, text, named }: Side, { split }: CompareFlags): SplitName {
  if (areSampleLines(text)) return "all";
  const found = split ?? named?.split ?? undefined;
  if (found !== undefined) return found;
  throw new UsageError(`--split is missing, and the name of ${name} does not say which rows were asked.`);
}

/** Says in what else two runs differ, apart from their methods and from which questions were asked. */
function noteDifferences(session: Session, a: Side, b: Side): void {
  if (a.manifest === undefined || b.manifest === undefined) return;
  const { methods, split, ids } = b.manifest.identity;
  const found = differences({ ...a.manifest.identity, methods, split, ids }, b.manifest.identity);
  if (found.length > 0) session.note(`adaptvis: ${a.name} differs from ${b.name}: ${found.join(", ")}.`);
}

async function writeIds(path: string, ids: readonly number[]): Promise<void> {
  await writeFileWhole(path, `${JSON.stringify({ ids })}\n`);
}

function comparisonText(comparison: RunComparison): string {
  const { dataSet, rule, a, b, n, both, onlyA, onlyB, neither, p, difference, byRelation, bootstrap } = comparison;
  const title = ruleTitle(rule, dataSet);
  const lines = [
    styled("bold", `${dataSet}, ${title}: ${n} questions answered in both`),
    "",
    ...table(
      ["", "run", "method", "right", "answered"],
      [a, b].map(({ file, run, individual, numJudged }, index) => [
        index === 0 ? "A" : "B",
        file,
        run,
        `${percentOf(individual)} (${countOf(individual)})`,
        String(numJudged),
      ]),
    ),
    "",
    ...table(
      ["both right", "only A (broken)", "only B (fixed)", "neither", "McNemar p", "B − A, points"],
      [[...[both, onlyA, onlyB, neither].map(String), p.toPrecision(3), differenceText(difference)]],
    ),
    "",
    ...table(
      ["relation", "A", "B", "broken", "fixed"],
      Object.entries(byRelation).map(([relation, own]) => [
        relation,
        countOf(own.a),
        countOf(own.b),
        String(own.onlyA),
        String(own.onlyB),
      ]),
    ),
    "",
    idLine("fixed", comparison.fixed),
    idLine("broken", comparison.broken),
    "",
    intervalNote(bootstrap),
  ];
  return `${lines.join("\n")}\n`;
}

function idLine(name: string, ids: readonly number[]): string {
  const shown = ids.slice(0, MAX_PRINTED_IDS).join(", ");
  const rest = ids.length > MAX_PRINTED_IDS ? `, … (${ids.length} in all)` : "";
  return `${name}: ${ids.length === 0 ? "none" : `${shown}${rest}`}`;
}
