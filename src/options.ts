// Options of programs without a type checker: one schema per entry point, from which the checks and their messages derive. Options
// are read once, into a copy of plain data, so that a getter or a proxy of the caller's can neither fail nor change later.

import { described, InputError, isObject, isPlain, reasonOf, shown } from "./errors.ts";

/** What a value must be. */
export interface Rule {
  /** Completes "NAME must be …". */
  readonly expected: string;
  /** The value, or a copy of a list or object. @throws InputError when it does not fit. */
  read(value: unknown, name: string): unknown;
}

/** A rule for every member of `T`; each may be undefined unless its rule is {@link required}. */
export type Schema<T> = { readonly [Name in keyof T]-?: Rule };

/** @throws InputError that says what a value must be and what it is. */
export function refuse(name: string, expected: string, value: unknown): never {
  throw new InputError(`${name} must be ${expected}, got ${described(value)}.`);
}

/** The rule of values that `fits` accepts. */
export function rule(expected: string, fits: (value: unknown) => boolean): Rule {
  return { expected, read: (value, name) => (fits(value) ? value : refuse(name, expected, value)) };
}

/** Any text. */
export const text = rule("a text", (value) => typeof value === "string");
/** A boolean. */
export const flag = rule("true or false", (value) => typeof value === "boolean");
/** A function. */
export const callback = rule("a function", (value) => typeof value === "function");
/** A Float32Array. */
export const floats = rule("a Float32Array", (value) => isTyped(value, "Float32Array"));
/** An AbortSignal, also that of a library or of another window. */
export const abortSignal: Rule = withMethods("an AbortSignal", "addEventListener", "removeEventListener");

/** A number within bounds. */
export function numberFrom(bounds: {
  readonly least?: number;
  readonly most?: number;
  readonly above?: number;
  readonly isWhole?: boolean;
}): Rule {
  const { least, most, above, isWhole = false } = bounds;
  const range = [
    ...(above === undefined ? [] : [`above ${above}`]),
    ...(least === undefined ? [] : [most === undefined ? `of at least ${least}` : `from ${least}`]),
    ...(most === undefined ? [] : [least === undefined ? `and at most ${most}` : `to ${most}`]),
  ];
  return rule([`a ${isWhole ? "whole " : ""}number`, ...range].join(" "), (value) => {
    if (typeof value !== "number" || !Number.isFinite(value) || (isWhole && !Number.isSafeInteger(value))) return false;
    return !(value < Number(least) || value > Number(most) || value <= Number(above)); // NaN for a bound that is not given
  });
}

/** A whole number from `least` to `most`. */
export function whole(least: number, most?: number): Rule {
  return numberFrom({ isWhole: true, least, ...(most !== undefined && { most }) });
}

/** One of several texts. */
export function oneOf(choices: readonly string[]): Rule {
  return rule(choices.map((choice) => `"${choice}"`).join(" or "), (value) =>
    choices.some((choice) => choice === value),
  );
}

/** An object that is taken as it is, if its members fit. */
export function withMembers(expected: string, fits: (value: Readonly<Record<string, unknown>>) => boolean): Rule {
  return rule(expected, (value) => isObject(value) && fits(value));
}

/** An object with these methods, taken as it is. */
export function withMethods(expected: string, ...names: readonly string[]): Rule {
  return withMembers(expected, (value) => names.every((name) => typeof value[name] === "function"));
}

/** A list, as a copy. @param expected such as "a list of texts" */
export function listOf(item: Rule, expected: string, least = 0): Rule {
  return {
    expected,
    read: (value, name) => {
      if (!Array.isArray(value) || value.length < least) return refuse(name, expected, value);
      checkLength(value, name);
      return Array.from(value, (member, index) => item.read(member, `${name}[${index}]`)); // holes too, unlike map
    },
  };
}

/** What fits one of two rules: the second is used for what `isFirst` does not accept. */
export function either(isFirst: (value: unknown) => boolean, first: Rule, second: Rule): Rule {
  return {
    expected: `${first.expected} or ${second.expected}`,
    read: (value, name) => (isFirst(value) ? first : second).read(value, name),
  };
}

/** An object of options, as a copy. */
export function optionsOf<T>(schema: Schema<T>): Rule {
  return {
    expected: "an object of options",
    read: (value, name) => membersOf(value, name, { schema, isClosed: true }),
  };
}

/** An object with members that fit, and others that are left out, as a copy. */
export function objectOf<T>(expected: string, schema: Schema<T>): Rule {
  return { expected, read: (value, name) => membersOf(value, name, { schema, expected }) };
}

/** An object with members of any name that all fit, as a copy. */
export function recordOf(expected: string, item: Rule): Rule {
  return {
    expected,
    read: (value, name) => {
      if (!isObject(value) || !isPlain(value)) return refuse(name, expected, value);
      return Object.fromEntries(
        Object.entries(value).map(([key, member]) => [key, item.read(member, `${name}.${key}`)]),
      );
    },
  };
}

