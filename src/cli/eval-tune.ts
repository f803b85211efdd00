// adaptvis eval tune: settings of ScalingVis and AdaptVis, chosen on the validation half of a stored sweep and reported on the test half.
import { join } from "node:path";
import { type Command, Option } from "commander";
import { readFileText } from "../checkpoint/read-file.node.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { at, InputError } from "../errors.ts";
import { areSampleLines } from "../evaluate/answers/sample-lines.ts";
import type { DataSet } from "../evaluate/datasets/dataset.ts";
import { readQuestions } from "../evaluate/datasets/question-files.ts";
import { DATA_SETS, dataSetNamed } from "../evaluate/datasets/registry.ts";
import { halfOf, idsOfSplit, type NamedText, SPLITS, type SplitName } from "../evaluate/rescore.ts";
import { differences, type Manifest } from "../evaluate/run/run-folder.node.ts";
import { tuneSweep } from "../evaluate/tune.ts";
import { CROSS_VALIDATION_DEFAULTS } from "../evaluate/tuning/cross-validation.ts";
import { partOf, readSweepRows, type SweepRows } from "../evaluate/tuning/sweep-rows.ts";
import { RULES, type RuleName } from "../evaluate/verdicts.ts";
import { asUsage, checkOutput, repeated, someText, wholeFrom } from "./checks.ts";
import { type Side, sideOf } from "./eval-compare.ts";
import { questionsOf } from "./eval-merge.ts";
import { tuneText } from "./eval-tune-text.ts";
import { examples } from "./package-files.ts";
import { defineCommand, type Session, UsageError } from "./session.ts";

/** Parsed options of `eval tune`. */
interface TuneFlags {
  readonly validation?: string;
  readonly test?: string;
  readonly answers?: readonly string[];
  readonly dataset?: string;
  readonly questions?: string;
  readonly rule: RuleName;
  readonly unrounded?: boolean;
  readonly withOne?: boolean;
  readonly crossValidate?: boolean;
  readonly folds: number;
  readonly repeats: number;
  readonly seed: number;
  readonly out?: string;
}

/** A half of the data. */
type HalfName = Exclude<SplitName, "all">;

/** A run or file with the half that its rows belong to. */
interface Source extends Side {
  /** As it was given, for messages. */
  readonly path: string;
  /** The half that all its rows are; undefined where the paper's split decides. */
  readonly half: HalfName | undefined;
}

/** The rows of a source. */
interface SourceRows {
  readonly source: Source;
  /** Text of the question file, and its number of questions. */
  readonly questionText: string;
  readonly numQuestions: number;
  readonly rows: SweepRows;
  /** The part that the rows are, in the paper's split or as given. */
  readonly part: SplitName;
}

/** `adaptvis eval tune`. */
export const evalTuneCommand = defineCommand("tune", describeTune, tune);

/** Describes `eval tune` to commander. */
function describeTune(command: Command): Command {
  const { numFolds, numRepeats, seed } = CROSS_VALIDATION_DEFAULTS;
  return command
    .description(
      "Choose ScalingVis' factor and AdaptVis' alpha1, alpha2 and beta on the validation half of a stored sweep, and report them on the test half; needs no model and no GPU.",
    )
    .argument("[runs...]", 'folders that "adaptvis eval" wrote with --factors: the whole data set, or one per half')
    .option("--validation <run>", "folder or results file whose rows are all for validation", someText)
    .option("--test <run>", "folder or results file whose rows are all for the test", someText)
    .option("--answers <file>", "recorded sweep of a half, as its name says; may be given several times", repeated)
    .option("--dataset <name>", "data set of results files (default: as their names say)", someText)
    .option("--questions <file>", "question file (default: the one that the runs were answered with)", someText)
    .addOption(
      new Option("--rule <name>", "rule whose right answers are counted")
        .choices(RULES.map(({ name }) => name))
        .default("paper"),
    )
    .option("--unrounded", "compare the unrounded confidence with beta (default: rounded to two decimals)")
    .option("--with-one", "let AdaptVis also take the unmodified answer (factor 1) as one of its two")
    .option("--cross-validate", "go on with one half, and report only across folds of it")
    .option("--folds <number>", "number of folds", wholeFrom(2), numFolds)
    .option("--repeats <number>", "number of random divisions into folds", wholeFrom(1, 10_000), numRepeats)
    .option("--seed <number>", "seed of the first division", wholeFrom(0), seed)
    .option("--out <file>", "write the report as JSON (default: tune.json in the folder of a single run)", someText)
    .addHelpText(
      "after",
      examples(() => [
        "eval tune run",
        "eval tune --validation run-of-validation --test run-of-test --rule exactlyOne",
        "eval tune --dataset Controlled_A --questions questions.jsonl --validation sweep_False.json --test sweep_True.json",
      ]),
    );
}

