// Keeps the address and the page in sync, and asks again on every change if the user wants that.

import { effect } from "@preact/signals";
import { ask, question } from "./asking.ts";
import { readForm } from "./scene/questions.ts";
import {
  asksOnChange,
  explanation,
  formId,
  formObjects,
  freeText,
  isPassLinked,
  model,
  openPass,
  ownPicture,
  ownSettings,
  pictureMode,
  questionMode,
  running,
  scene,
  selected,
  settings,
} from "./state.ts";
import { FIRST_FORMS, forms, markedCells, type Side } from "./talk-state.ts";
import { decodeHash, encodeHash } from "./url-state.ts";

/** Delay before a change takes effect, milliseconds: a drag changes the scene many times. */
const REST_MS = 350;

/** The address of the page's state; it does not contain the user's own picture. */
export function sharedAddress(): string {
  return new URL(sharedHash(), location.href).href;
}

/** Applies the address to the page, now and when it changes, and writes the page's state to the address. */
export function keepAddress(): void {
  readAddress();
  addEventListener("hashchange", readAddress);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isFirst = true;
  effect(() => {
    const hash = sharedHash();
    clearTimeout(timer);
    // A fresh page keeps its initial address.
    if (!isFirst) timer = setTimeout(() => history.replaceState(undefined, "", hash), REST_MS);
    isFirst = false;
  });
}

/** Asks again after every change of picture, question or settings while the page's checkbox is set. */
export function askOnChange(): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let before: readonly unknown[] = [];
  effect(() => {
    const now = [scene.value, question.value, ownPicture.value, pictureMode.value, settings.value];
    const isWanted = asksOnChange.value && question.value !== "";
    const isChanged = now.some((value, index) => value !== before[index]);
    before = now;
    clearTimeout(timer);
    if (!isWanted || !isChanged) return;
    timer = setTimeout(() => {
      const hasPicture = pictureMode.value === "scene" || ownPicture.value !== undefined;
      const isReady = model.value !== undefined && running.value?.kind !== "load";
      if (hasPicture && isReady) void ask({ isReplacing: true });
    }, REST_MS);
  });
}

function sharedHash(): string {
  return encodeHash({
    ...(pictureMode.value === "scene" && { scene: scene.value }),
    question: question.value,
    ...(ownSettings.value !== undefined && { settings: ownSettings.value }),
    ...(openPass.value !== undefined && { pass: openPass.value }),
    ...(isChanged("A") && { A: forms.value.A }),
    ...(isChanged("B") && { B: forms.value.B }),
    cut: markedCells.value,
  });
}

/** Whether the form of a compared method says something else than at first. */
function isChanged(side: Side): boolean {
  const { name, texts } = forms.value[side];
  return name !== FIRST_FORMS[side].name || Object.keys(texts).length > 0;
}

function readAddress(): void {
  // Links within the page (#answers, …) do not contain its state.
  const shared = decodeHash(location.hash);
  if (shared.scene !== undefined) {
    scene.value = shared.scene;
    selected.value = 0;
    pictureMode.value = "scene";
  }
  if (shared.question !== undefined) readQuestion(shared.question);
  if (shared.settings !== undefined) ownSettings.value = shared.settings;
  if (shared.A !== undefined || shared.B !== undefined) {
    forms.value = { A: shared.A ?? FIRST_FORMS.A, B: shared.B ?? FIRST_FORMS.B };
  }
  if (shared.cut !== undefined) markedCells.value = shared.cut;
  if (shared.pass === undefined || shared.pass === openPass.value) return;
  openPass.value = shared.pass;
  isPassLinked.value = explanation.value === undefined;
}

function readQuestion(text: string): void {
  const filled = readForm(text);
  const names = filled?.names ?? [];
  const isOnScene = names.every((name) => scene.value.objects.some((object) => object.name === name));
  if (filled === undefined || !isOnScene) {
    freeText.value = text;
    questionMode.value = "free";
    return;
  }
  questionMode.value = "form";
  formId.value = filled.form.id;
  const objects = scene.value.objects.map(({ name }) => name);
  const chosen = names.flatMap((name) => objects.filter((object) => object === name).slice(0, 1));
  if (chosen.length > 0) formObjects.value = chosen;
}
