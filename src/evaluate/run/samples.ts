// One question put to a model under several methods, and the lines that its results file keeps of it.
import type { Answer, MethodOptions } from "../../answer.ts";
import { at } from "../../errors.ts";
import type { Llava } from "../../llava.ts";
import type { RgbImage } from "../../preprocess/image.ts";
import { SAMPLE_FIELDS } from "../answers/sample-lines.ts";
import type { DataSet, Question } from "../datasets/dataset.ts";
import type { BoxSettings, ObjectBox } from "../metrics/boxes.ts";
import { RULES } from "../verdicts.ts";
import { type AttentionFields, attentionFields, type QuestionBoxes } from "./attention-fields.ts";
import { quirkyPicture } from "./reference-quirks.ts";

/** A method with its settings, under the name that its lines have. */
export interface Arm {
  readonly name: string;
  readonly options: MethodOptions;
  /** Epsilon of the decoder's RMS norms; the checkpoint's unless given. */
  readonly rmsNormEps?: number | undefined;
  /** SHA-256 of the module that the method comes from, in hexadecimal; undefined for a registered method. */
  readonly module?: string | undefined;
}

/** How prompts are made: as the data set's authors fed them, or by the checkpoint's chat template. */
export type PromptForm = "authors" | "template";

/** All prompt forms. */
export const PROMPT_FORMS: readonly PromptForm[] = ["authors", "template"];

/** A question with its pictures. */
export interface Task {
  readonly question: Question;
  /** At least one, in the order of the prompt. */
  readonly images: readonly RgbImage[];
  /** The first picture's path within the data folder. */
  readonly imagePath: string;
  /** SHA-256 of the document, in hexadecimal. */
  readonly docHash: string;
  /** Boxes of the question's objects, in pixels of the picture; undefined where the run has no boxes. */
  readonly boxes: readonly ObjectBox[] | undefined;
}

/** What is the same for all questions of a run. */
export interface RunSettings {
  readonly dataSet: DataSet;
  readonly arms: readonly Arm[];
  readonly promptForm: PromptForm;
  readonly maxNewTokens: number;
  /** Most rows of a batch. */
  readonly maxRows: number;
  /** Whether pictures are changed as the authors' code changes them. */
  readonly hasQuirks: boolean;
  /** Layer of `image_map` and `unmodified_map`. */
  readonly mapLayer: number;
  readonly boxSettings: BoxSettings;
  readonly signal: AbortSignal | undefined;
}

/**
 * A line of a results file: lmms-eval's sample form, with ours added.
 * Source: lmms_eval 0.7.3, loggers/evaluation_tracker.py; there `doc_hash` is the same for every document, here it is not
 */
export interface SampleLine extends AttentionFields {
  readonly doc_id: number;
  readonly method: string;
  readonly target: string;
  readonly resps: readonly (readonly string[])[];
  readonly filtered_resps: readonly string[];
  readonly input: string;
  readonly doc_hash: string;
  readonly image: string;
  /** The method's settings, defaults filled in; among them `rmsNormEps` where it is not the checkpoint's, and a `module`'s hash. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly factor: number;
  /** Largest probability of the first token in the unmodified pass, unrounded; null where no method of the run has one. */
  readonly confidence: number | null;
  /** What the method's gate compared, or the largest probability of the answer's own first token; unrounded. */
  readonly own_confidence: number;
  /** By option; about −1e9 for a token that a contrast rules out. */
  readonly option_first_token_logprobs: Readonly<Record<string, number>>;
  /** Of the whole option, by option. */
  readonly option_logprobs: Readonly<Record<string, number>>;
  readonly finish_reason: string;
  readonly num_tokens: number;
  /** By rule; null where the rule cannot judge the answer. */
  readonly verdicts: Readonly<Record<string, boolean | null>>;
  /** Milliseconds of the question under all methods, the picture's decoding left out. */
  readonly time_ms: number;
}

/** Members of a {@link SampleLine} that differ from run to run. */
export const TIMES: readonly (keyof SampleLine)[] = ["time_ms"];

/** The prompt of a question. */
function promptOf({ question, images }: Task, model: Llava, { dataSet, promptForm }: RunSettings): string {
  return promptForm === "authors"
    ? dataSet.prompt(question)
    : model.processor.chatPrompt(question.text, { numImages: images.length });
}