/** Runs `eval tune`. */
async function tune(session: Session, runs: readonly string[], flags: TuneFlags): Promise<void> {
  const sources = await sourcesOf(runs, flags);
  const out = flags.out ?? outOf(runs);
  const dataSet = await dataSetOf(sources, flags);
  checkOneModel(sources);
  await checkOutput("--out", out, [...sources.map(({ name }) => name), flags.questions]);
  const read: SourceRows[] = [];
  for (const source of sources) read.push(await readSource(source, dataSet, flags));
  const { validation, test } = halvesOf(read);
  const { folds: numFolds, repeats: numRepeats, seed } = flags;
  if ((validation === null || test === null) && flags.crossValidate !== true) {
    const [present, absent] = test === null ? ["validation", "test"] : ["test", "validation"];
    throw new InputError(
      `${read.map(({ source }) => source.path).join(" and ")}: only the ${present} half is there, so that tuned settings cannot be reported on ` +
        `a test half: give the ${absent} half too, or --cross-validate for the spread across folds of these rows.`,
    );
  }
  const report = tuneSweep({
    dataSet,
    validation,
    test,
    rule: flags.rule,
    confidence: flags.unrounded === true ? "unrounded" : "rounded",
    withOne: flags.withOne === true,
    crossValidation: { numFolds, numRepeats, seed },
  });
  for (const note of report.notes) session.note(`adaptvis: ${note}`);
  if (out !== undefined) await writeFileWhole(out, `${JSON.stringify(report, undefined, 1)}\n`);
  session.result(report);
  session.print(tuneText(report));
}

/** Where the report is written without --out. */
function outOf([run, ...others]: readonly string[]): string | undefined {
  return run === undefined || others.length > 0 ? undefined : join(run, "tune.json");
}

/** The runs and files, in one of the three ways to give them. @throws UsageError when they are mixed, or there are none. */
async function sourcesOf(runs: readonly string[], flags: TuneFlags): Promise<readonly Source[]> {
  const { validation, test, answers = [] } = flags;
  const hasHalves = validation !== undefined || test !== undefined;
  const ways = [runs.length > 0, hasHalves, answers.length > 0].filter((isGiven) => isGiven).length;
  if (ways !== 1) {
    throw new UsageError(
      `${ways === 0 ? "The sweep is missing" : "The sweep is given in several ways"}: give folders of runs, or --validation and --test, or --answers.`,
    );
  }
  const given: readonly { readonly path: string; readonly half: HalfName | undefined }[] = [
    ...[...runs, ...answers].map((path) => ({ path, half: undefined })),
    ...(validation === undefined ? [] : [{ path: validation, half: "validation" as const }]),
    ...(test === undefined ? [] : [{ path: test, half: "test" as const }]),
  ];
  const twice = given.find(({ path }, index) => given.findIndex((other) => other.path === path) !== index);
  if (twice !== undefined) throw new UsageError(`${twice.path} is given twice: give each once.`);
  const sources: Source[] = [];
  for (const { path, half } of given) sources.push({ ...(await sideOf(path)), path, half });
  for (const { manifest, path } of sources) {
    if (manifest === undefined && runs.length > 0) {
      throw new UsageError(
        `${path} is not the folder of a run: give results files with --answers, or --validation and --test.`,
      );
    }
  }
  return sources;
}

/** The data set of all sources. @throws UsageError when nothing says it; InputError when they differ. */
async function dataSetOf(sources: readonly Source[], { dataset }: TuneFlags): Promise<DataSet> {
  const given = dataset === undefined ? undefined : await asUsage(() => dataSetNamed(dataset));
  const said = sources.map(({ path, manifest, named }) => {
    const own = manifest?.identity.dataset ?? given?.name ?? named?.dataSet;
    if (own !== undefined) return { path, own };
    throw new UsageError(
      `--dataset is missing, and the name of ${path} does not say its data set: one of ${DATA_SETS.map(({ name }) => name).join(", ")}.`,
    );
  });
  const { path, own } = at(said, 0);
  const other = said.find((each) => each.own !== own);
  if (other !== undefined) {
    throw new InputError(`${path} holds answers to ${own} and ${other.path} to ${other.own}: tune on one data set.`);
  }
  if (given !== undefined && given.name !== own) {
    throw new InputError(`${path} holds answers to ${own}, not to ${given.name}: omit --dataset.`);
  }
  return dataSetNamed(own);
}

