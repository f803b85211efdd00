// How sure the model was, beta on the same scale, and the factor that follows; the three numbers can be changed.

import { type AdaptVisSettings, chooseFactor } from "../../adaptvis.ts";
import { ask } from "../asking.ts";
import { decimal } from "../draw/words.ts";
import { changeSettings } from "../session.ts";
import { areSame, running } from "../state.ts";
import { NumberField } from "./controls.tsx";

interface ConfidenceProps {
  readonly confidence: number;
  /** With which the answers were made. */
  readonly used: AdaptVisSettings;
  /** As they are set now. */
  readonly now: AdaptVisSettings;
  /** The checkpoint's. */
  readonly defaults: AdaptVisSettings;
}

/** The confidence meter with AdaptVis' settings. */
export function Confidence({ confidence, used, now, defaults }: ConfidenceProps) {
  const isDefault = areSame(now, defaults);
  return (
    <div class="confidence stack">
      <h3 id="confidence-heading">How sure is the model?</h3>
      <Meter confidence={confidence} settings={now} />
      <p>
        {sentence(confidence, now)} <Outdated confidence={confidence} used={used} now={now} />
      </p>
      <div class="settings-fields">
        <NumberField
          label="beta, threshold"
          value={now.beta}
          min={0}
          max={1}
          step={0.05}
          onChange={(beta) => changeSettings({ ...now, beta })}
        />
        <NumberField
          label="alpha1, if below"
          value={now.alpha1}
          min={0}
          max={10}
          step={0.1}
          onChange={(alpha1) => changeSettings({ ...now, alpha1 })}
        />
        <NumberField
          label="alpha2, if not"
          value={now.alpha2}
          min={0}
          max={10}
          step={0.1}
          onChange={(alpha2) => changeSettings({ ...now, alpha2 })}
        />
      </div>
      <div>
        <button type="button" disabled={isDefault} onClick={() => changeSettings(defaults)}>
          Back to the checkpoint’s values
        </button>
      </div>
    </div>
  );
}

function Meter({ confidence, settings }: { readonly confidence: number; readonly settings: AdaptVisSettings }) {
  const { beta, alpha1, alpha2 } = settings;
  const place = (value: number) => `${(Math.min(Math.max(value, 0), 1) * 100).toFixed(2)}%`;
  const isBelow = confidence < beta;
  return (
    <div class="meter">
      <div class="meter-sides" aria-hidden="true">
        <span class={isBelow ? "chosen" : ""}>below beta: × {decimal(alpha1)}</span>
        <span class={isBelow ? "" : "chosen"}>from beta on: × {decimal(alpha2)}</span>
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements: a meter element has no room for beta's mark */}
      <div
        class="meter-bar"
        role="meter"
        aria-labelledby="confidence-heading"
        aria-valuemin={0}
        aria-valuemax={1}
        aria-valuenow={confidence}
        aria-valuetext={`Confidence ${decimal(confidence)}, ${isBelow ? "below" : "at least"} beta ${decimal(beta)}`}
      >
        <span class="meter-fill" style={{ width: place(confidence) }} />
        <span class="meter-beta" style={{ left: place(beta) }} />
      </div>
      <div class="meter-scale number" aria-hidden="true">
        <span>0</span>
        <span class="meter-beta-label" style={{ left: `clamp(2.5rem, ${place(beta)}, 100% - 2.5rem)` }}>
          beta {decimal(beta)}
        </span>
        <span>1</span>
      </div>
    </div>
  );
}

function sentence(confidence: number, settings: AdaptVisSettings): string {
  const { alpha1, beta } = settings;
  const isBelow = confidence < beta;
  const factor = chooseFactor(confidence, settings);
  const start = `The first token has probability ${decimal(confidence)}, which is ${isBelow ? "below" : "at least"} beta (${decimal(beta)}).`;
  return `${start} So AdaptVis takes ${isBelow ? "alpha1" : "alpha2"} and multiplies the attention scores of the picture by ${decimal(factor)}: ${effect(factor, isBelow && alpha1 < 1)}`;
}

function effect(factor: number, isUnsure: boolean): string {
  if (factor === 1) return "nothing changes.";
  if (factor > 1) return "it looks harder at what it already looks at.";
  return isUnsure ? "unsure, it looks wider over the picture." : "it looks wider over the picture.";
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
