// What the commands that answer a run have in common: the run's identity, its questions as tasks, and the progress bar.
import { join, resolve } from "node:path";
import { openCheckpoint } from "../checkpoint/checkpoint.ts";
import { fileSource } from "../checkpoint/file-source.node.ts";
import { at, InputError } from "../errors.ts";
import type { DataSet } from "../evaluate/datasets/dataset.ts";
import { ALL_BOXES } from "../evaluate/metrics/boxes.ts";
import { type BoxIdentity, boxesOfQuestion } from "../evaluate/metrics/question-boxes.ts";
import { type DataFolder, isMissing, readPictures } from "../evaluate/run/data-folder.node.ts";
import { textHash } from "../evaluate/run/fingerprint.node.ts";
import { quirkyArms } from "../evaluate/run/reference-quirks.ts";
import { QUESTIONS, type RunFolder, type RunIdentity } from "../evaluate/run/run-folder.node.ts";
import { type PromptForm, type RunSettings, settingsOfArm, type Task } from "../evaluate/run/samples.ts";
import type { CacheDtype } from "../gpu/cache-format.ts";
import type { ActivationDtype, WeightDtype } from "../gpu/tensor.ts";
import { architectureOf, withMaxPicturePixels } from "../models/checkpoint-architecture.ts";
import type { ModelConfig, TextConfig } from "../models/config.ts";
import { loadProcessor } from "../models/processor.ts";
import { planWeights } from "../models/weight-table.ts";
import type { ChatTemplateSource } from "../preprocess/chat-template.ts";
import type { ImageProcessorConfig } from "../preprocess/image-processor.ts";
import { type MethodDefaults, readMethodDefaults, settingsOf } from "../settings.ts";
import { armsOf, parseArms } from "./arms.ts";
import { type FoundBoxes, mapLayerOf } from "./box-flags.ts";
import { chosenTemplate } from "./chat-template.ts";
import { asUsage } from "./checks.ts";
import { type ModelFlags, type PictureSettings, pictureSettings } from "./flags.ts";
import type { OpenModel } from "./open-model.ts";
import { packageVersion } from "./package-files.ts";
import type { Session } from "./session.ts";

/** What a run's identity holds of a model, loaded or not. */
export interface ModelFacts {
  readonly text: TextConfig;
  readonly defaults: MethodDefaults;
  readonly dtype: WeightDtype;
  readonly kvDtype: CacheDtype;
  readonly activationDtype: ActivationDtype;
  /** Undefined for a model without pictures. */
  readonly imageProcessor: ImageProcessorConfig | undefined;
  /** Picture settings that override the checkpoint's. */
  readonly pictures: PictureSettings;
  /** Whether it sees all of a picture at any shape, in tiles or as a grid, instead of one square of it. */
  readonly seesTiles: boolean;
  /** What replaces the checkpoint's chat template. */
  readonly chatTemplate: ChatTemplateSource | undefined;
}

/** A run as its options say, before the checkpoint's own defaults are known. */
export interface RunRequest {
  readonly dataSet: DataSet;
  /** As they were written. */
  readonly methods: readonly string[];
  readonly promptForm: PromptForm;
  readonly maxNewTokens: number;
  readonly maxRows: number;
  readonly hasQuirks: boolean;
  /** The middle layer unless given. */
  readonly mapLayer: number | undefined;
  readonly boxes: FoundBoxes | undefined;
}

/** The settings of a run for a checkpoint. @throws UsageError for a method or a layer that cannot be. */
export async function settingsOfRun(
  request: RunRequest,
  { text, defaults }: Pick<ModelFacts, "text" | "defaults">,
  signal: AbortSignal,
): Promise<RunSettings> {
  const { dataSet, methods, hasQuirks, boxes, mapLayer, promptForm, maxNewTokens, maxRows } = request;
  const arms = armsOf(await parseArms(methods), { defaults, published: dataSet.published });
  return {
    dataSet,
    arms: hasQuirks ? quirkyArms(arms, { dataSet, numLayers: text.numHiddenLayers }) : arms,
    promptForm,
    maxNewTokens,
    maxRows,
    hasQuirks,
    mapLayer: mapLayerOf({ mapLayer }, { text }),
    boxSettings: boxes?.settings ?? ALL_BOXES,
    signal,
  };
}

/** What a run's identity holds of a loaded model. */
export function factsOf({ model, chatTemplate, pictures }: OpenModel): ModelFacts {
  const { config, defaults, dtype, kvDtype, activationDtype, processor } = model;
  const { imageProcessor } = processor;
  const seesTiles = seesAll(config);
  const ofPictures = { imageProcessor, pictures, seesTiles };
  return { text: config.text, defaults, dtype, kvDtype, activationDtype, ...ofPictures, chatTemplate };
}

/**
 * What a checkpoint would be, loaded with the options of the command line. Reads its configuration and the headers of its weights.
 * @throws CheckpointError for a folder that is not a checkpoint of a registered family.
 */
