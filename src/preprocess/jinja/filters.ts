// The filters and tests of templates as Jinja2 computes them. Others are refused by name.
// Source: Jinja2 3.1's filters.py and tests.py, with transformers' `tojson`.

import { itemOf } from "./methods.ts";
import { binary, contains, formatted, parsedNumber, rounded } from "./operators.ts";
import {
  Arguments,
  capitalized,
  charactersOf,
  type Filter,
  isLower,
  isUpper,
  joinTexts,
  MAX_WIDTH,
  OTHER_LINE_END,
  pairsOf,
  replaced,
  strip,
} from "./texts.ts";
import {
  asFloat,
  asInteger,
  asList,
  asNone,
  asString,
  asUndefined,
  compare,
  elementsOf,
  equals,
  isDict,
  isList,
  isNone,
  isString,
  isUndefined,
  jsonOf,
  kindOfList,
  type Limits,
  numberOf,
  type RuntimeValue,
  textOf,
  typeName,
  unsupported,
} from "./values.ts";

type Test = (value: RuntimeValue, other: RuntimeValue | undefined, limits: Limits) => boolean;

/** A filter by its name. @throws Error for one that is not supported. */
export function filterOf(name: string): Filter {
  const filter = FILTERS.get(name);
  if (filter === undefined) throw unsupported(`the filter ${name.slice(0, 80)}`);
  return filter;
}

/** A test by its name. @throws Error for one that is not supported. */
export function testOf(name: string): Test {
  const test = TESTS.get(name);
  if (test === undefined) throw unsupported(`the test ${name.slice(0, 80)}`);
  return test;
}

const TESTS: ReadonlyMap<string, Test> = new Map<string, Test>([
  ["boolean", (value) => value.type === "BooleanValue"],
  ["callable", (value) => value.type === "FunctionValue" || isUndefined(value)],
  ["defined", (value) => !isUndefined(value)],
  ["undefined", (value) => isUndefined(value)],
  ["none", (value) => isNone(value)],
  ["true", (value) => value.type === "BooleanValue" && value.value === true],
  ["false", (value) => value.type === "BooleanValue" && value.value === false],
  ["string", (value) => isString(value)],
  ["number", (value) => numberOf(value) !== undefined],
  ["integer", (value) => value.type === "IntegerValue"],
  ["float", (value) => value.type === "FloatValue"],
  ["mapping", (value) => isDict(value)],
  ["iterable", (value) => isString(value) || isList(value) || isDict(value) || isUndefined(value)],
  ["sequence", (value) => isSequence(value)],
  ["odd", (value) => remainder(value) === 1],
  ["even", (value) => remainder(value) === 0],
  ["lower", (value, _, limits) => isLower(textOf(value, limits))],
  ["upper", (value, _, limits) => isUpper(textOf(value, limits))],
  ...["eq", "equalto", "=="].map((name) => [name, comparison("==")] as const),
  ...["ne", "!="].map((name) => [name, comparison("!=")] as const),
  ...["lt", "lessthan", "<"].map((name) => [name, comparison("<")] as const),
  ...["le", "<="].map((name) => [name, comparison("<=")] as const),
  ...["gt", "greaterthan", ">"].map((name) => [name, comparison(">")] as const),
  ...["ge", ">="].map((name) => [name, comparison(">=")] as const),
  ["in", (value, other, limits) => contains(required("in", other), value, limits)],
]);

function comparison(operator: string): Test {
  return (value, other, limits) => binary(operator, [value, required(operator, other)], limits).value === true;
}

function required(what: string, value: RuntimeValue | undefined): RuntimeValue {
  if (value === undefined) throw new Error(`${what} needs an argument`);
  return value;
}

function isSequence(value: RuntimeValue): boolean {
  if (isList(value)) return ["list", "tuple", "range"].includes(kindOfList(value));
  return isString(value) || isDict(value) || isUndefined(value);
}

function remainder(value: RuntimeValue): number {
  const number = numberOf(value);
  if (number === undefined) throw new Error(`'${typeName(value)}' is not a number`);
  return Math.abs(number % 2);
}

/** A filter of texts, which takes others as their text. */
function ofText(change: (text: string) => string): Filter {
  return (value, args) => {
    args.take();
    return asString(change(textOf(value, args.limits)));
  };
}