/** Checks that runs are of one model with one set of settings. @throws InputError. */
function checkOneModel(sources: readonly Source[]): void {
  const runs = sources.flatMap(({ path, manifest }) => (manifest === undefined ? [] : [{ path, manifest }]));
  const [first, ...others] = runs;
  if (first === undefined) return;
  for (const { path, manifest } of others) {
    // Halves may be different questions, and may have different other methods; the sweeps themselves are compared later.
    const { split, ids, questions, annotations, methods } = manifest.identity;
    const found = differences(
      { ...first.manifest.identity, split, ids, questions, annotations, methods },
      manifest.identity,
    );
    if (found.length === 0) continue;
    throw new InputError(
      `${path} differs from ${first.path}: ${found.join(", ")}; tune on runs of one model with the same settings.`,
    );
  }
}

async function readSource(source: Source, dataSet: DataSet, flags: TuneFlags): Promise<SourceRows> {
  const { manifest, path, text } = source;
  const questionFile = await questionFileOf(manifest, path, flags);
  const questions = readQuestions(questionFile.text, questionFile.name, dataSet);
  const part = source.half ?? splitOf(source);
  // Rows of an array count in their half; those of sample lines, as runs have them, name their questions.
  const half = halfOf({ dataSet, questions, split: areSampleLines(text) ? "all" : part });
  const methods = manifest?.identity.methods;
  const rows = readSweepRows(source, { dataSet, questions, half, ...(methods !== undefined && { methods }) });
  const asked = manifest === undefined ? answeredIds(rows) : idsOfSplit(splitOf(source), questions.length);
  return {
    source,
    questionText: questionFile.text,
    numQuestions: questions.length,
    rows: areSampleLines(text) ? rowsOfIds(rows, asked) : rows,
    part,
  };
}

/** Ids of the questions with an answer under any factor. */
function answeredIds({ questions, arms }: SweepRows): readonly number[] {
  return questions.flatMap(({ id }, place) => (arms.some(({ answers }) => at(answers, place) !== null) ? [id] : []));
}

function rowsOfIds(rows: SweepRows, ids: readonly number[]): SweepRows {
  const wanted = new Set(ids);
  return partOf(rows, ({ id }) => wanted.has(id));
}

async function questionFileOf(
  manifest: Manifest | undefined,
  path: string,
  { questions, validation, test }: TuneFlags,
): Promise<NamedText> {
  if (manifest !== undefined) {
    // Of two benchmarks with their own question files, --questions cannot be both.
    const { questionFile: name, questionText: text } = await questionsOf(
      manifest,
      validation !== undefined && test !== undefined ? undefined : questions,
    );
    return { name, text };
  }
  if (questions === undefined)
    throw new UsageError(`--questions is missing: ${path} does not say where its questions are.`);
  const text = await readFileText(questions).catch((cause: unknown) => {
    throw new InputError(
      `${questions} of --questions cannot be read (${cause instanceof Error ? cause.message : cause}).`,
    );
  });
  return { name: questions, text };
}

/** The part that a source's rows are. @throws UsageError when nothing says it. */
function splitOf({ path, text, manifest, named }: Source): SplitName {
  if (manifest !== undefined) return splitNamed(manifest.identity.split);
  if (areSampleLines(text)) return "all";
  if (named?.split !== undefined && named.split !== null) return named.split;
  throw new UsageError(`The name of ${path} does not say its half: give it with --validation or --test.`);
}

function splitNamed(name: string): SplitName {
  const found = SPLITS.find((split) => split === name);
  if (found !== undefined) return found;
  throw new InputError(`the split of a run must be one of ${SPLITS.join(", ")}, got ${name}.`);
}

/** The rows of each half. @throws InputError when two sources have the same rows. */
function halvesOf(read: readonly SourceRows[]): {
  readonly validation: SweepRows | null;
  readonly test: SweepRows | null;
} {
  const parts = read.flatMap((own) =>
    own.part !== "all"
      ? [own]
      : (["validation", "test"] as const).map((part) => {
          const ids = idsOfSplit(part, own.numQuestions);
          return { ...own, rows: rowsOfIds(own.rows, ids), part };
        }),
  );
  const find = (name: HalfName) => {
    const [found, other] = parts.filter(({ part }) => part === name);
    if (other === undefined || found === undefined) return found;
    throw new InputError(
      `${found.source.path} and ${other.source.path} both have rows of the ${name} half: give one run per half; "adaptvis eval merge" puts parts of a run together.`,
    );
  };
  const [validation, test] = [find("validation"), find("test")];
  if (validation !== undefined && test !== undefined && validation.questionText === test.questionText) {
    const ofTest = new Set(answeredIds(test.rows));
    const both = answeredIds(validation.rows).find((id) => ofTest.has(id));
    if (both !== undefined) {
      throw new InputError(
        `question ${both} is in ${validation.source.path} for validation and in ${test.source.path} for the test: the halves must have no question in common.`,
      );
    }
  }
  return { validation: validation?.rows ?? null, test: test?.rows ?? null };
}
