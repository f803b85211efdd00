// The operators of templates as Python computes them.
// Source: CPython 3.11; Jinja2 3.1's nodes.

import { SPACE } from "./texts.ts";
import {
  asBoolean,
  asFloat,
  asInteger,
  asList,
  asString,
  compare,
  elementsOf,
  equals,
  isDict,
  isList,
  isString,
  isUndefined,
  kindOfList,
  type Limits,
  numberOf,
  type RuntimeValue,
  reprOf,
  textOf,
  typeName,
  unsupported,
} from "./values.ts";

/** The operators that {@link binary} computes. */
export const OPERATORS: ReadonlySet<string> = new Set(
  "+ - * / // % ** ~ == != < <= > >= in|not in".split(/ (?!in$)/).flatMap((operator) => operator.split("|")),
);
/** Operators that Python chains: `a < b < c` is `a < b and b < c`. */
export const COMPARISONS: ReadonlySet<string> = new Set(["==", "!=", "<", "<=", ">", ">=", "in", "not in"]);

/** `left operator right`. @throws Error where Python has one, and for what is not supported. */
export function binary(
  operator: string,
  [left, right]: readonly [RuntimeValue, RuntimeValue],
  limits: Limits,
): RuntimeValue {
  switch (operator) {
    case "==":
      return asBoolean(equals(left, right, limits));
    case "!=":
      return asBoolean(!equals(left, right, limits));
    case "in":
      return asBoolean(contains(right, left, limits));
    case "not in":
      return asBoolean(!contains(right, left, limits));
    case "~":
      return joined(textOf(left, limits), textOf(right, limits), limits);
    case "<":
      return asBoolean(compare(left, right, limits) < 0);
    case "<=":
      return asBoolean(compare(left, right, limits) <= 0);
    case ">":
      return asBoolean(compare(left, right, limits) > 0);
    case ">=":
      return asBoolean(compare(left, right, limits) >= 0);
    case "%":
      if (isString(left)) return asString(formatted(left.value, right, limits));
      return arithmetic(operator, left, right);
    case "*":
      return repeated(left, right, limits) ?? repeated(right, left, limits) ?? arithmetic(operator, left, right);
    case "+":
      return concatenated(left, right, limits) ?? arithmetic(operator, left, right);
    default:
      return arithmetic(operator, left, right);
  }
}

function joined(left: string, right: string, limits: Limits): RuntimeValue {
  limits.checkLength(left.length + right.length);
  return asString(left + right);
}

/** `item in container`. */
export function contains(container: RuntimeValue, item: RuntimeValue, limits: Limits): boolean {
  if (isString(container)) {
    if (!isString(item)) throw new Error(`'in <string>' requires string as left operand, not ${typeName(item)}`);
    limits.spend(Math.floor(container.value.length / 64));
    return container.value.includes(item.value);
  }
  if (isDict(container)) {
    if (isList(item) || isDict(item)) throw new Error(`unhashable type: '${typeName(item)}'`);
    return isString(item) && container.value.has(item.value);
  }
  return elementsOf(container).some((element) => equals(element, item, limits));
}

function concatenated(left: RuntimeValue, right: RuntimeValue, limits: Limits): RuntimeValue | undefined {
  if (isString(left) && isString(right)) return joined(left.value, right.value, limits);
  if (!isList(left) || !isList(right) || kindOfList(left) !== kindOfList(right)) return undefined;
  const kind = kindOfList(left);
  if (kind !== "list" && kind !== "tuple") return undefined;
  limits.checkLength(left.value.length + right.value.length);
  return asList([...left.value, ...right.value], kind === "tuple" ? "tuple" : undefined);
}

function repeated(sequence: RuntimeValue, times: RuntimeValue, limits: Limits): RuntimeValue | undefined {
  if (times.type !== "IntegerValue" && times.type !== "BooleanValue") return undefined;
  const count = Math.max(0, numberOf(times) ?? 0);
  if (isString(sequence)) {
    limits.checkLength(sequence.value.length * count);
    return asString(sequence.value.repeat(sequence.value === "" ? 0 : count));
  }
  if (!isList(sequence)) return undefined;
  const kind = kindOfList(sequence);
  if (kind !== "list" && kind !== "tuple") return undefined;
  limits.checkLength(sequence.value.length * count);
  limits.spend(sequence.value.length * count);
  const copies = Array.from({ length: sequence.value.length === 0 ? 0 : count }, () => sequence.value);
  return asList(copies.flat(), kind === "tuple" ? "tuple" : undefined);
}

