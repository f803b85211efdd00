// adaptvis demo (npm start): an embedded checkpoint answers questions about its demo pictures, greedily and with AdaptVis.
import { existsSync } from "node:fs";
import { basename, dirname, join, parse, relative } from "node:path";
import type { Command } from "commander";
import type { Answer } from "../answer.ts";
import { readFileText } from "../checkpoint/read-file.node.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { CheckpointError, InputError } from "../errors.ts";
import { makeFolder } from "../gpu/hosts/user-folders.node.ts";
import { heatMapPng } from "../inspect/heat-map-png.node.ts";
import { readImageFile } from "../preprocess/decode-image.node.ts";
import { attentionMaps, describeChoice, describeMethod } from "./answer-report.ts";
import { someText } from "./checks.ts";
import { findModel } from "./find-model.ts";
import { addModelOptions, type ModelFlags } from "./flags.ts";
import { elapsed, type OpenModel, openModel } from "./open-model.ts";
import { commandName, embeddedModel, examples } from "./package-files.ts";
import { addProfileOption, openProfile, type ProfileFlags } from "./profile.ts";
import { defineCommand, type Session, styled } from "./session.ts";

/** Parsed options of `demo`. */
interface DemoFlags extends ModelFlags, ProfileFlags {
  readonly out: string;
}

/** The embedded checkpoint that shows what AdaptVis does; the archive of tools/bundle has only the other one. */
const defaultModel = () => (existsSync(embeddedModel("tiny-habit")) ? "tiny-habit" : "tiny-spatial");

/** One entry of a model's demo/demo.json. */
export interface DemoQuestion {
  /** A file beside demo.json. */
  readonly image: string;
  readonly question: string;
  /** The right answer. */
  readonly answer: string;
  readonly note?: string;
}

/** The result of one question. */
interface DemoResult extends DemoQuestion {
  readonly greedy: string;
  readonly confidence: number;
  readonly factor: number;
  readonly adaptvis: string;
  readonly heatmap: string;
}

/** `adaptvis demo`. */
export const demoCommand = defineCommand("demo", describeDemo, demo);

/** Describes `demo` to commander. */
function describeDemo(command: Command): Command {
  command
    .description("Ask an embedded checkpoint about its demo pictures and draw heat maps of its attention.")
    .option("--out <folder>", "folder for the heat maps", someText, "demo-output");
  return addProfileOption(
    addModelOptions(command, "a checkpoint with a demo/demo.json (default: the embedded tiny-habit)"),
  ).addHelpText(
    "after",
    examples(() => ["demo", "demo --model tiny-spatial --adapter swiftshader --out heat-maps"]),
  );
}

/** Runs `demo`. */
async function demo(session: Session, flags: DemoFlags): Promise<void> {
  const started = performance.now();
  const found = await findModel(session, { ...flags, model: flags.model ?? defaultModel() }, { include: ["demo/*"] });
  const folder = join(found.folder, "demo");
  const questions = await readQuestions(join(folder, "demo.json"));
  const profile = await openProfile(session, flags, []);
  // Its kernels are those of the greedy question before it, and of the extra step.
  const firstQuestion = { method: "adaptvis", attention: true } as const;
  const open = await openModel(
    session,
    { ...flags, model: found.folder, revision: undefined },
    { profiler: profile.profiler, firstQuestion },
  );
  try {
    await outputFolder(flags.out);
    const results: DemoResult[] = [];
    for (const [number, question] of questions.entries()) {
      const { result, reason } = await answerOne(session, open, { ...question, folder, number, out: flags.out });
      results.push(result);
      session.print(lines(result, reason));
    }
    const timings = { loadMs: open.loadMs, totalMs: elapsed(started) };
    session.result({ questions: results, out: flags.out, ...open.facts(), timings, ...(await profile.finish()) });
    const first = questions[0];
    const picture = first === undefined ? "FILE" : relative(".", join(folder, first.image));
    session.print(
      `Heat maps are in ${flags.out}. It took ${(timings.totalMs / 1000).toFixed(1)} s.\n` +
        `Try your own: ${commandName()} ask --image ${picture} --method adaptvis --heatmap looked.png "${first?.question ?? "QUESTION"}"\n`,
    );
  } finally {
    open.close();
  }
}

