// adaptvis compare: a model's answers and perplexity with weights, keys and values, or activations in another dtype, compared with f32.
import { basename } from "node:path";
import type { Command } from "commander";
import { readFileText } from "../checkpoint/read-file.node.ts";
import { at, InputError } from "../errors.ts";
import { dataSetNamed } from "../evaluate/datasets/registry.ts";
import { readDataFolder } from "../evaluate/run/data-folder.node.ts";
import type { CacheDtype } from "../gpu/cache-format.ts";
import type { ActivationDtype, WeightDtype } from "../gpu/tensor.ts";
import type { Llava } from "../llava.ts";
import { readImageFile } from "../preprocess/decode-image.node.ts";
import { someText } from "./checks.ts";
import { findModel } from "./find-model.ts";
import { activationsOption, dtypeOption, kvOption, revisionOption } from "./flags.ts";
import { openModel } from "./open-model.ts";
import { examples } from "./package-files.ts";
import { defineCommand, type Session, table, UsageError } from "./session.ts";

/** Parsed options of `compare`. */
interface CompareFlags {
  readonly revision?: string;
  readonly dtype?: WeightDtype;
  readonly kv?: CacheDtype;
  readonly activations?: ActivationDtype;
  readonly benchmark?: string;
  readonly text?: string;
}

/** A question of a benchmark in What'sUp's file format. */
interface BenchmarkQuestion {
  readonly image: string;
  readonly question: string;
  readonly answer: string;
}

/** How a model is stored. */
interface Storage {
  readonly dtype: WeightDtype;
  readonly kv: CacheDtype;
  readonly activations: ActivationDtype;
}

/** Results of one model. */
interface Measured {
  readonly tokenIds: readonly (readonly number[])[];
  readonly numRight: number;
  readonly perplexity: number | null;
}

const BENCHMARKS = ["Controlled_A", "Controlled_B", "COCO_one"] as const;

/** `adaptvis compare`. */
export const compareCommand = defineCommand("compare", describeCompare, compare);

/** Describes `compare` to commander. */
function describeCompare(command: Command): Command {
  return command
    .description(
      "Compare a model whose weights, keys and values, or activations are in another dtype with the same model in f32: greedy answers, accuracy, perplexity.",
    )
    .argument("<model>", "folder with config.json and model.safetensors, or an id on the hub")
    .addOption(revisionOption())
    .addOption(dtypeOption("how weight matrices are stored (default: f32)"))
    .addOption(kvOption("how keys and values are stored (default: f32)"))
    .addOption(activationsOption())
    .option(
      "--benchmark <folder>",
      "folder of pictures and questions in What'sUp's file format, such as tiny-spatial's",
      someText,
    )
    .option("--text <file>", "UTF-8 text file to measure the perplexity of", someText)
    .addHelpText(
      "after",
      examples(({ model }) => [
        `compare ${model} --dtype q4 --benchmark ${model}/benchmark/test`,
        `compare ${model} --dtype q8 --text README.md`,
        `compare ${model} --kv q8 --benchmark ${model}/benchmark/test`,
        `compare ${model} --dtype q8 --activations q8 --benchmark ${model}/benchmark/test`,
      ]),
    );
}

