// The answers of a sweep over factors, by question, from a run of `adaptvis eval` or from a recorded sweep.
import { at, InputError } from "../../errors.ts";
import { readAnswers } from "../answers/read-answers.ts";
import { type Half, isEmptyRun, type RecordedRun } from "../answers/recorded.ts";
import type { DataSet, Question } from "../datasets/dataset.ts";
import type { NamedText } from "../rescore.ts";
import type { Answer } from "../verdicts.ts";

/** The factor that leaves the scores as they are. */
export const GREEDY_FACTOR = 1;

/** The answers under one factor. */
export interface SweepArm {
  readonly name: string;
  readonly factor: number;
  /** [n]; null where there is no answer. */
  readonly answers: readonly (Answer | null)[];
}

/** Questions with their answers under several factors. */
export interface SweepRows {
  /** The file that the answers come from. */
  readonly file: string;
  /** [n] */
  readonly questions: readonly Question[];
  /** One per factor, ascending; factor 1 is among them. */
  readonly arms: readonly SweepArm[];
  /** [n], confidence of the first token in the unmodified pass, rounded as the gate compares it; null where there is none. */
  readonly rounded: readonly (number | null)[];
  /** [n], the same unrounded; null where there is none. */
  readonly unrounded: readonly (number | null)[];
  /** The settings besides the factor, such as layers; null where the file does not say them. */
  readonly settings: Readonly<Record<string, unknown>> | null;
  /** What a reader should know about the file, one sentence each. */
  readonly notes: readonly string[];
}

/** Settings of the methods of a run, by the name of the method in its lines; `method` is the registered name. */
export type RunMethods = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/**
 * Reads the sweep of a results file.
 * @param of `methods` are those of the run's manifest; without it, sample lines are read by the names of their methods
 * @throws InputError as `readAnswers`; when the file is no sweep; without answers of factor 1; for arms with different settings.
 */
export function readSweepRows(
  { name: file, text }: NamedText,
  of: {
    readonly dataSet: DataSet;
    readonly questions: readonly Question[];
    readonly half: Half;
    readonly methods?: RunMethods;
  },
): SweepRows {
  const recorded = readAnswers(text, file, of);
  const { arms, settings, others } =
    recorded.form === "samples" ? sampleArms(recorded.runs, file, of.methods) : recordedArms(recorded.runs);
  if (arms.every(({ factor }) => factor === GREEDY_FACTOR)) {
    throw new InputError(
      `${file} is not a sweep over factors, it has ${recorded.runs.map(({ name }) => name).join(", ")}: give a run of ` +
        '"adaptvis eval --method greedy --factors 0.5,0.8,1.2,1.5,2", or recorded answers that have a map of factors.',
    );
  }
  const empty = arms.filter(({ run }) => isEmptyRun(run));
  const kept = arms.filter((arm) => !empty.includes(arm));
  if (!kept.some(({ factor }) => factor === GREEDY_FACTOR)) {
    const why = empty.some(({ factor }) => factor === GREEDY_FACTOR)
      ? "has only empty answers of the unmodified pass (greedy, factor 1)"
      : "has no answers of the unmodified pass (greedy, factor 1)";
    throw new InputError(
      `${file} ${why}, only factors ${arms.map(({ factor }) => factor).join(", ")}: gains are counted against it; add --method greedy.`,
    );
  }
  const { confidences } = recorded;
  return {
    file,
    questions: of.half.ids.map((id) => at(of.questions, id)),
    arms: kept
      .map(({ factor, run: { name, answers } }) => ({
        name,
        factor,
        answers: of.half.ids.map((_, position) => answers[position] ?? null),
      }))
      .sort((a, b) => a.factor - b.factor),
    rounded: of.half.ids.map((_, position) => confidences.rounded[position] ?? null),
    unrounded: of.half.ids.map((_, position) => confidences.unrounded[position] ?? null),
    settings,
    notes: [
      ...recorded.notes,
      ...(others.length === 0 ? [] : [`Answers that are not part of the sweep, left out: ${others.join(", ")}.`]),
      ...(empty.length === 0
        ? []
        : [`Factors whose answers are all empty, left out: ${empty.map(({ factor }) => factor).join(", ")}.`]),
    ],
  };
}

