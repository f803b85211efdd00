// The loaded model and its adapter, other checkpoints, and downloads: the trace, the answer, the picture, a link.

import { useState } from "preact/hooks";
import { currentPicture } from "../asking.ts";
import { filesOfInput, hasFolderDialog, pickFolder } from "../checkpoint-files.ts";
import { answersJson, pngOf, save } from "../draw/download.ts";
import { byteSize, duration } from "../draw/words.ts";
import { EMBEDDED_NAME, EMBEDDED_URL } from "../embedded.ts";
import type { ModelView } from "../protocol.ts";
import { loadEmbedded, loadLocal, traceFile } from "../session.ts";
import { asked, factorAnswers, isEmbedded, model, notify, pictureMode, running } from "../state.ts";
import { sharedAddress } from "../sync.ts";
import { Fact, FileButton, Panel } from "./controls.tsx";

/** The model panel. */
export function ModelPanel() {
  return (
    <Panel id="model" title="Model">
      <Facts />
      <Checkpoints />
      <h3>Downloads</h3>
      <Downloads />
    </Panel>
  );
}

function Facts() {
  const view = model.value;
  if (view === undefined) {
    return <p class="hint">{running.value?.kind === "load" ? "The model is loading." : "No model is loaded."}</p>;
  }
  return (
    <dl class="facts number">
      <Fact name="Checkpoint">{view.name}</Fact>
      <Fact name="Runs on">
        {view.adapter}
        {view.isSoftware && ", in software on the CPU"}
      </Fact>
      <Fact name="Weights">
        {byteSize(view.weightBytes)}, {view.dtype}
      </Fact>
      <Fact name="Decoder">
        {view.numLayers} layers of {view.numHeads} heads
      </Fact>
      <Fact name="Vocabulary">{view.vocabSize.toLocaleString("en")} tokens</Fact>
      <Fact name="Sees">{picturesOf(view)}</Fact>
      <Fact name="Loaded in">{duration(view.loadMs)}</Fact>
    </dl>
  );
}

/** What the model sees of a picture, in words. */
function picturesOf({ imageSide, pictureForm }: ModelView): string {
  if (imageSide === undefined || pictureForm === undefined) return "no pictures, text only";
  if (pictureForm === "grid") return "pictures of any shape";
  return `pictures ${pictureForm === "tiles" ? "in tiles " : ""}of ${imageSide} × ${imageSide} pixels`;
}

function Checkpoints() {
  const isLoading = running.value?.kind === "load";
  return (
    <div class="stack">
      <div class="row">
        {hasFolderDialog() ? (
          <button type="button" disabled={isLoading} onClick={() => void loadLocal(pickFolder)}>
            Open a checkpoint folder
          </button>
        ) : (
          <FileButton
            label="Open a checkpoint folder"
            isFolder
            onFiles={(files) => void loadLocal(async () => filesOfInput(files))}
          />
        )}
        {(!isEmbedded.value || (model.value === undefined && !isLoading)) && (
          <button type="button" disabled={isLoading} onClick={() => void loadEmbedded()}>
            {model.value === undefined ? `Load ${EMBEDDED_NAME} again` : `Back to ${EMBEDDED_NAME}`}
          </button>
        )}
      </div>
      <p class="hint">
        A LLaVA-1.5 or LLaVA-NeXT checkpoint in Hugging Face’s layout (config.json, tokenizer.json, safetensors), or a
        text-only LLaMA, Mistral or Qwen2; you can also drop its folder on the page. The files are read on this machine,
        piece by piece, and sent nowhere.{" "}
        {isEmbedded.value && (
          <>
            {EMBEDDED_NAME} comes with the page: <a href={`${EMBEDDED_URL}README.md`}>its model card</a>.
          </>
        )}
      </p>
    </div>
  );
}

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
              const text = answersJson(done, view, factorAnswers.value.values());
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
    else notify("The picture is missing", { kind: "input", message: "Choose, paste or drop a picture first." });
  } catch (error) {
    notify("The picture could not be saved", { kind: "internal", message: String(error) });
  }
}

/** Copies the address; the user's own picture is not part of it, which the button notes. */
function CopyLink() {
  const [said, setSaid] = useState("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(sharedAddress());
      setSaid(pictureMode.value === "own" ? "Copied, without your picture." : "Copied.");
    } catch {
      setSaid("The browser does not allow copying: copy the address from its address bar.");
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
