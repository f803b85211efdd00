// Drops and pastes anywhere on the page: a picture becomes the user's picture, a folder becomes the checkpoint.

import { useEffect, useState } from "preact/hooks";
import { openDropped, openPasted } from "../own-files.ts";

/** What is dragged over the page tells of itself more often than that, milliseconds; HTML says every 350 or so. */
const SILENCE_MS = 1000;

/** Listens on the whole page; shows where to drop while something is dragged over it. */
export function DropAnywhere() {
  const [isOver, setOver] = useState(false);
  useEffect(() => {
    const listeners = new AbortController();
    const { signal } = listeners;
    let silence: ReturnType<typeof setTimeout> | undefined;
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") === true;
    const leave = () => {
      clearTimeout(silence);
      setOver(false);
    };
    const onOver = (event: DragEvent) => {
      if (event.dataTransfer === null || !hasFiles(event)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
      setOver(true);
      // Where an element goes away under the pointer, nobody tells that the drag left the window.
      clearTimeout(silence);
      silence = setTimeout(leave, SILENCE_MS);
    };
    const onDrop = (event: DragEvent) => {
      leave();
      if (event.dataTransfer === null || !hasFiles(event)) return;
      event.preventDefault();
      void openDropped(event.dataTransfer);
    };
    document.addEventListener("dragenter", onOver, { signal });
    document.addEventListener("dragover", onOver, { signal });
    document.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget === null && leave(), { signal });
    document.addEventListener("drop", onDrop, { signal });
    document.addEventListener("paste", (event) => void openPasted(event), { signal });
    return () => {
      leave();
      listeners.abort();
    };
  }, []);
  if (!isOver) return null;
  return <div class="drop-cover">Drop a picture to ask about it, or a checkpoint’s folder to load it</div>;
}
