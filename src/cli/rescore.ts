// adaptvis eval rescore: applies the rules to recorded answers anew, from the files of the paper's authors, its forks and lmms-eval.
import { existsSync } from "node:fs";
import { type Command, Option } from "commander";
import { readFileBytes } from "../checkpoint/read-file.node.ts";
import { InputError } from "../errors.ts";
import { type NamedResult, readResultName, verdictNames } from "../evaluate/answers/file-names.ts";
import { readIds } from "../evaluate/answers/npy.ts";
import type { DataSet } from "../evaluate/datasets/dataset.ts";
import { DATA_SETS, dataSetNamed } from "../evaluate/datasets/registry.ts";
import { type AnswersInput, type NamedText, rescore, SPLITS, type SplitName } from "../evaluate/rescore.ts";
import { readQuestionFile } from "../evaluate/run/question-file.node.ts";
import { type AdaptVisSettings, DEFAULT_ADAPTVIS } from "../interventions/adaptvis.ts";
import { MAX_FACTOR } from "../interventions/parameters.ts";
import { asUsage, numberFrom, repeated, someText } from "./checks.ts";
import { examples } from "./package-files.ts";
import { rescoreText } from "./rescore-text.ts";
import { defineCommand, type Session, UsageError } from "./session.ts";

/** Parsed options of `eval rescore`. */
interface RescoreFlags extends Partial<AdaptVisSettings> {
  readonly dataset?: string;
  readonly split?: SplitName;
  readonly questions: string;
  readonly answers: readonly string[];
  /** false for --no-scores. */
  readonly scores?: readonly string[] | false;
  readonly validationIds?: string;
}

const GATE_SETTINGS = ["alpha1", "alpha2", "beta"] as const;

/** `adaptvis eval rescore`. */
export const rescoreCommand = defineCommand("rescore", describeRescore, runRescore);

/** Describes `eval rescore` to commander. */
function describeRescore(command: Command): Command {
  const names = DATA_SETS.map(({ name }) => name).join(", ");
  return command
    .description(
      "Judge recorded answers anew, under the paper's rule and under stricter ones; needs no model and no GPU.",
    )
    .option("--dataset <name>", `data set that was asked: ${names} (default: as the answers' file name says)`, someText)
    .addOption(
      new Option(
        "--split <name>",
        "rows that were asked (default: as the answers' file name says; all for data sets that are not the paper's)",
      ).choices(SPLITS),
    )
    .requiredOption(
      "--questions <file>",
      'the data set\'s question file: JSON lines {"id", "question", "answer"}; for VSR also its own {"caption", "label"}; for the others their own, or the questions.jsonl that a run has kept',
      someText,
    )
    .requiredOption(
      "--answers <file>",
      "recorded answers; may be given several times, and then the runs are compared by McNemar's test",
      repeated,
    )
    .option(
      "--scores <file>",
      "verdicts to compare with: a scores file or res.json; once per --answers (default: the scores file beside the answers)",
      repeated,
    )
    .option("--no-scores", "do not look for a scores file beside the answers")
    .option(
      "--validation-ids <file>",
      "NumPy file (.npy) with the ids of the validation half (default: those of Python's random.sample with seed 1)",
      someText,
    )
    .addOption(factorOption("alpha1", "factor that the gate takes from a sweep below beta"))
    .addOption(factorOption("alpha2", "factor that the gate takes from a sweep at or above beta"))
    .addOption(
      new Option(
        "--beta <number>",
        "threshold of the gate; the confidence is rounded to two decimals before (default of all three: the file name's, else those published for the data set)",
      ).argParser(numberFrom({ least: 0, most: 1 })),
    )
    .addHelpText(
      "after",
      `
Files: arrays of the authors' code and its forks (one text per question, or texts per factor), and lmms-eval's sample lines. The
position in the half is the key of an array, the row in the question file ("doc_id") that of a sample line.
Rules: paper's rule, a substring of the text; exactly one option as a whole word; the option with the best first token; the best
whole option. Pairs and sets: all questions about the same two objects right, of n/2 and n/4; the ceiling is the share of them
whose questions are all in the half. --json has every count, and what each name means under "definitions".`,
    )
    .addHelpText(
      "after",
      examples(() => [
        "eval rescore --dataset Controlled_A --split test --questions questions.jsonl --answers answers.json",
        "eval rescore --questions questions.jsonl --answers results1.5_Controlled_Images_A_adapt_vis_1.0_fouroption_True.json --json",
      ]),
    );
}

function factorOption(name: string, meaning: string): Option {
  return new Option(`--${name} <number>`, meaning).argParser(numberFrom({ least: 0, most: MAX_FACTOR }));
}

