// The choice of the model, at the top of the page: a hub id or an address, suggestions, a local folder, and what is kept here.

import { useEffect, useState } from "preact/hooks";
import { timeLeft } from "../draw/download-rate.ts";
import { byteSize, formInWords } from "../draw/words.ts";
import { keeping, pauseDownload, readShelf, readShelfIfAny, shelf } from "../models.ts";
import { isEmbedded, model, running } from "../state.ts";
import { deferred } from "./deferred.tsx";

const ModelList = deferred(async () => (await import("./model-list.tsx")).ModelList);

/** The chooser: one line with the model's name until it is opened. */
export function ModelChooser() {
  const [isOpen, setOpen] = useState(false);
  useEffect(() => void (isOpen ? readShelf() : readShelfIfAny()), [isOpen]);
  return (
    <section id="models" class="panel chooser" aria-labelledby="models-heading">
      <div class="chooser-head">
        <h2 id="models-heading" tabIndex={-1}>
          Choose a model
        </h2>
        <p class="hint">
          <CurrentModel />
        </p>
        <button type="button" aria-expanded={isOpen} aria-controls="models-body" onClick={() => setOpen(!isOpen)}>
          {isOpen ? "Close the list of models" : "Change the model"}
        </button>
      </div>
      <Download />
      <div id="models-body" class="stack" hidden={!isOpen}>
        {isOpen && <ModelList />}
      </div>
    </section>
  );
}

function CurrentModel() {
  const view = model.value;
  const numUnfinished = (shelf.value?.models ?? []).filter(({ isComplete }) => !isComplete).length;
  const isPaused = numUnfinished > 0 && keeping.value === undefined;
  return (
    <>
      {view === undefined ? (
        running.value?.kind === "load" ? (
          "Loading …"
        ) : (
          "None is loaded"
        )
      ) : (
        <>
          <strong>{view.name}</strong>
          {isEmbedded.value && ", which comes with the page"}
        </>
      )}
      {isPaused && `; ${numUnfinished === 1 ? "a download is" : `${numUnfinished} downloads are`} unfinished`}
    </>
  );
}

/** The running download; it stays in sight when the chooser is closed. */
function Download() {
  const now = keeping.value;
  if (now === undefined) return null;
  const { remote, form, progress } = now;
  // Of the whole download, also while a file is checked or quantised: the bar never goes back.
  const done = progress === undefined ? 0 : progress.loadedBytes / Math.max(1, progress.totalBytes);
  return (
    <div class="download">
      <span id="download-text" class="number">
        {remote.name}, {formInWords(form)}: {progressInWords()}
      </span>
      <progress aria-labelledby="download-text" max={1} value={done} />
      <button type="button" onClick={() => void pauseDownload()}>
        Pause
      </button>
    </div>
  );
}

function progressInWords(): string {
  const { progress, bytesPerSecond } = keeping.value ?? {};
  if (progress === undefined) return "starting";
  const { step, path, doneBytes, allBytes, loadedBytes, totalBytes } = progress;
  if (step !== "download") {
    const share = Math.floor((100 * doneBytes) / Math.max(1, allBytes));
    return `${step === "check" ? "checking" : "quantising"} ${path}, ${share}\u00a0%`;
  }
  const rate = bytesPerSecond === undefined ? "" : `, ${byteSize(bytesPerSecond)}/s`;
  const rest = timeLeft(totalBytes - loadedBytes, bytesPerSecond);
  return `${byteSize(loadedBytes)} of ${byteSize(totalBytes)}${rate}${rest === "" ? "" : `, ${rest}`}`;
}
