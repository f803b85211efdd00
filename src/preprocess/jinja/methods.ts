// Attributes, items and methods of templates' values, as Python and Jinja2 find them. Methods that are not here are refused by name.
// Source: CPython 3.11's str, dict and list; Jinja2 3.1's Environment.getattr and getitem.

import {
  Arguments,
  capitalized,
  charactersOf,
  type Filter,
  isLower,
  isUpper,
  joinTexts,
  LINE_END,
  MAX_WIDTH,
  pairsOf,
  replaced,
  SPACE,
  strip,
} from "./texts.ts";
import {
  asBoolean,
  asDict,
  asFunction,
  asInteger,
  asList,
  asNone,
  asString,
  asUndefined,
  costOf,
  elementsOf,
  equals,
  isDict,
  isList,
  isLoop,
  isNone,
  isString,
  isUndefined,
  kindOfList,
  type Limits,
  numberOf,
  type RuntimeValue,
  typeName,
  unsupported,
} from "./values.ts";

/** `value[key]`. @throws Error for an undefined value. */
export function itemOf(value: RuntimeValue, key: RuntimeValue): RuntimeValue {
  if (isUndefined(value)) throw new Error("a value is undefined where its part is needed");
  if (isDict(value)) {
    const found = isString(key) ? value.value.get(key.value) : undefined;
    return found ?? (isString(key) ? memberOf(value, key.value, "none") : asUndefined());
  }
  if (value.type === "NamespaceValue") {
    const entries = value.value instanceof Map ? value.value : new Map();
    return entries.get(isString(key) ? key.value : undefined) ?? asUndefined();
  }
  const index = key.type === "IntegerValue" || key.type === "BooleanValue" ? numberOf(key) : undefined;
  if (index !== undefined && isList(value)) {
    if (!["list", "tuple", "range"].includes(kindOfList(value))) return asUndefined();
    return value.value.at(index) ?? asUndefined();
  }
  if (index !== undefined && isString(value)) {
    const character = [...value.value].at(index);
    return character === undefined ? asUndefined() : asString(character);
  }
  return isString(key) ? memberOf(value, key.value, "none") : asUndefined();
}

/**
 * `value.name`: a method before a dictionary's key, as in Jinja2.
 * @throws Error for an undefined value, and a method that is not supported.
 */
export function memberOf(value: RuntimeValue, name: string, limits: Limits | "none"): RuntimeValue {
  if (isUndefined(value))
    throw new Error(`a value is undefined where its ${JSON.stringify(name.slice(0, 80))} is needed`);
  const methods = isString(value)
    ? STRING_METHODS
    : isDict(value)
      ? DICT_METHODS
      : isList(value)
        ? LIST_METHODS
        : undefined;
  const isOwnLoop = isDict(value) && isLoop(value);
  const method = isOwnLoop ? undefined : methods?.get(name);
  if (method !== undefined) {
    return asFunction((given) => {
      const last = given.at(-1);
      const named =
        last?.type === "KeywordArgumentsValue" && isDict(last) ? last.value : new Map<string, RuntimeValue>();
      const positional = last?.type === "KeywordArgumentsValue" ? given.slice(0, -1) : given;
      if (limits === "none") throw unsupported(`${name} through []`);
      limits.spend(costOf(value));
      return method(value, new Arguments(name, positional, { named, limits }));
    });
  }
  if (isOwnLoop && isDict(value)) return loopMember(value.value, name);
  if (OTHER_METHODS.get(typeName(value))?.has(name) || name.startsWith("__")) {
    throw unsupported(`${name} of a ${typeName(value)}`);
  }
  if (isDict(value)) return value.value.get(name) ?? asUndefined();
  if (value.type === "NamespaceValue") return itemOf(value, asString(name));
  return asUndefined();
}

