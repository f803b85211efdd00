// The actions of the panels beside the two answers: a follow-up, two methods compared, an answer without a part of the picture, words
// and the lens. Each runs in the worker, one at a time.
import { INTERVENTIONS } from "../interventions/registry.ts";
import { currentPicture } from "./asking.ts";
import { type MethodForm, parameterOf, settingsOfForm } from "./draw/method-form.ts";
import { failureOf } from "./engine/failure.ts";
import type { MethodAnswerView, MethodChoice, MethodEvent, WhichAnswer } from "./protocol.ts";
import { engine, inTurn } from "./session.ts";
import {
  settings as adaptVisSettings,
  announcement,
  isStopped,
  mapLayer,
  maxNewTokens,
  model,
  notify,
  running,
  type Study,
} from "./state.ts";
import {
  chatAfter,
  chatRunning,
  chatSide,
  chatText,
  chatTurns,
  comparison,
  cutAnswer,
  cutForm,
  forms,
  lens,
  markedCells,
  refusals,
  type Side,
  sendsPicture,
  words,
  wordsOf,
} from "./talk-state.ts";

/** An intervention of the registry, as the panels list it. */
export type Method = (typeof INTERVENTIONS)[number];

/** The method of a form; the first of the registry where an address names none. */
export function methodOf({ name }: Pick<MethodForm, "name">): Method {
  return INTERVENTIONS.find((method) => method.name === name) ?? INTERVENTIONS[0];
}

/** The settings that a method has here before any is written: those of the page's AdaptVis, else of the checkpoint's own file. */
export function givenDefaults(name: string): Readonly<Record<string, unknown>> {
  const here: Readonly<Record<string, object>> = { adaptvis: adaptVisSettings.value };
  return { ...model.value?.methodDefaults[name], ...here[name] };
}

/** What a form asks for. */
export function choiceOf(form: MethodForm): MethodChoice {
  const { name, parameters } = methodOf(form);
  return { name, settings: { ...givenDefaults(name), ...settingsOfForm(parameters, form) } };
}

/** Asks the next follow-up. */
export async function askOn(): Promise<void> {
  const question = chatText.value.trim();
  if (question === "") {
    notify("The question is missing", { kind: "input", message: "Write a follow-up question first." });
    return;
  }
  const method = choiceOf(forms.value[chatSide.value]);
  const numKept = chatTurns.value.length;
  const hasPicture = sendsPicture.value;
  chatRunning.value = { question, text: "" };
  const isAnswered = await study("chat", "The follow-up could not be answered", async (follow) => {
    const image = hasPicture ? await currentPicture() : undefined;
    const request = { question, image, method, maxNewTokens: maxNewTokens.value, numKept, after: chatAfter.value };
    const answer = await engine.chat(request, (event) => {
      if (event.kind === "restart") chatRunning.value = { question, text: "" };
      if (event.kind === "token") chatRunning.value = { question, text: (chatRunning.value?.text ?? "") + event.text };
      follow(event);
    });
    chatTurns.value = [...chatTurns.value.slice(0, numKept), { question, hasPicture, answer }];
    announcement.value = `Answer: ${answer.text}.`;
  });
  chatRunning.value = undefined;
  if (!isAnswered) return;
  chatText.value = "";
  sendsPicture.value = false;
}

/** Forgets the follow-ups. */
export function beginAnew(): void {
  chatTurns.value = [];
  if (typeof wordsOf.value === "number") chooseWordsOf("adaptvis");
  announcement.value = "The conversation begins anew after the first answer.";
}

/** Answers the last question by both methods. */
export async function compare(): Promise<void> {
  refusals.value = { ...refusals.value, A: undefined, B: undefined };
  await study("compare", "The methods could not be compared", async (follow) => {
    const a = await answerOf("A", follow);
    const b = await answerOf("B", follow);
    if (a === undefined || b === undefined) return;
    comparison.value = { A: a, B: b };
    announcement.value = `A: ${a.text}. B: ${b.text}.`;
  });
}

/** Answers the last question without the marked part of the picture. */
export async function cutOut(): Promise<void> {
  refusals.value = { ...refusals.value, cut: undefined };
  const { name, settings } = choiceOf(cutForm.value);
  await study("cut", "There is no answer without that part", async (follow) => {
    const cut = await orRefused("cut", cutForm.value, () => engine.cut({ name, settings }, markedCells.value, follow));
    if (cut === undefined) return;
    cutAnswer.value = cut;
    announcement.value = `Without that part: ${cut.answer.text}.`;
  });
}

/** Reads what a cell of the picture's map holds. */
export async function readCell(cell: number): Promise<void> {
  await study("lens", "The patch could not be read", async () => {
    lens.value = await engine.lens(cell);
    announcement.value = `The patch is read in ${lens.value.rows.length} layers.`;
  });
}

/** Shows the words of another answer. */
export function chooseWordsOf(which: WhichAnswer): void {
  wordsOf.value = which;
  words.value = undefined;
}

/** The layer whose attention words show. */
export function wordsLayer(): number {
  return mapLayer.value ?? Math.floor((model.value?.numLayers ?? 0) / 2);
}

/** Finds out where the model looked for each word, unless that is known, something else runs, or it was stopped. */
export async function lookForWords(): Promise<void> {
  const of = wordsOf.value;
  const layer = wordsLayer();
  if (running.value !== undefined) return;
  if (words.value?.of === of && words.value.view.layer === layer) return;
  await study("words", "Where it looked for each word could not be shown", async () => {
    const view = await engine.words(of, layer);
    if (wordsOf.value === of) words.value = { of, view };
  });
}

async function answerOf(side: Side, follow: (event: MethodEvent) => void): Promise<MethodAnswerView | undefined> {
  const form = forms.value[side];
  return orRefused(side, form, () => engine.answerBy(choiceOf(form), follow));
}

/** A refused setting is said beside its field, not above the page. */
async function orRefused<T>(of: Side | "cut", form: MethodForm, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    const { kind, message } = failureOf(error);
    if (kind !== "input" || parameterOf(methodOf(form).parameters, message) === undefined) throw error;
    refusals.value = { ...refusals.value, [of]: message };
    announcement.value = message;
    return undefined;
  }
}

/** @returns whether `work` came to its end. */
async function study(
  of: Study,
  title: string,
  work: (follow: (event: MethodEvent) => void) => Promise<void>,
): Promise<boolean> {
  const now = running.value?.kind;
  if (now === "ask" || now === "load") {
    const message =
      now === "ask" ? "A question is running; wait for its answer or press Stop." : "The model is loading.";
    notify("One at a time", { kind: "busy", message });
    return false;
  }
  let isDone = false;
  await inTurn({ kind: "study", of, stage: "Starting" }, title, async () => {
    await work((event) => {
      if (event.kind === "stage") running.value = { kind: "study", of, stage: event.text };
    });
    isDone = true;
  });
  return isDone && !isStopped.value;
}