function arithmetic(operator: string, left: RuntimeValue, right: RuntimeValue): RuntimeValue {
  const a = numberOf(left);
  const b = numberOf(right);
  if (a === undefined || b === undefined) {
    if (isUndefined(left) || isUndefined(right)) throw new Error("an operand is undefined");
    throw new Error(`unsupported operand type(s) for ${operator}: '${typeName(left)}' and '${typeName(right)}'`);
  }
  const isFloat = left.type === "FloatValue" || right.type === "FloatValue";
  const make = isFloat ? asFloat : asInteger;
  if (b === 0 && ["/", "//", "%"].includes(operator)) throw new Error("division by zero");
  switch (operator) {
    case "+":
      return make(a + b);
    case "-":
      return make(a - b);
    case "*":
      return make(a * b);
    case "/":
      return asFloat(a / b);
    case "//":
      return make(floorDivide(a, b));
    case "%":
      return make(modulo(a, b));
    case "**":
      return power(a, b, isFloat);
    default:
      throw unsupported(`the operator ${operator}`);
  }
}

/** With the sign of b. */
function modulo(a: number, b: number): number {
  const rest = a % b;
  if (rest === 0) return b < 0 ? -0 : 0;
  return rest < 0 === b < 0 ? rest : rest + b;
}

/** Source: float_floor_div of CPython. */
function floorDivide(a: number, b: number): number {
  const rest = a % b;
  let quotient = (a - rest) / b;
  if (rest !== 0 && rest < 0 !== b < 0) quotient -= 1;
  if (quotient === 0) return a / b < 0 ? -0 : 0;
  const floor = Math.floor(quotient);
  return quotient - floor > 0.5 ? floor + 1 : floor;
}

function power(a: number, b: number, isFloat: boolean): RuntimeValue {
  // V8's power of floats is not rounded as that of C.
  if (isFloat) throw unsupported("the power of a float");
  if (a === 0 && b < 0) throw new Error("0.0 cannot be raised to a negative power");
  const bits = Math.log2(Math.max(2, Math.abs(a))) * Math.abs(b);
  if (bits > 64 && Math.abs(a) > 1) throw unsupported("whole numbers above 2^53");
  const sign = a < 0 && b % 2 !== 0 ? -1 : 1;
  const whole =
    Math.abs(a) <= 1 ? (a === 0 && b !== 0 ? 0 : sign) : sign * Number(BigInt(Math.abs(a)) ** BigInt(Math.abs(b)));
  const checked = asInteger(whole);
  return b < 0 ? asFloat(1 / whole) : checked;
}

/** Most characters of a width or digits of a precision in a format. */
const MAX_WIDTH = 1000;

