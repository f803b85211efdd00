// Pictures and checkpoints that the user chooses, pastes or drops.

import { filesOfDrop } from "./checkpoint-files.ts";
import { EngineError, failureOf } from "./engine/failure.ts";
import { OPENING_OBJECTS } from "./scene/scene.ts";
import { engine, loadLocal } from "./session.ts";
import {
  announcement,
  dismiss,
  formObjects,
  freeText,
  notices,
  notify,
  ownPicture,
  pictureMode,
  questionMode,
} from "./state.ts";

/** The question about a picture of the user's that none was written for yet. */
const FIRST_QUESTION = "What is in the picture?";

/** Number of pictures opened so far; a slower, older one must not replace the newest. */
let newest = 0;

/**
 * Opens a picture file as the user's picture.
 * @param file the file, or a function that fetches it
 * @returns whether it is the current picture: false when it cannot be used, or when another one was chosen meanwhile
 */
export async function openPicture(file: Blob | (() => Promise<Blob>), name: string): Promise<boolean> {
  const own = ++newest;
  for (const { id, failure } of notices.value) if (failure.kind === "input") dismiss(id);
  try {
    const image = await engine.decodePicture(typeof file === "function" ? await file() : file, name);
    if (own !== newest) return false;
    ownPicture.value = { name, image };
    pictureMode.value = "own";
    leaveForm();
    announcement.value = `${name} is open, ${image.width} by ${image.height} pixels.`;
    return true;
  } catch (error) {
    if (own === newest) notify(`${name} could not be opened`, failureOf(error));
    return false;
  }
}

/** Goes from a form that still asks about the opening scene's objects to a question about any picture. */
function leaveForm(): void {
  if (questionMode.value === "free" || formObjects.value !== OPENING_OBJECTS) return;
  if (freeText.value.trim() === "") freeText.value = FIRST_QUESTION;
  questionMode.value = "free";
}

/** Opens a dropped folder or checkpoint as the model, or a dropped picture. Call it within the event. */
export async function openDropped(transfer: DataTransfer): Promise<void> {
  const files = [...transfer.files];
  const hasFolder = [...transfer.items].some((item) => item.webkitGetAsEntry()?.isDirectory === true);
  if (hasFolder || files.some(({ name }) => /\.(safetensors|json)$/i.test(name))) {
    await loadLocal(() => filesOfDrop(transfer));
    return;
  }
  await openOnePicture(files, "dropped");
}

/** Opens a pasted picture, unless text is pasted into a field: some programs add a picture of the text. */
export async function openPasted(event: ClipboardEvent): Promise<void> {
  const { clipboardData, target } = event;
  if (clipboardData === null || clipboardData.files.length === 0) return;
  const isWriting = target instanceof HTMLTextAreaElement || target instanceof HTMLInputElement;
  if (isWriting && clipboardData.types.includes("text/plain")) return;
  event.preventDefault();
  await openOnePicture([...clipboardData.files], "pasted");
}

/** Opens the first picture among several files and shows a notice. */
async function openOnePicture(files: readonly File[], how: "dropped" | "pasted"): Promise<void> {
  const file = files.find(({ type }) => type.startsWith("image/")) ?? files[0];
  if (file === undefined) {
    notify("No file found", {
      kind: "input",
      message: `What was ${how} holds no file: save the picture first.`,
    });
    return;
  }
  const name = file.name === "" ? `${how} picture` : file.name;
  const isOpen = await openPicture(file, name);
  if (!isOpen || files.length === 1) return;
  const message = `${files.length} files were ${how}; ${name} is the picture now.`;
  notify("One picture at a time", { kind: "busy", message });
}

/** Fetches a picture from beside the page. @throws EngineError `input` when it cannot be fetched. */
export async function fetchPicture(url: URL): Promise<Blob> {
  const response = await fetch(url).catch(() => undefined);
  if (response?.ok === true) return await response.blob();
  const message = "The example could not be fetched; reload the page when you are online.";
  throw new EngineError({ kind: "input", message });
}
