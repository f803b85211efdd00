// adaptvis trace: writes every trace point of one run to a safetensors file.

import { basename, dirname } from "node:path";
import type { Command } from "commander";
import { fileSource } from "../checkpoint/file-source.node.ts";
import { readSafetensorsHeader, type SafetensorsHeader, type TensorEntry } from "../checkpoint/safetensors.ts";
import { encodeSafetensors } from "../checkpoint/safetensors-writer.ts";
import type { Source } from "../checkpoint/source.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { InputError } from "../errors.ts";
import { PLACE_KINDS } from "../inspect/place-names.ts";
import type { VisionConfig } from "../models/config.ts";
import type { ModelInputs } from "../models/inputs.ts";
import type { ProcessedTensors } from "../models/processed-tensors.ts";
import { asUsage, checkOutput, modelPath, repeated, someText } from "./checks.ts";
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
import { elapsed, type OpenModel, openModelAndPictures } from "./open-model.ts";
import { examples } from "./package-files.ts";
import { addProfileOption, openProfile, type ProfileFlags } from "./profile.ts";
import { notePromptForm } from "./prompt-form.ts";
import { defineCommand, type Session, styled, UsageError } from "./session.ts";

/** Parsed options of `trace`. */
interface TraceFlags extends QuestionFlags, MethodFlags, ProfileFlags {
  readonly inputs?: string;
  readonly out: string;
  readonly generated: boolean;
  readonly unmodified: boolean;
  readonly read?: readonly string[];
}

/** `adaptvis trace`. */
export const traceCommand = defineCommand("trace", describeTrace, trace);

/** Describes `trace` to commander. */
function describeTrace(command: Command): Command {
  command
    .description("Write every trace point of a run, or chosen places, to a safetensors file.")
    .requiredOption("--out <file.safetensors>", "output file", someText);
  addQuestionOptions(command).option(
    "--inputs <file.safetensors>",
    "input_ids and pixel_values of a Hugging Face processor, instead of a picture and a question",
    someText,
  );
  addMethodOptions(command)
    .option(
      "--read <place>",
      "write only this place, as PLACE[HEADS]@POSITIONS (below), beside input_ids and generated_ids; may be given several times",
      repeated,
    )
    .option(
      "--no-generated",
      "leave out the rows of generated tokens, which take 2 · heads · positions numbers per layer",
    )
    .option("--no-unmodified", "leave out the unmodified pass, which runs the prompt once more");
  return addProfileOption(command)
    .addHelpText(
      "after",
      `
The file contains input_ids, pixel_values, vision.hidden_states.{i}, image_features, inputs_embeds,
layers.{i}.attention_scores, layers.{i}.attention_probs and layers.{i}.hidden_states of the last prompt row,
logits and generated_ids; the same as generated.layers.{i}.… and generated.logits of each decode step, and, where the
method changed them, as unmodified.layers.{i}.… and unmodified.logits of the unmodified pass; and image_cells, the part
of the picture that each image token shows. Its metadata contains the image span, factor, confidence, model, adapter and
dtype, and as JSON token_texts, token_kinds and pictures.
--inputs contains input_ids [1, T] (I64 or I32, the image token once or already expanded), pixel_values [1, 3, S, S]
(F32; LLaVA-NeXT: [1, N, 3, S, S]) and, for LLaVA-NeXT, image_sizes [1, 2]; a video is pixel_values_videos
[1, F, 3, S, S] with image_sizes_videos [1, F, 2]. A trace can be used as --inputs.

--read PLACE[HEADS]@POSITIONS (in quotes, for the shell):
  PLACE      ${wrapped(placeNames())};
             N is a layer, a list such as 0,2-3, or * for all; TransformerLens' names, such as
             blocks.N.attn.hook_pattern, are understood too
  [HEADS]    such as [2] or [0,4-7], of ${headPlaces()}; all unless given
  @POSITIONS a list of: numbers (-1 is the last of the prompt), ranges such as 4-9, last, prompt, image,
             image[1] (the second picture), text, generated, or a text of the prompt in quotes; last unless given
The metadata's reads says, as JSON, for each tensor its place, axes, positions and heads.`,
    )
    .addHelpText(
      "after",
      examples(({ picture }) => [
        `trace --image ${picture} "What is in the picture?" --out trace.safetensors`,
        "trace --inputs trace.safetensors --factor 0.5 --out scaled.safetensors",
        `trace --image ${picture} "What is in the picture?" --read 'layers.*.attention_probs[0]@last,generated' --out probs.safetensors`,
        "inspect trace.safetensors",
      ]),
    );
}

/** Names of the places, without those that others name too. */
function placeNames(): readonly string[] {
  const names = PLACE_KINDS.map(({ name }) => name);
  return names.filter((name) => name !== "layers.N.mlp.down_proj");
}

