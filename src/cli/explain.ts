// adaptvis explain: every GPU pass of an answer, with its kernel and output.
import { type Command, Option } from "commander";
import { answerJson } from "../answer.ts";
import { at, GpuError } from "../errors.ts";
import {
  DEFAULT_EXPLAINED_TOKENS,
  type ExplainOptions,
  type Explanation,
  explain as explainAnswer,
} from "../explain.ts";
import type { EditComparison } from "../explain-edits.ts";
import { TokenTexts } from "../inspect/token-texts.ts";
import { tokenKinds } from "../inspect/trace.ts";
import { titleOf } from "../interventions/registry.ts";
import { missingCompiler } from "../isa/compile-jobs.node.ts";
import { type PassIsa, passIsa } from "../isa/pass-isa.node.ts";
import { ISA_TARGETS, isaTarget } from "../isa/targets.ts";
import type { Llava } from "../llava.ts";
import type { ModelInputs } from "../models/inputs.ts";
import { answerLines } from "./answer-report.ts";
import { asUsage, wholeFrom } from "./checks.ts";
import { comparisonJson, comparisonLines } from "./explain-comparison.ts";
import { passLines, stageLines } from "./explain-text.ts";
import {
  addMethodOptions,
  addQuestionOptions,
  checkWords,
  type MethodFlags,
  methodOf,
  methodOptions,
  type QuestionFlags,
  questionOf,
} from "./flags.ts";
import { isaLines } from "./isa-text.ts";
import { elapsed, openModelAndPictures } from "./open-model.ts";
import { commandFile, examples } from "./package-files.ts";
import { defineCommand, type Session, styled, UsageError } from "./session.ts";

/** Parsed options of `explain`. */
interface ExplainFlags extends QuestionFlags, MethodFlags {
  readonly textOnly?: boolean;
  readonly pass?: number;
  readonly source?: boolean;
  readonly allLayers?: boolean;
  readonly layer?: number;
  readonly head?: number;
  /** A target's name; true for the default. */
  readonly isa?: string | true;
}

/** The GPU that --isa compiles for unless another is named. */
const DEFAULT_ISA_TARGET = "navi31";

/** `adaptvis explain`. */
export const explainCommand = defineCommand("explain", describeExplain, explain);

/** Describes `explain` to commander. */
function describeExplain(command: Command): Command {
  addQuestionOptions(command.description("Show what the kernels do: every pass of an answer, with its output."))
    .option("--text-only", "ask without a picture")
    .option(
      "--pass <number>",
      "show one pass: formula, shapes, workgroups, values and a small picture of them",
      wholeFrom(0),
    )
    .option("--source", "also print the pass's WGSL; with --json, that of every kernel")
    .option("--all-layers", "also list layers that repeat the layer before")
    .option(
      "--layer <number>",
      "with a method: layer of the row that is compared (default: the middle layer)",
      wholeFrom(0),
    )
    .option("--head <number>", "with a method: head of the row that is compared (default: 0)", wholeFrom(0))
    .addOption(
      new Option(
        "--isa [target]",
        `show the pass's WGSL beside the instructions that a GPU's compiler makes of it (default: ${DEFAULT_ISA_TARGET})`,
      ).choices(ISA_TARGETS.map(({ name }) => name)),
    );
  return addMethodOptions(command, DEFAULT_EXPLAINED_TOKENS)
    .addHelpText(
      "after",
      `
The answer has the same bits as that of \`ask\`; its passes run one at a time, so that the output of each can be read back
before the next. With a method other than greedy, the passes that it changed are listed beside those of an unedited run, and one
row of attention with its scores before and after the edit. GPU times exclude the submit. With --json, values come without pictures; with --json and --pass, the
output is limited to that pass and includes its pictures.

--isa compiles the pass with Mesa's driver for Radeons (Debian's packages mesa-vulkan-drivers and mesa-drm-shim, version 25 or
newer, on Linux), which needs no GPU for that. The answer is then computed by the kernels for GPUs, on a CPU adapter too.`,
    )
    .addHelpText(
      "after",
      examples(({ picture, model }) => [
        `explain --image ${picture} "What is in the picture?"`,
        `explain --image ${picture} --method adaptvis --pass 24 --source "What is in the picture?"`,
        `explain --image ${picture} --pass 24 --isa navi31 "What is in the picture?"`,
        `explain --image ${picture} --model ${model} --json "What is in the picture?"`,
      ]),
    );
}

