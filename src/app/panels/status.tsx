// The strip of progress below the masthead, and what a screen reader is told.

import { byteSize } from "../draw/words.ts";
import type { LoadStep } from "../protocol.ts";
import { stop } from "../session.ts";
import { announcement, running } from "../state.ts";

/** What a step of loading is called. */
function stepInWords({ phase, loadedBytes, totalBytes, numCompiled, numKernels }: LoadStep): string {
  if (phase === "adapter") return "looking for a GPU";
  if (phase === "config") return "reading what the model is";
  if (phase === "weights") {
    return totalBytes === 0 ? "weights" : `weights, ${byteSize(loadedBytes)} of ${byteSize(totalBytes)}`;
  }
  return numKernels === 0 ? "compiling kernels" : `compiling kernels, ${numCompiled} of ${numKernels}`;
}

/** Loading's progress; nothing when nothing loads. */
export function LoadStrip() {
  const now = running.value;
  if (now?.kind !== "load") return null;
  const { step, name } = now;
  return (
    <div class="load-strip">
      <span id="load-text">{`Loading ${name}${step === undefined ? "" : `: ${stepInWords(step)}`}`}</span>
      <progress aria-labelledby="load-text" max={1} value={step?.share ?? 0} />
      <button type="button" onClick={() => void stop()}>
        Stop loading
      </button>
    </div>
  );
}

/** Polite announcements: an answer that stands, an object that moved. */
export function Announcer() {
  return (
    <div class="visually-hidden" role="status" aria-live="polite">
      {announcement.value}
    </div>
  );
}
