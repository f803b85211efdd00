// The question: a form or free text, and the buttons Ask and Stop.

import { useEffect, useId } from "preact/hooks";
import { ask, askable, chosenObjects, form, question } from "../asking.ts";
import { QUESTION_FORMS } from "../scene/questions.ts";
import type { ObjectName } from "../scene/scene.ts";
import { stop } from "../session.ts";
import {
  asksOnChange,
  formId,
  formObjects,
  freeText,
  isEmbedded,
  isStopped,
  maxNewTokens,
  model,
  questionMode,
  running,
} from "../state.ts";
import { MAX_QUESTION_LENGTH } from "../url-state.ts";
import { NumberField, Panel, Segmented, Select } from "./controls.tsx";

/** The question panel. */
export function QuestionPanel() {
  useEscapeToStop();
  return (
    <Panel id="question" title="Question">
      {/* Not a <form>: sandboxed frames may forbid forms, and one that no script handles sends its fields in the address. */}
      <div class="stack">
        <Segmented
          legend="How to ask"
          choices={[
            { value: "form", label: "Form" },
            { value: "free", label: "Free text" },
          ]}
          value={questionMode.value}
          onChange={(mode) => {
            // The form's question is the initial free text.
            if (mode === "free" && freeText.value === "") freeText.value = question.value;
            questionMode.value = mode;
          }}
        />
        {questionMode.value === "form" ? <FormFields /> : <FreeText />}
        <AskRow />
      </div>
    </Panel>
  );
}

function FormFields() {
  const names = chosenObjects.value;
  const labels = ["Object", "In relation to"];
  return (
    <>
      <div class="form-fields">
        <Select
          label="Kind of question"
          choices={QUESTION_FORMS.map(({ id, label }) => ({ value: id, label }))}
          value={formId.value}
          onChange={(id) => {
            formId.value = id;
          }}
        />
        {labels.slice(0, form.value?.numObjects ?? 0).map((label, place) => (
          <Select<ObjectName | "">
            key={label}
            label={label}
            choices={askable.value.map((value) => ({ value, label: value }))}
            value={names[place] ?? ""}
            onChange={(name) => {
              if (name === "") return;
              // Choosing the other field's object swaps the two.
              const swapped = names.map((other) => (other === name ? (names[place] ?? other) : other));
              formObjects.value = swapped.with(place, name);
            }}
          />
        ))}
      </div>
      <p class="sentence">
        <span class="visually-hidden">Question: </span>
        {question.value === "" ? "This question needs more objects in the scene." : question.value}
      </p>
    </>
  );
}

function FreeText() {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>Your question</label>
      <textarea
        id={id}
        rows={3}
        maxLength={MAX_QUESTION_LENGTH}
        value={freeText.value}
        onInput={(event) => {
          freeText.value = event.currentTarget.value;
        }}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
          event.preventDefault();
          askHere();
        }}
      />
      {freeText.value.length >= MAX_QUESTION_LENGTH && (
        <span class="hint" role="status">
          That is as long as a question may be: {MAX_QUESTION_LENGTH} characters.
        </span>
      )}
      {isEmbedded.value && (
        <span class="hint">This model was trained on the form’s wording only; other wording gives noise.</span>
      )}
    </div>
  );
}

function AskRow() {
  const now = running.value;
  const isReady = model.value !== undefined && now?.kind !== "ask" && now?.kind !== "load";
  return (
    <>
      <div class="ask-bar">
        <button
          type="button"
          class="primary"
          aria-disabled={!isReady}
          disabled={model.value === undefined}
          onClick={askHere}
        >
          Ask
        </button>
        {now !== undefined && now.kind !== "load" && now.kind !== "explain" && (
          <button type="button" onClick={() => void stop()}>
            Stop
          </button>
        )}
        <div class="ask-progress">
          {now === undefined && isStopped.value && "Stopped."}
          {now?.kind === "ask" && (
            <>
              <span id="ask-stage">{now.stage}</span>
              <progress aria-labelledby="ask-stage" />
            </>
          )}
        </div>
      </div>
      <div class="ask-options">
        <label class="check">
          <input
            type="checkbox"
            checked={asksOnChange.value}
            onChange={(event) => {
              asksOnChange.value = event.currentTarget.checked;
            }}
          />
          Ask on every change
        </label>
        <details>
          <summary>Length of the answer</summary>
          <NumberField
            label="Longest answer, tokens"
            value={maxNewTokens.value}
            min={1}
            max={512}
            step={1}
            onChange={(value) => {
              maxNewTokens.value = value;
            }}
            onEnter={() => model.value !== undefined && askHere()}
          />
        </details>
      </div>
    </>
  );
}

/** The width up to which the page is one column; style/page.css has it too. */
const NARROW = "(max-width: 57.99rem)";

/** Asks, and on a narrow screen brings the answers into sight as they begin. */
function askHere(): void {
  void ask();
  if (!matchMedia(NARROW).matches) return;
  // After the panel of the answers is drawn.
  requestAnimationFrame(() =>
    requestAnimationFrame(() => {
      const panel = document.getElementById("answers");
      if (panel === null || running.value?.kind !== "ask") return;
      const { top } = panel.getBoundingClientRect();
      if (top >= 0 && top < innerHeight / 3) return;
      const isCalm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      panel.scrollIntoView({ block: "start", behavior: isCalm ? "instant" : "smooth" });
    }),
  );
}

function useEscapeToStop(): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const isInDialog = document.querySelector("dialog[open]") !== null; // which it closes
      if (event.key === "Escape" && !isInDialog && running.value !== undefined && running.value.kind !== "load")
        void stop();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
}
