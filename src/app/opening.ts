// What a visitor sees first: the opening scene, asked about by itself as soon as the model is loaded.

import { ask } from "./asking.ts";
import { DEFAULT_SCENE } from "./scene/scene.ts";
import { loadEmbedded } from "./session.ts";
import { asked, isEmbedded, model, pictureMode, questionMode, running, scene } from "./state.ts";

/**
 * Loads the model that comes with the page, then asks the opening question about the opening scene. A page with a state in its
 * address, or one that was changed meanwhile, waits to be asked.
 * @param isPlain whether the address has no state
 */
export async function open(isPlain: boolean): Promise<void> {
  await loadEmbedded();
  const isUntouched =
    scene.value === DEFAULT_SCENE &&
    pictureMode.value === "scene" &&
    questionMode.value === "form" &&
    asked.value === undefined &&
    running.value === undefined;
  if (isPlain && isUntouched && isEmbedded.value && model.value !== undefined) await ask();
}
