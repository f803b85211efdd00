// Options that the causal experiments share: what is measured, where, and what files are written.
import { basename } from "node:path";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { Question } from "../answer.ts";
import type { MeasuredRun } from "../causal/changed-runs.ts";
import {
  type CausalGrid,
  POSITION_GROUPINGS,
  POSITION_SELECTIONS,
  type PositionGrouping,
  type PositionSelection,
} from "../causal/grid.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import type { ModelInputs } from "../models/inputs.ts";
import type { RgbImage } from "../preprocess/image.ts";
import { gridText, labelsOf, numberText, type ShownGrid, summaryText, tokenTexts } from "./causal-grid.ts";
import { asUsage, checkOutput, indexList, modelPath, someText } from "./checks.ts";
import { addQuestionOptions, checkWords, type QuestionFlags } from "./flags.ts";
import { elapsed, type OpenModel, openModelAndPictures, progressBar } from "./open-model.ts";
import { notePromptForm } from "./prompt-form.ts";
import { type Session, styled } from "./session.ts";

/** Parsed options of every experiment. */
export interface ExperimentFlags extends QuestionFlags {
  readonly token: string;
  readonly against?: string;
  readonly layers?: readonly number[];
  readonly heads?: readonly number[];
  readonly group?: PositionGrouping;
  readonly html?: string;
  readonly png?: string;
}

/** Adds the question, what is measured, and the layers. @param grouping what `--group` is unless given */
export function addExperimentOptions(command: Command, grouping: PositionGrouping): Command {
  return addQuestionOptions(command)
    .requiredOption("--token <text>", "the token whose probability as the answer's first is measured", someText)
    .option("--against <text>", "measure the logit difference of --token and this token instead", someText)
    .option("--layers <list>", "layers, such as 0,2 or 8-15 (default: all)", indexList)
    .addOption(
      new Option(
        "--group <how>",
        "positions changed together: single, row (of patches), picture, or together; text positions stay single but for together",
      )
        .choices(POSITION_GROUPINGS)
        .default(grouping),
    )
    .option("--html <file>", "write the grid as a page with heat maps", someText)
    .option("--png <file>", "draw the grid as heat maps", someText);
}

/** An option of positions. */
export function positionOption(flag: string, what: string, byDefault: PositionSelection): Option {
  return new Option(`--${flag} <which>`, `${what}: ${POSITION_SELECTIONS.join(", ")}, or a list such as 3,70-80`)
    .argParser(positionSelection)
    .default(byDefault);
}

function positionSelection(text: string): PositionSelection {
  const named = POSITION_SELECTIONS.find((name) => name === text);
  if (named !== undefined) return named;
  try {
    return indexList(text);
  } catch {
    throw new InvalidArgumentError(`Expected ${POSITION_SELECTIONS.join(", ")}, or positions such as "3,70-80".`);
  }
}

/** The option `--joint`. */
export function jointOption(what: string): Option {
  return new Option("--joint", `${what} all selected layers and heads together, as one cell per group of positions`);
}

/** The option `--heads`. */
export function headsOption(what: string): Option {
  return new Option("--heads <list>", `${what}, such as 0,2 or 8-15 (default: all)`).argParser(indexList);
}

/** What a run of an experiment has found, to be shown. */
export interface ShownExperiment {
  readonly grid: CausalGrid;
  readonly prompts: readonly ModelInputs[];
  /** [layers, positions, heads or 1]: the numbers of tables and heat maps */
  readonly shown: Float64Array;
  /** What they are. */
  readonly meaning: string;
  readonly title: string;
  /** Lines above the tables, and rows of the page. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  /** Whether 1 is all of the effect; otherwise the numbers are changes of the measure. */
  readonly isFraction: boolean;
  /** The fields of --json. */
  readonly json: (shown: Pick<ShownGrid, "grid" | "labels">) => object;
}

/** A run's number and answer, in words. */
export function runText({ value, answerId }: MeasuredRun, text: (tokenId: number) => string): string {
  return `${numberText(value)}, answer ${text(answerId)}`;
}

/** Fields of a run in --json. */
export function runJson({ value, answerId }: MeasuredRun, text: (tokenId: number) => string): object {
  return { value, answer: { id: answerId, text: text(answerId) } };
}