const FILTERS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ["upper", ofText((text) => text.toUpperCase())],
  ["lower", ofText((text) => text.toLowerCase())],
  ["capitalize", ofText(capitalized)],
  [
    "title",
    ofText((text) =>
      text
        .split(/([-\s({[<]+)/u)
        .map(capitalizedPart)
        .join(""),
    ),
  ],
  ["string", ofText((text) => text)],
  ["safe", ofText((text) => text)],
  ["trim", (value, args) => asString(strip(textOf(value, args.limits), charactersOf(args.take("chars")[0]), "both"))],
  ...["length", "count"].map((name) => [name, length] as const),
  [
    "list",
    (value, args) => {
      args.take();
      return asList(elementsOf(value));
    },
  ],
  [
    "first",
    (value, args) => {
      args.take();
      return elementsOf(value)[0] ?? asUndefined();
    },
  ],
  [
    "last",
    (value, args) => {
      args.take();
      return elementsOf(value).at(-1) ?? asUndefined();
    },
  ],
  ["reverse", reverse],
  ["join", join],
  ["replace", replace],
  ...["default", "d"].map((name) => [name, defaultTo] as const),
  ["tojson", tojson],
  ["int", (value, args) => toNumber(value, args, "int")],
  ["float", (value, args) => toNumber(value, args, "float")],
  ["abs", abs],
  ["round", round],
  ["indent", indent],
  ["items", items],
  ["dictsort", dictsort],
  ["sort", sort],
  ["unique", unique],
  ["min", (value, args) => extreme(value, args, -1)],
  ["max", (value, args) => extreme(value, args, 1)],
  ["sum", sum],
  ["map", map],
  ["select", (value, args) => selected(value, args, { keeps: true, isAttribute: false })],
  ["reject", (value, args) => selected(value, args, { keeps: false, isAttribute: false })],
  ["selectattr", (value, args) => selected(value, args, { keeps: true, isAttribute: true })],
  ["rejectattr", (value, args) => selected(value, args, { keeps: false, isAttribute: true })],
  ["format", format],
  [
    "wordcount",
    (value, args) => {
      args.take();
      return asInteger([...textOf(value, args.limits).matchAll(/[\p{L}\p{N}_]+/gu)].length);
    },
  ],
]);

/** As Jinja's title: it does not use the title form. */
function capitalizedPart(text: string): string {
  const [first = ""] = text;
  return first.toUpperCase() + text.slice(first.length).toLowerCase();
}

function length(value: RuntimeValue, args: Arguments): RuntimeValue {
  args.take();
  if (isList(value) && kindOfList(value) === "iterator") throw new Error("object of type 'generator' has no len()");
  args.limits.spend(isString(value) ? Math.floor(value.value.length / 64) : 0);
  return asInteger(elementsOf(value).length);
}

function reverse(value: RuntimeValue, args: Arguments): RuntimeValue {
  args.take();
  const elements = [...elementsOf(value)].reverse();
  if (isString(value)) return asString(elements.map((element) => String(element.value)).join(""));
  return asList(elements, "iterator");
}

function join(value: RuntimeValue, args: Arguments): RuntimeValue {
  const [separator = asString(""), attribute] = args.take("d", "attribute");
  const between = textOf(separator, args.limits);
  const elements =
    attribute === undefined || isNone(attribute)
      ? elementsOf(value)
      : elementsOf(value).map((element) => attributeOf(element, attribute));
  return joinTexts(
    elements.map((element) => textOf(element, args.limits)),
    between,
    args.limits,
  );
}

function replace(value: RuntimeValue, args: Arguments): RuntimeValue {
  const [from, to, count] = args.take("s", "new", "count");
  if (from === undefined || to === undefined) throw new Error("replace needs two arguments");
  const texts = [value, from, to].map((part) => textOf(part, args.limits));
  return replaced(texts, count, args.limits);
}

function defaultTo(value: RuntimeValue, args: Arguments): RuntimeValue {
  const [fallback = asString(""), isBoolean] = args.take("default_value", "boolean");
  const counts = isUndefined(value) || (isBoolean?.__bool__().value === true && !value.__bool__().value);
  return counts ? fallback : value;
}

function tojson(value: RuntimeValue, args: Arguments): RuntimeValue {
  const [ensureAscii, indentation, separators, sortKeys] = args.take(
    "ensure_ascii",
    "indent",
    "separators",
    "sort_keys",
  );
  const hasIndent = indentation !== undefined && !isNone(indentation);
  let indent: string | undefined;
  if (hasIndent) {
    const width = isString(indentation) ? undefined : numberOf(indentation);
    if (!isString(indentation) && (width === undefined || width > 1000)) throw unsupported("this indent of tojson");
    indent = isString(indentation) ? indentation.value : " ".repeat(Math.max(0, width ?? 0));
  }
  let pair: readonly [string, string] = [hasIndent ? "," : ", ", ": "];
  if (separators !== undefined && !isNone(separators)) {
    const [item, key] = elementsOf(separators);
    if (item === undefined || key === undefined || !isString(item) || !isString(key))
      throw unsupported("these separators of tojson");
    pair = [item.value, key.value];
  }
  const isOn = (flag: RuntimeValue | undefined) => flag?.__bool__().value === true;
  const { limits } = args;
  return asString(
    jsonOf(value, { limits, indent, ensureAscii: isOn(ensureAscii), separators: pair, sortKeys: isOn(sortKeys) }),
  );
}

function toNumber(value: RuntimeValue, args: Arguments, kind: "int" | "float"): RuntimeValue {
  const [fallback = kind === "int" ? asInteger(0) : asFloat(0)] = args.take("default");
  const number = isString(value) ? parsedNumber(value.value, kind) : numberOf(value);
  if (isUndefined(value)) throw new Error("the value is undefined");
  if (number === undefined) return fallback;
  return kind === "int" ? asInteger(Math.trunc(number)) : asFloat(number);
}

function abs(value: RuntimeValue, args: Arguments): RuntimeValue {
  args.take();
  const number = numberOf(value);
  if (number === undefined) throw new Error(`bad operand type for abs(): '${typeName(value)}'`);
  return value.type === "FloatValue" ? asFloat(Math.abs(number)) : asInteger(Math.abs(number));
}

function round(value: RuntimeValue, args: Arguments): RuntimeValue {
  const [precision, method] = args.take("precision", "method");
  const number = numberOf(value);
  if (number === undefined) throw new Error(`type ${typeName(value)} doesn't define __round__ method`);
  if (method !== undefined) throw unsupported("the method of round");
  const result = rounded(number, precision === undefined ? 0 : (numberOf(precision) ?? -1));
  return value.type === "FloatValue" ? asFloat(result) : asInteger(result);
}

function indent(value: RuntimeValue, args: Arguments): RuntimeValue {
  const [width = asInteger(4), first, blank] = args.take("width", "first", "blank");
  const count = numberOf(width);
  if (!isString(width) && (count === undefined || count > MAX_WIDTH)) throw unsupported("this width of indent");
  const indentation = isString(width) ? width.value : " ".repeat(Math.max(0, count ?? 0));
  if (!isString(value)) throw new Error(`can only indent a text, got ${typeName(value)}`);
  const text = value.value;
  if (OTHER_LINE_END.test(text)) throw unsupported("indent of other line ends than \\n");
  const [start = "", ...rest] = text.split("\n");
  args.limits.checkLength(text.length + rest.length * indentation.length);
  const isOn = (flag: RuntimeValue | undefined) => flag?.__bool__().value === true;
  const lines = rest.map((line) => (line === "" && !isOn(blank) ? line : indentation + line));
  return asString([isOn(first) ? indentation + start : start, ...lines].join("\n"));
}

function items(value: RuntimeValue, args: Arguments): RuntimeValue {
  args.take();
  if (isUndefined(value)) return asList([], "iterator");
  if (!isDict(value)) throw new Error("Can only get item pairs from a mapping.");
  return asList(pairsOf(value.value), "iterator");
}

function dictsort(value: RuntimeValue, args: Arguments): RuntimeValue {
  const [isCaseSensitive, by = asString("key"), isReversed] = args.take("case_sensitive", "by", "reverse");
  if (!isDict(value)) throw new Error(`'${typeName(value)}' object has no attribute 'items'`);
  const index = equals(by, asString("value"), args.limits) ? 1 : 0;
  if (index === 0 && !equals(by, asString("key"), args.limits))
    throw new Error("You can only sort by either 'key' or 'value'");
  const keyOf = (pair: RuntimeValue) => caseless(elementsOf(pair)[index] ?? asNone(), isCaseSensitive);
  return asList(sorted(pairsOf(value.value), { keyOf, isReversed, limits: args.limits }));
}

/** A text in small letters, unless case counts. */
function caseless(value: RuntimeValue, isCaseSensitive: RuntimeValue | undefined): RuntimeValue {
  return isString(value) && isCaseSensitive?.__bool__().value !== true ? asString(value.value.toLowerCase()) : value;
}

function sorted(
  elements: readonly RuntimeValue[],
  {
    keyOf,
    isReversed,
    limits,
  }: {
    readonly keyOf: (element: RuntimeValue) => RuntimeValue;
    readonly isReversed: RuntimeValue | undefined;
    readonly limits: Limits;
  },
): readonly RuntimeValue[] {
  const keyed = elements.map((element) => ({ element, key: keyOf(element) }));
  const direction = isReversed?.__bool__().value === true ? -1 : 1;
  return keyed.sort((a, b) => direction * compare(a.key, b.key, limits)).map(({ element }) => element);
}

function sort(value: RuntimeValue, args: Arguments): RuntimeValue {
  const [isReversed, isCaseSensitive, attribute] = args.take("reverse", "case_sensitive", "attribute");
  const hasAttribute = attribute !== undefined && !isNone(attribute);
  if (hasAttribute && isString(attribute) && attribute.value.includes(","))
    throw unsupported("several attributes of sort");
  const keyOf = (element: RuntimeValue) =>
    caseless(hasAttribute ? attributeOf(element, attribute) : element, isCaseSensitive);
  return asList(sorted(elementsOf(value), { keyOf, isReversed, limits: args.limits }));
}

function unique(value: RuntimeValue, args: Arguments): RuntimeValue {
  const [isCaseSensitive, attribute] = args.take("case_sensitive", "attribute");
  const seen: RuntimeValue[] = [];
  const kept = elementsOf(value).filter((element) => {
    const key = caseless(
      attribute === undefined || isNone(attribute) ? element : attributeOf(element, attribute),
      isCaseSensitive,
    );
    if (isDict(key) || (isList(key) && kindOfList(key) !== "tuple"))
      throw new Error(`unhashable type: '${typeName(key)}'`);
    const isNew = !seen.some((other) => equals(key, other, args.limits));
    if (isNew) seen.push(key);
    return isNew;
  });
  return asList(kept, "iterator");
}

function extreme(value: RuntimeValue, args: Arguments, direction: 1 | -1): RuntimeValue {
  const [isCaseSensitive, attribute] = args.take("case_sensitive", "attribute");
  if (attribute !== undefined) throw unsupported("the attribute of min and max");
  let best: RuntimeValue | undefined;
  for (const element of elementsOf(value)) {
    const keys = [element, best ?? element].map((item) => caseless(item, isCaseSensitive));
    const order = compare(keys[0] ?? element, keys[1] ?? element, args.limits);
    if (best === undefined || order * direction > 0) best = element;
  }
  return best ?? asUndefined();
}

function sum(value: RuntimeValue, args: Arguments): RuntimeValue {
  const [attribute, start = asInteger(0)] = args.take("attribute", "start");
  const hasAttribute = attribute !== undefined && !isNone(attribute);
  return elementsOf(value).reduce(
    (total, element) => binary("+", [total, hasAttribute ? attributeOf(element, attribute) : element], args.limits),
    start,
  );
}

function map(value: RuntimeValue, args: Arguments): RuntimeValue {
  const { limits } = args;
  const attribute = args.takeNamed("attribute");
  if (attribute !== undefined) {
    const fallback = args.takeNamed("default");
    args.take();
    const mapped = elementsOfMaybe(value).map((element) => attributeOf(element, attribute, fallback));
    return asList(mapped, "iterator");
  }
  const [name, ...rest] = args.positional;
  if (name === undefined || !isString(name)) throw new Error("map requires a filter argument");
  const filter = filterOf(name.value);
  const make = () => new Arguments(name.value, rest, { named: new Map(), limits });
  return asList(
    elementsOfMaybe(value).map((element) => filter(element, make())),
    "iterator",
  );
}

/** The elements for `map` and `select`, which take a false value as none. */
function elementsOfMaybe(value: RuntimeValue): readonly RuntimeValue[] {
  return value.__bool__().value ? elementsOf(value) : [];
}

function selected(
  value: RuntimeValue,
  args: Arguments,
  { keeps, isAttribute }: { readonly keeps: boolean; readonly isAttribute: boolean },
): RuntimeValue {
  const [attribute, name, other, ...more] = isAttribute ? args.positional : [asNone(), ...args.positional];
  if (attribute === undefined) throw new Error("Missing parameter for attribute name");
  if (more.length > 0) throw unsupported("several arguments of a test");
  if (name !== undefined && !isString(name)) throw new Error("a test's name must be a text");
  const test = name === undefined ? (item: RuntimeValue) => item.__bool__().value : testOf(name.value);
  const kept = elementsOfMaybe(value).filter((element) => {
    args.limits.spend(1);
    return test(isAttribute ? attributeOf(element, attribute) : element, other, args.limits) === keeps;
  });
  return asList(kept, "iterator");
}

function format(value: RuntimeValue, args: Arguments): RuntimeValue {
  return asString(formatted(textOf(value, args.limits), asList(args.positional, "tuple"), args.limits));
}

/** The value at a path such as "function.name" or "0". */
function attributeOf(value: RuntimeValue, path: RuntimeValue, fallback?: RuntimeValue): RuntimeValue {
  const parts: readonly RuntimeValue[] = isString(path)
    ? path.value.split(".").map((part) => (/^\d+$/.test(part) ? asInteger(Number(part)) : asString(part)))
    : [path];
  return parts.reduce((current, part) => {
    const found = itemOf(current, part);
    return isUndefined(found) && fallback !== undefined ? fallback : found;
  }, value);
}
