// A model that was looked up: its size, licence and memory in each form, whether it fits, and its download.

import { useId } from "preact/hooks";
import { byteSize, duration, formInWords } from "../draw/words.ts";
import {
  chosenForm,
  formToKeep,
  isFit,
  isMeasuring,
  keeping,
  keepModel,
  loadKept,
  MEMORY_SIZES,
  measureOffer,
  memoryGib,
  offer,
  shelf,
  speeds,
  stateMemory,
} from "../models.ts";
import type { FormView, ModelOffer } from "../models-protocol.ts";
import { running } from "../state.ts";
import { Fact, Select } from "./controls.tsx";

/** The model that was looked up; empty without one. */
export function ModelOfferCard() {
  const found = offer.value;
  if (found === undefined) return null;
  const { remote, downloadBytes, fileDtype, numImages, contextLength } = found;
  const question = numImages === 0 ? "a text" : "one picture";
  return (
    <div class="offer stack">
      <h3>{remote.page === undefined ? remote.name : <a href={remote.page}>{remote.name}</a>}</h3>
      <dl class="facts number">
        <Fact name="Download">
          {byteSize(downloadBytes)}, {remote.files.length} files, {fileDtype}
        </Fact>
        <Fact name="Licence">{remote.licence ?? "not stated; see its page"}</Fact>
        <Fact name="Revision">{remote.commit?.slice(0, 7) ?? "none"}</Fact>
        <Fact name="Would run on">
          {found.adapter === "" ? "an unnamed adapter" : found.adapter}
          {found.isSoftware && ", in software on the CPU"}
        </Fact>
      </dl>
      <Select
        label={found.isSoftware ? "Memory of this machine" : "Memory of this GPU, which WebGPU does not tell"}
        choices={MEMORY_SIZES.map((gib) => ({ value: String(gib), label: `${gib}\u00a0GiB` }))}
        value={String(memoryGib.value)}
        onChange={(gib) => stateMemory(Number(gib))}
      />
      <Forms forms={found.forms} />
      <p class="hint">
        Memory for a question about {question} of {contextLength.toLocaleString("en")} positions. In q8, q4_1 and q4,
        weights are whole numbers of 8 or 4 bits: smaller and faster, a little less exact. They are made as the download
        comes, so that only they are kept.
      </p>
      <p>{verdict(found)}</p>
      <Actions found={found} />
    </div>
  );
}

function Forms({ forms }: { readonly forms: readonly FormView[] }) {
  const name = useId();
  const chosen = formToKeep.value;
  return (
    <fieldset class="forms">
      <legend class="shown">Keep it</legend>
      {forms.map((form) => (
        <label key={form.form} class="form-choice">
          <input
            type="radio"
            name={name}
            value={form.form}
            checked={form.form === chosen?.form}
            onChange={() => {
              chosenForm.value = form.form;
            }}
          />
          <span>
            {formInWords(form.form)}{" "}
            <span class="hint number">
              {byteSize(form.neededBytes)} of memory, {byteSize(form.keptBytes)} kept here,{" "}
              {form.problem !== undefined ? "not on this adapter" : isFit(form) ? "fits" : "does not fit"}
            </span>
          </span>
        </label>
      ))}
    </fieldset>
  );
}

/** Whether the chosen form fits, and which is the nearest that does. */
function verdict({ forms }: ModelOffer): string {
  const chosen = formToKeep.value;
  if (chosen === undefined) return "";
  const memory = `the ${memoryGib.value}\u00a0GiB stated`;
  const needs = `${formInWords(chosen.form)} it needs ${byteSize(chosen.neededBytes)}`;
  if (isFit(chosen)) return `It fits: ${needs} of ${memory}.`;
  const nearest = forms.find(isFit);
  if (nearest !== undefined) {
    const reason = chosen.problem ?? `It does not fit: ${needs}, more than ${memory}.`;
    return `${reason} The nearest form that fits is ${formInWords(nearest.form)}, with ${byteSize(nearest.neededBytes)}.`;
  }
  const smallest = forms.at(-1) ?? chosen;
  if (smallest.problem !== undefined) return smallest.problem;
  return `It does not fit: even ${formInWords(smallest.form)} it needs ${byteSize(smallest.neededBytes)}, more than ${memory}.`;
}

function Actions({ found }: { readonly found: ModelOffer }) {
  const chosen = formToKeep.value;
  if (chosen === undefined) return null;
  const { remote } = found;
  const { form } = chosen;
  const kept = shelf.value?.models.find((each) => each.remote.name === remote.name && each.form === form);
  const isSame = kept?.remote.commit === remote.commit;
  const isBusy = keeping.value !== undefined || running.value?.kind === "load";
  const speed = speeds.value.get(form);
  return (
    <>
      <div class="row">
        {kept?.isComplete === true && isSame ? (
          <button type="button" class="primary" disabled={isBusy} onClick={() => void loadKept(kept)}>
            Load the kept model
          </button>
        ) : (
          <button
            type="button"
            class="primary"
            disabled={isBusy || chosen.problem !== undefined}
            onClick={() => void keepModel(remote, form)}
          >
            {kept !== undefined && isSame ? "Resume the download" : `Download ${byteSize(found.downloadBytes)}`}
          </button>
        )}
        <button
          type="button"
          disabled={isMeasuring.value || chosen.problem !== undefined}
          onClick={() => void measureOffer(form)}
        >
          {isMeasuring.value ? "Measuring …" : "Estimate its speed here"}
        </button>
        <button
          type="button"
          onClick={() => {
            offer.value = undefined;
          }}
        >
          Back to the suggestions
        </button>
      </div>
      <p class="hint" role="status">
        {speed !== undefined &&
          `${formInWords(form)}, from a few of its layers: ${duration(speed.pictureMs + speed.promptMs)} until the first token, then ${(1000 / speed.tokenMs).toPrecision(2)} tokens a second.`}
      </p>
    </>
  );
}
