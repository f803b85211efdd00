// Values of templates as Python has them: types, text, equality and order. The package keeps lists, tuples, ranges and dictionary
// views as the same kind of list; what they are in Python is noted beside them here.
// Source: CPython 3.11's str(), repr() and json.dumps.

import { Environment } from "@huggingface/jinja";

/** A value of the package's runtime. */
export interface RuntimeValue {
  readonly type: string;
  value: unknown;
  __bool__(): { readonly value: boolean };
  toString(): string;
}

/** A function of the package's runtime: arguments, and where it is called. */
export type RuntimeFunction = (args: readonly RuntimeValue[], scope: Environment) => RuntimeValue;

/** What a template may use up. */
export interface Limits {
  /** @throws Error when there were too many steps. */
  spend(steps: number): void;
  /** @throws Error for a value of too many characters or elements. */
  checkLength(length: number): void;
}

/** What a template cannot do here, though Jinja2 can. */
export function unsupported(what: string): Error {
  return new Error(`uses ${what}, which is not supported`);
}

type Constructor = new (value?: unknown) => RuntimeValue;

function constructorOf(value: unknown): Constructor {
  // The package does not export its classes; each has one constructor with the value as its parameter.
  return new Environment().set("value", value).constructor as unknown as Constructor;
}

const IntegerValue = constructorOf(1);
const FloatValue = constructorOf(0.5);
const StringValue = constructorOf("");
const BooleanValue = constructorOf(true);
const NullValue = constructorOf(null);
const UndefinedValue = constructorOf(undefined);
const ArrayValue = constructorOf([]);
const ObjectValue = constructorOf({});
const FunctionValue = constructorOf(() => null);

/** What a list of the package is in Python, when it is none there. */
type ListKind = "tuple" | "range" | "iterator" | "dict_items" | "dict_keys" | "dict_values";
const listKinds = new WeakMap<object, ListKind>();

export const asString = (value: string): RuntimeValue => new StringValue(value);
export const asBoolean = (value: boolean): RuntimeValue => new BooleanValue(value);
export const asFloat = (value: number): RuntimeValue => new FloatValue(value);
export const asNone = (): RuntimeValue => new NullValue();
export const asUndefined = (): RuntimeValue => new UndefinedValue();
export const asFunction = (run: RuntimeFunction): RuntimeValue => new FunctionValue(run);

/** @throws Error for a number that JavaScript does not hold exactly, as Python does. */
export function asInteger(value: number): RuntimeValue {
  if (!Number.isSafeInteger(value)) throw unsupported("whole numbers above 2^53");
  return new IntegerValue(value === 0 ? 0 : value);
}

/** A list, or what is another kind of sequence in Python. */
export function asList(values: readonly RuntimeValue[], kind?: ListKind): RuntimeValue {
  const list = new ArrayValue(values);
  if (kind !== undefined) listKinds.set(list, kind);
  return list;
}

/** A dictionary with texts as keys. */
export function asDict(entries: Iterable<readonly [string, RuntimeValue]>): RuntimeValue {
  return new ObjectValue(new Map(entries));
}

export function isString(value: RuntimeValue): value is RuntimeValue & { readonly value: string } {
  return value.type === "StringValue";
}

export function isList(value: RuntimeValue): value is RuntimeValue & { readonly value: readonly RuntimeValue[] } {
  return value.type === "ArrayValue" || value.type === "TupleValue";
}

export function isDict(
  value: RuntimeValue,
): value is RuntimeValue & { readonly value: ReadonlyMap<string, RuntimeValue> } {
  return value.type === "ObjectValue" || value.type === "KeywordArgumentsValue";
}

export function isUndefined(value: RuntimeValue): boolean {
  return value.type === "UndefinedValue";
}

export function isNone(value: RuntimeValue): boolean {
  return value.type === "NullValue";
}

/** The kind of a list of the package. */
export function kindOfList(value: RuntimeValue): ListKind | "list" {
  return listKinds.get(value) ?? (value.type === "TupleValue" ? "tuple" : "list");
}

/** A number, with True as 1 and False as 0; undefined for what is no number. */
export function numberOf(value: RuntimeValue): number | undefined {
  if (value.type === "BooleanValue") return value.value === true ? 1 : 0;
  const isNumber = value.type === "IntegerValue" || value.type === "FloatValue";
  return isNumber && typeof value.value === "number" ? value.value : undefined;
}

/** Steps to go through a text or list once. */
export function costOf(value: RuntimeValue): number {
  if (isString(value)) return Math.ceil(value.value.length / 32);
  return isList(value) ? Math.ceil(value.value.length / 32) : 1;
}

