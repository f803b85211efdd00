// A method of the registry as a form: what is written in its fields, and the settings that this means.
import { InputError } from "../../errors.ts";
import {
  checkValue,
  type ParameterKind,
  type Parameters,
  type SettingsContext,
} from "../../interventions/parameters.ts";

/** A method and the text of its fields by parameter; an empty field stands for the default. */
export interface MethodForm {
  readonly name: string;
  readonly texts: Readonly<Record<string, string>>;
}

/** The settings that a form's texts mean; a text that means nothing stays a text, which the library refuses. */
export function settingsOfForm(parameters: Parameters, { texts }: MethodForm): Readonly<Record<string, unknown>> {
  const entries = Object.entries(parameters).flatMap(([name, { type }]) => {
    const text = texts[name]?.trim() ?? "";
    return text === "" ? [] : [[name, writtenValue(type, text)] as const];
  });
  return Object.fromEntries(entries);
}

/** Why a field's text cannot be, in the library's words; undefined for one that can. */
export function refusalOf(
  name: string,
  text: string,
  { type, context }: { readonly type: ParameterKind; readonly context: SettingsContext | undefined },
): string | undefined {
  if (text.trim() === "") return undefined;
  try {
    checkValue(name, writtenValue(type, text.trim()), { type, context });
    return undefined;
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
}

/** The parameter that an error message of the library begins with. */
export function parameterOf(parameters: Parameters, message: string): string | undefined {
  return Object.keys(parameters).find((name) => new RegExp(`^${name}\\b`).test(message));
}

/** A value as it is written in a field; empty for one whose absence has a meaning of its own. */
export function textOf(value: unknown): string {
  if (value === undefined) return "";
  if (typeof value === "object" && value !== null && "last" in value) return String(value.last);
  if (Array.isArray(value)) return value.every(Array.isArray) ? value.map(String).join("; ") : runs(value.map(Number));
  return String(value);
}

/** What may be written in a field, in few words. */
export function hintOf(type: ParameterKind): string {
  switch (type.kind) {
    case "number":
      return `${type.isWhole === true ? "whole number, " : ""}${type.minimum} ${type.maximum < 1e6 ? `to ${type.maximum}` : "or more"}`;
    case "choice":
      return type.choices.join(" or ");
    case "indices":
      return "such as 0,2-5";
    case "box":
      return "left,top,right,bottom";
    case "strengths":
      return "per layer: 1,0,1; 0,1,1";
    case "columns":
      return "image, or such as 0,2-5";
    case "rows":
      return "last, generated, after-image, or a number";
  }
}

function writtenValue(type: ParameterKind, text: string): unknown {
  switch (type.kind) {
    case "number":
      return numberOf(text) ?? text;
    case "choice":
      return text;
    case "indices":
      return indexList(text) ?? text;
    case "columns":
      return text === "image" ? text : (indexList(text) ?? text);
    case "box":
      return numbers(text) ?? text;
    case "strengths":
      return text.split(";").map((layer) => numbers(layer) ?? layer.trim());
    case "rows": {
      const last = numberOf(text);
      return last === undefined ? text : { last };
    }
  }
}

/** Numbers and ranges, such as 0,2-5. */
function indexList(text: string): readonly number[] | undefined {
  const found: number[] = [];
  for (const part of text.split(",")) {
    const [, from, to = from] = /^\s*(\d{1,6})\s*(?:-\s*(\d{1,6})\s*)?$/.exec(part) ?? [];
    if (from === undefined || Number(to) < Number(from)) return undefined;
    for (let index = Number(from); index <= Number(to); index++) found.push(index);
  }
  return found;
}

function numbers(text: string): readonly number[] | undefined {
  const found = text.split(",").map(numberOf);
  return found.every((value) => value !== undefined) ? found : undefined;
}

function numberOf(text: string): number | undefined {
  return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : undefined;
}

/** Whole numbers with their runs as ranges: 0,2-5. Others one by one. */
export function runs(values: readonly number[]): string {
  const parts: string[] = [];
  for (let index = 0; index < values.length; ) {
    let end = index;
    while (values[end + 1] === Number(values[end]) + 1) end++;
    parts.push(end > index + 1 ? `${values[index]}-${values[end]}` : values.slice(index, end + 1).join(","));
    index = end + 1;
  }
  return parts.join(",");
}