function loopMember(values: ReadonlyMap<string, RuntimeValue>, name: string): RuntimeValue {
  if (name === "depth") return asInteger(1);
  if (name === "depth0") return asInteger(0);
  if (name === "changed") throw unsupported("loop.changed");
  if (name !== "cycle") return values.get(name) ?? asUndefined();
  const index = numberOf(values.get("index0") ?? asInteger(0)) ?? 0;
  return asFunction((given) => {
    const chosen = given[index % Math.max(1, given.length)];
    if (chosen === undefined) throw new Error("no items for cycling given");
    return chosen;
  });
}

const words = (text: string) => new Set(text.split(" "));

/** What values have in Python besides the methods below. */
const OTHER_METHODS: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  [
    "str",
    words(
      "casefold encode expandtabs format format_map index isascii isdecimal isidentifier isnumeric isprintable istitle maketrans rindex swapcase translate",
    ),
  ],
  ["dict", words("clear fromkeys pop popitem setdefault update")],
  ["list", words("append clear extend insert pop remove reverse sort")],
  [
    "int",
    words(
      "as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag numerator real to_bytes is_integer",
    ),
  ],
  ["float", words("as_integer_ratio conjugate fromhex hex imag is_integer real")],
  [
    "bool",
    words("as_integer_ratio bit_count bit_length conjugate denominator from_bytes imag numerator real to_bytes"),
  ],
  ["function", words("name arguments catch_kwargs catch_varargs caller")],
  ["range", words("start stop step count index")],
  ["dict_keys", words("isdisjoint mapping")],
  ["dict_items", words("isdisjoint mapping")],
  ["dict_values", words("mapping")],
]);

const DICT_METHODS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  [
    "get",
    (value, args) => {
      const [key, fallback = asNone()] = args.take("key", "default");
      return (isDict(value) && key !== undefined && isString(key) ? value.value.get(key.value) : undefined) ?? fallback;
    },
  ],
  [
    "items",
    (value, args) => {
      args.take();
      return asList(isDict(value) ? pairsOf(value.value) : [], "dict_items");
    },
  ],
  [
    "keys",
    (value, args) => {
      args.take();
      return asList(elementsOf(value), "dict_keys");
    },
  ],
  [
    "values",
    (value, args) => {
      args.take();
      return asList(isDict(value) ? [...value.value.values()] : [], "dict_values");
    },
  ],
  [
    "copy",
    (value, args) => {
      args.take();
      return asDict(isDict(value) ? value.value : []);
    },
  ],
]);

const LIST_METHODS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  [
    "count",
    (value, args) => {
      const [wanted = asNone()] = args.take("value");
      return asInteger(elementsOf(value).filter((element) => equals(element, wanted, args.limits)).length);
    },
  ],
  [
    "index",
    (value, args) => {
      const [wanted = asNone()] = args.take("value");
      const index = elementsOf(value).findIndex((element) => equals(element, wanted, args.limits));
      if (index < 0) throw new Error("value is not in list");
      return asInteger(index);
    },
  ],
  [
    "copy",
    (value, args) => {
      args.take();
      return asList(elementsOf(value));
    },
  ],
]);

/** A method of texts. */
function method(run: (text: string, args: Arguments) => RuntimeValue): Filter {
  return (value, args) => run(isString(value) ? value.value : "", args);
}

function textArgument(value: RuntimeValue | undefined, what: string): string {
  if (value !== undefined && isString(value)) return value.value;
  throw new Error(`${what} takes a text, got ${value === undefined ? "nothing" : typeName(value)}`);
}

function isEach(pattern: RegExp): Filter {
  return method((text, args) => {
    args.take();
    return asBoolean(text !== "" && [...text].every((character) => pattern.test(character)));
  });
}

function affix(name: "startsWith" | "endsWith"): Filter {
  return method((text, args) => {
    const [given = asNone()] = args.take("prefix");
    const options = isList(given) && kindOfList(given) === "tuple" ? given.value : [given];
    return asBoolean(options.some((option) => text[name](textArgument(option, name.toLowerCase()))));
  });
}

