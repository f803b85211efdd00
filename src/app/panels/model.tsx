// Which model answers and on what, other checkpoints, and what can be taken away.

import { pickCheckpointFolder, filesOfInput } from "../checkpoint-files.ts";
import { byteSize, duration } from "../draw/words.ts";
import { loadCheckpoint, loadTinySpatial } from "../session.ts";
import { asked, model, running } from "../state.ts";
import { FileButton, Panel } from "./controls.tsx";
import { Downloads } from "./downloads.tsx";

/** The model panel. */
export function ModelPanel() {
  const view = model.value;
  return (
    <Panel id="model" title="Model">
      {view === undefined ? (
        <p class="hint">{running.value?.kind === "load" ? "The model loads." : "No model is loaded."}</p>
      ) : (
        <dl class="facts number">
          <Fact name="Checkpoint">{view.name}</Fact>
          <Fact name="Runs on">
            {view.adapter}
            {view.isSoftware && " (software, on the CPU)"}
          </Fact>
          <Fact name="Weights">
            {byteSize(view.weightBytes)}, {view.dtype}
          </Fact>
          <Fact name="Decoder">
            {view.numLayers} layers, {view.numHeads} heads
          </Fact>
          <Fact name="Vocabulary">{view.vocabSize.toLocaleString("en")} tokens</Fact>
          <Fact name="Sees">
            {view.imageSide === undefined ? "text only" : `pictures of ${view.imageSide} × ${view.imageSide} pixels`}
          </Fact>
          <Fact name="Loaded in">{duration(view.loadMs)}</Fact>
        </dl>
      )}
    </Panel>
  );
}
