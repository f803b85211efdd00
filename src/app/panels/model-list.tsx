// The opened list of models: the field for a hub id or an address, suggestions, what was looked up, and what is kept here.

import { useId } from "preact/hooks";
import { filesOfInput, hasFolderDialog, pickFolder } from "../checkpoint-files.ts";
import { byteSize } from "../draw/words.ts";
import { lookingUp, lookUp, modelText, offer } from "../models.ts";
import { loadLocal } from "../session.ts";
import { SUGGESTED_MODELS } from "../suggested-models.ts";
import { FileButton } from "./controls.tsx";
import { KeptModels } from "./kept-models.tsx";
import { ModelOfferCard } from "./model-offer.tsx";

/** The list. */
export function ModelList() {
  return (
    <>
      <ModelField />
      <ModelOfferCard />
      {offer.value === undefined && <Suggestions />}
      <KeptModels />
    </>
  );
}

function ModelField() {
  const id = useId();
  const isBusy = lookingUp.value !== undefined;
  const start = () => void lookUp(modelText.value);
  return (
    <div class="field">
      <label for={id}>Hub id, or address of a model</label>
      <div class="row model-field">
        <input
          id={id}
          class="text"
          type="text"
          inputMode="url"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          maxLength={500}
          value={modelText.value}
          aria-describedby={`${id}-hint`}
          onInput={(event) => {
            modelText.value = event.currentTarget.value;
          }}
          onKeyDown={(event) => {
            if (event.key === "Enter" && !isBusy) start();
          }}
        />
        <button type="button" disabled={isBusy || modelText.value.trim() === ""} onClick={start}>
          {isBusy ? "Looking up …" : "Look up"}
        </button>
        {hasFolderDialog() ? (
          <button type="button" onClick={() => void loadLocal(pickFolder)}>
            Open a local folder
          </button>
        ) : (
          <FileButton
            label="Open a local folder"
            isFolder
            onFiles={(files) => void loadLocal(async () => filesOfInput(files))}
          />
        )}
      </div>
      <span class="hint" id={`${id}-hint`}>
        Such as llava-hf/llava-1.5-7b-hf. Its size, licence and memory are shown before anything large is fetched.
      </span>
    </div>
  );
}

function Suggestions() {
  return (
    <div class="field">
      <span class="label">Suggestions</span>
      <ul class="models">
        {SUGGESTED_MODELS.map(({ id, bytes, licence, purpose }) => (
          <li key={id}>
            <span class="model-name">{id}</span>
            <span class="hint">
              {byteSize(bytes)}; {purpose}; licence: {licence ?? "see its page"}
            </span>
            <button type="button" disabled={lookingUp.value !== undefined} onClick={() => void lookUp(id)}>
              <span>
                Look up <span class="visually-hidden">{id}</span>
              </span>
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