/** Texts of the measured tokens, for an experiment's facts. */
export interface MeasureWords {
  readonly token: { readonly id: number; readonly text: string };
  readonly against: { readonly id: number; readonly text: string } | null;
  /** Such as "logit of " Left" minus logit of " Right"". */
  readonly words: string;
}

/** What a grid measures, in words. */
export function measureWords(model: OpenModel["model"], { tokenId, againstId }: CausalGrid): MeasureWords {
  const text = tokenTexts(model);
  const token = { id: tokenId, text: text(tokenId) };
  if (againstId === undefined) return { token, against: null, words: `probability of ${token.text}` };
  const against = { id: againstId, text: text(againstId) };
  return { token, against, words: `logit of ${token.text} minus logit of ${against.text}` };
}

/** Opens the model, runs an experiment and shows what it found. */
export async function runExperiment(
  session: Session,
  of: {
    readonly question: string | undefined;
    readonly flags: ExperimentFlags;
    /** More pictures, decoded with those of the question. */
    readonly otherPictures?: readonly string[] | undefined;
    readonly command: string;
  },
  experiment: (run: {
    readonly model: OpenModel["model"];
    readonly images: readonly RgbImage[];
    readonly otherImages: readonly RgbImage[];
    readonly prepare: (question: Question) => Promise<ModelInputs>;
    readonly onProgress: (done: number, total: number) => void;
  }) => Promise<ShownExperiment>,
): Promise<void> {
  const { question, flags, otherPictures = [], command } = of;
  checkWords(question, flags, command);
  const { image: files = [] } = flags;
  const inputs = [...files, ...otherPictures, modelPath(flags)];
  await checkOutput("--html", flags.html, inputs);
  await checkOutput("--png", flags.png, [...inputs, flags.html]);
  const pictures = { ...flags, image: [...files, ...otherPictures] };
  const { open, images } = await openModelAndPictures(session, pictures, {
    firstQuestion: { hasImage: files.length > 0 },
  });
  const bar = await progressBar("patching", (numCells) => `${numCells} cells`);
  try {
    const { model } = open;
    const started = performance.now();
    const found = await asUsage(() =>
      experiment({
        model,
        images: images.slice(0, files.length),
        otherImages: images.slice(files.length),
        prepare: async (asked) => model.prepare(asked),
        onProgress: (done, total) => bar.show(done, total),
      }),
    );
    bar.stop();
    const answerMs = elapsed(started);
    notePromptForm(session, model, flags);
    const text = tokenTexts(model);
    const labels = labelsOf(found.grid, found.prompts, text);
    const grid: ShownGrid = { grid: found.grid, shown: found.shown, meaning: found.meaning, labels };
    const facts = found.facts.map(([name, value]) => `${name}: ${value}`);
    session.print(
      `${facts.join("\n")}\n${found.meaning}:\n\n${gridText(grid)}\n${summaryText(grid, { isFraction: found.isFraction, text })}\n`,
    );
    const asked = [
      ["question", question ?? flags.prompt ?? ""],
      ["pictures", files.map((file) => basename(file)).join(", ")],
    ] as const;
    const page = { title: found.title, facts: [...asked, ...found.facts], grid, isFraction: found.isFraction };
    if (flags.html !== undefined) {
      const { gridHtml } = await import("./causal-html.ts");
      await writeFileWhole(flags.html, await gridHtml(page));
    }
    if (flags.png !== undefined) {
      const { gridPng } = await import("./causal-png.ts");
      await writeFileWhole(flags.png, await gridPng(page));
    }
    session.result({
      question: question ?? null,
      prompt: flags.prompt ?? null,
      ...found.json({ grid: found.grid, labels }),
      ...open.facts(),
      timings: { loadMs: open.loadMs, answerMs },
    });
    if (session.isJson) return;
    const numCells = found.shown.length;
    const cells = `${numCells} ${numCells === 1 ? "cell" : "cells"} in ${(answerMs / 1000).toFixed(2)} s`;
    session.note(styled("dim", cells, process.stderr));
  } finally {
    bar.stop();
    open.close();
  }
}
