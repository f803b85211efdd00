// The two answers side by side, streamed and finished, and the confidence that chose the factor, with its three settings.

import { type AdaptVisSettings, chooseFactor } from "../../interventions/adaptvis.ts";
import { ask } from "../asking.ts";
import { decimal, percent, timeInWords } from "../draw/words.ts";
import type { AnswerKind, AnswerView } from "../protocol.ts";
import { recorded } from "../recorded.ts";
import { changeSettings } from "../session.ts";
import { areSame, asked, hadPicture, model, modelSettings, running, settings, streaming } from "../state.ts";
import { NumberField, Panel } from "./controls.tsx";
import { Later } from "./later.tsx";
import { Verdict } from "./verdict.tsx";

const titles: Readonly<Record<AnswerKind, string>> = {
  greedy: "Greedy",
  adaptvis: "AdaptVis",
  factor: "Your factor",
};

/** Number of characters from which an answer is set as running text. */
const LONG = 60;

/** The answers panel, and those that go on from the answers. */
export function Answers() {
  return (
    <>
      <AnswersPanel />
      <Later panel="ConversationPanel" />
      <Later panel="WordsPanel" />
    </>
  );
}

function AnswersPanel() {
  const now = running.value;
  const isAsking = now?.kind === "ask";
  const done = asked.value;
  if (done === undefined && !isAsking) {
    return (
      <Panel id="answers" title="Answers">
        <p>
          Press <strong>Ask</strong>. The model then answers twice: unmodified (greedy), and with AdaptVis, which first
          checks how sure the model is and then multiplies its attention scores on the picture by a factor below or
          above 1.
        </p>
        <p class="hint">
          Below the answers you find the confidence that chose the factor, a slider to try other factors, where in the
          picture the model looked, the alternatives to every token, and the GPU passes of the answer.
        </p>
      </Panel>
    );
  }
  const texts = isAsking ? Object.values(streaming.value) : [done?.answers.greedy.text, done?.answers.adaptvis.text];
  const isTwofold = isAsking ? model.value?.imageSide !== undefined : hadPicture.value;
  // Long texts are hard to read in narrow columns.
  const isLong = texts.some((text) => (text?.length ?? 0) > LONG * 2);
  return (
    <Panel id="answers" title="Answers">
      <p key="asked" class="asked">
        {isAsking ? now.question : done?.question}
      </p>
      <div class={isLong || !isTwofold ? "stack" : "pair"}>
        <AnswerCard kind="greedy" answer={isAsking ? undefined : done?.answers.greedy} />
        {isTwofold && <AnswerCard kind="adaptvis" answer={isAsking ? undefined : done?.answers.adaptvis} />}
      </div>
      {done !== undefined && (
        // While the next answer streams, the parts of the last one keep their place but are inert.
        <div class={isAsking ? "stack stale" : "stack"} inert={isAsking}>
          <Verdict />
          {hadPicture.value ? (
            <Confidence
              confidence={done.answers.adaptvis.confidence}
              used={done.answers.settings}
              now={recorded.value === undefined ? settings.value : done.answers.settings}
              defaults={modelSettings.value}
            />
          ) : (
            <p class="hint">
              There was no picture to look at, so AdaptVis gives the same answer as the unmodified model.
            </p>
          )}
        </div>
      )}
    </Panel>
  );
}

/** One answer: its text, and the numbers under it. */
export function AnswerCard({ kind, answer }: { readonly kind: AnswerKind; readonly answer: AnswerView | undefined }) {
  const text = answer === undefined ? streaming.value[kind] : answer.text;
  return (
    <article class="answer" aria-label={`${titles[kind]} answer`} aria-busy={answer === undefined}>
      <h3>{titles[kind]}</h3>
      <p class={text.length > LONG ? "answer-text long" : "answer-text"}>
        {text === "" ? <span class="waiting">{answer === undefined ? "…" : "(an empty answer)"}</span> : text}
      </p>
      {answer !== undefined && <AnswerNumbers answer={answer} />}
    </article>
  );
}

function AnswerNumbers({ answer }: { readonly answer: AnswerView }) {
  const first = answer.tokens[0];
  const isModified = answer.factor !== 1;
  return (
    <p class="hint number">
      {isModified ? `Factor ${decimal(answer.factor)}` : "Unmodified"}
      {first !== undefined && ` · first token ${percent(first.probability)}`}
      {answer.tokens.length > 0 && ` · ${answer.tokens.length} ${answer.tokens.length === 1 ? "token" : "tokens"}`}
      {timeInWords(answer)}
      {answer.finishReason === "length" && " · cut at the length limit"}
    </p>
  );
}