/** The name of a value's type in Python. */
export function typeName(value: RuntimeValue): string {
  if (isList(value)) return kindOfList(value);
  const names = new Map<string, string>([
    ...([
      ["IntegerValue", "int"],
      ["FloatValue", "float"],
      ["StringValue", "str"],
      ["BooleanValue", "bool"],
    ] as const),
    ...([
      ["NullValue", "NoneType"],
      ["UndefinedValue", "Undefined"],
      ["ObjectValue", "dict"],
    ] as const),
    ...([
      ["NamespaceValue", "Namespace"],
      ["FunctionValue", "function"],
    ] as const),
  ]);
  return names.get(value.type) ?? value.type;
}

/** The elements that a loop or a filter goes through. @throws Error for what is not iterable. */
export function elementsOf(value: RuntimeValue): readonly RuntimeValue[] {
  if (isList(value)) return value.value;
  if (isString(value)) return Array.from(value.value, asString);
  if (isDict(value)) return [...value.value.keys()].map(asString);
  if (isUndefined(value)) return [];
  throw new Error(`'${typeName(value)}' object is not iterable`);
}

/** str(): what a value is written as. @throws Error for what Python writes with an address. */
export function textOf(value: RuntimeValue, limits: Limits): string {
  if (isString(value)) return value.value;
  return isUndefined(value) ? "" : reprOf(value, limits);
}

/** repr(). @throws Error for what Python writes with an address. */
export function reprOf(value: RuntimeValue, limits: Limits): string {
  const parts: string[] = [];
  let length = 0;
  const add = (text: string) => {
    length += text.length;
    limits.checkLength(length);
    parts.push(text);
  };
  const list = (items: readonly RuntimeValue[], [open, close]: readonly [string, string]) => {
    add(open);
    items.forEach((item, index) => {
      if (index > 0) add(", ");
      write(item);
    });
    add(close);
  };
  const dict = (entries: ReadonlyMap<string, RuntimeValue>) => {
    add("{");
    [...entries].forEach(([key, entry], index) => {
      add(`${index > 0 ? ", " : ""}${reprOfText(key)}: `);
      write(entry);
    });
    add("}");
  };
  const write = (item: RuntimeValue): void => {
    limits.spend(1);
    const scalar = scalarText(item);
    const kind = kindOfList(item);
    if (scalar !== undefined) add(scalar);
    else if (isDict(item) && !isLoop(item)) dict(item.value);
    else if (!isList(item)) throw unsupported(`the text of a ${isDict(item) ? "loop" : typeName(item)}`);
    else if (kind === "list") list(item.value, ["[", "]"]);
    else if (kind === "tuple") list(item.value, ["(", item.value.length === 1 ? ",)" : ")"]);
    else if (kind === "range" || kind === "iterator") throw unsupported(`the text of a ${kind}`);
    else list(item.value, [`${kind}([`, "])"]);
  };
  write(value);
  return parts.join("");
}

/** repr() of a value without elements. */
function scalarText(value: RuntimeValue): string | undefined {
  if (isString(value)) return reprOfText(value.value);
  if (isUndefined(value)) return "Undefined";
  if (isNone(value)) return "None";
  if (value.type === "BooleanValue") return value.value === true ? "True" : "False";
  const number = numberOf(value);
  if (number === undefined) return undefined;
  return value.type === "FloatValue" ? floatText(number) : String(number);
}

/** Whether a dictionary of the package is the `loop` of a loop. */
export function isLoop(value: RuntimeValue & { readonly value: ReadonlyMap<string, RuntimeValue> }): boolean {
  return value.value.has("revindex0") && value.value.has("previtem");
}

function reprOfText(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const escapes = new Map<string, string>([
    ...([
      ["\\", "\\\\"],
      ["\n", "\\n"],
      ["\r", "\\r"],
      ["\t", "\\t"],
    ] as const),
    [quote, `\\${quote}`] as const,
  ]);
  const escaped = text.replace(/[\\'"]|(?! )[\p{C}\p{Z}]/gu, (character) => {
    const known = escapes.get(character);
    if (known !== undefined || character === "'" || character === '"') return known ?? character;
    const code = (character.codePointAt(0) ?? 0).toString(16);
    return code.length <= 2
      ? `\\x${code.padStart(2, "0")}`
      : code.length <= 4
        ? `\\u${code.padStart(4, "0")}`
        : `\\U${code.padStart(8, "0")}`;
  });
  return quote + escaped + quote;
}

