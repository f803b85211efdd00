// A method of the registry with fields for its parameters. Everything here comes from the registry's descriptions.
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import type { ParameterKind } from "../../interventions/parameters.ts";
import { INTERVENTIONS } from "../../interventions/registry.ts";
import { hintOf, type MethodForm, parameterOf, refusalOf, textOf } from "../draw/method-form.ts";
import { asked, model } from "../state.ts";
import { givenDefaults, type Method, methodOf } from "../talk.ts";
import { Select } from "./controls.tsx";

/** The choice of a method, what it does, and its settings. */
export function MethodFields(props: {
  readonly form: MethodForm;
  /** What the library refused, in its words. */
  readonly refusal: string | undefined;
  readonly onChange: (form: MethodForm) => void;
}) {
  const { form, refusal, onChange } = props;
  const method = methodOf(form);
  return (
    <>
      <Select
        label="Method"
        choices={INTERVENTIONS.map(({ name, title }) => ({ value: name, label: title }))}
        value={method.name}
        onChange={(name) => onChange({ name, texts: {} })}
      />
      <p class="hint">
        {method.title} {method.summary}. <Source text={method.source} />
      </p>
      <SettingFields {...{ method, form, refusal, onChange }} />
    </>
  );
}

/** The fields of a method's settings: what is set by a number or a name, and, folded, where the method acts. */
export function SettingFields(props: {
  readonly method: Method;
  readonly form: MethodForm;
  readonly refusal: string | undefined;
  /** Settings that have no field. */
  readonly without?: readonly string[];
  /** What the folded fields are called. */
  readonly summary?: string;
  readonly onChange: (form: MethodForm) => void;
}) {
  const { method, form, refusal, without = [], summary = "Where it acts (layers, heads, …)", onChange } = props;
  const about = refusal === undefined ? undefined : parameterOf(method.parameters, refusal);
  const fields = Object.entries(method.parameters)
    .filter(([name]) => !without.includes(name))
    .map(([name, parameter]) => {
      const text = form.texts[name] ?? "";
      return {
        isPlain: isPlain(parameter.type) && parameter.default !== undefined,
        isWrong:
          text !== "" && (refused(name, text, parameter.type) ?? (about === name ? refusal : undefined)) !== undefined,
        field: (
          <SettingField
            key={`${method.name} ${name}`}
            name={name}
            type={parameter.type}
            meaning={parameter.meaning}
            text={text}
            initial={textOf(givenDefaults(method.name)[name] ?? parameter.default)}
            refusal={refused(name, text, parameter.type) ?? (about === name ? refusal : undefined)}
            onChange={(value) => onChange({ name: method.name, texts: withText(form.texts, name, value) })}
          />
        ),
      };
    });
  const places = fields.filter(({ isPlain }) => !isPlain);
  return (
    <>
      {fields.filter(({ isPlain }) => isPlain).map(({ field }) => field)}
      {places.length > 0 && (
        <Places summary={summary} isWrong={places.some(({ isWrong }) => isWrong)}>
          {places.map(({ field }) => field)}
        </Places>
      )}
    </>
  );
}

/** Folded fields, which open by themselves for what is refused in them. */
function Places(props: { readonly summary: string; readonly isWrong: boolean; readonly children: ComponentChildren }) {
  const { summary, isWrong, children } = props;
  const details = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    if (isWrong && details.current !== null) details.current.open = true;
  }, [isWrong]);
  return (
    <details ref={details}>
      <summary>{summary}</summary>
      <div class="stack">{children}</div>
    </details>
  );
}

function SettingField(props: {
  readonly name: string;
  readonly type: ParameterKind;
  readonly meaning: string;
  readonly text: string;
  /** What the setting is while nothing is written. */
  readonly initial: string;
  readonly refusal: string | undefined;
  readonly onChange: (text: string) => void;
}) {
  const { name, type, meaning, text, initial, onChange } = props;
  const id = useId();
  /** While somebody types, the field is theirs: it is neither refused nor filled with the default. */
  const [typed, setTyped] = useState<string | undefined>(undefined);
  const refusal = typed === undefined ? props.refusal : undefined;
  const described = `${id}-meaning${refusal === undefined ? "" : ` ${id}-refusal`}`;
  return (
    <div class="field setting">
      <label for={id} class="mono">
        {name}
      </label>
      {type.kind === "choice" ? (
        <select
          id={id}
          value={text === "" ? initial : text}
          aria-describedby={described}
          onChange={(event) => onChange(event.currentTarget.value)}
        >
          {type.choices.map((value) => (
            <option key={value} value={value}>
              {value}
            </option>
          ))}
        </select>
      ) : (
        <input
          id={id}
          type="text"
          class="text"
          inputMode={type.kind === "number" ? "decimal" : "text"}
          autocomplete="off"
          spellcheck={false}
          maxLength={MAX_TEXT}
          value={typed ?? (text === "" ? initial : text)}
          placeholder={hintOf(type)}
          aria-describedby={described}
          aria-invalid={refusal !== undefined}
          onInput={(event) => {
            const { value } = event.currentTarget;
            setTyped(value);
            onChange(value.trim() === initial ? "" : value);
          }}
          onBlur={() => setTyped(undefined)}
        />
      )}
      <span class="hint" id={`${id}-meaning`}>
        {meaning}
      </span>
      {refusal !== undefined && (
        <span class="refusal" id={`${id}-refusal`} role="alert">
          {refusal}
        </span>
      )}
    </div>
  );
}

/** A paper's address where the source names one. */
function Source({ text }: { readonly text: string }) {
  const [named, id] = /arXiv (\d{4}\.\d{4,5})/.exec(text) ?? [];
  if (named === undefined || id === undefined) return <>{text === "" ? "" : `(${text})`}</>;
  const [before = "", after = ""] = text.split(named);
  return (
    <>
      ({before}
      <a href={`https://arxiv.org/abs/${id}`}>{named}</a>
      {after})
    </>
  );
}

/** As long as a list of heads in every layer may be. */
const MAX_TEXT = 2000;

function isPlain({ kind }: ParameterKind): boolean {
  return kind === "number" || kind === "choice";
}

function refused(name: string, text: string, type: ParameterKind): string | undefined {
  const { numLayers, numHeads } = model.value ?? {};
  const promptLength = asked.value?.answers.promptTokens;
  const isKnown = numLayers !== undefined && numHeads !== undefined && promptLength !== undefined;
  return refusalOf(name, text, { type, context: isKnown ? { numLayers, numHeads, promptLength } : undefined });
}

function withText(texts: MethodForm["texts"], name: string, text: string): MethodForm["texts"] {
  const others = Object.entries(texts).filter(([other]) => other !== name);
  return Object.fromEntries(text.trim() === "" ? others : [...others, [name, text]]);
}
