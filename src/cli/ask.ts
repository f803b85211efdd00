// adaptvis ask: a question about pictures.
import { basename } from "node:path";
import type { Command } from "commander";
import { type Answer, type AnswerMaps, type AnswerOptions, answerJson } from "../answer.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { at } from "../errors.ts";
import type { GeneratedToken } from "../generate/generate.ts";
import type { MapSelection } from "../inspect/attention-map.ts";
import { type HeatMapRow, heatMapPng } from "../inspect/heat-map-png.node.ts";
import type { RgbImage } from "../preprocess/image.ts";
import { answerLines, attentionMaps, describeMethod } from "./answer-report.ts";
import { asUsage, checkOutput, checkSelection, modelPath, someText, wholeFrom } from "./checks.ts";
import {
  addMethodOptions,
  addQuestionOptions,
  addSamplingOptions,
  checkWords,
  type MethodFlags,
  methodOf,
  methodOptions,
  type QuestionFlags,
  type SamplingFlags,
  samplingOptions,
  wordsOf,
} from "./flags.ts";
import { elapsed, openModelAndPictures } from "./open-model.ts";
import { examples } from "./package-files.ts";
import { addProfileOption, openProfile, type ProfileFlags } from "./profile.ts";
import { notePromptForm } from "./prompt-form.ts";
import { defineCommand, type Session, styled, UsageError } from "./session.ts";

/** Parsed options of `ask`. */
interface AskFlags extends QuestionFlags, MethodFlags, SamplingFlags, ProfileFlags {
  readonly textOnly?: boolean;
  readonly heatmap?: string;
  readonly layer?: number;
  readonly head?: number;
}

/** `adaptvis ask`. */
export const askCommand = defineCommand("ask", describeAsk, ask);

/** Describes `ask` to commander. */
function describeAsk(command: Command): Command {
  addQuestionOptions(command.description("Ask a question about a picture, or about several.")).option(
    "--text-only",
    "ask without a picture",
  );
  addMethodOptions(command);
  addSamplingOptions(command)
    .option("--heatmap <file.png>", "draw a heat map of the last prompt token's attention", someText)
    .option(
      "--layer <number>",
      "layer of the heat map and of the attention figures (default: the middle layer)",
      wholeFrom(0),
    )
    .option("--head <number>", "head of the heat map and figures (default: the mean of all heads)", wholeFrom(0));
  return addProfileOption(command).addHelpText(
    "after",
    examples(({ picture, model }) => [
      `ask --image ${picture} "What is in the picture?"`,
      `ask --image ${picture} --method adaptvis --heatmap looked.png "What is in the picture?"`,
      `ask --image ${picture} --factor 0.5 --layers 0,1 --model ${model} "What is in the picture?"`,
      `ask --image ${picture} --json --log-probs 5 "What is in the picture?"`,
      `ask --image ${picture} "What is in the picture?" --profile profile.json`,
    ]),
  );
}

/** Runs `ask`. */
async function ask(session: Session, question: string | undefined, flags: AskFlags): Promise<void> {
  checkFlags(question, flags);
  const { image: files = [] } = flags;
  await checkOutput("--heatmap", flags.heatmap, [...files, modelPath(flags)]);
  const profile = await openProfile(session, flags, [...files, flags.heatmap]);
  const options = answerOptions(flags);
  const { open, images } = await openModelAndPictures(session, flags, {
    profiler: profile.profiler,
    firstQuestion: { ...options, hasImage: files.length > 0 },
  });
  try {
    const selection: MapSelection = { layer: flags.layer, head: flags.head };
    checkSelection(open.model.config, selection);
    const started = performance.now();
    const isStreamed = !session.isJson && process.stdout.isTTY === true;
    const stream = isStreamed ? streamTo(session) : undefined;
    const asked = {
      images,
      ...wordsOf(question, flags),
      ...options,
      signal: session.signal,
      onToken: (token: GeneratedToken) => {
        session.reach("firstToken");
        stream?.(token);
      },
    };
    const answer = await asUsage(() => open.model.ask(asked));
    notePromptForm(session, open.model, flags);
    session.print(isStreamed ? "\n" : `${answer.text.trim()}\n`);
    const answerMs = elapsed(started);

    const maps = attentionMaps(answer, selection);
    if (flags.heatmap !== undefined) {
      const rows = maps.map((map, index) => heatMapRow({ answer, map, ...pictureAt(images, files, index) }));
      const png = await heatMapPng({ heading: question ?? flags.prompt ?? "", rows }, { signal: session.signal });
      await writeFileWhole(flags.heatmap, png);
    }
    session.result({
      question: question ?? null,
      prompt: flags.prompt ?? null,
      ...answerJson(answer, maps),
      heatmap: flags.heatmap ?? null,
      ...open.facts(),
      timings: { loadMs: open.loadMs, answerMs, start: session.start },
      ...(await profile.finish()),
    });
    if (session.isJson) return;
    const times = `Loaded in ${(open.loadMs / 1000).toFixed(2)} s, answered in ${(answerMs / 1000).toFixed(2)} s`;
    const drawn = flags.heatmap === undefined ? [] : [`Heat map: ${flags.heatmap}`];
    for (const line of [...answerLines(answer, maps), ...drawn, times]) {
      session.note(styled("dim", line, process.stderr));
    }
  } finally {
    open.close();
  }
}

function answerOptions(flags: AskFlags): AnswerOptions {
  return {
    ...methodOptions(flags),
    ...samplingOptions(flags),
    attention: flags.image !== undefined,
  };
}

/** Prints tokens as they come, without the leading space of the first word. */
export function streamTo(session: Session): (token: GeneratedToken) => void {
  let isBegun = false;
  return ({ text }) => {
    const shown = isBegun ? text : text.trimStart();
    isBegun ||= shown !== "";
    session.print(shown);
  };
}

function pictureAt(images: readonly RgbImage[], files: readonly string[], index: number) {
  return { image: at(images, index), file: at(files, index) };
}

/** A picture with its maps: of the unmodified pass, where there was one, and of the pass that gave the answer. */
function heatMapRow(of: {
  readonly answer: Answer;
  readonly map: AnswerMaps;
  readonly image: RgbImage;
  readonly file: string;
}): HeatMapRow {
  const { answer, image, file } = of;
  const { used, unmodified } = of.map;
  const before = unmodified === undefined ? [] : [{ map: unmodified, title: "Unmodified pass", lines: ["Factor 1"] }];
  return {
    picture: image,
    caption: basename(file),
    panels: [...before, { map: used, ...describeMethod(answer) }],
  };
}

function checkFlags(question: string | undefined, flags: AskFlags): void {
  methodOf(flags);
  checkWords(question, flags, "ask");
  if (flags.image === undefined && flags.textOnly !== true) {
    throw new UsageError("The picture is missing: give --image FILE or --text-only.");
  }
  if (flags.image !== undefined && flags.textOnly === true) {
    throw new UsageError("--image and --text-only exclude each other: omit one.");
  }
  if (flags.heatmap !== undefined && flags.image === undefined) {
    throw new UsageError("--heatmap needs a picture: add --image FILE.");
  }
}
