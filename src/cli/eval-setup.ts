// What the commands that answer a run have in common: the run's identity, its questions as tasks, and the progress bar.
import { basename, resolve } from "node:path";
import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import { fileSource } from "../checkpoint/file-source.node.ts";
import { at, InputError } from "../errors.ts";
import type { DataFolder } from "../evaluate/run/data-folder.node.ts";
import { checkpointFingerprint, textHash } from "../evaluate/run/fingerprint.node.ts";
import type { RunFolder, RunIdentity } from "../evaluate/run/run-folder.node.ts";
import type { RunSettings, Task } from "../evaluate/run/samples.ts";
import type { CacheDtype } from "../gpu/cache-format.ts";
import type { ActivationDtype, WeightDtype } from "../gpu/tensor.ts";
import type { Llava } from "../llava.ts";
import type { TextConfig } from "../models/config.ts";
import { readArchitecture } from "../models/registry.ts";
import { planWeights } from "../models/weight-table.ts";
import { readImageFile } from "../preprocess/decode-image.node.ts";
import { type MethodDefaults, readMethodDefaults, settingsOf } from "../settings.ts";
import { asUsage } from "./checks.ts";
import type { ModelFlags } from "./flags.ts";
import { checkFolder } from "./open-model.ts";
import { embeddedModel, packageVersion } from "./package-files.ts";
import type { Session } from "./session.ts";

/** What a run's identity holds of a model, loaded or not. */
export interface ModelFacts {
  readonly text: TextConfig;
  readonly defaults: MethodDefaults;
  readonly dtype: WeightDtype;
  readonly kvDtype: CacheDtype;
  readonly activationDtype: ActivationDtype;
}

/** The folder of `--model`, by default the embedded checkpoint. */
export function modelFolder(flags: ModelFlags): string {
  return flags.model ?? embeddedModel();
}

/** What a run's identity holds of a loaded model. */
export function factsOf(model: Llava): ModelFacts {
  const { config, defaults, dtype, kvDtype, activationDtype } = model;
  return { text: config.text, defaults, dtype, kvDtype, activationDtype };
}

/**
 * What a checkpoint would be, loaded with the options of the command line. Reads its configuration and the headers of its weights.
 * @throws CheckpointError for a folder that is not a checkpoint of a registered family.
 */
export async function readModelFacts(flags: ModelFlags, signal: AbortSignal): Promise<ModelFacts> {
  const folder = modelFolder(flags);
  await checkFolder(folder);
  const source = fileSource(folder);
  try {
    const checkpoint = await openCheckpoint(source, signal);
    const architecture = readArchitecture(checkpoint.config);
    const used = planWeights(checkpoint, architecture, flags.dtype).filter(({ isUsed }) => isUsed);
    // As Llava.dtype: that of the lm_head, which may be the embedding table.
    const head = used.find(({ part }) => part === "lm_head") ?? used.find(({ role }) => role === "token-embedding");
    if (head === undefined) throw new RangeError("the architecture has neither an lm_head nor an embedding table");
    return {
      text: architecture.config.text,
      defaults: await readMethodDefaults(source, signal),
      dtype: head.dtype,
      kvDtype: flags.kv ?? "f32",
      activationDtype: flags.activations ?? "f32",
    };
  } finally {
    await source.close?.();
  }
}

/**
 * What decides on a run's answers.
 * @param ids SHA-256 of the ids of the questions; null where they are all of the split
 * @throws UsageError for a method's setting that the model cannot have.
 */
export async function identityOf(of: {
  readonly folder: string;
  readonly facts: ModelFacts;
  readonly data: Pick<DataFolder, "questionHash" | "annotationHash">;
  readonly settings: Pick<RunSettings, "dataSet" | "arms" | "promptForm" | "maxNewTokens">;
  readonly split: string;
  readonly ids: string | null;
}): Promise<RunIdentity> {
  const { folder, facts, data, settings, split, ids } = of;
  const { text, defaults, dtype, kvDtype, activationDtype } = facts;
  const methods = await asUsage(() =>
    settings.arms.map(({ name, options }) => {
      // Rows and columns are checked against the longest prompt here, and against each prompt when it is answered.
      const { method, values } = settingsOf(options, { text, defaults }, text.maxPositionEmbeddings);
      return [name, { method: method.name, ...values }] as const;
    }),
  );
  return {
    dataset: settings.dataSet.name,
    split,
    ids,
    methods: Object.fromEntries(methods),
    prompts: settings.promptForm,
    maxNewTokens: settings.maxNewTokens,
    model: await checkpointFingerprint(folder),
    dtype,
    kvDtype,
    activationDtype,
    questions: data.questionHash,
    annotations: data.annotationHash,
  };
}

/** What a manifest says about a run for people. */
export function aboutRun(folder: string, data: DataFolder, numQuestions: number): Readonly<Record<string, unknown>> {
  return {
    version: packageVersion(),
    modelName: basename(folder),
    numQuestions,
    questionFile: resolve(data.questionFile),
    annotationFile: resolve(data.annotationFile),
  };
}

/** A question with its picture. @throws InputError for a picture that is missing or cannot be decoded. */
export async function readTask(data: DataFolder, id: number): Promise<Task> {
  const question = at(data.questions, id);
  const { name, path } = at(data.pictures, id);
  if (path === undefined) throw new InputError(`${name}, the picture of question ${id}, is missing.`);
  const image = await readImageFile(path);
  const docHash = textHash(
    JSON.stringify({ question: question.text, answer: question.gold, image: name }, undefined, 2),
  );
  return { question, image, imagePath: name, docHash };
}

/** Says how many questions of a run that goes on are answered. */
export function noteAnswered(session: Session, ids: readonly number[], run: Pick<RunFolder, "has">): void {
  const numAnswered = ids.filter((id) => run.has(id)).length;
  if (numAnswered > 0) session.note(`adaptvis: ${numAnswered} of ${ids.length} questions are answered already.`);
}

/** A progress bar of questions. */
export interface QuestionBar {
  increment(): void;
  stop(): void;
}

/** A progress bar on stderr if that is a terminal; otherwise it does nothing. */
export async function questionBar(numQuestions: number, numAnswered: number): Promise<QuestionBar> {
  if (!process.stderr.isTTY) return { increment: () => undefined, stop: () => undefined };
  const { SingleBar } = await import("cli-progress");
  const bar = new SingleBar({
    format: "{bar} {value}/{total} questions, {duration_formatted}, {eta_formatted} left",
    stream: process.stderr,
    noTTYOutput: false,
    clearOnComplete: true,
  });
  bar.start(numQuestions, numAnswered);
  return { increment: () => bar.increment(), stop: () => bar.stop() };
}
