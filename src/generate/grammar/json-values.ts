// Strings, numbers and constants of JSON schemas as expressions of a grammar.
import { InputError, isObject, shown } from "../../errors.ts";
import { characters, choice, type Expression, literal, optional, repeat, sequence } from "./grammar.ts";
import { DIGIT, decimalNumbers, digits, MAX_DIGITS, wholeNumbers } from "./number-range.ts";
import { PLAIN_CHARACTERS, patternExpression } from "./pattern.ts";

/** A schema that is an object. */
export type SchemaObject = Readonly<Record<string, unknown>>;

/** Keywords that assert something about values of one type. */
export const KEYWORDS = {
  string: ["minLength", "maxLength", "pattern", "format"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
  array: ["items", "prefixItems", "minItems", "maxItems"],
  object: ["properties", "required", "additionalProperties", "minProperties", "maxProperties"],
} as const;

const TYPES = ["string", "integer", "number", "boolean", "null", "array", "object"];

/** The most repetitions that a schema can ask for. */
const MAX_COUNT = 100_000;

/** The sign around a string. */
export const QUOTE = literal('"');
/** null. */
export const NULL = literal("null");
/** true or false. */
export const BOOLEAN = choice([literal("true"), literal("false")]);

/** A character of a string in its shortest spelling. */
const CHARACTER = choice([
  characters(PLAIN_CHARACTERS),
  sequence(literal("\\"), choice([...'"\\/bfnrt'].map((letter) => literal(letter)))),
]);
const HEX = characters([
  [0x30, 0x39],
  [0x41, 0x46],
  [0x61, 0x66],
]);
/** Four hexadecimal digits of a character that is no surrogate: alone, those are not text. */
const HEX4 = choice([
  sequence(characters(hexWithout("d")), HEX, HEX, HEX),
  sequence(
    characters([
      [0x44, 0x44],
      [0x64, 0x64],
    ]),
    digits(0, 7),
    HEX,
    HEX,
  ),
]);
/** A character of a string in any spelling. */
const SPELLED_CHARACTER = choice([CHARACTER, sequence(literal("\\u"), HEX4)]);
/** A string of any characters. */
export const ANY_STRING = sequence(QUOTE, repeat(SPELLED_CHARACTER, 0), QUOTE);

function hexWithout(letter: string): [number, number][] {
  return [..."0123456789abcefABCEF"]
    .filter((digit) => digit !== letter)
    .map((digit) => [digit.charCodeAt(0), digit.charCodeAt(0)]);
}

const MONTH_AND_DAY =
  "((0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|(0[469]|11)-(0[1-9]|[12]\\d|30)|02-(0[1-9]|1\\d|2[0-8]))";
const CLOCK = "([01]\\d|2[0-3]):[0-5]\\d";
const TIME = `${CLOCK}:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]${CLOCK})`;
const BYTE = "(\\d|[1-9]\\d|1\\d\\d|2[0-4]\\d|25[0-5])";

/** Formats that are kept, as patterns; others are notes to the reader, as the specification has it. 29 February is left out. */
const FORMATS: Readonly<Record<string, string>> = {
  date: `^\\d{4}-${MONTH_AND_DAY}$`,
  time: `^${TIME}$`,
  "date-time": `^\\d{4}-${MONTH_AND_DAY}T${TIME}$`,
  uuid: "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
  ipv4: `^(${BYTE}\\.){3}${BYTE}$`,
};

/** A string without its quotation marks. */
export function stringOf(schema: SchemaObject, path: string): Expression {
  const { pattern, format, minLength, maxLength } = schema;
  const known = typeof format === "string" && Object.hasOwn(FORMATS, format) ? FORMATS[format] : undefined;
  const hasLength = minLength !== undefined || maxLength !== undefined;
  if (pattern !== undefined && typeof pattern !== "string") {
    throw wrong(path, `must have a text in pattern, got ${shown(pattern)}`);
  }
  const given = [pattern && "pattern", known && "format", hasLength && "minLength or maxLength"].filter(Boolean);
  if (given.length > 1) throw wrong(path, `has ${given[1]} beside ${given[0]}, which is not supported: keep one`);
  const regular = pattern ?? known;
  if (regular !== undefined) return patternExpression(regular, path, repeat(CHARACTER, 0));
  if (!hasLength) return repeat(SPELLED_CHARACTER, 0);
  const { least, most } = countsOf(schema, ["minLength", "maxLength"], path);
  return repeat(CHARACTER, least, most);
}

/** A number within the bounds that a schema gives. */
export function numberOf(type: "integer" | "number", schema: SchemaObject, path: string): Expression {
  const names = KEYWORDS.number.filter((name) => schema[name] !== undefined);
  const largest = 10 ** MAX_DIGITS - 1;
  if (names.length === 0) {
    if (type === "integer") return wholeNumbers(-largest, largest);
    const [minus, plus, point] = [literal("-"), literal("+"), literal(".")];
    const exponent = sequence(
      choice([literal("e"), literal("E")]),
      optional(choice([plus, minus])),
      repeat(DIGIT, 1, 2),
    );
    const decimals = sequence(point, repeat(DIGIT, 1, MAX_DIGITS));
    return sequence(optional(minus), wholeNumbers(0, largest), optional(decimals), optional(exponent));
  }
  let [least, most, hasLeast, hasMost] = [-largest, largest, true, true];
  for (const name of names) {
    const bound = schema[name];
    if (typeof bound !== "number" || !Number.isFinite(bound)) {
      throw wrong(path, `must have a number in ${name}, got ${shown(bound)}`);
    }
    const isExclusive = name.startsWith("exclusive");
    if (type === "number" && !Number.isInteger(bound)) {
      throw wrong(path, `has the ${name} ${bound}: bounds of decimal numbers must be whole, others are not supported`);
    }
    if (/minimum$/i.test(name)) {
      const from = isExclusive && type === "integer" ? Math.floor(bound) + 1 : Math.ceil(bound);
      if (from > least) [least, hasLeast] = [from, true];
      if (from === least && isExclusive && type === "number") hasLeast = false;
    } else {
      const to = isExclusive && type === "integer" ? Math.ceil(bound) - 1 : Math.floor(bound);
      if (to < most) [most, hasMost] = [to, true];
      if (to === most && isExclusive && type === "number") hasMost = false;
    }
  }
  if (least > most || (least === most && !(hasLeast && hasMost)) || least > largest || most < -largest) {
    throw wrong(path, `has bounds that no number of up to ${MAX_DIGITS} digits fits`);
  }
  return type === "integer" ? wholeNumbers(least, most) : decimalNumbers({ least, most, hasLeast, hasMost });
}

/** One of some values, of those that have the type. */
export function valueIn(values: readonly unknown[], type: unknown, path: string): Expression {
  const types = type === undefined ? undefined : typesOf(type, path);
  const fitting = values.filter((value) => types?.some((name) => isOfType(value, name)) ?? true);
  if (fitting.length === 0) throw wrong(path, "has no value of its type");
  return choice(fitting.map((value) => literal(JSON.stringify(value))));
}

/** The error for a schema that is not supported or cannot be. @param path where it is */
export function wrong(where: string, what: string): InputError {
  return new InputError(`jsonSchema: ${where.slice(0, 200)} ${what}.`);
}

/** Names of types. @throws InputError for others. */
export function typesOf(type: unknown, where: string): readonly string[] {
  const types: readonly unknown[] = Array.isArray(type) ? type : [type];
  const isKnown = (name: unknown): name is string => typeof name === "string" && TYPES.includes(name);
  if (types.length > 0 && types.every(isKnown)) return types;
  throw wrong(where, `must have a type out of ${TYPES.join(", ")}, got ${shown(type)}`);
}

function isOfType(value: unknown, type: string): boolean {
  switch (type) {
    case "null":
      return value === null;
    case "integer":
      return Number.isInteger(value);
    case "array":
      return Array.isArray(value);
    case "object":
      return isObject(value) && !Array.isArray(value);
    default:
      return typeof value === type;
  }
}

/** The bounds of a length. */
export function countsOf(
  schema: SchemaObject,
  names: readonly [least: string, most: string],
  where: string,
): { readonly least: number; readonly most: number | undefined } {
  const [least = 0, most] = names.map((name) => {
    const count = schema[name];
    if (count === undefined) return undefined;
    if (typeof count === "number" && Number.isInteger(count) && count >= 0 && count <= MAX_COUNT) return count;
    throw wrong(where, `must have a whole number from 0 to ${MAX_COUNT} in ${name}, got ${shown(count)}`);
  });
  if (most !== undefined && most < least) throw wrong(where, `has a ${names[0]} above its ${names[1]}`);
  return { least, most };
}