const STRING_METHODS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  [
    "upper",
    method((text, args) => {
      args.take();
      return asString(text.toUpperCase());
    }),
  ],
  [
    "lower",
    method((text, args) => {
      args.take();
      return asString(text.toLowerCase());
    }),
  ],
  [
    "capitalize",
    method((text, args) => {
      args.take();
      return asString(capitalized(text));
    }),
  ],
  [
    "title",
    method((text, args) => {
      args.take();
      return asString(text.replace(/[\p{L}\p{M}]+/gu, capitalized));
    }),
  ],
  ["strip", method((text, args) => asString(strip(text, charactersOf(args.take("chars")[0]), "both")))],
  ["lstrip", method((text, args) => asString(strip(text, charactersOf(args.take("chars")[0]), "left")))],
  ["rstrip", method((text, args) => asString(strip(text, charactersOf(args.take("chars")[0]), "right")))],
  [
    "removeprefix",
    method((text, args) => {
      const prefix = textArgument(args.take("prefix")[0], "removeprefix");
      return asString(text.startsWith(prefix) ? text.slice(prefix.length) : text);
    }),
  ],
  [
    "removesuffix",
    method((text, args) => {
      const suffix = textArgument(args.take("suffix")[0], "removesuffix");
      return asString(suffix !== "" && text.endsWith(suffix) ? text.slice(0, -suffix.length) : text);
    }),
  ],
  ["startswith", affix("startsWith")],
  ["endswith", affix("endsWith")],
  ["split", method(split)],
  ["rsplit", method(rsplit)],
  ["splitlines", method(splitlines)],
  [
    "partition",
    method((text, args) => {
      const separator = textArgument(args.take("sep")[0], "partition");
      if (separator === "") throw new Error("empty separator");
      const index = text.indexOf(separator);
      const parts =
        index < 0 ? [text, "", ""] : [text.slice(0, index), separator, text.slice(index + separator.length)];
      return asList(parts.map(asString), "tuple");
    }),
  ],
  [
    "rpartition",
    method((text, args) => {
      const separator = textArgument(args.take("sep")[0], "rpartition");
      if (separator === "") throw new Error("empty separator");
      const index = text.lastIndexOf(separator);
      const parts =
        index < 0 ? ["", "", text] : [text.slice(0, index), separator, text.slice(index + separator.length)];
      return asList(parts.map(asString), "tuple");
    }),
  ],
  [
    "replace",
    method((text, args) => {
      const [from, to, count] = args.take("old", "new", "count");
      return replaced([text, textArgument(from, "replace"), textArgument(to, "replace")], count, args.limits);
    }),
  ],
  [
    "join",
    method((text, args) => {
      const [given = asNone()] = args.take("iterable");
      return joinTexts(
        elementsOf(given).map((element) => textArgument(element, "join")),
        text,
        args.limits,
      );
    }),
  ],
  ["find", method((text, args) => asInteger(placeOf(text, text.indexOf(textArgument(args.take("sub")[0], "find")))))],
  [
    "rfind",
    method((text, args) => asInteger(placeOf(text, text.lastIndexOf(textArgument(args.take("sub")[0], "rfind"))))),
  ],
  [
    "count",
    method((text, args) => {
      const wanted = textArgument(args.take("sub")[0], "count");
      return asInteger(wanted === "" ? [...text].length + 1 : text.split(wanted).length - 1);
    }),
  ],
  ["isalpha", isEach(/\p{L}/u)],
  ["isspace", isEach(new RegExp(`[${SPACE}]`, "u"))],
  [
    "isdigit",
    method((text, args) => {
      args.take();
      if (/\P{ASCII}/u.test(text) && /\p{N}/u.test(text.replace(/[0-9]/g, "")))
        throw unsupported("isdigit of other digits");
      return asBoolean(/^[0-9]+$/.test(text));
    }),
  ],
  ["isalnum", isEach(/[\p{L}\p{N}]/u)],
  [
    "islower",
    method((text, args) => {
      args.take();
      return asBoolean(isLower(text));
    }),
  ],
  [
    "isupper",
    method((text, args) => {
      args.take();
      return asBoolean(isUpper(text));
    }),
  ],
  ["ljust", method((text, args) => asString(text + padding(text, args)))],
  ["rjust", method((text, args) => asString(padding(text, args) + text))],
  [
    "zfill",
    method((text, args) => {
      const missing = widthOf(args.take("width")[0]) - [...text].length;
      const [sign = ""] = /^[-+]/.exec(text) ?? [];
      return asString(sign + "0".repeat(Math.max(0, missing)) + text.slice(sign.length));
    }),
  ],
  [
    "center",
    method((text, args) => {
      const all = padding(text, args);
      const width = [...text].length + [...all].length;
      const left = Math.floor(all.length / 2) + (all.length & width & 1);
      return asString(all.slice(0, left) + text + all.slice(left));
    }),
  ],
]);

