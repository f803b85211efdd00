// adaptvis explain: what the kernels do, pass by pass, for one question about one picture.
import type { Command } from "commander";
import { type AdaptVisSettings, DEFAULT_ADAPTVIS } from "../adaptvis.ts";
import { DEFAULT_EXPLAINED_TOKENS, type Explanation, explain as explainAnswer } from "../explain.ts";
import { readImageFile } from "../preprocess/decode-image.node.ts";
import { answerJson, answerLines } from "./answer-report.ts";
import { asUsage, wholeFrom } from "./checks.ts";
import { passLines, stageLines } from "./explain-text.ts";
import {
  addMethodOptions,
  addQuestionOptions,
  checkWords,
  type MethodFlags,
  methodOf,
  methodOptions,
  type QuestionFlags,
  wordsOf,
} from "./flags.ts";
import { elapsed, openModel } from "./open-model.ts";
import { examples } from "./package-files.ts";
import { type Session, styled, UsageError } from "./session.ts";

/** The options of `explain`, as parsed. */
export interface ExplainFlags extends QuestionFlags, MethodFlags {
  readonly textOnly?: boolean;
  readonly pass?: number;
  readonly source?: boolean;
  readonly allLayers?: boolean;
}

/** Describes `explain` to commander. */
export function describeExplain(command: Command): Command {
  addQuestionOptions(command.description("Show what the kernels do: every pass of an answer, and what it wrote."))
    .option("--text-only", "ask without a picture")
    .option(
      "--pass <number>",
      "one pass: formula, shapes, workgroups, values and a small picture of them",
      wholeFrom(0),
    )
    .option("--source", "the pass' WGSL too; with --json that of every kernel")
    .option("--all-layers", "list also the layers that do the same as the one before");
  return addMethodOptions(command, DEFAULT_EXPLAINED_TOKENS)
    .addHelpText(
      "after",
      `
The answer is the same to the bit as \`ask\` gives it; here its passes run one at a time, so that what each wrote can be
read back before the next one. A GPU time is the pass' own, without its submit. With --json, values come without pictures;
with --pass too, of that pass alone and with them.`,
    )
    .addHelpText(
      "after",
      examples(({ picture, model }) => [
        `explain --image ${picture} "What is in the picture?"`,
        `explain --image ${picture} --method adaptvis --pass 24 --source "What is in the picture?"`,
        `explain --image ${picture} --model ${model} --json "What is in the picture?"`,
      ]),
    );
}

/** Runs `explain`. */
export async function explain(session: Session, question: string | undefined, flags: ExplainFlags): Promise<void> {
  checkFlags(session, question, flags);
  const image = flags.image === undefined ? undefined : await readImageFile(flags.image, { applyExif: flags.exif });
  const open = await openModel(session, flags);
  try {
    const { model } = open;
    const started = performance.now();
    const inputs = await asUsage(() => model.prepare({ image, ...wordsOf(question, flags) }));
    const options = { ...methodOptions(flags, open.settings), attention: image !== undefined, signal: session.signal };
    const explanation = await asUsage(() => explainAnswer(model, inputs, options));
    const explainMs = elapsed(started);
    const { answer, passes } = explanation;
    if (flags.pass !== undefined && flags.pass >= passes.length) {
      throw new UsageError(
        `--pass must be a whole number from 0 to ${passes.length - 1}, the passes of this answer, got ${flags.pass}.`,
      );
    }
    const settings: AdaptVisSettings = { ...DEFAULT_ADAPTVIS, ...options.adaptvis };
    const lines =
      flags.pass === undefined
        ? stageLines(passes, { withAllLayers: flags.allLayers === true })
        : passLines(explanation, { index: flags.pass, withSource: flags.source === true });
    session.print(`${lines.join("\n")}\n`);
    session.result({
      question: question ?? null,
      prompt: flags.prompt ?? null,
      ...answerJson(answer, { maps: undefined, settings }),
      numPasses: passes.length,
      ...explanationJson(explanation, flags),
      ...open.facts(),
      timings: { loadMs: open.loadMs, explainMs },
    });
    if (session.isJson) return;
    const times = `Loaded in ${(open.loadMs / 1000).toFixed(2)} s, explained in ${(explainMs / 1000).toFixed(2)} s`;
    const answered = `Answer: ${answer.text.trim()}`;
    for (const line of [answered, ...answerLines(answer, { maps: undefined, settings }), times]) {
      session.note(styled("dim", line, process.stderr));
    }
  } finally {
    open.close();
  }
}

/** The passes and kernels of --json. */
function explanationJson({ passes, kernels }: Explanation, flags: ExplainFlags): object {
  const chosen = flags.pass === undefined ? passes : passes.filter(({ index }) => index === flags.pass);
  const keys = new Set(chosen.map(({ kernel }) => kernel));
  const used = Object.entries(kernels).filter(([key]) => keys.has(key));
  return {
    passes: chosen.map((pass) => ({
      ...pass,
      gpuMs: pass.gpuMs ?? null,
      outputs: pass.outputs.map(({ picture, ...output }) => ({
        ...output,
        ...(flags.pass !== undefined && { picture: { ...picture, values: Array.from(picture.values) } }),
      })),
    })),
    kernels: Object.fromEntries(
      used.map(([key, { wgsl, ...kernel }]) => [key, flags.source === true ? { ...kernel, wgsl } : kernel]),
    ),
  };
}

function checkFlags(session: Session, question: string | undefined, flags: ExplainFlags): void {
  methodOf(flags);
  checkWords(question, flags, "explain");
  if (flags.image === undefined && flags.textOnly !== true) {
    throw new UsageError("There is no picture: give one with --image FILE, or --text-only.");
  }
  if (flags.image !== undefined && flags.textOnly === true) {
    throw new UsageError("There is an --image and --text-only: leave one out.");
  }
  if (flags.source === true && flags.pass === undefined && !session.isJson) {
    throw new UsageError("--source prints the WGSL of one pass: say which one with --pass N, or use --json.");
  }
  if (flags.allLayers === true && flags.pass !== undefined) {
    throw new UsageError("--all-layers is for the list of passes and --pass for one of them: leave one out.");
  }
}
