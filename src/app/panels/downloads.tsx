// What can be taken away from an answer: the trace, the answer, the picture, a link.

import { useState } from "preact/hooks";
import { currentPicture } from "../asking.ts";
import { answerJson, pngOf, save } from "../draw/download.ts";
import { traceFile } from "../session.ts";
import { asked, factorAnswers, model, notify, pictureMode, running } from "../state.ts";
import { sharedAddress } from "../sync.ts";

/** The row of downloads. */
export function Downloads() {
  const done = asked.value;
  const view = model.value;
  const isBusy = running.value !== undefined;
  return (
    <div class="row">
      {done !== undefined && view !== undefined && (
        <>
          <button type="button" disabled={isBusy} onClick={() => void saveTrace()}>
            Download trace (safetensors)
          </button>
          <button
            type="button"
            onClick={() => {
              const text = answerJson(done, view, factorAnswers.value.values());
              save(new Blob([text], { type: "application/json" }), "adaptvis-answer.json");
            }}
          >
            Download answer (JSON)
          </button>
        </>
      )}
      <button type="button" onClick={() => void savePicture()}>
        Download picture (PNG)
      </button>
      <CopyLink />
    </div>
  );
}

async function saveTrace(): Promise<void> {
  const bytes = await traceFile();
  if (bytes !== undefined) save(new Blob([bytes]), "adaptvis-trace.safetensors");
}

async function savePicture(): Promise<void> {
  try {
    const picture = await currentPicture();
    if (picture !== undefined) save(await pngOf(picture), "adaptvis-picture.png");
    else notify("There is no picture yet", { kind: "input", message: "Choose, paste or drop a picture first." });
  } catch (error) {
    notify("The picture could not be saved", { kind: "internal", message: String(error) });
  }
}

/** Copies the address; a picture of the user's is not in it, and the button says so. */
function CopyLink() {
  const [said, setSaid] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(sharedAddress());
      setSaid(pictureMode.value === "own" ? "Copied; your picture is not in it." : "Copied.");
    } catch {
      setSaid("The browser forbids copying: take the address from its address bar.");
    }
  };
  return (
    <>
      <button type="button" onClick={() => void copy()}>
        Copy link
      </button>
      <span class="hint" role="status">
        {said}
      </span>
    </>
  );
}
