// The models that the browser keeps for this page, each with its size; and how much room there is.

import { useState } from "preact/hooks";
import type { KeptModel } from "../../store/model-store.ts";
import { byteSize, formInWords } from "../draw/words.ts";
import { EMBEDDED_NAME } from "../embedded.ts";
import { askToPersist, keeping, keepModel, loadKept, removeKept, shelf, shelfProblem } from "../models.ts";
import { loadEmbedded } from "../session.ts";
import { isEmbedded, model, running } from "../state.ts";

/** The list of kept models. */
export function KeptModels() {
  const isLoading = running.value?.kind === "load";
  const models = shelf.value?.models ?? [];
  return (
    <div class="field">
      <span class="label">On this machine</span>
      <ul class="models">
        <li>
          <span class="model-name">{EMBEDDED_NAME}</span>
          <span class="hint">comes with the page; a toy world of 24 objects, and habits from texts about it</span>
          {isEmbedded.value && model.value !== undefined ? (
            <span class="hint">in use</span>
          ) : (
            <button type="button" disabled={isLoading} onClick={() => void loadEmbedded()}>
              <span>
                Load <span class="visually-hidden">{EMBEDDED_NAME}</span>
              </span>
            </button>
          )}
        </li>
        {models.map((kept) => (
          <Kept key={kept.key} kept={kept} />
        ))}
      </ul>
      <Room />
    </div>
  );
}

function Kept({ kept }: { readonly kept: KeptModel }) {
  const [isSure, setSure] = useState(false);
  const { remote, form, isComplete, keptBytes, downloadedBytes, downloadBytes } = kept;
  const now = keeping.value;
  const isRunning = now?.remote.name === remote.name && now.form === form;
  const isBusy = now !== undefined || running.value?.kind === "load";
  const title = `${remote.name}, ${formInWords(form)}`;
  const hidden = <span class="visually-hidden">{title}</span>;
  return (
    <li>
      <span class="model-name">{title}</span>
      <span class="hint number">
        {isComplete
          ? byteSize(keptBytes)
          : `${byteSize(downloadedBytes)} of ${byteSize(downloadBytes)} have come, ${byteSize(keptBytes)} kept`}
      </span>
      <span class="row">
        {isComplete ? (
          <button type="button" disabled={isBusy} onClick={() => void loadKept(kept)}>
            <span>Load {hidden}</span>
          </button>
        ) : (
          !isRunning && (
            <button type="button" disabled={isBusy} onClick={() => void keepModel(remote, form)}>
              <span>Resume {hidden}</span>
            </button>
          )
        )}
        {!isRunning && (
          <button
            type="button"
            onClick={() => (isSure ? void removeKept(kept) : setSure(true))}
            onBlur={() => setSure(false)}
          >
            <span>
              {isSure ? `Delete ${byteSize(keptBytes)} for good` : "Delete"} {hidden}
            </span>
          </button>
        )}
      </span>
    </li>
  );
}

/** How much is used of how much, and whether the browser may remove it. */
function Room() {
  const [answer, setAnswer] = useState("");
  if (shelfProblem.value !== undefined) return <p class="hint">{shelfProblem.value}</p>;
  if (shelf.value === undefined) return null;
  const { usedBytes, quotaBytes, isPersistent } = shelf.value.room;
  const used =
    usedBytes === undefined || quotaBytes === undefined
      ? ""
      : `The browser gives this page ${byteSize(quotaBytes)}, of which ${byteSize(usedBytes)} are in use. `;
  if (isPersistent) return <p class="hint">{used}What is kept stays until you delete it.</p>;
  const ask = async () => {
    setAnswer(
      (await askToPersist()) ? "" : "The browser does not promise it; it may ask again once you use the page more.",
    );
  };
  return (
    <div class="row">
      <p class="hint">
        {used}It may remove what is kept when the disk is nearly full. <span role="status">{answer}</span>
      </p>
      <button type="button" onClick={() => void ask()}>
        Ask the browser to keep it
      </button>
    </div>
  );
}
