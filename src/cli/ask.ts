// adaptvis ask: a question about pictures.
import type { Command } from "commander";
import { type AnswerOptions, answerJson } from "../answer.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import type { GeneratedToken } from "../generate/generate.ts";
import type { JsonSchema } from "../generate/grammar/json-schema.ts";
import type { MapSelection } from "../inspect/attention-map.ts";
import { answerLines, attentionMaps } from "./answer-report.ts";
import type { DrawnHeatMaps, DrawnMap, MappedAnswer } from "./ask-heat-map.ts";
import { asUsage, checkOutput, checkSelection, jsonSchemaOfFile, modelPath } from "./checks.ts";
import {
  addMethodOptions,
  addQuestionOptions,
  addSamplingOptions,
  checkWords,
  type MethodFlags,
  methodOf,
  methodOptions,
  type QuestionFlags,
  questionOf,
  type SamplingFlags,
  samplingOptions,
} from "./flags.ts";
import { addHeatMapOptions, checkHeatMapFlags, type HeatMapFlags } from "./heat-map-flags.ts";
import { elapsed, openModelAndPictures } from "./open-model.ts";
import { examples } from "./package-files.ts";
import { addProfileOption, openProfile, type ProfileFlags } from "./profile.ts";
import { notePromptForm } from "./prompt-form.ts";
import { defineCommand, type Session, styled, UsageError } from "./session.ts";

/** Parsed options of `ask`. */
interface AskFlags extends QuestionFlags, MethodFlags, SamplingFlags, ProfileFlags, HeatMapFlags {
  readonly textOnly?: boolean;
  readonly jsonSchema?: JsonSchema;
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
  addSamplingOptions(command).option(
    "--json-schema <file>",
    "make the answer JSON of this JSON schema; give --max-new-tokens enough for all of it",
    jsonSchemaOfFile,
  );
  addHeatMapOptions(command);
  return addProfileOption(command).addHelpText(
    "after",
    examples(({ picture, model }) => [
      `ask --image ${picture} "What is in the picture?"`,
      `ask --image ${picture} --method adaptvis --heatmap looked.png "What is in the picture?"`,
      `ask --image ${picture} --heatmap looked.png --heatmap-words "What is in the picture?"`,
      `ask --image ${picture} --heatmap-sheet heads.png "What is in the picture?"`,
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
  await checkOutput("--heatmap-sheet", flags.heatmapSheet, [...files, modelPath(flags), flags.heatmap]);
  const profile = await openProfile(session, flags, [...files, flags.heatmap, flags.heatmapSheet]);
  const options = await answerOptions(flags);
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
      ...options,
      signal: session.signal,
      onToken: (token: GeneratedToken) => {
        session.reach("firstToken");
        stream?.(token);
      },
    };
    const inputs = await asUsage(() => open.model.prepare(questionOf(question, flags, images)));
    const answer = await asUsage(() => open.model.answer(inputs, asked));
    notePromptForm(session, open.model, flags);
    session.print(isStreamed ? "\n" : `${answer.text.trim()}\n`);
    const answerMs = elapsed(started);

    const maps = attentionMaps(answer, selection);
    const drawn = await heatMaps(flags, {
      ...{ model: open.model, inputs, images, files, answer, maps, signal: session.signal },
      heading: question ?? flags.prompt ?? "",
      options: { ...options, attention: false, signal: session.signal },
    });
    session.result({
      question: question ?? null,
      prompt: flags.prompt ?? null,
      ...answerJson(answer, maps),
      heatmap: flags.heatmap ?? null,
      ...(drawn && { heatmapMaps: drawn.maps }),
      ...(flags.heatmapSheet !== undefined && { heatmapSheet: flags.heatmapSheet, heatmapSheets: drawn?.sheets }),
      ...open.facts(),
      timings: { loadMs: open.loadMs, answerMs, start: session.start },
      ...(await profile.finish()),
    });
    if (session.isJson) return;
    const times = `Loaded in ${(open.loadMs / 1000).toFixed(2)} s, answered in ${(answerMs / 1000).toFixed(2)} s`;
    const outputs = Object.entries({ "Heat map": flags.heatmap, "Sheet of heat maps": flags.heatmapSheet });
    const written = outputs.flatMap(([what, file]) => (file === undefined ? [] : [`${what}: ${file}`]));
    const ofWords = (drawn?.maps ?? []).flatMap((map) => (map.word === undefined ? [] : [wordLine(map)]));
    for (const line of [...answerLines(answer, maps), ...ofWords, ...written, times]) {
      session.note(styled("dim", line, process.stderr));
    }
  } finally {
    open.close();
  }
}

async function answerOptions(flags: AskFlags): Promise<AnswerOptions> {
  return {
    ...(await methodOptions(flags)),
    ...samplingOptions(flags),
    ...(flags.jsonSchema !== undefined && { jsonSchema: flags.jsonSchema }),
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

/** Draws and writes the heat maps that are asked for; undefined without any. */
async function heatMaps(flags: AskFlags, of: MappedAnswer): Promise<DrawnHeatMaps | undefined> {
  if (flags.heatmap === undefined && flags.heatmapSheet === undefined) return undefined;
  const { drawHeatMaps } = await import("./ask-heat-map.ts"); // only now: most questions have no maps
  const drawn = await asUsage(() => drawHeatMaps(of, flags));
  if (flags.heatmap !== undefined && drawn.png !== undefined) await writeFileWhole(flags.heatmap, drawn.png);
  if (flags.heatmapSheet !== undefined && drawn.sheetPng !== undefined) {
    await writeFileWhole(flags.heatmapSheet, drawn.sheetPng);
  }
  return drawn;
}

/** "Attention of “left”, layer 2, mean of heads: on the image 12.3 %, entropy there 5.20 bits". */
function wordLine({ word, picture, layer, head, share, entropy }: DrawnMap): string {
  const of = layer === undefined ? "rollout" : `layer ${layer}, ${head === null ? "mean of heads" : `head ${head}`}`;
  const image = picture === 0 ? "the image" : `image ${picture + 1}`;
  return `Attention of “${word}”, ${of}: on ${image} ${(share * 100).toFixed(1)} %, entropy there ${entropy.toFixed(2)} bits`;
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
  checkHeatMapFlags(flags);
}