/** `template % values`. @throws Error for conversions that are not supported. */
export function formatted(template: string, values: RuntimeValue, limits: Limits): string {
  const isTuple = isList(values) && kindOfList(values) === "tuple";
  const args = isTuple ? values.value : [values];
  let used = 0;
  let isNamed = false;
  let length = 0;
  const pattern = /%(?:\((\w+)\))?([-+ 0#]*)(\d*)(?:\.(\d*))?([a-zA-Z%])?/g;
  const text = template.replace(
    pattern,
    (whole, name?: string, flags = "", width = "", precision?: string, conversion?: string) => {
      limits.spend(1);
      if (conversion === "%") {
        if (whole !== "%%") throw unsupported(`the format ${whole}`);
        return "%";
      }
      let value: RuntimeValue | undefined;
      if (name === undefined) {
        value = args[used++];
      } else {
        isNamed = true;
        value = isDict(values) ? values.value.get(name) : undefined;
      }
      if (value === undefined) throw new Error("not enough arguments for format string");
      if (Number(width) > MAX_WIDTH || Number(precision ?? 0) > 100) throw unsupported(`the format ${whole}`);
      const converted = conversionOf(value, { conversion, precision, flags, limits });
      const piece = padded(
        converted,
        conversion === "s" || conversion === "r" ? flags.replaceAll("0", "") : flags,
        Number(width),
      );
      length += piece.length;
      limits.checkLength(length);
      return piece;
    },
  );
  const isAllUsed = used === args.length || isNamed || (used === 0 && !isTuple && (isDict(values) || isList(values)));
  if (!isAllUsed) throw new Error("not all arguments converted during string formatting");
  return text;
}

function conversionOf(
  value: RuntimeValue,
  {
    conversion,
    precision,
    flags,
    limits,
  }: {
    readonly conversion: string | undefined;
    readonly precision: string | undefined;
    readonly flags: string;
    readonly limits: Limits;
  },
): string {
  const number = numberOf(value);
  const sign = (negative: boolean) => (negative ? "-" : flags.includes("+") ? "+" : flags.includes(" ") ? " " : "");
  if (flags.includes("#")) throw unsupported("the format %#");
  if (conversion === "s" || conversion === "r") {
    const text = conversion === "s" ? textOf(value, limits) : reprOf(value, limits);
    return precision === undefined ? text : [...text].slice(0, Number(precision)).join("");
  }
  if (conversion === "d" || conversion === "i") {
    if (number === undefined) throw new Error(`%d format: a real number is required, not ${typeName(value)}`);
    if (precision !== undefined || !Number.isSafeInteger(Math.trunc(number))) throw unsupported("this format of %d");
    return sign(Math.trunc(number) < 0) + Math.abs(Math.trunc(number));
  }
  if (conversion === "f" || conversion === "F") {
    if (number === undefined) throw new Error(`must be real number, not ${typeName(value)}`);
    if (!Number.isFinite(number) || Math.abs(number) >= 1e21) throw unsupported("this format of %f");
    const isTie = Math.abs(number * 2 * 10 ** Number(precision ?? 6)) % 2 === 1; // JavaScript rounds these up
    if (isTie) throw unsupported("this format of %f");
    return (
      sign(number < 0 || Object.is(number, -0)) +
      Math.abs(number).toFixed(precision === undefined ? 6 : Number(precision))
    );
  }
  if (
    (conversion === "x" || conversion === "X") &&
    value.type === "IntegerValue" &&
    number !== undefined &&
    precision === undefined
  ) {
    const digits = sign(number < 0) + Math.abs(number).toString(16);
    return conversion === "X" ? digits.toUpperCase() : digits;
  }
  throw unsupported(`the format %${conversion ?? ""}`);
}

function padded(text: string, flags: string, width: number): string {
  const missing = width - [...text].length;
  if (missing <= 0) return text;
  if (flags.includes("-")) return text + " ".repeat(missing);
  if (!flags.includes("0")) return " ".repeat(missing) + text;
  const [, sign = "", digits = ""] = /^([-+ ]?)(.*)$/s.exec(text) ?? [];
  return sign + "0".repeat(missing) + digits;
}

/** Python's round() of a number to a number of digits. @throws Error where JavaScript's toFixed may round otherwise. */
export function rounded(value: number, digits: number): number {
  if (digits !== 0) throw unsupported("rounding to digits");
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

const SPACE_AROUND = new RegExp(`^[${SPACE}]+|[${SPACE}]+$`, "gu");

/** int() and float() of Jinja's filters; undefined where these take their default. */
export function parsedNumber(text: string, kind: "int" | "float"): number | undefined {
  const trimmed = text.replace(SPACE_AROUND, "");
  if (/[^ -~]/.test(trimmed)) throw unsupported("numbers in other digits");
  if (/_|inf|nan/i.test(trimmed)) throw unsupported(`the number ${JSON.stringify(trimmed.slice(0, 20))}`);
  if (kind === "int" && /^[-+]?\d+$/.test(trimmed)) return Number(trimmed);
  const isNumber = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(trimmed);
  if (!isNumber) return undefined;
  return kind === "int" ? Math.trunc(Number(trimmed)) : Number(trimmed);
}

/** Whether a value is true or false by itself, for messages of filters' flags. */
export function isTrue(value: RuntimeValue): boolean {
  return value.__bool__().value;
}