/** Answers a question under every arm, as many as possible in one batch: see {@link Session.answerEach}. */
export async function answerTask(model: Llava, task: Task, run: RunSettings): Promise<readonly SampleLine[]> {
  const { question } = task;
  const { signal, maxNewTokens, maxRows } = run;
  const prompt = promptOf(task, model, run);
  const started = performance.now();
  const images = run.hasQuirks ? task.images.map((image) => quirkyPicture(image, run.dataSet)) : task.images;
  const inputs = model.prepare({ images, prompt });
  // As an answer to "… ASSISTANT:" begins: with a space and a capital.
  const continuations = question.options.map((option) => ` ${option.charAt(0).toUpperCase()}${option.slice(1)}`);
  const boxes = questionBoxes(model, task, run);
  const options = { maxNewTokens, maxRows, continuations, attention: true, signal };
  const lines = new Map<Arm, (timeMs: number) => SampleLine>();
  for (const rmsNormEps of new Set(run.arms.map((arm) => arm.rmsNormEps))) {
    using session = model.session({ rmsNormEps });
    const arms = run.arms.filter((arm) => arm.rmsNormEps === rmsNormEps);
    const methods = arms.map((arm) => arm.options);
    const { answers, unmodifiedConfidence: confidence } = await session.answerEach(inputs, methods, options);
    for (const [index, arm] of arms.entries()) {
      lines.set(arm, (timeMs) => sampleLine(at(answers, index), { arm, task, prompt, run, boxes, timeMs, confidence }));
    }
  }
  const timeMs = performance.now() - started;
  return run.arms.flatMap((arm) => lines.get(arm)?.(timeMs) ?? []);
}

function sampleLine(
  answer: Answer,
  of: {
    readonly arm: Arm;
    readonly task: Task;
    readonly prompt: string;
    readonly run: RunSettings;
    readonly boxes: QuestionBoxes | undefined;
    readonly timeMs: number;
    readonly confidence: number | undefined;
  },
): SampleLine {
  const { arm, task, prompt, run, boxes, timeMs, confidence = null } = of;
  const { question } = task;
  const text = answer.text.trim();
  const firstToken = question.options.map(
    (option, index) => [option, at(answer.continuations, index).firstLogProb] as const,
  );
  const wholeString = question.options.map(
    (option, index) => [option, at(answer.continuations, index).logProb] as const,
  );
  const judged = { text, firstToken: new Map(firstToken), wholeString: new Map(wholeString) };
  return {
    doc_id: question.id,
    [SAMPLE_FIELDS.method]: arm.name,
    target: question.gold,
    resps: [[answer.text]],
    filtered_resps: [text],
    input: prompt,
    doc_hash: task.docHash,
    image: task.imagePath,
    settings: settingsOfArm(arm, answer.settings),
    factor: answer.factor,
    [SAMPLE_FIELDS.confidence]: confidence,
    own_confidence: answer.exactConfidence,
    [SAMPLE_FIELDS.firstToken]: Object.fromEntries(firstToken),
    [SAMPLE_FIELDS.wholeString]: Object.fromEntries(wholeString),
    ...attentionFields(answer.attention, { mapLayer: run.mapLayer, boxes }),
    finish_reason: answer.finishReason,
    num_tokens: answer.tokens.length,
    verdicts: Object.fromEntries(RULES.map(({ name, judge }) => [name, judge(judged, question, run.dataSet)])),
    time_ms: Math.round(timeMs * 10) / 10,
  };
}

/** The settings of a method with the arm's own. */
export function settingsOfArm(
  { rmsNormEps, module }: Pick<Arm, "rmsNormEps" | "module">,
  settings: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  return { ...settings, ...(rmsNormEps !== undefined && { rmsNormEps }), ...(module !== undefined && { module }) };
}

/** The task's boxes with the geometry of the model; undefined where the run has no boxes, or the model takes no pictures. */
function questionBoxes(model: Llava, { boxes, images }: Task, { boxSettings }: RunSettings): QuestionBoxes | undefined {
  const { imageProcessor: processor } = model.processor;
  const { multimodal } = model.config;
  if (boxes === undefined || processor === undefined || multimodal === undefined) return undefined;
  const { width, height } = at(images, 0);
  const picture = { width, height };
  const { patchSize } = multimodal.vision;
  const seesAll = multimodal.pictureForm !== "square";
  return { boxes, settings: boxSettings, picture, processor, patchSize, seesAll };
}
