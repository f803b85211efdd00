// Two methods of the registry side by side, each with its own settings: what differs in answers, first words and maps.
import { useMemo } from "preact/hooks";
import type { RgbImage } from "../../preprocess/image.ts";
import { type ComparedWord, comparedTokens, comparedWords } from "../draw/answer-differences.ts";
import { mapOf } from "../draw/attention-view.ts";
import { differenceOf, mapInWords } from "../draw/word-map.ts";
import { decimal, percent, visibleToken } from "../draw/words.ts";
import type { AttentionView, MethodAnswerView } from "../protocol.ts";
import { asked, mapHead } from "../state.ts";
import { compare, methodOf, wordsLayer } from "../talk.ts";
import { comparison, forms, refusals, type Side } from "../talk-state.ts";
import { Panel } from "./controls.tsx";
import { MapCanvas } from "./map-canvas.tsx";
import { MethodFields } from "./method-fields.tsx";
import { SaveFindings, StudyRow } from "./study-row.tsx";

/** Number of each answer's most probable first tokens in the table. */
const NUM_TOKENS = 5;
const SIDES = ["A", "B"] as const;

/** The panel of the comparison. */
export function ComparePanel() {
  const done = comparison.value;
  return (
    <Panel
      id="compare"
      title="Compare two methods"
      lead="Ask the same question twice, each time with another way to steer the model (an intervention), and see what changes."
    >
      <div class="sides">
        {SIDES.map((side) => (
          <fieldset key={side} class="side stack">
            <legend>{side}</legend>
            <MethodFields
              form={forms.value[side]}
              refusal={refusals.value[side]}
              onChange={(form) => {
                forms.value = { ...forms.value, [side]: form };
                refusals.value = { ...refusals.value, [side]: undefined };
              }}
            />
          </fieldset>
        ))}
      </div>
      <StudyRow of="compare" label="Compare" onStart={() => void compare()} />
      {done !== undefined && (
        <>
          <Differences of={done} picture={asked.value?.answers.picture} />
          <SaveFindings
            label="Download both answers (JSON)"
            name="adaptvis-comparison.json"
            findings={() => ({ question: asked.value?.question, A: done.A.json, B: done.B.json })}
          />
        </>
      )}
    </Panel>
  );
}

function Differences(props: {
  readonly of: Readonly<Record<Side, MethodAnswerView>>;
  readonly picture: RgbImage | undefined;
}) {
  const { A, B } = props.of;
  const [wordsOfA, wordsOfB] = comparedWords(A.text, B.text);
  return (
    <>
      <p>
        {A.text === B.text ? (
          <>Both answer the same.</>
        ) : (
          <>
            The answers differ; words that the other lacks are <mark class="marked">marked</mark>.
          </>
        )}
      </p>
      <div class="pair">
        <ComparedAnswer side="A" answer={A} words={wordsOfA} />
        <ComparedAnswer side="B" answer={B} words={wordsOfB} />
      </div>
      <FirstTokens one={A} other={B} />
      {props.picture !== undefined && A.attention !== undefined && B.attention !== undefined && (
        <Maps picture={props.picture} one={A.attention} other={B.attention} />
      )}
    </>
  );
}

function ComparedAnswer(props: {
  readonly side: Side;
  readonly answer: MethodAnswerView;
  readonly words: readonly ComparedWord[];
}) {
  const { side, answer, words } = props;
  return (
    <article class="answer" aria-label={`Answer ${side}`}>
      <h3>
        {side}: {methodOf({ name: answer.method }).title}
      </h3>
      <p class="answer-text long compared">
        {words.length === 0 && <span class="waiting">(an empty answer)</span>}
        {words.map(({ word, isOwn }, index) => (
          <span key={index}>{isOwn ? <mark class="marked">{word}</mark> : word} </span>
        ))}
      </p>
      <p class="hint number">
        {answer.factor === 1 ? "" : `Factor ${decimal(answer.factor)} · `}
        confidence {percent(answer.confidence)}
      </p>
    </article>
  );
}

function FirstTokens({ one, other }: { readonly one: MethodAnswerView; readonly other: MethodAnswerView }) {
  const rows = comparedTokens(one, other, NUM_TOKENS);
  const share = (value: number | undefined) => (value === undefined ? "–" : percent(value));
  return (
    <div class="first-tokens">
      <table class="numbers">
        <caption>How probable the first token is, and the change from A to B in percentage points</caption>
        <thead>
          <tr>
            <th scope="col">Token</th>
            <th scope="col">A</th>
            <th scope="col">B</th>
            <th scope="col">Change</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ tokenId, text, probabilities: [a, b] }) => (
            <tr key={tokenId}>
              <th scope="row" class="mono">
                {visibleToken(text)}
              </th>
              <td>{share(a)}</td>
              <td>{share(b)}</td>
              <td>{a === undefined || b === undefined ? "–" : points(b - a).replace(" points", "")}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The maps of both and their difference, of the layer and head that are chosen under “Where it looked”. */
function Maps(props: { readonly picture: RgbImage; readonly one: AttentionView; readonly other: AttentionView }) {
  const { picture, one, other } = props;
  const layer = wordsLayer();
  const head = mapHead.value;
  const maps = useMemo(
    () => [mapOf(one, { layer, head }), mapOf(other, { layer, head })] as const,
    [one, other, layer, head],
  );
  const difference = useMemo(() => differenceOf(...maps), [maps]);
  const [a, b] = maps;
  const change = `${points(b.share - a.share)} of all attention on the picture`;
  return (
    <>
      <div class="trio">
        {([a, b] as const).map((map, index) => (
          <figure key={index} class="map">
            <figcaption>{index === 0 ? "A" : "B"}</figcaption>
            <MapCanvas
              picture={picture}
              map={map}
              label={`Heat map of ${index === 0 ? "A" : "B"}: ${mapInWords(map)}`}
            />
            <span class="hint number">{percent(map.share)} on the picture</span>
          </figure>
        ))}
        <figure class="map">
          <figcaption>B − A</figcaption>
          {difference === undefined ? (
            <p class="hint">The maps are the same.</p>
          ) : (
            <MapCanvas picture={picture} map={difference} label={`Difference of the maps, B minus A: ${change}`} />
          )}
          <span class="hint number">{change}</span>
        </figure>
      </div>
      <p class="hint">
        Layer {a.layer}, {head === undefined ? "mean of all heads" : `head ${head}`}, at the first token. In the
        difference, red is where B looks more and blue where it looks less.
      </p>
    </>
  );
}

/** A difference of shares in percentage points. */
function points(difference: number): string {
  if (Math.abs(difference) < 5e-4) return "±0 points";
  const sign = difference < 0 ? "−" : "+";
  return `${sign}${(Math.abs(difference) * 100).toFixed(1)} points`;
}
