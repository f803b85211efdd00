// The two answers beside each other, as they stream and when they stand.

import { decimal, duration, percent } from "../draw/words.ts";
import type { AnswerKind, AnswerView } from "../protocol.ts";
import { asked, hadPicture, model, modelSettings, running, settings, streaming } from "../state.ts";
import { Confidence } from "./confidence.tsx";
import { Panel } from "./controls.tsx";

const titles: Readonly<Record<AnswerKind, string>> = {
  greedy: "Greedy",
  adaptvis: "AdaptVis",
  factor: "Your factor",
};

/** Characters from which an answer is set as running text. */
const LONG = 60;

/** The answers panel. */
export function Answers() {
  const now = running.value;
  const isAsking = now?.kind === "ask";
  const done = asked.value;
  if (done === undefined && !isAsking) {
    return (
      <Panel id="answers" title="Answers">
        <p>
          Press <strong>Ask</strong>. The model then answers twice: as it is (greedy), and with AdaptVis, which first
          checks how sure the model is and then makes it look harder at the picture, or wider over it.
        </p>
        <p class="hint">
          With the answers come the confidence that decided, a slider to try other factors, where in the picture the
          model looked, every token with what else could have stood there, and the GPU passes that made it.
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
      <p class="asked">{isAsking ? now.question : done?.question}</p>
      <div class={isLong || !isTwofold ? "stack" : "pair"}>
        <AnswerCard kind="greedy" answer={isAsking ? undefined : done?.answers.greedy} />
        {isTwofold && <AnswerCard kind="adaptvis" answer={isAsking ? undefined : done?.answers.adaptvis} />}
      </div>
      {done !== undefined && (
        // While the next answer comes, what belongs to the last one keeps its place but not its say.
        <div class={isAsking ? "stale" : ""} inert={isAsking}>
          {hadPicture.value ? (
            <Confidence
              confidence={done.answers.adaptvis.confidence}
              used={done.answers.settings}
              now={settings.value}
              defaults={modelSettings.value}
            />
          ) : (
            <p class="hint">
              There was no picture to look at harder or wider, so AdaptVis answers as the unmodified model does.
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
      {` · ${duration(answer.elapsedMs)}`}
      {answer.finishReason === "length" && " · cut at the length limit"}
    </p>
  );
}
