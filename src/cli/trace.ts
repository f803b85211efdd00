// adaptvis trace: every trace point of one run, in a safetensors file.
import type { Command } from "commander";
import { encodeSafetensors } from "../checkpoint/safetensors-writer.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { readImageFile } from "../preprocess/decode-image.node.ts";
import type { ModelInputs } from "../preprocess/processor.ts";
import { addMethodOptions, type MethodFlags, methodOf, methodOptions } from "./answer-flags.ts";
import { examples } from "./examples.ts";
import { elapsed, type OpenModel, openModel } from "./open-model.ts";
import { checkOutput } from "./output-path.ts";
import { readProcessedTensors } from "./processed-tensors.ts";
import { addProfileOption, openProfile, type ProfileFlags } from "./profile.ts";
import { addPictureOptions, type PictureFlags } from "./question-flags.ts";
import { type Session, styled, UsageError } from "./session.ts";
import { asUsage } from "./usage-of.ts";
import { someText } from "./values.ts";

/** The options of `trace`, as parsed. */
export interface TraceFlags extends PictureFlags, MethodFlags, ProfileFlags {
  readonly prompt?: string;
  readonly inputs?: string;
  readonly out: string;
}

/** Describes `trace` to commander. */
export function describeTrace(command: Command): Command {
  command
    .description("Write every trace point of one run to a safetensors file.")
    .requiredOption("--out <file.safetensors>", "the file to write", someText);
  addPictureOptions(command)
    .option("--prompt <text>", "the whole prompt, <image> where the picture goes", someText)
    .option("--inputs <file.safetensors>", "input_ids and pixel_values of a Hugging Face processor instead", someText);
  return addProfileOption(addMethodOptions(command))
    .addHelpText(
      "after",
      `
The file holds input_ids, pixel_values, vision.hidden_states.{i}, image_features, inputs_embeds,
layers.{i}.attention_scores, layers.{i}.attention_probs and layers.{i}.hidden_states of the last prompt row,
logits and generated_ids; its metadata the image's span, factor, confidence, model, adapter and dtype.
--inputs holds input_ids [1, T] (I64 or I32, the image token once or already expanded), pixel_values [1, 3, S, S]
(F32; LLaVA-NeXT: [1, N, 3, S, S]) and, for LLaVA-NeXT, image_sizes [1, 2]. A trace is such a file itself.`,
    )
    .addHelpText(
      "after",
      examples(({ picture }) => [
        `trace --image ${picture} --prompt "USER: <image> What is in the picture? ASSISTANT:" --out trace.safetensors`,
        "trace --inputs trace.safetensors --factor 0.5 --out scaled.safetensors",
        "inspect trace.safetensors",
      ]),
    );
}

/** Runs `trace`. */
export async function trace(session: Session, flags: TraceFlags): Promise<void> {
  checkFlags(flags);
  await checkOutput("--out", flags.out, [flags.image, flags.inputs]);
  const profile = await openProfile(session, flags, [flags.image, flags.inputs, flags.out]);
  const image = flags.image === undefined ? undefined : await readImageFile(flags.image, { applyExif: flags.exif });
  const open = await openModel(session, flags, profile);
  try {
    const { model } = open;
    const started = performance.now();
    const inputs = await (flags.inputs === undefined
      ? asUsage(() => model.prepare({ image, prompt: flags.prompt ?? "" }))
      : fileInputs(open, flags.inputs, session.signal));
    const { tensors, metadata, answer } = await asUsage(() =>
      model.trace(inputs, { ...methodOptions(flags, open.settings), signal: session.signal }),
    );
    await writeFileWhole(flags.out, encodeSafetensors(tensors, metadata));
    const answerMs = elapsed(started);
    session.result({
      out: flags.out,
      answer: answer.text,
      generatedIds: answer.tokens.map(({ tokenId }) => tokenId),
      method: answer.method,
      confidence: answer.confidence,
      factor: answer.factor,
      promptTokens: answer.promptTokens,
      imageSpan: answer.imageSpan,
      tensors: tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
      ...open.facts(),
      timings: { loadMs: open.loadMs, answerMs },
      ...(await profile.finish()),
    });
    session.print(`${flags.out}\n`);
    if (!session.isJson) {
      const facts = `${tensors.length} tensors, ${answer.promptTokens} prompt tokens, ${answer.tokens.length} generated, factor ${answer.factor}, confidence ${answer.confidence}`;
      session.note(styled("dim", facts, process.stderr));
    }
  } finally {
    open.close();
  }
}

async function fileInputs(open: OpenModel, path: string, signal: AbortSignal): Promise<ModelInputs> {
  const tensors = await readProcessedTensors(path, { vision: open.model.config.multimodal?.vision, signal });
  return open.model.processor.fromTensors(tensors);
}

function checkFlags(flags: TraceFlags): void {
  methodOf(flags);
  const { image, prompt, inputs } = flags;
  if (inputs !== undefined && (image ?? prompt) !== undefined) {
    throw new UsageError(
      "There is --inputs beside --image or --prompt: give either the tensors or the picture and its prompt.",
    );
  }
  if (inputs === undefined && prompt === undefined) {
    throw new UsageError("There is nothing to run: give --image FILE and --prompt TEXT, or --inputs FILE.");
  }
  if (prompt?.trim() === "") throw new UsageError("The prompt is empty: give at least one word.");
}