/** Runs `explain`. */
async function explain(session: Session, question: string | undefined, flags: ExplainFlags): Promise<void> {
  checkFlags(session, question, flags);
  if (flags.isa !== undefined) checkCompiler();
  const hasImage = flags.image !== undefined;
  const asked = { ...(await methodOptions(flags)), attention: hasImage };
  const { open, images } = await openModelAndPictures(session, flags, {
    firstQuestion: { ...asked, hasImage },
    // A CPU adapter's kernels are not what a GPU would run.
    adapterClass: flags.isa === undefined ? undefined : "gpu",
  });
  try {
    const { model } = open;
    const started = performance.now();
    const inputs = await asUsage(() => model.prepare(questionOf(question, flags, images)));
    const options = { ...asked, signal: session.signal };
    const explanation = await asUsage(() => explainAnswer(model, inputs, options));
    const { answer, passes } = explanation;
    if (flags.pass !== undefined && flags.pass >= passes.length) {
      throw new UsageError(
        `--pass must be a whole number from 0 to ${passes.length - 1}, the passes of this answer, got ${flags.pass}.`,
      );
    }
    const comparison = await comparisonOf(model, inputs, { explanation, options, flags });
    const explainMs = elapsed(started);
    const isa = await isaOf(session, explanation, flags);
    const lines =
      flags.pass === undefined
        ? stageLines(passes, { withAllLayers: flags.allLayers === true })
        : passLines(explanation, { index: flags.pass, withSource: flags.source === true });
    const texts = new TokenTexts(model.processor.tokenizer);
    const kinds = tokenKinds(inputs);
    const compared =
      comparison === undefined
        ? []
        : comparisonLines(comparison, {
            title: titleOf(answer.method),
            factor: answer.factor,
            withAllLayers: flags.allLayers === true,
            textOf: (tokenId) => texts.of(tokenId),
            tokenAt: (position) =>
              kinds[position] === "text" ? texts.of(at(inputs.inputIds, position)) : at(kinds, position),
          });
    session.print(`${[...lines, ...compared, ...(isa === undefined ? [] : ["", ...isaLines(isa)])].join("\n")}\n`);
    session.result({
      question: question ?? null,
      prompt: flags.prompt ?? null,
      ...answerJson(answer),
      numPasses: passes.length,
      ...explanationJson(explanation, flags),
      ...(comparison && { comparison: comparisonJson(comparison) }),
      ...(isa !== undefined && { isa }),
      ...open.facts(),
      timings: { loadMs: open.loadMs, explainMs },
    });
    if (session.isJson) return;
    const times = `Loaded in ${(open.loadMs / 1000).toFixed(2)} s, explained in ${(explainMs / 1000).toFixed(2)} s`;
    const answered = `Answer: ${answer.text.trim()}`;
    for (const line of [answered, ...answerLines(answer, []), times]) {
      session.note(styled("dim", line, process.stderr));
    }
  } finally {
    open.close();
  }
}

/** What a method changed; undefined for greedy answers, without a picture and for a single pass. */
async function comparisonOf(
  model: Llava,
  inputs: ModelInputs,
  of: { readonly explanation: Explanation; readonly options: ExplainOptions; readonly flags: ExplainFlags },
): Promise<EditComparison | undefined> {
  const { explanation, options, flags } = of;
  if (explanation.answer.method === "greedy" || flags.image === undefined || flags.pass !== undefined) return undefined;
  const { compareEdits } = await import("../explain-edits.ts"); // only now: few explanations are of a method
  const { layer, head } = flags;
  return asUsage(() => compareEdits(model, inputs, { edited: explanation, options, selection: { layer, head } }));
}

/** The pass as a GPU's compiler translates it; undefined without --isa. */
async function isaOf(
  session: Session,
  { passes, kernels }: Explanation,
  { isa, pass: index }: ExplainFlags,
): Promise<PassIsa | undefined> {
  const pass = index === undefined ? undefined : passes[index];
  const kernel = pass && kernels[pass.kernel];
  if (isa === undefined || pass === undefined || kernel === undefined) return undefined;
  return await passIsa(pass, kernel, {
    target: isaTarget(isa === true ? DEFAULT_ISA_TARGET : isa),
    program: commandFile(),
    dawnToggles: session.dawnToggles,
    isRobust: !session.dawnToggles.includes("disable_robustness"),
    signal: session.signal,
  });
}

/** @throws GpuError `no-adapter` where nothing can be compiled, before a model is loaded. */
function checkCompiler(): void {
  const missing = missingCompiler();
  if (missing !== undefined) throw new GpuError("no-adapter", `--isa: ${missing}.`);
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
      used.map(([key, { wgsl, ...kernel }]) => [
        key,
        flags.source === true || flags.isa !== undefined ? { ...kernel, wgsl } : kernel,
      ]),
    ),
  };
}

function checkFlags(session: Session, question: string | undefined, flags: ExplainFlags): void {
  methodOf(flags);
  checkWords(question, flags, "explain");
  if (flags.image === undefined && flags.textOnly !== true) {
    throw new UsageError("The picture is missing: give --image FILE or --text-only.");
  }
  if (flags.image !== undefined && flags.textOnly === true) {
    throw new UsageError("--image and --text-only exclude each other: omit one.");
  }
  if (flags.source === true && flags.pass === undefined && !session.isJson) {
    throw new UsageError("--source prints the WGSL of one pass: select it with --pass N, or use --json.");
  }
  if (flags.isa !== undefined && flags.pass === undefined) {
    throw new UsageError("--isa shows the instructions of one pass: select it with --pass N.");
  }
  for (const [option, value] of Object.entries({ "--layer": flags.layer, "--head": flags.head })) {
    if (
      value === undefined ||
      (methodOf(flags) !== "greedy" && flags.image !== undefined && flags.pass === undefined)
    ) {
      continue;
    }
    throw new UsageError(`${option} is of the row that a method changed: give a --method, a picture and no --pass.`);
  }
  if (flags.allLayers === true && flags.pass !== undefined) {
    throw new UsageError("--all-layers applies to the list of passes and --pass to a single pass: omit one.");
  }
}
