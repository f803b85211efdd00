// Asks the model the page's current question about its current picture.

import { computed, signal } from "@preact/signals";
import type { RgbImage } from "../preprocess/image.ts";
import { loadSprites, type Sprites, scenePicture } from "./scene/paint.ts";
import { fillIn, QUESTION_FORMS } from "./scene/questions.ts";
import { OBJECT_NAMES, type ObjectName, type Scene } from "./scene/scene.ts";
import { askAbout } from "./session.ts";
import {
  type Asked,
  asked,
  formId,
  formObjects,
  freeText,
  model,
  notify,
  ownPicture,
  pictureMode,
  questionMode,
  scene,
  sprites,
} from "./state.ts";

/** Objects that a form can ask about: those in the scene, or, for the user's own picture, all that the embedded checkpoint knows. */
export const askable = computed<readonly ObjectName[]>(() => {
  if (pictureMode.value === "own") return OBJECT_NAMES;
  return [...new Set(scene.value.objects.map(({ name }) => name))].sort();
});

/** The selected form. */
export const form = computed(() => QUESTION_FORMS.find(({ id }) => id === formId.value) ?? QUESTION_FORMS[0]);

/** The objects in the form: the chosen ones if they can be asked about, otherwise the next available; without duplicates. */
export const chosenObjects = computed<readonly ObjectName[]>(() => {
  const names: ObjectName[] = [];
  for (const wanted of formObjects.value.slice(0, form.value?.numObjects ?? 0)) {
    const free = askable.value.filter((name) => !names.includes(name));
    const name = free.find((candidate) => candidate === wanted) ?? free[0];
    if (name !== undefined) names.push(name);
  }
  return names;
});

/** The question that will be asked; empty while the form lacks an object or the text is empty. */
export const question = computed(() => {
  if (questionMode.value === "free") return freeText.value.trim();
  const filled = form.value;
  if (filled === undefined || chosenObjects.value.length < filled.numObjects) return "";
  return fillIn(filled, chosenObjects.value);
});

/** The picture as the page shows it; undefined while there is none. @throws when the objects cannot be fetched. */
export async function currentPicture(): Promise<RgbImage | undefined> {
  if (pictureMode.value === "own") return ownPicture.value?.image;
  return scenePicture(scene.value, await readySprites());
}

/** Asks the question about the picture; shows a notice if one of them is missing. */
export async function ask(options: { readonly isReplacing?: boolean } = {}): Promise<void> {
  if (question.value === "") {
    const message =
      questionMode.value === "free" ? "Write a question first." : "Add an object to the scene to ask about it.";
    notify("The question is missing", { kind: "input", message });
    return;
  }
  if (pictureMode.value === "own" && ownPicture.value === undefined) {
    notify("The picture is missing", {
      kind: "input",
      message: "Choose, paste or drop a picture, or switch to the scene.",
    });
    return;
  }
  const seesPictures = model.value?.imageSide !== undefined;
  const before = asked.value;
  let about: Scene | undefined;
  const picture = async () => {
    about = pictureMode.value === "scene" ? scene.value : undefined;
    return seesPictures ? await currentPicture() : undefined;
  };
  await askAbout(picture, question.value, options);
  if (asked.value === undefined || asked.value === before) return;
  askedScene.value = about && { asked: asked.value, scene: about };
}

/** The scene that the last question was about, with the question; undefined when it was about another picture or none. */
export const askedScene = signal<{ readonly asked: Asked; readonly scene: Scene } | undefined>(undefined);

/** The objects' pictures, fetched once. @throws as {@link loadSprites}. */
export async function readySprites(): Promise<Sprites> {
  const ready = sprites.value ?? (await loadSprites());
  sprites.value = ready;
  return ready;
}