/** The rows whose question `isWanted`. */
export function partOf(rows: SweepRows, isWanted: (question: Question) => boolean): SweepRows {
  const places = rows.questions.flatMap((question, place) => (isWanted(question) ? [place] : []));
  const pick = <T>(values: readonly T[]) => places.map((place) => at(values, place));
  return {
    ...rows,
    questions: pick(rows.questions),
    arms: rows.arms.map((arm) => ({ ...arm, answers: pick(arm.answers) })),
    rounded: pick(rows.rounded),
    unrounded: pick(rows.unrounded),
  };
}

interface FoundArm {
  readonly factor: number;
  readonly run: RecordedRun;
}

interface FoundArms {
  readonly arms: readonly FoundArm[];
  readonly settings: SweepRows["settings"];
  /** Names of runs that are not part of the sweep. */
  readonly others: readonly string[];
}

/** The arms of a recorded sweep: those that have a factor and a text. */
function recordedArms(runs: readonly RecordedRun[]): FoundArms {
  // Beside a plain file's answers, there may be the option scores of the unmodified pass, which have no texts.
  const hasTexts = ({ answers }: RecordedRun) => answers.some((answer) => answer !== null && answer.text !== null);
  const found = runs.flatMap((run) => (run.factor === null || !hasTexts(run) ? [] : [{ factor: run.factor, run }]));
  const arms = oncePerFactor(found);
  return {
    arms,
    settings: null,
    others: runs.filter((run) => arms.every((arm) => arm.run !== run)).map(({ name }) => name),
  };
}

/** The arms of sample lines: greedy, and scaling with a factor. */
function sampleArms(runs: readonly RecordedRun[], file: string, methods: RunMethods | undefined): FoundArms {
  const arms: (FoundArm & { readonly settings: string | null })[] = [];
  const others: string[] = [];
  for (const run of runs) {
    const { method, factor, ...settings } = methods?.[run.name] ?? settingsOfName(run.name);
    const isGreedy = method === "greedy";
    const value = isGreedy ? GREEDY_FACTOR : method === "scaling" ? Number(factor ?? Number.NaN) : Number.NaN;
    if (Number.isFinite(value)) {
      arms.push({ factor: value, run, settings: isGreedy ? null : JSON.stringify(settings) });
    } else others.push(run.name);
  }
  const scaled = arms.filter(({ settings }) => settings !== null);
  const [first] = scaled;
  const stranger = scaled.find(({ settings }) => settings !== first?.settings);
  if (first !== undefined && stranger !== undefined) {
    throw new InputError(
      `${file}: ${first.run.name} and ${stranger.run.name} differ in more than the factor: a sweep has the same other settings for all factors; run them apart.`,
    );
  }
  // Greedy and a factor of 1 give the same answers: greedy's are kept.
  const byPreference = [...arms].sort((a, b) => Number(a.settings !== null) - Number(b.settings !== null));
  const kept = oncePerFactor(byPreference);
  const twice = arms.filter((arm) => !kept.includes(arm)).map(({ run }) => run.name);
  const settings = first?.settings ?? null;
  return {
    arms: kept,
    settings: settings === null ? null : JSON.parse(settings),
    others: [...others, ...twice],
  };
}

function oncePerFactor<Arm extends FoundArm>(arms: readonly Arm[]): readonly Arm[] {
  return arms.filter(({ factor }, index) => arms.findIndex((other) => other.factor === factor) === index);
}

/** What the name of a method says, such as scaling:factor=0.5:layers=0-3. */
function settingsOfName(name: string): Readonly<Record<string, unknown>> {
  const [method, ...settings] = name.split(":");
  return { ...Object.fromEntries(settings.map((setting) => setting.split("=", 2))), method };
}
