// The answer's tokens with their probabilities, and the alternatives to the selected token.

import { useState } from "preact/hooks";
import { percent, visibleToken } from "../draw/words.ts";
import type { AnswerKind, AnswerView, ChosenTokenView } from "../protocol.ts";
import { asked, factorAnswer, hadPicture } from "../state.ts";
import { Panel, Segmented } from "./controls.tsx";
import { Later } from "./later.tsx";

/** The tokens panel, and those of what else can be asked of the answer. */
export function Tokens() {
  return (
    <>
      <TokensPanel />
      <Later panel="ComparePanel" />
      <Later panel="PatchesPanel" />
    </>
  );
}

function TokensPanel() {
  const [kind, setKind] = useState<AnswerKind>("adaptvis");
  const [index, setIndex] = useState(0);
  const answers = asked.value?.answers;
  if (answers === undefined) return null;
  const byFactor = factorAnswer.value;
  const shown = kind === "greedy" ? answers.greedy : kind === "factor" && byFactor ? byFactor : answers.adaptvis;
  const chosen = shown.tokens[Math.min(index, shown.tokens.length - 1)];
  return (
    <Panel
      id="tokens"
      title="Token by token"
      lead="The model writes one token at a time. Choose a token to see its alternatives."
    >
      {hadPicture.value && (
        <Segmented<AnswerKind>
          legend="Tokens of which answer"
          choices={[
            { value: "greedy", label: "Greedy" },
            { value: "adaptvis", label: "AdaptVis" },
            ...(byFactor ? [{ value: "factor" as const, label: "Your factor" }] : []),
          ]}
          value={shown.kind}
          onChange={setKind}
        />
      )}
      <Chips answer={shown} chosen={chosen} onChoose={setIndex} />
      {chosen !== undefined && <Alternatives token={chosen} />}
    </Panel>
  );
}

function Chips(props: {
  readonly answer: AnswerView;
  readonly chosen: ChosenTokenView | undefined;
  readonly onChoose: (index: number) => void;
}) {
  const { answer, chosen } = props;
  if (answer.tokens.length === 0) return <p class="hint">The model ended its answer without a token.</p>;
  return (
    <ol class="chips" aria-label="Tokens">
      {answer.tokens.map((token, index) => (
        <li key={index}>
          <button type="button" class="chip" aria-pressed={token === chosen} onClick={() => props.onChoose(index)}>
            <span class="chip-text">{visibleToken(token.text)}</span>
            <span class="chip-share number">{percent(token.probability)}</span>
          </button>
        </li>
      ))}
    </ol>
  );
}

/** The most probable tokens of a position as bars; the generated token is marked, and added at the end if not among them. */
function Alternatives({ token }: { readonly token: ChosenTokenView }) {
  const isAmong = token.alternatives.some(({ tokenId }) => tokenId === token.tokenId);
  const rows = isAmong ? token.alternatives : [...token.alternatives, token];
  return (
    <div class="stack">
      <h3 id="alternatives-heading">In place of “{visibleToken(token.text)}”</h3>
      <ol class="bars" aria-labelledby="alternatives-heading">
        {rows.map(({ tokenId, text, probability }) => (
          <li key={tokenId} class={tokenId === token.tokenId ? "bar taken" : "bar"}>
            <span class="bar-name mono">{visibleToken(text)}</span>
            <span class="bar-track" aria-hidden="true">
              <span class="bar-fill" style={{ width: `${(probability * 100).toFixed(2)}%` }} />
            </span>
            <span class="bar-value number">
              {percent(probability)}
              {tokenId === token.tokenId && <span class="visually-hidden"> (taken)</span>}
            </span>
          </li>
        ))}
      </ol>
    </div>
  );
}
