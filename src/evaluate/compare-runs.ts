// Two runs over the same questions: what changed, by how much, and for which questions.
import { at, InputError } from "../errors.ts";
import { readAnswers } from "./answers/read-answers.ts";
import { isEmptyRun, type RecordedRun } from "./answers/recorded.ts";
import type { DataSet, Question } from "./datasets/dataset.ts";
import { BOOTSTRAP_DEFAULTS } from "./metrics/bootstrap.ts";
import { describeClusters } from "./metrics/question-clusters.ts";
import { comparePaired, PAIRED_DEFINITIONS, type PairedResult } from "./paired-test.ts";
import { type BootstrapFacts, halfOf, type NamedText, type RunName, type SplitName } from "./rescore.ts";
import { byRelation, type Share, share, verdictsOf } from "./scores.ts";
import { RULES, type RuleName } from "./verdicts.ts";

/** A run to compare, with an answer or null for every question of the data set's file. */
export interface WholeRun extends RunName {
  readonly recorded: RecordedRun;
}

/** One side of a comparison. */
export interface ComparedRun extends RunName {
  /** Number of questions that the rule can judge in this run, also those that the other one lacks. */
  readonly numJudged: number;
  /** Right answers among the questions that both runs answer. */
  readonly individual: Share;
}

/** Two runs over the questions of one relation. */
export interface RelationComparison {
  readonly a: Share;
  readonly b: Share;
  /** Right in A only, and so broken in B. */
  readonly onlyA: number;
  /** Right in B only, and so fixed in B. */
  readonly onlyB: number;
}

/** The comparison of run B with run A, over the questions that both answer; all of it plain JSON. */
export interface RunComparison extends PairedResult {
  readonly dataSet: string;
  readonly rule: RuleName;
  readonly a: ComparedRun;
  readonly b: ComparedRun;
  /** By relation, or by right answer where the questions have none. */
  readonly byRelation: Readonly<Record<string, RelationComparison>>;
  /** Ids of the questions that are wrong in A and right in B, ascending. */
  readonly fixed: readonly number[];
  /** Ids of the questions that are right in A and wrong in B, ascending. */
  readonly broken: readonly number[];
  /** How the interval of the difference was computed. */
  readonly bootstrap: BootstrapFacts;
  /** What the names in the comparison mean. */
  readonly definitions: Readonly<Record<string, string>>;
}

/**
 * Reads the runs of a results file, their answers by question instead of by position in a half.
 * @param of `split` is the part that the positions of an array count in; sample lines name their questions
 * @throws InputError as `readAnswers`.
 */
export function readWholeRuns(
  { name, text }: NamedText,
  of: { readonly dataSet: DataSet; readonly questions: readonly Question[]; readonly split: SplitName },
): readonly WholeRun[] {
  const half = halfOf(of);
  const { runs } = readAnswers(text, name, { ...of, half });
  const positions = new Map(half.ids.map((id, position) => [id, position]));
  return runs.map((run) => {
    const answers = of.questions.map(({ id }) => run.answers[positions.get(id) ?? -1] ?? null);
    return { file: name, run: run.name, recorded: { ...run, answers } };
  });
}

/**
 * The run with this name, or the only one.
 * @param option the option that names it, for messages
 * @throws InputError when there is no such run, or several and no name.
 */
export function chooseRun(
  runs: readonly WholeRun[],
  method: string | undefined,
  { option }: { readonly option: string },
): WholeRun {
  const found = method === undefined ? runs : runs.filter(({ run }) => run === method);
  const [first, ...others] = found;
  if (first !== undefined && others.length === 0) return first;
  const names = runs.map(({ run }) => run).join(", ");
  throw new InputError(
    method === undefined
      ? `${at(runs, 0).file} holds ${names}: choose one of them with ${option}.`
      : `${option} ${method}: ${at(runs, 0).file} has no such run, only ${names}.`,
  );
}

/**
 * Compares run B with run A.
 * @throws InputError when a run has only empty answers, or when the rule can judge no question in both.
 */
export function compareRuns(
  a: WholeRun,
  b: WholeRun,
  of: { readonly dataSet: DataSet; readonly questions: readonly Question[]; readonly rule: RuleName },
): RunComparison {
  const { dataSet, questions, rule } = of;
  for (const { file, run, recorded } of [a, b]) {
    if (isEmptyRun(recorded)) {
      throw new InputError(`${file}: every answer of ${run} is empty, as of a model that could not generate.`);
    }
  }
  const [ofA, ofB] = [a, b].map(({ recorded }) => verdictsOf(recorded, rule, { questions, dataSet }));
  const [verdictsA = [], verdictsB = []] = [ofA, ofB];
  const result = comparePaired(verdictsA, verdictsB, questions);
  if (result === null) {
    throw new InputError(
      `${a.file} (${a.run}) and ${b.file} (${b.run}) have no question in common that the rule ${rule} can judge: ` +
        "compare runs over the same questions, or choose another --rule.",
    );
  }
  const rows = questions.flatMap((question, position) => {
    const [inA, inB] = [verdictsA[position] ?? null, verdictsB[position] ?? null];
    return inA === null || inB === null ? [] : [{ question, inA, inB }];
  });
  const compared = ({ file, run }: WholeRun, verdicts: readonly (boolean | null)[], numRight: number): ComparedRun => ({
    file,
    run,
    numJudged: verdicts.filter((verdict) => verdict !== null).length,
    individual: share(numRight, rows.length),
  });
  const idsOf = (isWanted: (row: (typeof rows)[number]) => boolean) =>
    rows.filter(isWanted).map(({ question: { id } }) => id);
  return {
    dataSet: dataSet.name,
    rule,
    a: compared(a, verdictsA, result.both + result.onlyA),
    b: compared(b, verdictsB, result.both + result.onlyB),
    ...result,
    byRelation: Object.fromEntries(
      [...byRelation(rows, dataSet)].map(([relation, own]): readonly [string, RelationComparison] => {
        const count = (isCounted: (row: (typeof rows)[number]) => boolean) => own.filter(isCounted).length;
        return [
          relation,
          {
            a: share(
              count(({ inA }) => inA),
              own.length,
            ),
            b: share(
              count(({ inB }) => inB),
              own.length,
            ),
            onlyA: count(({ inA, inB }) => inA && !inB),
            onlyB: count(({ inA, inB }) => !inA && inB),
          },
        ];
      }),
    ),
    fixed: idsOf(({ inA, inB }) => !inA && inB),
    broken: idsOf(({ inA, inB }) => inA && !inB),
    bootstrap: {
      ...BOOTSTRAP_DEFAULTS,
      clusters: describeClusters(
        rows.map(({ question }) => question),
        dataSet,
      ),
    },
    definitions: {
      [`rule ${rule}`]: at(
        RULES.filter(({ name }) => name === rule),
        0,
      ).definition(dataSet),
      ...PAIRED_DEFINITIONS,
      fixed: "Ids of the questions that are wrong in A and right in B.",
      broken: "Ids of the questions that are right in A and wrong in B.",
    },
  };
}
