// The parameters of an intervention, described once: types, checks, defaults, command-line flags and forms derive from it.
import { at, described, InputError, isObject, isPlain, kindOf, shown } from "../errors.ts";

/** Query rows that an intervention acts on: the last prompt row, it and every generated one, the last n of the prompt, or all after the pictures. */
export type RowSelection = "last" | "generated" | "after-image" | { readonly last: number };

/** What a value must be, for checks, flags and forms. */
export type ParameterKind =
  | { readonly kind: "number"; readonly minimum: number; readonly maximum: number; readonly isWhole?: true }
  | { readonly kind: "choice"; readonly choices: readonly string[] }
  | { readonly kind: "indices"; readonly of: IndexedThings }
  | { readonly kind: "box" }
  | { readonly kind: "strengths" }
  | { readonly kind: "columns" }
  | { readonly kind: "rows" };

/** What a list of indices can be of; dimensions are those of the hidden states. */
export type IndexedThings = "layers" | "heads" | "patches" | "dimensions";

/** One parameter: its type, default and meaning. `T` is the type of its value. */
export interface Parameter<T> {
  readonly type: ParameterKind;
  /** Undefined when omitting the parameter has a special meaning, such as "all layers". */
  readonly default: T;
  /** A phrase for help texts and forms. */
  readonly meaning: string;
}

/** The parameters of an intervention by name. */
export type Parameters = Readonly<Record<string, Parameter<unknown>>>;

/** The values of parameters. */
export type SettingsOf<P extends Parameters> = {
  readonly [Name in keyof P]: P[Name] extends Parameter<infer T> ? T : never;
};

/** Largest factor: scores reach some hundreds, and far beyond this their products overflow f32. */
export const MAX_FACTOR = 10_000;

/** How a number is described. */
export interface NumberOptions {
  readonly default: number;
  readonly minimum: number;
  readonly maximum: number;
  readonly meaning: string;
}

/** A number from `minimum` to `maximum`. */
export function number(options: NumberOptions): Parameter<number> {
  const { minimum, maximum, meaning } = options;
  return { type: { kind: "number", minimum, maximum }, default: options.default, meaning };
}

/** A whole number from `minimum` to `maximum`. */
export function whole(options: NumberOptions): Parameter<number> {
  const { minimum, maximum, meaning } = options;
  return { type: { kind: "number", minimum, maximum, isWhole: true }, default: options.default, meaning };
}

/** A number that scores are multiplied by. */
export function factor(initial: number, meaning: string): Parameter<number> {
  return number({ default: initial, minimum: 0, maximum: MAX_FACTOR, meaning });
}

/** One of several names. */
export function choice<const Name extends string>(options: {
  readonly choices: readonly [Name, ...Name[]];
  readonly meaning: string;
}): Parameter<Name> {
  const { choices, meaning } = options;
  return { type: { kind: "choice", choices }, default: choices[0], meaning };
}

/** Where a score edit acts: layers, heads and query rows. */
export const PLACE_PARAMETERS = {
  layers: indices("layers", "decoder layers that it acts on (default: all)"),
  heads: indices("heads", "query heads that it acts on (default: all)"),
  rows: {
    type: { kind: "rows" },
    default: "last",
    meaning: "query rows that it acts on: last, generated, after-image, or the last N of the prompt",
  } as Parameter<RowSelection>, // widens the default's type to the parameter's
} as const;

/** A rectangle in pixels of an original picture: pixel i spans i to i + 1. */
export type PictureBox = readonly [left: number, top: number, right: number, bottom: number];

/** Numbers for each layer and head: [numLayers][numHeads], or as one array. */
export type Strengths = Float32Array | readonly (readonly number[])[];

/** Which image tokens a score edit acts on, for `imageColumns`. */
export const IMAGE_PARAMETERS = {
  patches: indices("patches", "image tokens that it acts on, by number from 0 (default: all)"),
  box: optional<PictureBox>(
    { kind: "box" },
    "part of the picture that it acts on, in pixels of the original: left,top,right,bottom (default: all of it)",
  ),
} as const;

/** Heads drawn at random, for `placed`. */
export const RANDOM_HEAD_PARAMETERS = {
  randomHeads: optional<number>(
    { kind: "number", minimum: 1, maximum: 2 ** 20, isWhole: true },
    "number of heads, over all of its layers, drawn at random to act on instead of all of them, as a negative control",
  ),
  headSeed: optional<number>(
    { kind: "number", minimum: 0, maximum: 2 ** 32 - 1, isWhole: true },
    "seed that draws the random heads (default: 0)",
  ),
} as const;