/** Runs `compare`. */
async function compare(session: Session, model: string, flags: CompareFlags): Promise<void> {
  if (flags.benchmark === undefined && flags.text === undefined) {
    throw new UsageError("Nothing to compare: give --benchmark FOLDER, --text FILE or both.");
  }
  const { dtype = "f32", kv = "f32", activations = "f32" } = flags;
  if (dtype === "f32" && kv === "f32") {
    throw new UsageError("Nothing differs from f32: give --dtype, --kv or both, with a dtype other than f32.");
  }
  const questions = flags.benchmark === undefined ? [] : await readQuestions(flags.benchmark);
  const text = flags.text === undefined ? undefined : await readText(flags.text);
  const plain: Storage = { dtype: "f32", kv: "f32", activations: "f32" };
  const stored: Storage = { dtype, kv, activations };
  const { folder } = await findModel(session, { model, revision: flags.revision });
  const reference = await measure(session, { model: folder, ...plain }, { questions, text });
  const compared = await measure(session, { model: folder, ...stored }, { questions, text });
  const numSame = compared.tokenIds.filter((ids, index) => ids.join() === reference.tokenIds[index]?.join()).length;
  const rows = [
    { ...plain, ...reference },
    { ...stored, ...compared },
  ].map(({ tokenIds: _, ...row }) => row);
  session.result({ model, numQuestions: questions.length, numSame, rows });
  const lines = rows.map(({ dtype: weights, kv: cache, activations: inputs, numRight, perplexity }) => [
    weights,
    cache,
    inputs,
    questions.length === 0 ? "-" : `${numRight} of ${questions.length}`,
    perplexity === null ? "-" : perplexity.toFixed(4),
  ]);
  session.print(
    `${table(["weights", "keys and values", "activations", "right answers", "perplexity"], lines).join("\n")}\n`,
  );
  if (questions.length > 0) session.print(`greedy ids equal to f32's: ${numSame} of ${questions.length}\n`);
}

async function measure(
  session: Session,
  flags: Storage & { readonly model: string },
  work: { readonly questions: readonly BenchmarkQuestion[]; readonly text: string | undefined },
): Promise<Measured> {
  const open = await openModel(session, flags);
  try {
    const tokenIds: number[][] = [];
    let numRight = 0;
    for (const { image, question, answer } of work.questions) {
      const picture = await readImageFile(image);
      const asked = { image: picture, question, maxNewTokens: 16, signal: session.signal };
      const { tokens, text } = await open.model.ask(asked);
      tokenIds.push(tokens.map(({ tokenId }) => tokenId));
      if (text.trim().toLowerCase() === answer.toLowerCase()) numRight++;
    }
    const perplexity = work.text === undefined ? null : await perplexityOf(open.model, work.text);
    return { tokenIds, numRight, perplexity };
  } finally {
    open.close();
  }
}

/** exp of the mean negative log-probability of the text's tokens, in windows of at most 256 tokens or the context length. */
async function perplexityOf(model: Llava, text: string): Promise<number> {
  const { inputIds } = model.prepare({ prompt: text });
  const window = Math.min(256, model.config.text.maxPositionEmbeddings - 1);
  let sum = 0;
  let count = 0;
  for (let start = 0; start + 1 < inputIds.length; start += window) {
    const ids = Array.from(inputIds.subarray(start, start + window));
    if (ids.length < 2) break;
    const scores = await model.score(model.processor.fromTensors({ inputIds: ids, pixelValues: undefined }));
    sum += scores.reduce((total, score) => total + score, 0);
    count += scores.length;
  }
  if (count === 0) throw new InputError("The file of --text has fewer than two tokens: give a longer text.");
  return Math.exp(-sum / count);
}

async function readText(file: string): Promise<string> {
  try {
    return await readFileText(file);
  } catch (cause) {
    throw new InputError(
      `${basename(file)} of --text cannot be read (${cause instanceof Error ? cause.message : cause}).`,
    );
  }
}

/** The questions of all data sets in a benchmark's folder. @throws InputError for a missing or malformed file or picture. */
async function readQuestions(folder: string): Promise<BenchmarkQuestion[]> {
  const all: BenchmarkQuestion[] = [];
  for (const name of BENCHMARKS) {
    const { questions, pictures } = await readDataFolder(dataSetNamed(name), { folder, folderOption: "--benchmark" });
    for (const { id, text, gold } of questions) {
      const { name: picture, path: image } = at(pictures, id);
      if (image === undefined) throw new InputError(`--benchmark: the picture ${picture} is not in ${folder}.`);
      all.push({ image, question: text, answer: gold });
    }
  }
  return all;
}
