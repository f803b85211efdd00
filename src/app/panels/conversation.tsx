// The conversation after the first answer: its turns as a list, and the next question.
import { useId } from "preact/hooks";
import { percent } from "../draw/words.ts";
import { type Asked, asked, hadPicture, model, running } from "../state.ts";
import { askOn, beginAnew, methodOf } from "../talk.ts";
import {
  type ChatTurn,
  chatAfter,
  chatRunning,
  chatSide,
  chatText,
  chatTurns,
  forms,
  type Side,
  sendsPicture,
} from "../talk-state.ts";
import { MAX_QUESTION_LENGTH } from "../url-state.ts";
import { Panel, Segmented } from "./controls.tsx";
import { SaveFindings, StudyRow } from "./study-row.tsx";

/** The panel of the conversation. */
export function ConversationPanel() {
  const done = asked.value;
  if (done === undefined) return null;
  const turns = chatTurns.value;
  const now = chatRunning.value;
  const isBegun = turns.length > 0 || now !== undefined;
  const seesPictures = model.value?.imageSide !== undefined;
  return (
    <Panel
      id="conversation"
      title="Ask a follow-up"
      lead="The model remembers the picture, your question and its answer. What it has read stays computed, so a follow-up is quick."
    >
      {hadPicture.value && !isBegun && (
        <Segmented<"greedy" | "adaptvis">
          legend="After which answer"
          isLegendShown
          choices={[
            { value: "greedy", label: `Greedy: ${short(done.answers.greedy.text)}` },
            { value: "adaptvis", label: `AdaptVis: ${short(done.answers.adaptvis.text)}` },
          ]}
          value={chatAfter.value}
          onChange={(value) => {
            chatAfter.value = value;
          }}
        />
      )}
      {isBegun && (
        <ol class="turns" aria-label="Conversation">
          <Said question={done.question} hasPicture={hadPicture.value} answer={done.answers[chatAfter.value].text} />
          {turns.map((turn, index) => (
            <FollowUp key={index} turn={turn} />
          ))}
          {now !== undefined && <Said question={now.question} hasPicture={sendsPicture.value} answer={now.text} />}
        </ol>
      )}
      <NextQuestion />
      {seesPictures && (
        <label class="check">
          <input
            type="checkbox"
            checked={sendsPicture.value}
            onChange={(event) => {
              sendsPicture.value = event.currentTarget.checked;
            }}
          />
          Show it another picture: the one that is above now
        </label>
      )}
      <Segmented<Side>
        legend="Method of the follow-up, as set under “Compare two methods”"
        isLegendShown
        choices={(["A", "B"] as const).map((side) => ({
          value: side,
          label: `${side}: ${methodOf(forms.value[side]).title}`,
        }))}
        value={chatSide.value}
        onChange={(side) => {
          chatSide.value = side;
        }}
      />
      <StudyRow of="chat" label="Ask this too" onStart={() => void askOn()}>
        {turns.length > 0 && (
          <>
            <button type="button" disabled={running.value !== undefined} onClick={beginAnew}>
              Begin anew
            </button>
            <SaveFindings
              label="Download the conversation (JSON)"
              name="adaptvis-conversation.json"
              findings={() => conversationOf(done)}
            />
          </>
        )}
      </StudyRow>
    </Panel>
  );
}

/** The conversation for a file: every question with its answer as the command line's `--json` has it. */
function conversationOf({ question, answers }: Asked) {
  const first = { question, hasPicture: hadPicture.value, answer: answers[chatAfter.value].json };
  const others = chatTurns.value.map((turn) => ({ ...turn, answer: turn.answer.json }));
  return { turns: [first, ...others] };
}

function FollowUp({ turn }: { readonly turn: ChatTurn }) {
  const { question, hasPicture, answer } = turn;
  const { text, method, promptTokens, reusedTokens } = answer;
  return (
    <Said question={question} hasPicture={hasPicture} answer={text === "" ? "(an empty answer)" : text}>
      {methodOf({ name: method }).title} · {percent(reusedTokens / promptTokens)} of the conversation was computed
      before
    </Said>
  );
}

function Said(props: {
  readonly question: string;
  readonly hasPicture: boolean;
  readonly answer: string;
  readonly children?: preact.ComponentChildren;
}) {
  return (
    <li class="turn">
      <p class="turn-question">
        <span class="visually-hidden">You: </span>
        {props.hasPicture && <span class="turn-picture">with a picture</span>} {props.question}
      </p>
      <p class="turn-answer">
        <span class="visually-hidden">The model: </span>
        {props.answer === "" ? "…" : props.answer}
      </p>
      {props.children !== undefined && <p class="hint number">{props.children}</p>}
    </li>
  );
}

function NextQuestion() {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>Your follow-up</label>
      <textarea
        id={id}
        rows={2}
        maxLength={MAX_QUESTION_LENGTH}
        value={chatText.value}
        onInput={(event) => {
          chatText.value = event.currentTarget.value;
        }}
        onKeyDown={(event) => {
          if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
          event.preventDefault();
          if (running.value === undefined) void askOn();
        }}
      />
    </div>
  );
}

/** The beginning of an answer, for a button. */
function short(text: string): string {
  return text.length > 24 ? `${text.slice(0, 23)}…` : text;
}
