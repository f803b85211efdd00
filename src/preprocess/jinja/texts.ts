// What the filters and the methods of templates share: their arguments, and Python's changes of texts.
// Source: CPython 3.11's str.

import {
  asList,
  asNone,
  asString,
  isNone,
  isString,
  type Limits,
  numberOf,
  type RuntimeValue,
  typeName,
  unsupported,
} from "./values.ts";

/** Arguments of a filter, test or method. */
export class Arguments {
  readonly limits: Limits;
  readonly positional: readonly RuntimeValue[];
  private readonly what: string;
  private readonly named: Map<string, RuntimeValue>;

  /** @param what the filter's name, for messages */
  constructor(
    what: string,
    positional: readonly RuntimeValue[],
    { named, limits }: { readonly named: ReadonlyMap<string, RuntimeValue>; readonly limits: Limits },
  ) {
    this.what = what;
    this.positional = positional;
    this.named = new Map(named);
    this.limits = limits;
  }

  /** The values of parameters by their names, in order; undefined for those that are not given. @throws Error for others. */
  take(...names: readonly string[]): readonly (RuntimeValue | undefined)[] {
    if (this.positional.length > names.length) throw new Error(`${this.what} takes at most ${names.length} arguments`);
    const values = names.map((name, index) => {
      const value = this.positional[index] ?? this.named.get(name);
      this.named.delete(name);
      return value;
    });
    const [unknown] = this.named.keys();
    if (unknown !== undefined) throw unsupported(`the argument ${unknown} of ${this.what}`);
    return values;
  }

  /** A named argument, which is then taken. */
  takeNamed(name: string): RuntimeValue | undefined {
    const value = this.named.get(name);
    this.named.delete(name);
    return value;
  }
}

/** What str.strip() and str.split() take as white space; JavaScript's trim() differs. */
export const SPACE = "\\t-\\r\\u001c-\\u0020\\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";

export const OTHER_LINE_ENDS = "\\r\\v\\f\\u001c-\\u001e\\u0085\\u2028\\u2029";

export const OTHER_LINE_END = new RegExp(`[${OTHER_LINE_ENDS}]`, "u");

/** Where str.splitlines() ends a line. */
export const LINE_END = new RegExp(`\\r\\n|[\\n${OTHER_LINE_ENDS}]`, "u");

export function isLower(text: string): boolean {
  return /\p{Lowercase}/u.test(text) && !/[\p{Uppercase}\p{Lt}]/u.test(text);
}

export function isUpper(text: string): boolean {
  return /\p{Uppercase}/u.test(text) && !/[\p{Lowercase}\p{Lt}]/u.test(text);
}

/** The first letter as in a title, the others as small ones. @throws Error for letters whose title form is their own. */
export function capitalized(text: string): string {
  const [first = ""] = text;
  const upper = first.toUpperCase();
  if (/[\p{Lt}\u01c4-\u01cc\u01f1-\u01f3]/u.test(first) || [...upper].length > 1) {
    throw unsupported(`the title case of ${JSON.stringify(first)}`);
  }
  return upper + text.slice(first.length).toLowerCase();
}

export function charactersOf(value: RuntimeValue | undefined): string | undefined {
  if (value === undefined || isNone(value)) return undefined;
  if (isString(value)) return value.value;
  throw new Error("strip arg must be None or str");
}

export function strip(text: string, characters: string | undefined, side: "both" | "left" | "right"): string {
  const isSpace = new RegExp(`[${SPACE}]`, "u");
  const set = characters === undefined ? undefined : new Set(characters);
  const isStripped = (character: string) => (set === undefined ? isSpace.test(character) : set.has(character));
  const all = [...text];
  let start = 0;
  let end = all.length;
  while (side !== "right" && start < end && isStripped(all[start] ?? "")) start++;
  while (side !== "left" && end > start && isStripped(all[end - 1] ?? "")) end--;
  return all.slice(start, end).join("");
}

export function joinTexts(texts: readonly string[], between: string, limits: Limits): RuntimeValue {
  limits.checkLength(texts.reduce((total, text) => total + text.length + between.length, 0));
  return asString(texts.join(between));
}

export function replaced(
  [text = "", from = "", to = ""]: readonly string[],
  count: RuntimeValue | undefined,
  limits: Limits,
): RuntimeValue {
  const most = count === undefined || isNone(count) ? -1 : numberOf(count);
  if (most === undefined)
    throw new Error(`'${typeName(count ?? asNone())}' object cannot be interpreted as an integer`);
  const parts = from === "" ? ["", ...text, ""] : text.split(from);
  const all = from === "" && text === "" ? ["", ""] : parts;
  const times = most < 0 ? all.length - 1 : Math.min(most, all.length - 1);
  limits.checkLength(text.length + times * to.length);
  const changed = all.slice(0, times + 1).join(to);
  const rest = all.slice(times + 1);
  return asString(rest.length === 0 ? changed : [changed, ...rest].join(from));
}

export function pairsOf(entries: ReadonlyMap<string, RuntimeValue>): readonly RuntimeValue[] {
  return Array.from(entries, ([key, entry]) => asList([asString(key), entry], "tuple"));
}

/** Most characters of an indentation or a padding. */
export const MAX_WIDTH = 1000;

/** What a filter or method makes of a value. */
export type Filter = (value: RuntimeValue, args: Arguments) => RuntimeValue;