/** repr() of a float: with an exponent below 1e-4 and from 1e16 on. */
export function floatText(value: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  const [mantissa = "", exponentText] = value.toExponential().split("e");
  const exponent = Number(exponentText);
  if (value !== 0 && (exponent < -4 || exponent >= 16)) {
    return `${mantissa}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  }
  const text = Object.is(value, -0)
    ? "-0"
    : exponent < 0 && exponent >= -7
      ? value.toFixed(digitsOf(mantissa) - 1 - exponent)
      : String(value);
  return text.includes(".") ? text : `${text}.0`;
}

function digitsOf(mantissa: string): number {
  return mantissa.replace(/[-.]/g, "").length;
}

/** Python's ==. */
export function equals(a: RuntimeValue, b: RuntimeValue, limits: Limits): boolean {
  limits.spend(1);
  if (a === b) return true;
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== undefined || y !== undefined) return x === y;
  if (isString(a) && isString(b)) {
    if (a.value.length === b.value.length) limits.spend(costOf(a));
    return a.value === b.value;
  }
  if (isList(a) && isList(b)) {
    const [first, second] = [a.value, b.value];
    if (kindOfList(a) !== kindOfList(b)) return false;
    return (
      first.length === second.length && first.every((item, index) => equals(item, second[index] ?? asNone(), limits))
    );
  }
  if (isDict(a) && isDict(b)) {
    const [first, second] = [a.value, b.value];
    if (first.size !== second.size) return false;
    return [...first].every(([key, item]) => {
      const other = second.get(key);
      return other !== undefined && equals(item, other, limits);
    });
  }
  return a.type === b.type && (isNone(a) || isUndefined(a));
}

/** Less than 0, 0 or more, as a is before, equal to or after b. @throws Error for what Python does not compare. */
export function compare(a: RuntimeValue, b: RuntimeValue, limits: Limits): number {
  limits.spend(1);
  const [x, y] = [numberOf(a), numberOf(b)];
  if (x !== undefined && y !== undefined) return x < y ? -1 : x > y ? 1 : 0;
  if (isString(a) && isString(b)) {
    limits.spend(Math.min(costOf(a), costOf(b)));
    return compareTexts(a.value, b.value);
  }
  if (isList(a) && isList(b) && kindOfList(a) === kindOfList(b) && ["list", "tuple"].includes(kindOfList(a))) {
    for (const [index, item] of a.value.entries()) {
      const other = b.value[index];
      if (other === undefined) return 1;
      if (!equals(item, other, limits)) return compare(item, other, limits);
    }
    return a.value.length - b.value.length;
  }
  throw new Error(`'<' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`);
}

/** By code points. */
export function compareTexts(a: string, b: string): number {
  if (a === b) return 0;
  let index = 0;
  while (index < a.length && a.charCodeAt(index) === b.charCodeAt(index)) index++;
  const isInPair = index > 0 && /[\ud800-\udbff]/.test(a.charAt(index - 1));
  const at = isInPair ? index - 1 : index;
  return (a.codePointAt(at) ?? -1) - (b.codePointAt(at) ?? -1);
}

/** json.dumps with the options of transformers' `tojson`. @throws Error for what it does not write. */
export function jsonOf(
  value: RuntimeValue,
  {
    limits,
    indent,
    ensureAscii,
    separators,
    sortKeys,
  }: {
    readonly limits: Limits;
    readonly indent: string | undefined;
    readonly ensureAscii: boolean;
    readonly separators: readonly [string, string];
    readonly sortKeys: boolean;
  },
): string {
  const parts: string[] = [];
  let length = 0;
  const add = (text: string) => {
    length += text.length;
    limits.checkLength(length);
    parts.push(text);
  };
  const quoted = (text: string) => {
    const json = JSON.stringify(text);
    if (!ensureAscii) return json;
    return json.replace(/[\u007f-\uffff]/g, (unit) =>
      unit === "\u007f" ? unit : `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
    );
  };
  const [itemSeparator, keySeparator] = separators;
  const group = <T>(
    items: readonly T[],
    { depth, brackets: [open, close] }: { readonly depth: number; readonly brackets: readonly [string, string] },
    each: (item: T) => void,
  ) => {
    add(open);
    items.forEach((item, index) => {
      if (index > 0) add(itemSeparator);
      if (indent !== undefined) add(`\n${indent.repeat(depth + 1)}`);
      each(item);
    });
    if (indent !== undefined && items.length > 0) add(`\n${indent.repeat(depth)}`);
    add(close);
  };
  const scalar = (item: RuntimeValue): string | undefined => {
    if (isString(item)) return quoted(item.value);
    if (isNone(item)) return "null";
    if (item.type === "BooleanValue") return item.value === true ? "true" : "false";
    const number = numberOf(item);
    if (number === undefined) return undefined;
    const text = item.type === "FloatValue" ? floatText(number) : String(number);
    return text.replace("inf", "Infinity").replace("nan", "NaN");
  };
  const write = (item: RuntimeValue, depth: number): void => {
    limits.spend(1);
    const text = scalar(item);
    if (text !== undefined) {
      add(text);
    } else if (isList(item) && ["list", "tuple"].includes(kindOfList(item))) {
      group(item.value, { depth, brackets: ["[", "]"] }, (element) => write(element, depth + 1));
    } else if (isDict(item) && !isLoop(item)) {
      const entries = [...item.value];
      if (sortKeys) entries.sort(([a], [b]) => compareTexts(a, b));
      group(entries, { depth, brackets: ["{", "}"] }, ([key, entry]) => {
        add(quoted(key) + keySeparator);
        write(entry, depth + 1);
      });
    } else {
      throw new Error(`Object of type ${typeName(item)} is not JSON serializable`);
    }
  };
  write(value, 0);
  return parts.join("");
}
