// A factor of one's own with its answer: one extra step a change, no new prefill.

import { decimal, percent } from "../draw/words.ts";
import { tryFactor } from "../session.ts";
import { asked, factor, factorAnswer, factorAnswers, running, settings } from "../state.ts";
import { AnswerCard } from "./answers.tsx";
import { NumberField, Panel, Slider } from "./controls.tsx";

const LARGEST = 3;

/** The panel of the factor slider. */
export function FactorPanel() {
  const done = asked.value;
  if (done === undefined) return null;
  return (
    <Panel
      id="factor"
      title="Try another factor"
      lead="The scores of the picture’s patches are multiplied by the factor before the softmax, in every layer and head. Below 1 the look is wider, above 1 harder; 1 is the unmodified model."
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
      <div class="row">
        <Preset label="Unmodified" value={1} />
        <Preset label="alpha1" value={settings.value.alpha1} />
        <Preset label="alpha2" value={settings.value.alpha2} />
      </div>
      {factorAnswers.value.size === 0 && running.value?.kind !== "factor" ? (
        <p class="hint">Move the slider: the answer under that factor appears here.</p>
      ) : (
        <>
          <AnswerCard kind="factor" answer={factorAnswer.value} />
          <Tried />
        </>
      )}
    </Panel>
  );
}

function Preset({ label, value }: { readonly label: string; readonly value: number }) {
  return (
    <button type="button" onClick={() => tryFactor(value)}>
      {label} × {decimal(value)}
    </button>
  );
}

/** Every factor that was tried with this question, as a small chart. */
function Tried() {
  const tried = [...factorAnswers.value.values()].sort((left, right) => left.factor - right.factor);
  if (tried.length < 2) return null;
  const largest = Math.max(LARGEST, ...tried.map((answer) => answer.factor));
  const summary = tried
    .map((answer) => `factor ${decimal(answer.factor)}: ${answer.text}, ${percent(answer.confidence)}`)
    .join("; ");
  return (
    <figure class="tried">
      <figcaption class="label">First token’s probability by factor, as tried</figcaption>
      <svg viewBox="0 0 300 64" role="img" aria-label={summary}>
        <path class="axis" d="M8 54H292M8 6H292" />
        {tried.map((answer) => {
          const x = 8 + (284 * answer.factor) / largest;
          const y = 54 - 48 * answer.confidence;
          const isNow = answer.factor === factor.value;
          return (
            <circle key={answer.factor} class={isNow ? "now" : ""} cx={x} cy={y} r={isNow ? 4.5 : 3}>
              <title>{`× ${decimal(answer.factor)}: ${answer.text} (${percent(answer.confidence)})`}</title>
            </circle>
          );
        })}
      </svg>
    </figure>
  );
}
