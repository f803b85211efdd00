// The user's own factor with its answer: one extra step per change, without a new prefill.

import { decimal, percent } from "../draw/words.ts";
import { recorded } from "../recorded.ts";
import { tryAllFactors, tryFactor } from "../session.ts";
import { factor, factorAnswer, factorAnswers, hadPicture, running, settings, streaming } from "../state.ts";
import { AnswerCard } from "./answers.tsx";
import { NumberField, Panel, Paper, Slider } from "./controls.tsx";

const LARGEST = 3;

/** The panel of the factor slider. */
export function FactorPanel() {
  if (!hadPicture.value || recorded.value !== undefined) return null;
  const now = running.value;
  const shown = factorAnswer.value;
  const isRunning = now?.kind === "factor" && now.factor === factor.value;
  // The previous answer is shown until the first word of the new one arrives.
  const isStreaming = shown === undefined || (isRunning && streaming.value.factor !== "");
  return (
    <Panel
      id="factor"
      title="Try another factor"
      lead="The attention scores of the picture’s patches are multiplied by the factor before the softmax, in every layer and head. 1 is the unmodified model. A factor above 1 sharpens attention within the picture, one below 1 widens it; whether the picture gets more or less of the total depends on the signs of its scores."
    >
      <div class="factor-controls">
        <Slider
          label="Factor"
          value={Math.min(factor.value, LARGEST)}
          min={0}
          max={LARGEST}
          step={0.05}
          valueText={`× ${decimal(factor.value)}`}
          onInput={tryFactor}
        />
        <NumberField label="Exactly" value={factor.value} min={0} max={10} step={0.05} onChange={tryFactor} />
      </div>
      <div class="row presets">
        <Preset label="Unmodified" value={1} />
        <Preset label="When less sure" paper="alpha1" value={settings.value.alpha1} />
        <Preset label="When sure" paper="alpha2" value={settings.value.alpha2} />
        <button type="button" disabled={running.value !== undefined} onClick={() => void tryAllFactors()}>
          Try all from 0 to {LARGEST}
        </button>
      </div>
      {factorAnswers.value.size === 0 && !isRunning ? (
        <p class="hint">Move the slider: the answer under that factor appears here.</p>
      ) : (
        <>
          {(isRunning || shown !== undefined) && <AnswerCard kind="factor" answer={isStreaming ? undefined : shown} />}
          <Tried />
        </>
      )}
    </Panel>
  );
}

function Preset(props: { readonly label: string; readonly paper?: string; readonly value: number }) {
  const { label, paper, value } = props;
  return (
    <button type="button" onClick={() => tryFactor(value)}>
      <span>
        {label}, × {decimal(value)} {paper !== undefined && <Paper name={paper} />}
      </span>
    </button>
  );
}

/** A chart of all factors tried with this question: the first token's probability, and where the answer changes. */
function Tried() {
  const tried = [...factorAnswers.value.values()].sort((left, right) => left.factor - right.factor);
  if (tried.length < 2) return null;
  const largest = Math.max(LARGEST, ...tried.map((answer) => answer.factor));
  const xOf = (value: number) => 34 + (258 * value) / largest;
  const yOf = (probability: number) => 102 - 66 * probability;
  // Labels above the chart alternate between two lines, so that neighbours do not overlap.
  const changes = tried.filter((answer, index) => answer.text !== tried[index - 1]?.text);
  const summary = tried
    .map((answer) => `factor ${decimal(answer.factor)}: ${answer.text}, ${percent(answer.confidence)}`)
    .join("; ");
  return (
    <figure class="tried">
      <figcaption class="label">The factors you tried: answer, and probability of its first token</figcaption>
      <svg viewBox="0 0 300 122" role="img" aria-label={summary}>
        <path class="axis" d="M34 102H292M34 69H292M34 36H292" />
        <path class="axis one" d={`M${xOf(1)} 32V102`} />
        <text x="30" y="105" text-anchor="end">
          0 %
        </text>
        <text x="30" y="72" text-anchor="end">
          50 %
        </text>
        <text x="30" y="39" text-anchor="end">
          100 %
        </text>
        {[0, 1, 2, 3].map((value) => (
          <text key={value} x={xOf(value)} y="116" text-anchor="middle">
            × {value}
          </text>
        ))}
        <polyline
          class="line"
          points={tried.map((answer) => `${xOf(answer.factor)},${yOf(answer.confidence)}`).join(" ")}
        />
        {changes.map((answer, index) => (
          <text key={answer.factor} class="word" x={xOf(answer.factor)} y={index % 2 === 0 ? 24 : 12}>
            {shortened(answer.text)}
          </text>
        ))}
        {tried.map((answer) => {
          const isNow = answer.factor === factor.value;
          return (
            <circle
              key={answer.factor}
              class={isNow ? "now" : ""}
              cx={xOf(answer.factor)}
              cy={yOf(answer.confidence)}
              r={isNow ? 4 : 2.5}
            >
              <title>{`× ${decimal(answer.factor)}: ${answer.text} (${percent(answer.confidence)})`}</title>
            </circle>
          );
        })}
      </svg>
    </figure>
  );
}

function shortened(text: string): string {
  return text.length > 10 ? `${text.slice(0, 9)}…` : text;
}
