// Which model answers and on what, other checkpoints, and what can be taken away.

import { filesOfInput, hasFolderDialog, pickFolder } from "../checkpoint-files.ts";
import { TINY_SPATIAL_URL } from "../draw/demo-pictures.ts";
import { byteSize, duration } from "../draw/words.ts";
import { loadLocal, loadTinySpatial } from "../session.ts";
import { isEmbedded, model, running } from "../state.ts";
import { Fact, FileButton, Panel } from "./controls.tsx";
import { Downloads } from "./downloads.tsx";

/** The model panel. */
export function ModelPanel() {
  return (
    <Panel id="model" title="Model">
      <Facts />
      <Checkpoints />
      <h3>Take away</h3>
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
      <Fact name="Sees">
        {view.imageSide === undefined
          ? "no pictures, text only"
          : `pictures ${view.seesTiles ? "in tiles " : ""}of ${view.imageSide} × ${view.imageSide} pixels`}
      </Fact>
      <Fact name="Loaded in">{duration(view.loadMs)}</Fact>
    </dl>
  );
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
          <button type="button" disabled={isLoading} onClick={() => void loadTinySpatial()}>
            {model.value === undefined ? "Load tiny-spatial again" : "Back to tiny-spatial"}
          </button>
        )}
      </div>
      <p class="hint">
        A LLaVA-1.5 or LLaVA-NeXT checkpoint in Hugging Face’s layout (config.json, tokenizer.json, safetensors), or a
        text-only LLaMA, Mistral or Qwen2; you can also drop its folder on the page. The files are read on this machine,
        piece by piece, and sent nowhere.{" "}
        {isEmbedded.value && (
          <>
            tiny-spatial comes with the page: <a href={new URL("README.md", TINY_SPATIAL_URL).href}>its model card</a>.
          </>
        )}
      </p>
    </div>
  );
}
