// Pictures and checkpoints that people hand to the page: chosen, pasted or dropped.

import { filesOfDrop } from "./checkpoint-files.ts";
import { EngineError, failureOf } from "./engine/failure.ts";
import { engine, loadLocal } from "./session.ts";
import { announcement, dismiss, notices, notify, ownPicture, pictureMode } from "./state.ts";

/** Counts the pictures that were asked for; only the newest one counts. */
let newest = 0;

/**
 * Takes a picture file as the user's picture.
 * @param file the file, or how it is fetched
 * @returns whether it is the picture now: not when it cannot be used, nor when another one was chosen meanwhile
 */
export async function openPicture(file: Blob | (() => Promise<Blob>), name: string): Promise<boolean> {
  const own = ++newest;
  for (const { id, failure } of notices.value) if (failure.kind === "input") dismiss(id);
  try {
    const image = await engine.decodePicture(typeof file === "function" ? await file() : file, name);
    if (own !== newest) return false;
    ownPicture.value = { name, image };
    pictureMode.value = "own";
    announcement.value = `${name} is open, ${image.width} by ${image.height} pixels.`;
    return true;
  } catch (error) {
    if (own === newest) notify(`${name} could not be opened`, failureOf(error));
    return false;
  }
}

/** Opens what was dropped: a folder or a checkpoint's files as the model, else a picture. Call it within the event. */
export async function openDropped(transfer: DataTransfer): Promise<void> {
  const files = [...transfer.files];
  const hasFolder = [...transfer.items].some((item) => item.webkitGetAsEntry()?.isDirectory === true);
  if (hasFolder || files.some(({ name }) => /\.(safetensors|json)$/i.test(name))) {
    await loadLocal(() => filesOfDrop(transfer));
    return;
  }
  await openOnePicture(files, "dropped");
}

/** Opens what was pasted, unless text is pasted where one writes: programs put a picture of the text beside it. */
export async function openPasted(event: ClipboardEvent): Promise<void> {
  const { clipboardData, target } = event;
  if (clipboardData === null || clipboardData.files.length === 0) return;
  const isWriting = target instanceof HTMLTextAreaElement || target instanceof HTMLInputElement;
  if (isWriting && clipboardData.types.includes("text/plain")) return;
  event.preventDefault();
  await openOnePicture([...clipboardData.files], "pasted");
}

/** Of several files the first picture is taken, and the page says so. */
async function openOnePicture(files: readonly File[], how: "dropped" | "pasted"): Promise<void> {
  const file = files.find(({ type }) => type.startsWith("image/")) ?? files[0];
  if (file === undefined) {
    notify("There is no file in it", {
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

/** Fetches a picture that lies beside the page. @throws EngineError `input` when it cannot be fetched. */
export async function fetchPicture(url: URL): Promise<Blob> {
  const response = await fetch(url).catch(() => undefined);
  if (response?.ok === true) return await response.blob();
  const message = "The example could not be fetched; reload the page when you are online.";
  throw new EngineError({ kind: "input", message });
}