export async function readModelFacts(folder: string, flags: ModelFlags, signal: AbortSignal): Promise<ModelFacts> {
  const source = fileSource(folder);
  try {
    const checkpoint = await openCheckpoint(source, signal);
    const read = await architectureOf(checkpoint);
    const pictures = pictureSettings(flags);
    const architecture = await asUsage(() => withMaxPicturePixels(read, pictures.maxPicturePixels));
    const processor = await asUsage(() => loadProcessor(checkpoint, architecture, pictures));
    const dtype = flags.dtype === "auto" ? undefined : flags.dtype; // what fits is known where the model is loaded
    const used = planWeights(checkpoint, architecture, dtype).filter(({ isUsed }) => isUsed);
    // As Llava.dtype: that of the first decoder layer.
    const first = used.find(({ part, role }) => part === "decoder" && role === "matrix");
    if (first === undefined) throw new RangeError("the architecture has no decoder layer");
    return {
      text: architecture.config.text,
      defaults: await readMethodDefaults(source, signal),
      dtype: first.dtype,
      kvDtype: flags.kv ?? "f32",
      activationDtype: flags.activations ?? "f32",
      imageProcessor: processor.imageProcessor,
      pictures,
      seesTiles: seesAll(architecture.config),
      chatTemplate: await chosenTemplate(source, { written: flags.chatTemplate, note: () => undefined }),
    };
  } finally {
    await source.close?.();
  }
}

/** Whether a model sees all of a picture at any shape, in tiles or as a grid, instead of one square of it. */
function seesAll({ multimodal }: ModelConfig): boolean {
  return multimodal !== undefined && multimodal.pictureForm !== "square";
}

/**
 * What decides on a run's answers.
 * @param ids SHA-256 of the ids of the questions; null where they are all of the split
 * @throws UsageError for a method's setting that the model cannot have.
 */
export async function identityOf(of: {
  /** The checkpoint's fingerprint. */
  readonly model: string;
  readonly facts: ModelFacts;
  readonly data: Pick<DataFolder, "questionHash" | "annotationHash">;
  readonly settings: RunSettings;
  readonly boxes: FoundBoxes | undefined;
  readonly split: string;
  readonly ids: string | null;
}): Promise<RunIdentity> {
  const { model, facts, data, settings, boxes, split, ids } = of;
  const { text, defaults, dtype, kvDtype, activationDtype, pictures, chatTemplate } = facts;
  const isTemplate = settings.promptForm === "template";
  const methods = await asUsage(() =>
    settings.arms.map((arm) => {
      // Rows and columns are checked against the longest prompt here, and against each prompt when it is answered.
      const { method, values } = settingsOf(arm.options, { text, defaults }, text.maxPositionEmbeddings);
      return [arm.name, { method: method.name, ...settingsOfArm(arm, values) }] as const;
    }),
  );
  return {
    dataset: settings.dataSet.name,
    split,
    ids,
    methods: Object.fromEntries(methods),
    prompts: settings.promptForm,
    ...(isTemplate && chatTemplate !== undefined ? { chatTemplate: textHash(chatTemplate.source) } : {}),
    ...(settings.hasQuirks ? { referenceQuirks: true } : {}),
    maxNewTokens: settings.maxNewTokens,
    model,
    dtype,
    kvDtype,
    activationDtype,
    ...pictures,
    questions: data.questionHash,
    annotations: data.annotationHash,
    mapLayer: settings.mapLayer,
    ...(boxes === undefined ? {} : { boxes: boxIdentity(boxes) }),
  };
}

function boxIdentity({ source, settings: { scale, maxBoxes, objects } }: FoundBoxes): BoxIdentity {
  return { scale, maxBoxes: maxBoxes ?? null, objects, source: source.hash };
}

/** What a manifest says about a run for people, and for reports. */
export function aboutRun(of: {
  readonly out: string;
  readonly modelName: string;
  readonly facts: ModelFacts;
  readonly data: DataFolder;
  readonly boxes: FoundBoxes | undefined;
  readonly numQuestions: number;
}): Readonly<Record<string, unknown>> {
  const { out, modelName, facts, data, boxes, numQuestions } = of;
  return {
    version: packageVersion(),
    modelName,
    numQuestions,
    questionFile: resolve(data.isConverted ? join(out, QUESTIONS) : data.questionFile),
    ...(data.isConverted && { convertedFrom: resolve(data.questionFile) }),
    annotationFile: resolve(data.annotationFile),
    ...(boxes === undefined ? {} : { boxes: resolve(boxes.source.path) }),
    // Which part of a picture a map covers.
    imageProcessor: facts.imageProcessor ?? null,
    seesTiles: facts.seesTiles,
  };
}

/** A question with its pictures. @throws InputError for a picture that is missing or cannot be decoded. */
export async function readTask(data: DataFolder, id: number, boxes: FoundBoxes | undefined): Promise<Task> {
  const question = at(data.questions, id);
  const picture = at(data.pictures, id);
  const { name } = picture;
  if (isMissing(picture)) throw new InputError(`${name}, the picture of question ${id}, is missing.`);
  const images = await readPictures(picture);
  const docHash = textHash(
    JSON.stringify({ question: question.text, answer: question.gold, image: name }, undefined, 2),
  );
  const found = boxes && boxesOfQuestion(boxes.source.boxesOf(name, at(images, 0)), question, boxes.settings.objects);
  return { question, images, imagePath: name, docHash, boxes: found };
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