/** Runs `eval rescore`. */
async function runRescore(session: Session, flags: RescoreFlags): Promise<void> {
  const paths = flags.answers;
  const twice = paths.find((path, index) => paths.indexOf(path) !== index);
  if (twice !== undefined) throw new UsageError(`--answers ${twice} is given twice: give each file once.`);
  const named = paths.map((path) => readResultName(path, DATA_SETS));
  const dataSet = await asUsage(() => dataSetOf(flags, named));
  const split = splitOf(flags, named, dataSet);
  const scores = await scoresOf(flags);
  const questions = {
    name: flags.questions,
    text:
      dataSet.form === undefined
        ? (await readTextFile(flags.questions, "--questions")).text
        : (await readQuestionFile(flags.questions, dataSet)).text,
  };
  const validationIds =
    flags.validationIds === undefined
      ? undefined
      : readIds(await readBytes(flags.validationIds, "--validation-ids"), flags.validationIds);
  const answers: AnswersInput[] = [];
  for (const [index, path] of paths.entries()) {
    const own = scores[index];
    answers.push({
      ...(await readTextFile(path, "--answers")),
      ...(own !== undefined && { scores: own }),
      named: named[index] ?? null,
      gate: gateOf(flags, named[index] ?? null, dataSet),
    });
  }
  const report = rescore({
    dataSet,
    split,
    questions,
    answers,
    ...(validationIds !== undefined && { validationIds }),
    notes: contradictions(flags, named, { dataSet, split }),
  });
  checkGate(flags, report.files);
  for (const note of report.notes) session.note(`adaptvis: ${note}`);
  for (const { file, notes } of report.files) for (const note of notes) session.note(`adaptvis: ${file}: ${note}`);
  session.result(report);
  session.print(rescoreText(report));
}

/** The data set of the option, or of the files' names. @throws UsageError when neither says it, or the names differ. */
function dataSetOf({ dataset }: RescoreFlags, named: readonly (NamedResult | null)[]): DataSet {
  if (dataset !== undefined) return dataSetNamed(dataset);
  return dataSetNamed(
    agreed(
      named.map((each) => each?.dataSet ?? null),
      "--dataset",
    ),
  );
}

/** As {@link dataSetOf}, for the half. */
function splitOf(
  { split }: RescoreFlags,
  named: readonly (NamedResult | null)[],
  { defaultSplit }: DataSet,
): SplitName {
  return (
    split ??
    defaultSplit ??
    agreed(
      named.map((each) => each?.split ?? null),
      "--split",
    )
  );
}

function agreed<T extends string>(values: readonly (T | null)[], option: string): T {
  const known = [...new Set(values.filter((value) => value !== null))];
  const [only] = known;
  if (only !== undefined && known.length === 1) return only;
  throw new UsageError(
    known.length === 0
      ? `${option} is missing, and the names of the answers' files do not say it.`
      : `${option} is missing, and the names of the answers' files contradict each other: ${known.join(", ")}.`,
  );
}

function gateOf(flags: RescoreFlags, named: NamedResult | null, { published }: DataSet): AdaptVisSettings {
  const { alpha1, alpha2, beta } = published?.adaptvis ?? DEFAULT_ADAPTVIS;
  return {
    alpha1: flags.alpha1 ?? named?.alpha1 ?? alpha1,
    alpha2: flags.alpha2 ?? named?.alpha2 ?? alpha2,
    beta: flags.beta ?? named?.beta ?? beta,
  };
}

/** One sentence per option that contradicts a file's name; the option is used. */
function contradictions(
  flags: RescoreFlags,
  named: readonly (NamedResult | null)[],
  chosen: { readonly dataSet: DataSet; readonly split: SplitName },
): readonly string[] {
  return flags.answers.flatMap((path, index) => {
    const own = named[index] ?? null;
    if (own === null) return [];
    const pairs: readonly (readonly [string, unknown, unknown])[] = [
      ["--dataset", chosen.dataSet.name, own.dataSet],
      ["--split", chosen.split, own.split],
      ...GATE_SETTINGS.map((name) => [`--${name}`, flags[name], own[name]] as const),
    ];
    return pairs
      .filter(([, given, said]) => given !== undefined && said !== null && given !== said)
      .map(([option, given, said]) => `${path}: its name says ${said}, but ${option} ${given} is used.`);
  });
}

/** Checks that factors given for the gate were used. @throws InputError when the gate could be applied to no file. */
function checkGate(
  { alpha1, alpha2 }: RescoreFlags,
  files: readonly {
    readonly file: string;
    readonly gate: { readonly run: string | null; readonly reason: string | null };
  }[],
): void {
  if (alpha1 === undefined && alpha2 === undefined) return;
  if (files.some(({ gate }) => gate.run !== null)) return;
  const reasons = files.map(({ file, gate }) => `${file}: ${gate.reason}`).join("; ");
  throw new InputError(
    `The gate of --alpha1 and --alpha2 cannot be applied (${reasons}): omit them, or give a sweep with these factors.`,
  );
}

/** The verdicts of each answers file, where there are any. */
async function scoresOf({ answers, scores }: RescoreFlags): Promise<readonly (NamedText | undefined)[]> {
  if (scores === false) return answers.map(() => undefined);
  if (scores !== undefined && scores.length !== answers.length) {
    throw new UsageError(
      `--scores is given ${scores.length} times and --answers ${answers.length} times: give one per answers file, in the same order.`,
    );
  }
  const found: (NamedText | undefined)[] = [];
  for (const [index, path] of answers.entries()) {
    const own = scores?.[index] ?? verdictNames(path).find((name) => existsSync(name));
    found.push(own === undefined ? undefined : await readTextFile(own, "--scores"));
  }
  return found;
}

async function readTextFile(path: string, option: string): Promise<NamedText> {
  return { name: path, text: new TextDecoder().decode(await readBytes(path, option)) };
}

async function readBytes(path: string, option: string): Promise<Uint8Array> {
  try {
    return await readFileBytes(path);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    const reasons: Readonly<Record<string, string>> = {
      ENOENT: "there is no such file",
      EISDIR: "it is a folder",
      EACCES: "permission is denied",
    };
    const reason = reasons[String(code)] ?? String(cause instanceof Error ? cause.message : cause);
    throw new InputError(`${path} of ${option} cannot be read: ${reason}.`);
  }
}