async function answerOne(
  session: Session,
  open: OpenModel,
  question: DemoQuestion & { readonly folder: string; readonly number: number; readonly out: string },
): Promise<{ readonly result: DemoResult; readonly reason: string }> {
  const { model } = open;
  const image = await readImageFile(join(question.folder, question.image), { applyExif: true });
  const ask = (options: { readonly method: "greedy" | "adaptvis" }): Promise<Answer> =>
    model.ask({
      image,
      question: question.question,
      ...options,
      maxNewTokens: 16,
      attention: true,
      signal: session.signal,
    });
  const greedy = await ask({ method: "greedy" });
  const adaptvis = await ask({ method: "adaptvis" });
  const heatmap = join(question.out, `${question.number + 1}-${parse(question.image).name}.png`);
  const why = describeChoice(adaptvis);
  const [greedyMaps] = attentionMaps(greedy, {});
  const [adaptvisMaps] = attentionMaps(adaptvis, {});
  if (greedyMaps !== undefined && adaptvisMaps !== undefined) {
    const reason = `Factor ${adaptvis.factor}, because confidence ${why}`;
    const png = await heatMapPng(
      {
        heading: question.question,
        rows: [
          {
            picture: image,
            caption: `${basename(question.image)}; right answer: ${question.answer}`,
            panels: [
              { map: greedyMaps.used, ...describeMethod(greedy) },
              { map: adaptvisMaps.used, ...describeMethod(adaptvis), lines: [reason] },
            ],
          },
        ],
      },
      { signal: session.signal },
    );
    await writeFileWhole(heatmap, png);
  }
  const { image: file, question: text, answer, note } = question;
  const result: DemoResult = {
    image: file,
    question: text,
    answer,
    ...(note !== undefined && { note }),
    greedy: greedy.text.trim(),
    confidence: adaptvis.confidence,
    factor: adaptvis.factor,
    adaptvis: adaptvis.text.trim(),
    heatmap,
  };
  return { result, reason: why };
}

function lines(result: DemoResult, reason: string): string {
  const mark = (answer: string) => {
    const isRight = answer.trim().toLowerCase().startsWith(result.answer.toLowerCase());
    return isRight ? styled("green", "right") : styled("yellow", "wrong");
  };
  return [
    `${styled("bold", result.image)}  ${result.question}`,
    ...(result.note === undefined ? [] : [styled("dim", `  ${result.note}`)]),
    `  right answer  ${result.answer}`,
    `  greedy        ${result.greedy} (${mark(result.greedy)}), confidence ${result.confidence}`,
    `  AdaptVis      ${result.adaptvis} (${mark(result.adaptvis)}), factor ${result.factor}: confidence ${reason}`,
    `  heat map      ${result.heatmap}`,
    "",
    "",
  ].join("\n");
}

/** The questions of a demo.json. @throws CheckpointError when it is missing or has another form. */
export async function readQuestions(path: string): Promise<readonly DemoQuestion[]> {
  const bad = (problem: string, cause?: unknown) =>
    new CheckpointError(
      `${path} ${problem}; the demo needs a checkpoint with demo pictures, such as the embedded one.`,
      { file: path, cause },
    );
  const text = await readFileText(path).catch((cause: unknown) => {
    throw bad("cannot be read", cause);
  });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw bad("is not JSON", cause);
  }
  if (!Array.isArray(json) || json.length === 0 || !json.every(isDemoQuestion)) {
    throw bad("must be a list of {image, question, answer}");
  }
  return json;
}

function isDemoQuestion(value: unknown): value is DemoQuestion {
  if (typeof value !== "object" || value === null) return false;
  const has = (key: string) => typeof Reflect.get(value, key) === "string";
  return has("image") && has("question") && has("answer") && (!("note" in value) || has("note"));
}

async function outputFolder(folder: string): Promise<void> {
  try {
    await makeFolder(folder);
  } catch (cause) {
    const above = dirname(folder);
    throw new InputError(`The folder ${folder} cannot be created in ${above}; choose another one with --out.`, {
      cause,
    });
  }
}
