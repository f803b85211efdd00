// adaptvis sweep: a question about a picture, answered under several factors.
import { type Command, Option } from "commander";
import { attentionJson, type MethodOptions, type SweepAnswer, type SweepOptions } from "../answer.ts";
import { at } from "../errors.ts";
import { type AttentionMap, type MapSelection, middleLayer } from "../inspect/attention-map.ts";
import { describeSelection } from "../inspect/heat-map-png.node.ts";
import type { Llava } from "../llava.ts";
import { imageSpan, type ModelInputs } from "../models/inputs.ts";
import { MAX_BATCH_ROWS } from "../models/layers/step.ts";
import { asUsage, checkSelection, factorList, wholeFrom } from "./checks.ts";
import {
  addLengthOptions,
  addOwnMethodOptions,
  addPlaceOptions,
  addQuestionOptions,
  checkWords,
  givenPlaces,
  type LengthFlags,
  type OwnMethodFlags,
  ownMethodOf,
  type PlaceFlags,
  type QuestionFlags,
  questionOf,
  sweepOptions,
} from "./flags.ts";
import { elapsed, openModelAndPictures } from "./open-model.ts";
import { examples } from "./package-files.ts";
import { addProfileOption, openProfile, type ProfileFlags } from "./profile.ts";
import { notePromptForm } from "./prompt-form.ts";
import { defineCommand, type Session, styled, table, UsageError } from "./session.ts";

const DEFAULT_FACTORS: readonly number[] = [0.5, 0.8, 1, 1.2, 1.5, 2];
const DEFAULT_MAX_NEW_TOKENS = 16;

/** Parsed options of `sweep`. */
interface SweepFlags extends QuestionFlags, PlaceFlags, LengthFlags, OwnMethodFlags, ProfileFlags {
  readonly factors: readonly number[];
  readonly layer?: number;
  readonly head?: number;
}

/** `adaptvis sweep`. */
export const sweepCommand = defineCommand("sweep", describeSweep, sweep);

/** Describes `sweep` to commander. */
function describeSweep(command: Command): Command {
  addQuestionOptions(command.description("Ask a question about a picture under several factors in one run.")).addOption(
    new Option(
      "--factors <list>",
      `up to ${MAX_BATCH_ROWS} factors for the attention scores of the image; 1: unmodified`,
    )
      .argParser(factorList)
      .default(DEFAULT_FACTORS, DEFAULT_FACTORS.join(",")),
  );
  addLengthOptions(addOwnMethodOptions(addPlaceOptions(command)), DEFAULT_MAX_NEW_TOKENS)
    .option("--layer <number>", "layer of the attention figures (default: the middle layer)", wholeFrom(0))
    .option("--head <number>", "head of the attention figures (default: the mean of all heads)", wholeFrom(0));
  return addProfileOption(command).addHelpText(
    "after",
    examples(({ picture, model }) => [
      `sweep --image ${picture} "What is in the picture?"`,
      `sweep --image ${picture} --factors 0,0.5,1,2 --layers 0,1 "What is in the picture?"`,
      `sweep --image ${picture} --model ${model} --json "What is in the picture?"`,
    ]),
  );
}

/** Runs `sweep`. */
async function sweep(session: Session, question: string | undefined, flags: SweepFlags): Promise<void> {
  checkWords(question, flags, "sweep");
  if (flags.image === undefined) throw new UsageError("The picture is missing: give --image FILE.");
  const own = await ownSweep(flags);
  const profile = await openProfile(session, flags, flags.image);
  const { open, images } = await openModelAndPictures(session, flags, {
    profiler: profile.profiler,
    firstQuestion: {},
  });
  try {
    const { model } = open;
    checkSelection(model.config, { layer: flags.layer, head: flags.head });
    const selection = { layer: flags.layer ?? middleLayer(model.config.text.numHiddenLayers), head: flags.head };
    const started = performance.now();
    const inputs = await asUsage(() => model.prepare(questionOf(question, flags, images)));
    const { signal } = session;
    const options = { ...sweepOptions(flags), mapLayers: [selection.layer], signal };
    const rows = await asUsage(() =>
      own === undefined ? model.sweep(inputs, flags.factors, options) : answersOf(model, inputs, { ...own, options }),
    );
    const answerMs = elapsed(started);
    notePromptForm(session, model, flags);
    const maps = rows.map(({ attention }) => sweepMaps(attention, selection));
    const head = ["factor", "confidence", "on image", "entropy", "answer"];
    const cells = rows.map((row, index) => cellsOf(row, at(maps, index)));
    session.print(`${table(head, cells).join("\n")}\n`);
    session.result({
      question: question ?? null,
      prompt: flags.prompt ?? null,
      promptTokens: inputs.inputIds.length,
      imageSpan: imageSpan(inputs),
      rows: rows.map((row, index) => rowJson(row, at(maps, index))),
      ...open.facts(),
      timings: { loadMs: open.loadMs, answerMs },
      ...(await profile.finish()),
    });
    if (session.isJson) return;
    const answered = `${rows.length} ${rows.length === 1 ? "factor" : "factors"} in ${seconds(answerMs)}`;
    for (const line of signLines(rows, maps)) session.note(styled("dim", line, process.stderr));
    session.note(styled("dim", `Loaded in ${seconds(open.loadMs)}, answered under ${answered}`, process.stderr));
  } finally {
    open.close();
  }
}

