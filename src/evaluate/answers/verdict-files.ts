// Verdicts that were recorded beside answers, and how they compare with ours: a scores file, or res.json with a run per line.

import { InputError, isObject, kindOf } from "../../errors.ts";
import { type JsonObject, readJsonLines } from "../json-lines.ts";

/** A scores file: the fraction of right answers and the positions of the right ones. */
export interface RecordedVerdicts {
  readonly kind: "verdicts";
  readonly accuracy: number;
  readonly rightPositions: readonly number[];
}

/** VSR's scores file, under the names of the file. */
export interface RecordedYesNo {
  readonly kind: "yes-no";
  readonly accuracy: number;
  /** True positive rate. */
  readonly precision: number;
  /** True negative rate. */
  readonly recall: number;
  /** Harmonic mean of the two rates. */
  readonly f1: number;
}

/** A line of res.json. Accuracies are in percent for data sets with pairs, else fractions. */
export interface RecordedLine {
  readonly lineNumber: number;
  readonly dataSet: string;
  readonly method: string | null;
  readonly weight: number | null;
  readonly individual: number | null;
  readonly pair: number | null;
  readonly set: number | null;
  readonly rightPositions: readonly number[];
}

/** res.json: runs that are not told apart, and the numbers of the lines that could not be read. */
export interface RecordedLines {
  readonly kind: "lines";
  readonly lines: readonly RecordedLine[];
  readonly skippedLines: readonly number[];
}

/** Verdicts in any of the forms. */
export type VerdictFile = RecordedVerdicts | RecordedYesNo | RecordedLines;

/** A run of ours that recorded verdicts may belong to. */
export interface OwnRun {
  readonly name: string;
  /** By position: whether the answer is right by the paper's rule; null where it was not judged. */
  readonly verdicts: readonly (boolean | null)[];
  /** In the units of the file: percent for data sets with pairs, else fractions. */
  readonly individual: number | null;
  readonly pair: number | null;
  readonly set: number | null;
  /** For yes and no questions: the two rates and their harmonic mean. */
  readonly rates: {
    readonly positive: number | null;
    readonly negative: number | null;
    readonly mean: number | null;
  } | null;
}

/** How a run compares with recorded verdicts. */
export interface RunComparison {
  readonly run: string;
  readonly agrees: boolean;
  /** Positions that only the file counts as right. */
  readonly onlyRecorded: readonly number[];
  /** Positions that only the recomputation counts as right. */
  readonly onlyRecomputed: readonly number[];
}

/** What was found in a file of verdicts. */
export type VerdictComparison =
  | { readonly status: "stale"; readonly reason: string }
  | {
      readonly status: "agrees" | "differs";
      readonly recorded: Readonly<Record<string, number>>;
      /** Names of the runs that agree. */
      readonly agreeingRuns: readonly string[];
      /** The differences of each run, empty for VSR, whose file has no positions. */
      readonly runs: readonly RunComparison[];
    }
  | {
      readonly status: "lines";
      /** Lines about the data set. */
      readonly lines: readonly (Omit<RecordedLine, "rightPositions"> & {
        readonly numRight: number;
        readonly agreeingRuns: readonly string[];
      })[];
      readonly numOtherDataSets: number;
      readonly skippedLines: readonly number[];
    };

const TOLERANCE = 1e-9;

/**
 * Reads a file of verdicts.
 * @param file name for messages
 * @throws InputError when it is in none of the forms.
 */
export function readVerdictFile(text: string, file: string): VerdictFile {
  const whole = parsed(text);
  if (isObject(whole) && whole.acc !== undefined) return readScores(whole, file);
  if (whole !== undefined && !isObject(whole)) {
    throw new InputError(`${file}: expected {"acc", "correct_id"} or the lines of res.json, got ${kindOf(whole)}.`);
  }
  const skippedLines: number[] = [];
  const lines = readJsonLines(text).flatMap(({ lineNumber, object }): readonly RecordedLine[] => {
    const line = object === null ? null : readLine(object, lineNumber);
    if (line === null) skippedLines.push(lineNumber);
    return line === null ? [] : [line];
  });
  if (lines.length > 0) return { kind: "lines", lines, skippedLines };
  throw new InputError(`${file} has no verdicts: expected {"acc", "correct_id"} or the lines of res.json.`);
}

/**
 * Compares recorded verdicts with ours under the paper's rule.
 * @param numRows number of rows of the answers file
 * @param numExpected number of questions of the half
 * @param isNamed whether a name is the data set's, for res.json
 */