/** A strength for each layer and head, and heads drawn at random, for `placed`. */
export const HEAD_PARAMETERS = {
  strengths: optional<Strengths>(
    { kind: "strengths" },
    "share of its effect in each layer and head, as lists of numbers: 0 leaves a head unmodified, 1 acts in full",
  ),
  ...RANDOM_HEAD_PARAMETERS,
} as const;

/** A parameter whose absence has a meaning of its own. */
function optional<T>(type: ParameterKind, meaning: string): Parameter<T | undefined> {
  return { type, default: undefined, meaning };
}

/** A shared parameter with another default. */
export function withDefault<T>(parameter: Parameter<T>, value: T): Parameter<T> {
  return { ...parameter, default: value };
}

/** Key columns of a score edit. */
export const COLUMN_PARAMETERS = {
  columns: {
    type: { kind: "columns" },
    default: "image",
    meaning: "key columns that it acts on: image, or a list of prompt positions",
  } as Parameter<ColumnSelection>, // as above
} as const;

/** Key columns: all image positions of the prompt, or positions by index. */
export type ColumnSelection = "image" | readonly number[];

/** A list of layers, heads, image tokens or dimensions; undefined unless given. */
export function indices(of: IndexedThings, meaning: string): Parameter<readonly number[] | undefined> {
  return { type: { kind: "indices", of }, default: undefined, meaning };
}

/** What values are checked against beside their own kind. */
export interface SettingsContext {
  readonly numLayers: number;
  readonly numHeads: number;
  /** Unless it is unknown. */
  readonly hiddenSize?: number;
  readonly promptLength: number;
}

/**
 * Fills `given` with defaults and checks it.
 * @throws InputError naming the parameter, what is possible and what was given, also for one that is not among `parameters`.
 */
export function settingsFrom<P extends Parameters>(
  parameters: P,
  given: Readonly<Record<string, unknown>>,
  context: SettingsContext & { readonly method: string },
): SettingsOf<P> {
  const known = Object.keys(parameters);
  const stranger = Object.keys(given).find((name) => given[name] !== undefined && !known.includes(name));
  if (stranger !== undefined) {
    const has = known.length === 0 ? "it has none" : `it has ${known.join(", ")}`;
    throw new InputError(`${stranger} is not a setting of method ${context.method}: ${has}.`);
  }
  const entries = Object.entries(parameters).map(([name, parameter]) => {
    const value = given[name] === undefined ? parameter.default : given[name];
    if (value !== undefined) checkValue(name, value, { type: parameter.type, context });
    return [name, value !== undefined && parameter.type.kind === "strengths" ? listsOf(value, context) : value];
  });
  return Object.fromEntries(entries) as SettingsOf<P>; // each value was checked against its parameter
}

/** @throws InputError when `value` is not of the parameter's type; bounds of the model are checked where `context` is given. */
export function checkValue(
  name: string,
  value: unknown,
  options: { readonly type: ParameterKind; readonly context?: SettingsContext | undefined },
): void {
  const { type, context } = options;
  const refuse = (expected: string): never => {
    throw new InputError(`${name} must be ${expected}, got ${described(value)}.`);
  };
  switch (type.kind) {
    case "number": {
      const isWithin = typeof value === "number" && value >= type.minimum && value <= type.maximum;
      const fits = isWithin && (type.isWhole !== true || Number.isInteger(value));
      if (!fits) refuse(`a ${type.isWhole === true ? "whole " : ""}number from ${type.minimum} to ${type.maximum}`);
      break;
    }
    case "choice":
      if (!type.choices.some((name) => name === value)) refuse(type.choices.join(" or "));
      break;
    case "indices":
      checkIndices(name, value, context && countOf(type.of, context));
      break;
    case "box": {
      const [left, top, right, bottom] = numbersOf(value) ?? [];
      const isBox = Array.isArray(value) && value.length === 4 && Number(left) >= 0 && Number(top) >= 0;
      if (!isBox || !(Number(left) < Number(right) && Number(top) < Number(bottom))) {
        const sides = "left, top, right, bottom of at least 0, with left < right and top < bottom";
        throw new InputError(`${name} must be four numbers ${sides}, got ${shown(value)}.`);
      }
      break;
    }
    case "strengths":
      checkStrengths(name, value, context);
      break;
    case "columns":
      if (value !== "image") checkIndices(name, value, context?.promptLength);
      break;
    case "rows": {
      const isNamed = value === "last" || value === "generated" || value === "after-image";
      if (!isNamed) checkLast(name, value, context?.promptLength);
      break;
    }
  }
}