/** An index in characters from one in UTF-16 units; -1 stays. */
function placeOf(text: string, index: number): number {
  return index < 0 ? index : [...text.slice(0, index)].length;
}

function widthOf(value: RuntimeValue | undefined): number {
  const width = value === undefined ? undefined : numberOf(value);
  if (width === undefined || !Number.isInteger(width) || width > MAX_WIDTH) throw unsupported("this width");
  return width;
}

function padding(text: string, args: Arguments): string {
  const [width, fill = asString(" ")] = args.take("width", "fillchar");
  const character = textArgument(fill, "fillchar");
  if (character.length !== 1) throw unsupported("this fill character");
  return character.repeat(Math.max(0, widthOf(width) - [...text].length));
}

function maxSplits(value: RuntimeValue | undefined): number {
  const count = value === undefined ? -1 : numberOf(value);
  if (count === undefined) throw new Error("maxsplit must be a whole number");
  return count < 0 ? Number.POSITIVE_INFINITY : count;
}

function split(text: string, args: Arguments): RuntimeValue {
  const [separator, count] = args.take("sep", "maxsplit");
  const most = maxSplits(count);
  if (separator === undefined || isNone(separator)) {
    const parts: string[] = [];
    let rest = strip(text, undefined, "left");
    const space = new RegExp(`[${SPACE}]+`, "u");
    while (rest !== "" && parts.length < most) {
      const found = space.exec(rest);
      parts.push(found === null ? rest : rest.slice(0, found.index));
      args.limits.spend(1 + Math.floor(rest.length / 64));
      rest = found === null ? "" : rest.slice(found.index + found[0].length);
    }
    return asList((rest === "" ? parts : [...parts, rest]).map(asString));
  }
  const wanted = textArgument(separator, "split");
  if (wanted === "") throw new Error("empty separator");
  const parts = text.split(wanted);
  const kept = parts.length - 1 > most ? [...parts.slice(0, most), parts.slice(most).join(wanted)] : parts;
  return asList(kept.map(asString));
}

function rsplit(text: string, args: Arguments): RuntimeValue {
  const [separator, count] = args.take("sep", "maxsplit");
  const most = maxSplits(count);
  if (separator === undefined || isNone(separator)) {
    if (most === Number.POSITIVE_INFINITY)
      return split(text, new Arguments("rsplit", [], { named: new Map(), limits: args.limits }));
    throw unsupported("rsplit without a separator");
  }
  const wanted = textArgument(separator, "rsplit");
  if (wanted === "") throw new Error("empty separator");
  const parts = text.split(wanted);
  const first = Math.max(0, parts.length - 1 - most);
  return asList([parts.slice(0, first + 1).join(wanted), ...parts.slice(first + 1)].map(asString));
}

function splitlines(text: string, args: Arguments): RuntimeValue {
  args.take();
  const lines = text.split(LINE_END);
  if (lines.at(-1) === "") lines.pop();
  return asList(lines.map(asString));
}
