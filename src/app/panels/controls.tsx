// Controls that the panels share. Each has a visible label, which is also its accessible name.

import type { ComponentChildren } from "preact";
import { useId, useState } from "preact/hooks";

/** A titled part of the page: a region named by its heading. */
export function Panel(props: {
  readonly id: string;
  readonly title: string;
  readonly lead?: ComponentChildren;
  readonly children: ComponentChildren;
}) {
  const headingId = `${props.id}-heading`;
  return (
    <section id={props.id} class="panel" aria-labelledby={headingId}>
      <h2 id={headingId} tabIndex={-1}>
        {props.title}
      </h2>
      {props.lead !== undefined && <p class="lead">{props.lead}</p>}
      <div class="stack">{props.children}</div>
    </section>
  );
}

/** One choice of a {@link Segmented}. */
export interface Choice<T extends string> {
  readonly value: T;
  readonly label: string;
}

/** A radio group drawn as one bar. */
export function Segmented<T extends string>(props: {
  readonly legend: string;
  readonly isLegendShown?: boolean;
  readonly choices: readonly Choice<T>[];
  readonly value: T;
  readonly isDisabled?: boolean;
  readonly onChange: (value: T) => void;
}) {
  const name = useId();
  return (
    <fieldset class="segmented" disabled={props.isDisabled === true}>
      <legend class={props.isLegendShown === true ? "shown" : "visually-hidden"}>{props.legend}</legend>
      <div class="segments">
        {props.choices.map(({ value, label }) => (
          <label key={value}>
            <input
              type="radio"
              name={name}
              value={value}
              checked={value === props.value}
              onChange={() => props.onChange(value)}
            />
            <span>{label}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}

/** A slider with its value in words beside its label. */
export function Slider(props: {
  readonly label: string;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly step: number;
  readonly valueText: string;
  readonly isDisabled?: boolean;
  readonly onInput: (value: number) => void;
}) {
  const id = useId();
  return (
    <div class="slider">
      <div class="slider-head">
        <label for={id}>{props.label}</label>
        <output for={id} aria-live="off">
          {props.valueText}
        </output>
      </div>
      <input
        id={id}
        type="range"
        min={props.min}
        max={props.max}
        step={props.step}
        value={props.value}
        disabled={props.isDisabled === true}
        aria-valuetext={props.valueText}
        onInput={(event) => props.onInput(event.currentTarget.valueAsNumber)}
      />
    </div>
  );
}

/** What the paper calls something, beside its plain name. */
export function Paper({ name }: { readonly name: string }) {
  return <span class="paper">{name}</span>;
}

/** A number field. A value out of range is clamped, with a hint; text that is not a number changes nothing. */
export function NumberField(props: {
  readonly label: string;
  /** Its name in the paper. */
  readonly paper?: string;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  /** Step of the arrows; 1 allows whole numbers only, other steps allow values in between. */
  readonly step: number;
  readonly onChange: (value: number) => void;
  /** Called at Enter, after a change of the value. */
  readonly onEnter?: () => void;
}) {
  const { label, paper, value, min, max, step, onEnter } = props;
  const id = useId();
  const [isMoved, setMoved] = useState(false);
  return (
    <div class="field">
      <label for={id}>
        {label} {paper !== undefined && <Paper name={paper} />}
      </label>
      <input
        id={id}
        type="number"
        inputMode={step === 1 ? "numeric" : "decimal"}
        min={min}
        max={max}
        step={step}
        value={value}
        onChange={(event) => {
          const { valueAsNumber: typed } = event.currentTarget;
          const near = Math.min(Math.max(typed, min), max);
          const accepted = Number.isFinite(near) ? (step === 1 ? Math.round(near) : near) : value;
          setMoved(near !== typed && !Number.isNaN(typed));
          // Written at once: if the value is unchanged, nothing else would replace the typed text.
          event.currentTarget.value = String(accepted);
          if (accepted !== value) props.onChange(accepted);
        }}
        onKeyDown={(event) => {
          // The browser sends the change after this event.
          if (event.key === "Enter" && onEnter !== undefined) setTimeout(onEnter);
        }}
      />
      {isMoved && (
        <span class="hint" role="status">
          from {min} to {max}
        </span>
      )}
    </div>
  );
}

/** A drop-down list. */
export function Select<T extends string>(props: {
  readonly label: string;
  readonly choices: readonly Choice<T>[];
  readonly value: T;
  readonly isDisabled?: boolean;
  readonly onChange: (value: T) => void;
}) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{props.label}</label>
      <select
        id={id}
        value={props.value}
        disabled={props.isDisabled === true}
        onChange={(event) => {
          const chosen = props.choices.find(({ value }) => value === event.currentTarget.value);
          if (chosen !== undefined) props.onChange(chosen.value);
        }}
      >
        {props.choices.map(({ value, label }) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
    </div>
  );
}

/** An entry of a list of facts. */
export function Fact({ name, children }: { readonly name: string; readonly children: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

/** A button that opens the system's file dialog. */
export function FileButton(props: {
  readonly label: string;
  readonly accept?: string;
  readonly capture?: "environment";
  readonly isFolder?: boolean;
  readonly onFiles: (files: readonly File[]) => void;
}) {
  return (
    <label class="button file-button">
      {props.label}
      <input
        type="file"
        accept={props.accept}
        capture={props.capture}
        {...(props.isFolder === true ? { webkitdirectory: true } : {})}
        onChange={(event) => {
          const files = [...(event.currentTarget.files ?? [])];
          // Allows choosing the same file again.
          event.currentTarget.value = "";
          if (files.length > 0) props.onFiles(files);
        }}
      />
    </label>
  );
}