/** An intervention of the user's own under each factor; undefined without one. */
interface OwnSweep {
  readonly factors: readonly number[];
  readonly methods: readonly MethodOptions[];
}

/** The methods of a sweep over the setting `factor`. @throws UsageError where the intervention has none, or for options of ScalingVis. */
async function ownSweep(flags: SweepFlags): Promise<OwnSweep | undefined> {
  const { factors } = flags;
  const places = givenPlaces(flags);
  const own = await ownMethodOf(flags);
  if (own === undefined) {
    if (flags.set === undefined) return undefined;
    throw new UsageError("--set needs --intervention: settings of other methods have flags of their own.");
  }
  if (places.length > 0) {
    throw new UsageError(`${places.join(", ")} cannot be combined with --intervention: give its settings by --set.`);
  }
  const { method, settings } = own;
  if (method.parameters.factor?.type.kind !== "number") {
    throw new UsageError(
      `A sweep is over the setting factor, which ${method.name} does not have as a number: ask instead.`,
    );
  }
  return { factors, methods: factors.map((factor) => ({ method, settings: { ...settings, factor } })) };
}

async function answersOf(
  model: Llava,
  inputs: ModelInputs,
  { factors, methods, options }: OwnSweep & { readonly options: SweepOptions },
): Promise<readonly SweepAnswer[]> {
  using session = model.session();
  const { maxNewTokens, ignoreEos, signal } = options;
  const { answers } = await session.answerEach(inputs, methods, { maxNewTokens, ignoreEos, attention: true, signal });
  return answers.map(({ text, tokens, finishReason, confidence, attention }, index) => {
    return {
      factor: at(factors, index),
      text,
      tokenIds: tokens.map(({ tokenId }) => tokenId),
      finishReason,
      confidence,
      attention,
    };
  });
}

/** The maps of a row over each picture. */
function sweepMaps(attention: SweepAnswer["attention"], selection: MapSelection): readonly AttentionMap[] {
  return Array.from({ length: attention?.numImages ?? 0 }, (_, image) =>
    attention === undefined ? [] : [attention.used({ ...selection, image })],
  ).flat();
}

/** The cells of one row; line breaks in the answer become spaces. Of several pictures, shares and entropies are in their order. */
function cellsOf({ factor, confidence, text }: SweepAnswer, maps: readonly AttentionMap[]): readonly string[] {
  const answer = text.trim().replaceAll(/\s*[\r\n]\s*/g, " ");
  const shares = maps.map(({ share }) => `${(share * 100).toFixed(1)} %`).join(" / ");
  const entropies = maps.map(({ entropy }) => `${entropy.toFixed(2)} b`).join(" / ");
  return [factor === 1 ? "1 (unmodified)" : String(factor), String(confidence), shares, entropies, answer];
}

/** A row's fields in --json; `answer` is trimmed, as in `ask`. */
function rowJson(row: SweepAnswer, maps: readonly AttentionMap[]): object {
  const { factor, confidence, text, finishReason, tokenIds, attention } = row;
  const json = maps.map((used) => ({ used, unmodified: undefined }));
  return {
    factor,
    confidence,
    answer: text.trim(),
    finishReason,
    tokenIds,
    attention: attention && attentionJson(json),
  };
}

/** Which attention the figures are of, and the signs of its scores in the unmodified row, or else the first. */
function signLines(rows: readonly SweepAnswer[], maps: readonly (readonly AttentionMap[])[]): readonly string[] {
  const plain = Math.max(
    0,
    rows.findIndex(({ factor }) => factor === 1),
  );
  return at(maps, plain).flatMap((map) => {
    const { negativeScores } = map;
    if (negativeScores === undefined) return [];
    const of = `Attention of the last prompt token, ${describeSelection(map)}`;
    return [
      `${of}; ${(negativeScores * 100).toFixed(1)} % of the image's scores are negative under factor ${at(rows, plain).factor}`,
    ];
  });
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(2)} s`;
}
