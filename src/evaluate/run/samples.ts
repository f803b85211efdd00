// One question put to a model under several methods, and the lines that its results file keeps of it.
import type { Answer, AnswerOptions } from "../../answer.ts";
import { at } from "../../errors.ts";
import { interventionNamed } from "../../interventions/registry.ts";
import type { Llava } from "../../llava.ts";
import type { RgbImage } from "../../preprocess/image.ts";
import { SAMPLE_FIELDS } from "../answers/sample-lines.ts";
import type { DataSet, Question } from "../datasets/dataset.ts";
import type { BoxSettings, ObjectBox } from "../metrics/boxes.ts";
import { RULES } from "../verdicts.ts";
import { type AttentionFields, attentionFields, type QuestionBoxes } from "./attention-fields.ts";

/** A method with its settings, under the name that its lines have. */
export interface Arm {
  readonly name: string;
  readonly options: AnswerOptions;
}

/** How prompts are made: as the data set's authors fed them, or by the checkpoint's chat template. */
export type PromptForm = "authors" | "template";

/** All prompt forms. */
export const PROMPT_FORMS: readonly PromptForm[] = ["authors", "template"];

/** A question with its picture. */
export interface Task {
  readonly question: Question;
  readonly image: RgbImage;
  /** The picture's path within the data folder. */
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
  /** The method's settings, defaults filled in. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly factor: number;
  /** Largest probability of the first token in the unmodified pass, unrounded; null for a method that runs none. */
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
  readonly time_ms: number;
}

/** Members of a {@link SampleLine} that differ from run to run. */
export const TIMES: readonly (keyof SampleLine)[] = ["time_ms"];

/** The prompt of a question. */
function promptOf(question: Question, model: Llava, { dataSet, promptForm }: RunSettings): string {
  return promptForm === "authors"
    ? dataSet.prompt(question)
    : model.processor.chatPrompt(question.text, { hasImage: true, system: undefined });
}

/** Answers a question under every arm, one after the other: the prompt's keys and values are shared as far as each allows. */
export async function answerTask(model: Llava, task: Task, run: RunSettings): Promise<readonly SampleLine[]> {
  const { question, image } = task;
  const { signal, maxNewTokens } = run;
  const prompt = promptOf(question, model, run);
  const inputs = model.prepare({ image, prompt });
  // As an answer to "… ASSISTANT:" begins: with a space and a capital.
  const written = question.options.map((option) => ` ${option.charAt(0).toUpperCase()}${option.slice(1)}`);
  const boxes = questionBoxes(model, task, run);
  const lines: SampleLine[] = [];
  using session = model.session();
  for (const arm of run.arms) {
    const started = performance.now();
    const options = { ...arm.options, maxNewTokens, continuations: written, attention: true };
    const answer = await session.answer(inputs, { ...options, signal }).answer;
    const timeMs = performance.now() - started;
    lines.push(sampleLine(answer, { arm, task, prompt, run, boxes, timeMs }));
  }
  return lines;
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
  },
): SampleLine {
  const { arm, task, prompt, run, boxes, timeMs } = of;
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
    settings: answer.settings,
    factor: answer.factor,
    [SAMPLE_FIELDS.confidence]: isPlain(answer) ? answer.exactConfidence : null,
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

/** Whether the answer's confidence is the largest probability in an unmodified pass. */
function isPlain({ method, settings, attention }: Answer): boolean {
  const { reads, contrast } = interventionNamed(method);
  const measure = reads?.(settings as never); // the settings that the method itself has checked
  if (measure !== undefined) return measure === "probability";
  return contrast === undefined && attention?.hasUnmodified === true;
}

/** The task's boxes with the geometry of the model; undefined where the run has no boxes, or the model takes no pictures. */
function questionBoxes(model: Llava, { boxes, image }: Task, { boxSettings }: RunSettings): QuestionBoxes | undefined {
  const { imageProcessor: processor } = model.processor;
  const patchSize = model.config.multimodal?.vision.patchSize;
  if (boxes === undefined || processor === undefined || patchSize === undefined) return undefined;
  const picture = { width: image.width, height: image.height };
  return { boxes, settings: boxSettings, picture, processor, patchSize };
}
