// Drops and pastes anywhere on the page: a picture becomes the user's picture, a folder becomes the checkpoint.

import { useEffect, useState } from "preact/hooks";
import { openDropped, openPicture } from "../session.ts";

/** Listens on the whole page; shows where to drop while something is dragged over it. */
export function DropAnywhere() {
  const [isOver, setOver] = useState(false);
  useEffect(() => {
    const listeners = new AbortController();
    const { signal } = listeners;
    // Enter and leave come for every element on the way; only the outermost pair counts.
    let depth = 0;
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") === true;
    document.addEventListener("dragenter", (event) => hasFiles(event) && setOver(++depth > 0), { signal });
    document.addEventListener("dragleave", (event) => hasFiles(event) && setOver(--depth > 0), { signal });
    document.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault(), { signal });
    document.addEventListener(
      "drop",
      (event) => {
        if (event.dataTransfer === null || !hasFiles(event)) return;
        event.preventDefault();
        depth = 0;
        setOver(false);
        void openDropped(event.dataTransfer);
      },
      { signal },
    );
    document.addEventListener("paste", (event) => void pastePicture(event), { signal });
    return () => listeners.abort();
  }, []);
  if (!isOver) return null;
  return <div class="drop-cover">Drop a picture to ask about it, or a checkpoint’s folder to load it</div>;
}

async function pastePicture(event: ClipboardEvent): Promise<void> {
  const [file] = event.clipboardData?.files ?? [];
  if (file === undefined) return;
  event.preventDefault();
  await openPicture(file, file.name === "" ? "pasted picture" : file.name);
}