interface ConfidenceProps {
  readonly confidence: number;
  /** The settings of the shown answers. */
  readonly used: AdaptVisSettings;
  /** The current settings. */
  readonly now: AdaptVisSettings;
  /** The checkpoint's settings. */
  readonly defaults: AdaptVisSettings;
}

/** The confidence meter with AdaptVis' settings. */
export function Confidence({ confidence, used, now, defaults }: ConfidenceProps) {
  return (
    <div class="confidence stack">
      <h3 id="confidence-heading">How sure is the model?</h3>
      <Meter confidence={confidence} settings={now} />
      <p>
        {sentence(confidence, now)} <Outdated confidence={confidence} used={used} now={now} />
      </p>
      {recorded.value === undefined && <SettingsFields now={now} defaults={defaults} />}
    </div>
  );
}

/** AdaptVis' three settings. */
function SettingsFields({ now, defaults }: Pick<ConfidenceProps, "now" | "defaults">) {
  const isDefault = areSame(now, defaults);
  return (
    <>
      <div class="settings-fields">
        <NumberField
          label="How sure it must be"
          paper="beta"
          value={now.beta}
          min={0}
          max={1}
          step={0.05}
          onChange={(beta) => changeSettings({ ...now, beta })}
        />
        <NumberField
          label="Factor when less sure"
          paper="alpha1"
          value={now.alpha1}
          min={0}
          max={10}
          step={0.1}
          onChange={(alpha1) => changeSettings({ ...now, alpha1 })}
        />
        <NumberField
          label="Factor when sure"
          paper="alpha2"
          value={now.alpha2}
          min={0}
          max={10}
          step={0.1}
          onChange={(alpha2) => changeSettings({ ...now, alpha2 })}
        />
      </div>
      <div>
        <button type="button" disabled={isDefault} onClick={() => changeSettings(defaults)}>
          Reset to the checkpoint’s values
        </button>
      </div>
    </>
  );
}

function Meter({ confidence, settings }: { readonly confidence: number; readonly settings: AdaptVisSettings }) {
  const { beta, alpha1, alpha2 } = settings;
  const place = (value: number) => `${(Math.min(Math.max(value, 0), 1) * 100).toFixed(2)}%`;
  const isBelow = confidence < beta;
  return (
    <div class="meter">
      <div class="meter-sides" aria-hidden="true">
        <span class={isBelow ? "chosen" : ""}>less sure: × {decimal(alpha1)}</span>
        <span class={isBelow ? "" : "chosen"}>sure enough: × {decimal(alpha2)}</span>
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements: a meter element has no room for beta's mark */}
      <div
        class="meter-bar"
        role="meter"
        aria-labelledby="confidence-heading"
        aria-valuemin={0}
        aria-valuemax={1}
        aria-valuenow={confidence}
        aria-valuetext={`${decimal(confidence)}, ${isBelow ? "less than" : "at least"} the ${decimal(beta)} that it must be`}
      >
        <span class="meter-fill" style={{ width: place(confidence) }} />
        <span class="meter-beta" style={{ left: place(beta) }} />
      </div>
      <div class="meter-scale number" aria-hidden="true">
        <span>0</span>
        <span class="meter-beta-label" style={{ left: `clamp(2.5rem, ${place(beta)}, 100% - 2.5rem)` }}>
          must be {decimal(beta)}
        </span>
        <span>1</span>
      </div>
    </div>
  );
}

function sentence(confidence: number, settings: AdaptVisSettings): string {
  const { beta } = settings;
  const isBelow = confidence < beta;
  const factor = chooseFactor(confidence, settings);
  const start = `The first token has probability ${decimal(confidence)}, which is ${isBelow ? "less than" : "at least"} the ${decimal(beta)} that it must be (the paper’s beta).`;
  return `${start} So AdaptVis multiplies the attention scores of the picture by ${decimal(factor)} (${isBelow ? "alpha1" : "alpha2"})${factor === 1 ? ", which changes nothing" : factor < 1 ? ": the model looks wider" : ": the model looks more narrowly"}.`;
}

function Outdated({ confidence, used, now }: Omit<ConfidenceProps, "defaults">) {
  const factor = chooseFactor(confidence, now);
  if (factor === chooseFactor(confidence, used)) return null;
  return (
    <>
      <strong>The answer above was made with factor {decimal(chooseFactor(confidence, used))}.</strong>{" "}
      <button type="button" disabled={running.value !== undefined} onClick={() => void ask()}>
        Ask again with factor {decimal(factor)}
      </button>
    </>
  );
}