function headPlaces(): string {
  const names = PLACE_KINDS.filter(({ hasHeads }) => hasHeads).map(({ name }) => name.slice("layers.N.".length));
  return names.join(", ");
}

/** Words in lines of the help's width, behind its second column. */
function wrapped(words: readonly string[]): string {
  const lines: string[] = [];
  for (const word of words) {
    const line = lines.at(-1);
    if (line === undefined || line.length + word.length > 95) lines.push(word);
    else lines.splice(-1, 1, `${line}, ${word}`);
  }
  return lines.join(",\n             ");
}

/** Runs `trace`. */
async function trace(session: Session, question: string | undefined, flags: TraceFlags): Promise<void> {
  checkFlags(question, flags);
  const { image: pictures = [] } = flags;
  await checkOutput("--out", flags.out, [...pictures, flags.inputs, modelPath(flags)]);
  const profile = await openProfile(session, flags, [...pictures, flags.inputs, flags.out]);
  const options = await methodOptions(flags);
  const { open, images } = await openModelAndPictures(session, flags, {
    profiler: profile.profiler,
    firstQuestion: { ...options, attention: true },
  });
  try {
    const { model } = open;
    const started = performance.now();
    const inputs = await (flags.inputs === undefined
      ? asUsage(() => model.prepare(questionOf(question, flags, images)))
      : fileInputs(open, flags.inputs, session.signal));
    const { tensors, metadata, answer } = await asUsage(() =>
      model.trace(
        inputs,
        { ...options, signal: session.signal },
        flags.read === undefined ? { generated: flags.generated, unmodified: flags.unmodified } : { read: flags.read },
      ),
    );
    await writeFileWhole(flags.out, encodeSafetensors(tensors, metadata));
    const answerMs = elapsed(started);
    notePromptForm(session, model, flags);
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

function checkFlags(question: string | undefined, flags: TraceFlags): void {
  methodOf(flags);
  const { image, prompt, inputs } = flags;
  if (flags.read !== undefined && !(flags.generated && flags.unmodified)) {
    const option = flags.generated ? "--no-unmodified" : "--no-generated";
    throw new UsageError(`--read writes only the places that it names: leave out ${option}.`);
  }
  if (inputs === undefined) {
    if (question === undefined && prompt === undefined) {
      throw new UsageError("The input is missing: give --image FILE and a question, or --inputs FILE.");
    }
    checkWords(question, flags, "trace");
  } else if ((image ?? question ?? prompt) !== undefined) {
    throw new UsageError(
      "--inputs cannot be combined with a question, --image or --prompt: give either the tensors or the picture and its question.",
    );
  }
}

interface OpenFile {
  readonly path: string;
  readonly source: Source;
  readonly header: SafetensorsHeader;
  readonly signal: AbortSignal;
}

/**
 * Reads input_ids ([T] or [1, T], I64 or I32), pixel_values (F32: [3, S, S], [N, 3, S, S] or [1, N, 3, S, S]) and, for
 * LLaVA-NeXT, image_sizes ([P, 2] or [2], I64 or I32), of P pictures whose tiles follow each other in pixel_values. For Qwen2-VL,
 * pixel_values is [patches, values], with image_grid_thw ([P, 3], I64 or I32). For videos of LLaVA-OneVision, pixel_values_videos
 * (F32: [V, F, 3, S, S]) and image_sizes_videos ([V, F, 2], I64 or I32). Other tensors of the file are left alone.
 * @throws InputError naming the tensor when one is missing or of another dtype or shape; CheckpointError for a damaged file.
 */
export async function readProcessedTensors(
  path: string,
  options: { readonly vision: VisionConfig | undefined; readonly signal: AbortSignal },
): Promise<ProcessedTensors> {
  const source = fileSource(dirname(path));
  try {
    const header = await readSafetensorsHeader(source, basename(path), options.signal);
    const file = { path, source, header, signal: options.signal };
    const ids = header.tensors.get("input_ids");
    if (ids === undefined) throw new InputError(`${path} lacks the tensor input_ids: write the processor's ids to it.`);
    const inputIds = await readIntegers(file, ids, { shapes: "[T] or [1, T]", rank: (shape) => isRow(shape) });
    const pixels = header.tensors.get("pixel_values");
    const sizes = header.tensors.get("image_sizes");
    const grids = header.tensors.get("image_grid_thw");
    const isTriples = (shape: readonly number[]) => shape.length === 2 && shape[1] === 3;
    const thw = grids && (await readIntegers(file, grids, { shapes: "[P, 3]", rank: isTriples }));
    const sides = sizes && (await readIntegers(file, sizes, { shapes: "[2] or [P, 2]", rank: isPairs }));
    return {
      inputIds,
      pixelValues:
        pixels && (await (thw === undefined ? readPixels(file, pixels, options.vision) : readPatches(file, pixels))),
      imageSizes: sides && pairsOf(sides),
      ...(thw && { imageGridThw: triplesOf(thw) }),
      ...(await readVideos(file, options.vision)),
    };
  } finally {
    await source.close?.();
  }
}

/** The frames of videos, and their sizes. */
async function readVideos(
  file: OpenFile,
  vision: VisionConfig | undefined,
): Promise<Pick<ProcessedTensors, "pixelValuesVideos" | "imageSizesVideos">> {
  const pixels = file.header.tensors.get("pixel_values_videos");
  const sizes = file.header.tensors.get("image_sizes_videos");
  if (pixels === undefined) return {};
  const [numVideos = 0, numFrames = 0] = pixels.shape;
  const flat = { ...pixels, shape: [numVideos * numFrames, ...pixels.shape.slice(2)] };
  if (pixels.shape.length !== 5) throw wrong(file, pixels, "F32 of shape [V, F, 3, S, S]");
  const pixelValuesVideos = await readPixels(file, flat, vision);
  if (sizes === undefined) return { pixelValuesVideos };
  const shapes = `[${numVideos}, ${numFrames}, 2]`;
  const rank = (shape: readonly number[]) => `[${shape.join(", ")}]` === shapes;
  const sides = pairsOf(await readIntegers(file, sizes, { shapes, rank }));
  const imageSizesVideos = Array.from({ length: numVideos }, (_, video) =>
    sides.slice(video * numFrames, (video + 1) * numFrames),
  );
  return { pixelValuesVideos, imageSizesVideos };
}

function isRow(shape: readonly number[]): boolean {
  return shape.length === 1 || (shape.length === 2 && shape[0] === 1);
}

function isPairs(shape: readonly number[]): boolean {
  return (shape.length === 1 || shape.length === 2) && shape.at(-1) === 2;
}

function pairsOf(sides: readonly number[]): (readonly [number, number])[] {
  return sides.flatMap((height, index) => {
    const width = sides[index + 1];
    return index % 2 === 0 && width !== undefined ? [[height, width] as const] : [];
  });
}

function triplesOf(numbers: readonly number[]): (readonly [number, number, number])[] {
  return Array.from({ length: numbers.length / 3 }, (_, index) => {
    const [time = 0, height = 0, width = 0] = numbers.slice(3 * index);
    return [time, height, width] as const;
  });
}

/** Rows of patches, whose number the grids give. */
async function readPatches(file: OpenFile, entry: TensorEntry): Promise<Float32Array<ArrayBuffer>> {
  const { dtype, shape } = entry;
  if (dtype !== "F32" || shape.length !== 2) throw wrong(file, entry, "F32 of shape [patches, values]");
  return new Float32Array((await readTensor(file, entry)).buffer);
}

async function readIntegers(
  file: OpenFile,
  entry: TensorEntry,
  expected: { readonly shapes: string; readonly rank: (shape: readonly number[]) => boolean },
): Promise<readonly number[]> {
  const { dtype, shape } = entry;
  if ((dtype !== "I64" && dtype !== "I32") || !expected.rank(shape)) {
    throw wrong(file, entry, `I64 or I32 of shape ${expected.shapes}`);
  }
  const bytes = await readTensor(file, entry);
  if (dtype === "I32") return [...new Int32Array(bytes.buffer)];
  return Array.from(new BigInt64Array(bytes.buffer), Number);
}

async function readPixels(
  file: OpenFile,
  entry: TensorEntry,
  vision: VisionConfig | undefined,
): Promise<Float32Array<ArrayBuffer>> {
  const { dtype, shape } = entry;
  const side = vision?.imageSize ?? shape.at(-1);
  const channels = vision?.numChannels ?? 3;
  const [channelCount, height, width] = shape.slice(-3);
  const isBatchOfOne = shape.length <= 4 || (shape.length === 5 && shape[0] === 1);
  const fits = shape.length >= 3 && isBatchOfOne && channelCount === channels && height === side && width === side;
  if (dtype !== "F32" || !fits) {
    const tile = `${channels}, ${side ?? "S"}, ${side ?? "S"}]`;
    throw wrong(file, entry, `F32 of shape [1, ${tile}, [N, ${tile} or [1, N, ${tile}`);
  }
  return new Float32Array((await readTensor(file, entry)).buffer);
}

/** The tensor's bytes in a separate buffer, which typed arrays can view from offset 0. */
async function readTensor(file: OpenFile, entry: TensorEntry): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await file.source.read(basename(file.path), entry.start, entry.end, file.signal);
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
}

function wrong(file: OpenFile, entry: TensorEntry, expected: string): InputError {
  const got = `${entry.dtype} of shape [${entry.shape.join(", ")}]`;
  return new InputError(`${file.path}: ${entry.name} must be ${expected}, got ${got}.`);
}