export function compareVerdicts(
  file: VerdictFile,
  runs: readonly OwnRun[],
  about: {
    readonly numRows: number;
    readonly numExpected: number;
    readonly isNamed: (dataSet: string) => boolean;
  },
): VerdictComparison {
  switch (file.kind) {
    case "verdicts": {
      const reason = staleReason(file, about);
      if (reason !== null) return { status: "stale", reason };
      const compared = runs.map((run) => compareRun(file, run));
      const agreeingRuns = compared.filter(({ agrees }) => agrees).map(({ run }) => run);
      const recorded = { acc: file.accuracy, numRight: file.rightPositions.length };
      return { status: agreeingRuns.length > 0 ? "agrees" : "differs", recorded, agreeingRuns, runs: compared };
    }
    case "yes-no": {
      const { accuracy, precision, recall, f1 } = file;
      if (about.numRows < about.numExpected) {
        const reason = `the answers are only ${about.numRows} of ${about.numExpected}, and the file does not say how many it counts`;
        return { status: "stale", reason };
      }
      const agreeing = runs.filter(
        ({ individual, rates }) =>
          isClose(individual, accuracy) &&
          rates !== null &&
          isClose(rates.positive, precision) &&
          isClose(rates.negative, recall) &&
          isClose(rates.mean ?? 0, f1),
      );
      const agreeingRuns = agreeing.map(({ name }) => name);
      const recorded = { acc: accuracy, precision, recall, f1 };
      return { status: agreeing.length > 0 ? "agrees" : "differs", recorded, agreeingRuns, runs: [] };
    }
    case "lines": {
      const own = file.lines.filter(({ dataSet }) => about.isNamed(dataSet));
      return {
        status: "lines",
        lines: own.map(({ rightPositions, ...line }) => ({
          ...line,
          numRight: rightPositions.length,
          agreeingRuns: runs
            .filter(
              (run) =>
                differences(rightPositions, run).isSame &&
                isClose(run.individual, line.individual) &&
                (line.pair === null || isClose(run.pair, line.pair)) &&
                (line.set === null || isClose(run.set, line.set)),
            )
            .map(({ name }) => name),
        })),
        numOtherDataSets: file.lines.length - own.length,
        skippedLines: file.skippedLines,
      };
    }
  }
}

/** Why a scores file is of another run than the answers; null where its counts fit. */
function staleReason(
  { accuracy, rightPositions }: RecordedVerdicts,
  { numRows, numExpected }: { readonly numRows: number; readonly numExpected: number },
): string | null {
  const outside = rightPositions.find((position) => position >= numRows);
  if (outside !== undefined) return `it counts row ${outside}, but the answers are ${numRows} of ${numExpected}`;
  if (rightPositions.length === 0) {
    return numRows < numExpected
      ? `it does not say how many rows it counts, and the answers are ${numRows} of ${numExpected}`
      : null;
  }
  const counted = rightPositions.length / accuracy;
  if (Math.abs(counted - numRows) < 1e-3) return null;
  return `it counts ${Math.round(counted)} rows, but the answers are ${numRows} of ${numExpected}`;
}

function compareRun({ accuracy, rightPositions }: RecordedVerdicts, run: OwnRun): RunComparison {
  const { isSame, onlyRecorded, onlyRecomputed } = differences(rightPositions, run);
  const judged = run.verdicts.filter((verdict) => verdict !== null);
  const fraction = judged.filter((verdict) => verdict).length / judged.length;
  return { run: run.name, agrees: isSame && isClose(fraction, accuracy), onlyRecorded, onlyRecomputed };
}

function differences(rightPositions: readonly number[], { verdicts }: OwnRun) {
  const recorded = new Set(rightPositions);
  const onlyRecorded = rightPositions.filter((position) => verdicts[position] !== true);
  const onlyRecomputed = verdicts.flatMap((verdict, position) =>
    verdict === true && !recorded.has(position) ? [position] : [],
  );
  return { isSame: onlyRecorded.length === 0 && onlyRecomputed.length === 0, onlyRecorded, onlyRecomputed };
}

function isClose(ours: number | null, recorded: number | null): boolean {
  return ours !== null && recorded !== null && Math.abs(ours - recorded) <= TOLERANCE * Math.max(1, Math.abs(recorded));
}

function readScores(scores: JsonObject, file: string): RecordedVerdicts | RecordedYesNo {
  const number = (name: string): number => {
    const value = scores[name];
    if (typeof value === "number" && value >= 0 && value <= 1) return value;
    throw new InputError(`${file}: expected "${name}" to be a fraction, got ${JSON.stringify(value)}.`);
  };
  if (scores.correct_id === undefined) {
    return {
      kind: "yes-no",
      accuracy: number("acc"),
      precision: number("precision"),
      recall: number("recall"),
      f1: number("f1"),
    };
  }
  const rightPositions = positionsOf(scores.correct_id);
  if (rightPositions !== null) return { kind: "verdicts", accuracy: number("acc"), rightPositions };
  throw new InputError(`${file}: expected "correct_id" to be a list of different row positions.`);
}

function readLine(object: JsonObject, lineNumber: number): RecordedLine | null {
  const rightPositions = positionsOf(object.correct_id);
  if (typeof object.dataset !== "string" || rightPositions === null) return null;
  const number = (value: unknown) => (typeof value === "number" ? value : null);
  return {
    lineNumber,
    dataSet: object.dataset,
    method: typeof object.method === "string" ? object.method : null,
    weight: number(object.weight),
    individual: number(object["Individual accuracy"]),
    pair: number(object["Pair accuracy"]),
    set: number(object["Set accuracy"]),
    rightPositions,
  };
}

function positionsOf(value: unknown): readonly number[] | null {
  if (!Array.isArray(value)) return null;
  const positions = value.filter((position) => Number.isSafeInteger(position) && position >= 0);
  return positions.length === value.length && new Set(positions).size === value.length ? positions : null;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