/** A member that must be given. */
export function required(rule: Rule): Rule & { readonly isRequired: true } {
  return { ...rule, isRequired: true };
}

/** How deep {@link data} goes. */
const MAX_DATA_DEPTH = 8;

/** Items of a list: a hostile one has 4 billion, all of them holes. */
const MAX_ITEMS = 2 ** 22;

function checkLength({ length }: readonly unknown[], name: string): void {
  if (length > MAX_ITEMS) throw new InputError(`${name} must have at most ${MAX_ITEMS} items, got ${length}.`);
}

/** Anything that can be copied as plain data; what is checked later, by a description of its own. */
export const data: Rule = { expected: "plain data", read: (value, name) => copyOf(value, name, MAX_DATA_DEPTH) };

/** An object of values for {@link data}. */
export const record: Rule = {
  expected: "an object of settings",
  read: (value, name) =>
    isObject(value) && isPlain(value) ? data.read(value, name) : refuse(name, record.expected, value),
};

/** A value that is taken as it is. */
export const anything: Rule = { expected: "anything", read: (value) => value };

/**
 * The options of an entry point, each read once and checked; undefined ones are left out.
 * @param where the entry point's name, in messages
 * @throws InputError for an option that does not fit, cannot be read, or does not exist.
 */
export function readOptions<T extends object>(where: string, options: unknown, schema: Schema<T>): T {
  // Each member was checked by its rule.
  return read(where, options, optionsOf(schema)) as T;
}

/** A value that fits, or its copy. @throws InputError also when it cannot be read. */
export function read(name: string, value: unknown, rule: Rule): unknown {
  try {
    return rule.read(value, name);
  } catch (cause) {
    if (cause instanceof InputError) throw cause;
    throw new InputError(`${name} must be ${rule.expected}, but reading it failed (${reasonOf(cause)}).`, { cause });
  }
}

/** A text of an untyped caller's. @throws InputError. */
export function checkedText(name: string, value: string): string {
  return read(name, value, text) as string; // checked by the rule
}

function membersOf<T>(
  value: unknown,
  name: string,
  {
    schema,
    expected,
    isClosed = false,
  }: { readonly schema: Schema<T>; readonly expected?: string; readonly isClosed?: boolean },
): object {
  if (!isObject(value) || (isClosed && !isPlain(value))) return refuse(name, expected ?? "an object of options", value);
  const rules: Readonly<Record<string, Rule & { readonly isRequired?: true }>> = schema;
  const members: Record<string, unknown> = {};
  for (const [key, rule] of Object.entries(rules)) {
    const member = value[key];
    if (member !== undefined || rule.isRequired === true)
      members[key] = rule.read(member, isClosed ? key : `${name}.${key}`);
  }
  if (isClosed) {
    const stranger = Object.keys(value).find((key) => !Object.hasOwn(rules, key) && value[key] !== undefined);
    if (stranger !== undefined) throw unknownOption(stranger, name, Object.keys(rules));
  }
  return members;
}

/** Whether a value is a typed array of this kind, also of another window. */
export function isTyped(value: unknown, kind: string): boolean {
  return ArrayBuffer.isView(value) && Object.prototype.toString.call(value) === `[object ${kind}]`;
}

function copyOf(value: unknown, name: string, depth: number): unknown {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return value;
  if (depth === 0)
    throw new InputError(`${name} is nested more than ${MAX_DATA_DEPTH} levels deep: give plain settings.`);
  if (!Array.isArray(value)) {
    if (!isPlain(value)) return value; // refused by its kind
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, copyOf(member, name, depth - 1)]));
  }
  checkLength(value, name);
  return Array.from(value, (item) => copyOf(item, name, depth - 1));
}

/** The error for an option that does not exist, with the one that was meant where that can be told. */
export function unknownOption(name: string, of: string, names: readonly string[]): InputError {
  const near = nearest(name, names);
  const advice = near === undefined ? `the options are ${names.join(", ")}` : `did you mean ${near}?`;
  return new InputError(
    `There is no option ${/^\w{1,40}$/.test(name) ? name : shown(name)} of ${of}; ${advice}${near === undefined ? "." : ""}`,
  );
}

/** The name that differs least, if it differs little: by case, underscores and at most three letters. */
function nearest(name: string, names: readonly string[]): string | undefined {
  const plain = plainName(name);
  if (plain.length > 40) return undefined;
  let [best, least] = [undefined as string | undefined, Math.min(4, plain.length / 2)];
  for (const candidate of names) {
    const distance = editDistance(plain, plainName(candidate));
    if (distance < least) [best, least] = [candidate, distance];
  }
  return best;
}

function plainName(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, "");
}

/** Levenshtein's distance. */
function editDistance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replaced = Number(above[column - 1]) + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(replaced, Number(above[column]) + 1, Number(current[column - 1]) + 1));
    }
    above = current;
  }
  return Number(above[b.length]);
}
