// The recorded example that the page shows where it cannot run the model, computed by the engine in Node from the page's own picture
// of its opening scene.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { askBoth, LastQuestion } from "../../src/app/engine/question.ts";
import type { AnswerView } from "../../src/app/protocol.ts";
import type { RecordedAnswer, RecordedExample } from "../../src/app/recorded.ts";
import { fillIn, QUESTION_FORMS } from "../../src/app/scene/questions.ts";
import { DEFAULT_SCENE, OPENING_FORM, OPENING_OBJECTS } from "../../src/app/scene/scene.ts";
import { DEFAULT_ADAPTVIS } from "../../src/interventions/adaptvis.ts";
import type { Llava } from "../../src/llava.ts";
import type { RgbImage } from "../../src/preprocess/image.ts";
import { repositoryRoot } from "../setup/bundle.ts";

/** The file in the page's folder. */
export const RECORDED_FILE = join(repositoryRoot, "src", "app", "recorded-example.json");

/** The question that the page opens with. */
export function openingQuestion(): string {
  const form = QUESTION_FORMS.find(({ id }) => id === OPENING_FORM);
  if (form === undefined) throw new Error(`There is no form ${OPENING_FORM}.`);
  return fillIn(form, OPENING_OBJECTS);
}

/** What the file holds now. */
export async function readRecorded(): Promise<RecordedExample> {
  return JSON.parse(await readFile(RECORDED_FILE, "utf8")) as RecordedExample; // compared field by field
}

/**
 * Computes the example.
 * @param picture the opening scene as the page draws it
 */
export async function recordExample(model: Llava, picture: RgbImage): Promise<RecordedExample> {
  const own: Readonly<Record<string, unknown>> = model.defaults.adaptvis ?? {};
  const { alpha1, alpha2, beta } = { ...DEFAULT_ADAPTVIS, ...own };
  const settings = { alpha1: Number(alpha1), alpha2: Number(alpha2), beta: Number(beta) };
  const question = openingQuestion();
  const request = { image: picture, question, settings, maxNewTokens: 24 };
  const asked = new LastQuestion(model, request, { vocabSize: model.config.text.vocabSize });
  const run = { onEvent: () => undefined, signal: new AbortController().signal };
  const { greedy, adaptvis, picture: _, ...answers } = await askBoth(model, asked, run);
  return {
    model: "tiny-habit",
    adapter: "SwiftShader, which computes on the CPU",
    scene: DEFAULT_SCENE,
    question,
    answers: { ...answers, greedy: recordedAnswer(greedy), adaptvis: recordedAnswer(adaptvis) },
  };
}

function recordedAnswer({ elapsedMs: _, attention, ...answer }: AnswerView): RecordedAnswer {
  if (attention === undefined) throw new Error("The answer has no attention.");
  const { values, shares, ...grid } = attention;
  return { ...answer, attention: { ...grid, values: [...values], shares: [...shares] } };
}

/** The example as a file: numbers with six decimals, which is finer than two builds of the engine agree. */
export function exampleText(example: RecordedExample): string {
  const round = (_: string, value: unknown) => (typeof value === "number" ? Number(value.toFixed(6)) : value);
  return `${JSON.stringify(example, round)}\n`;
}