function countOf(things: IndexedThings, { numLayers, numHeads, hiddenSize }: SettingsContext): number | undefined {
  // Image tokens are counted where the prompt is known.
  return { layers: numLayers, heads: numHeads, patches: undefined, dimensions: hiddenSize }[things];
}

function checkIndices(name: string, value: unknown, count = Number.POSITIVE_INFINITY): void {
  if (!Array.isArray(value)) throw new InputError(`${name} must be a list of whole numbers, got ${kindOf(value)}.`);
  const bad = value.findIndex((index) => !isWhole(index, 0, count - 1));
  if (bad < 0) return;
  const range = Number.isFinite(count) ? `from 0 to ${count - 1}` : "of at least 0";
  throw new InputError(`${name} must be whole numbers ${range}, got ${described(value[bad])}.`);
}

function checkLast(name: string, value: unknown, promptLength = Number.POSITIVE_INFINITY): void {
  const last: unknown = isObject(value) && isPlain(value) ? value.last : undefined;
  if (last === undefined) {
    throw new InputError(`${name} must be last, generated, after-image or { last: number }, got ${described(value)}.`);
  }
  if (isWhole(last, 1, promptLength)) return;
  const most = Number.isFinite(promptLength) ? `from 1 to the prompt's ${promptLength}` : "of at least 1";
  throw new InputError(`${name}: last must be a whole number ${most}, got ${described(last)}.`);
}

/** The members of a list of finite numbers; undefined for anything else. */
function numbersOf(value: unknown): readonly number[] | undefined {
  const isNumbers =
    Array.isArray(value) && value.every((member) => typeof member === "number" && Number.isFinite(member));
  return isNumbers ? value : undefined;
}

function checkStrengths(name: string, value: unknown, context: Partial<SettingsContext> = {}): void {
  const { numLayers, numHeads } = context;
  const lists = value instanceof Float32Array ? [Array.from(value)] : value;
  const sizes = numLayers === undefined ? "layers × heads" : `${numLayers} layers × ${numHeads} heads`;
  const refuse = (got: string): never => {
    throw new InputError(`${name} must be a list of numbers for each layer, ${sizes}, got ${got}.`);
  };
  if (!Array.isArray(lists)) {
    refuse(described(value));
    return;
  }
  const rows = lists.map((list, layer) => numbersOf(list) ?? refuse(`${shown(list)} for layer ${layer}`));
  const tooLarge = rows.flat().find((strength) => Math.abs(strength) > MAX_FACTOR);
  if (tooLarge !== undefined) refuse(`${tooLarge}, beyond ${MAX_FACTOR}`);
  if (numLayers === undefined || numHeads === undefined) return;
  if (value instanceof Float32Array) {
    if (value.length !== numLayers * numHeads) refuse(`${value.length} numbers`);
    return;
  }
  if (rows.length !== numLayers) refuse(`${rows.length} lists`);
  const odd = rows.findIndex((row) => row.length !== numHeads);
  if (odd >= 0) refuse(`${at(rows, odd).length} numbers for layer ${odd}`);
}

/** Checked strengths as lists, which reports can show. */
function listsOf(value: unknown, { numHeads }: SettingsContext): readonly (readonly number[])[] {
  if (!(value instanceof Float32Array)) return value as readonly (readonly number[])[]; // checked
  return Array.from({ length: value.length / numHeads }, (_, layer) =>
    Array.from(value.subarray(layer * numHeads, (layer + 1) * numHeads)),
  );
}

/** Strengths as one array, [numLayers · numHeads]. */
export function flatStrengths(strengths: Strengths): Float32Array {
  return strengths instanceof Float32Array ? strengths : Float32Array.from(strengths.flat());
}

function isWhole(value: unknown, minimum: number, maximum: number): boolean {
  return Number.isInteger(value) && Number(value) >= minimum && Number(value) <= maximum;
}
