// Mutations that know JSON and text, and bytes: each makes a new value and depends on the random numbers alone.

import { at, isObject } from "../../src/errors.ts";
import type { Random } from "../reference/random.ts";

/** One of a list's elements. */
export function pick<T>(random: Random, list: readonly T[]): T {
  return at(list, random.integer(list.length));
}

/** Whether something happens that happens in `numerator` of `denominator` cases. */
export function chance(random: Random, numerator: number, denominator: number): boolean {
  return random.integer(denominator) < numerator;
}

/** Written as Python writes it, without quotes: JSON has no such numbers. */
export const PYTHON_NUMBERS: Readonly<Record<string, string>> = {
  "@NaN@": "NaN",
  "@Infinity@": "Infinity",
  "@-Infinity@": "-Infinity",
};

/** Numbers at which arithmetic changes: bounds of integers and floats, and counts that no model has. */
const NUMBERS = [
  ...[0, -0, 1, -1, 2, 3, 7, 0.5, -0.5, 1.5, 100, 1000, 1001, 65_535, 65_536, 1e6, 1e9, 2 ** 31 - 1, 2 ** 31, 2 ** 32],
  ...[2 ** 53 - 1, 2 ** 53, 1e16, 1e39, 1e308, -1e308, 1e-6, 1e-39, 5e-324],
];

/** Names that objects of JavaScript have without being told, long texts, and texts that a terminal obeys. */
export const TEXTS: readonly string[] = [
  ...["", " ", "a", "0", "-1", "true", "null", "None", "constructor", "__proto__", "toString", "hasOwnProperty"],
  ...["valueOf", "length", "then", "toJSON", "\u001b]0;title\u0007", "\u001b[2J", "\u202eabc", "\u2028", "\0", "\r\n"],
  ...["a".repeat(600), "\u{1f600}".repeat(300), "\ud800", "\ufeff", "é", "../x", "/etc/passwd", "C:\\x", "a/../../b"],
  ...["%s%n", "$x", "{{ x }}", "<image>", "</s>", ...Object.keys(PYTHON_NUMBERS)],
];

/** Objects that mean something to JavaScript. */
const ODD_OBJECTS = [
  '{"toString":1}',
  '{"valueOf":{}}',
  '{"length":1e9}',
  '{"then":1}',
  '{"toJSON":1}',
  '{"__proto__":1}',
];

/** Any JSON value, most of them of the wrong type wherever they are put. */
export function oddValue(random: Random): unknown {
  const kinds: readonly (() => unknown)[] = [
    () => pick(random, NUMBERS),
    () => pick(random, NUMBERS),
    () => pick(random, TEXTS),
    () => pick(random, [null, true, false, [], {}]),
    () => pick(random, [[[]], [null], [0], [{}], [1, 2, 3], [[1, 2], [3]], Array.from({ length: 300 }, (_, i) => i)]),
    () => JSON.parse(pick(random, ODD_OBJECTS)),
    () => nested(random.integer(190)),
  ];
  return pick(random, kinds)();
}

/** Arrays and objects inside each other. */
function nested(depth: number): unknown {
  let value: unknown = 0;
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}

/** A copy of a JSON value with one to three changes at random places; `keys` are names that may be put in. */
export function mutateJson(value: unknown, random: Random, keys: readonly string[] = []): unknown {
  let changed = value;
  for (let edits = 1 + random.integer(3); edits > 0; edits--) changed = mutateOnce(changed, random, keys);
  return changed;
}

function mutateOnce(value: unknown, random: Random, keys: readonly string[]): unknown {
  const isLeaf = !Array.isArray(value) && !isObject(value);
  // The deeper a value, the more often it is chosen.
  if (isLeaf || chance(random, 1, 12)) return replaced(value, random);
  if (Array.isArray(value)) return mutateArray(value, random, keys);
  return mutateObject(isObject(value) ? value : {}, random, keys);
}

function replaced(value: unknown, random: Random): unknown {
  if (typeof value === "number" && chance(random, 1, 2)) {
    return pick(random, [-value, value + 1, value - 1, value * 2, value / 2, value * 1e9, value + 0.5, String(value)]);
  }
  if (typeof value === "string" && chance(random, 1, 2)) return mutateText(value, random);
  if (chance(random, 1, 8)) return pick(random, [[value], { a: value }, [value, value]]);
  return oddValue(random);
}

function mutateArray(list: readonly unknown[], random: Random, keys: readonly string[]): unknown {
  const index = random.integer(list.length + 1);
  const copy = [...list];
  const edit = random.integer(10);
  if (edit === 0) copy.splice(index, 0, oddValue(random));
  else if (edit === 1) copy.splice(index, 1 + random.integer(3));
  else if (edit === 2 && list.length > 0) copy.splice(index, 0, pick(random, list));
  else if (edit === 3) copy.reverse();
  else if (index < list.length) copy[index] = mutateOnce(list[index], random, keys);
  return copy;
}

function mutateObject(value: Readonly<Record<string, unknown>>, random: Random, keys: readonly string[]): unknown {
  const entries = Object.entries(value);
  const index = random.integer(entries.length + 1);
  const edit = random.integer(12);
  const name = () => (keys.length > 0 && chance(random, 3, 4) ? pick(random, keys) : pick(random, TEXTS));
  const [key, child] = entries[index] ?? [name(), {}];
  if (edit === 0) entries.splice(index, 1);
  else if (edit === 1) entries.push([name(), oddValue(random)]);
  else if (edit === 2) entries.splice(index, 1, [name(), child]);
  else if (edit === 3 && entries.length > 0) entries.push([name(), at(entries, random.integer(entries.length))[1]]);
  else entries.splice(index, 1, [key, mutateOnce(child, random, keys)]);
  // fromEntries, unlike an assignment, makes an own property of "__proto__".
  return Object.fromEntries(entries);
}

/** The text of a JSON value, with Python's numbers in place of their names. */
export function writeJson(value: unknown): string {
  return JSON.stringify(value).replace(
    /"@-?(?:NaN|Infinity)@"(?!:)/g,
    (name) => PYTHON_NUMBERS[name.slice(1, -1)] ?? name,
  );
}

/** Another text of the same JSON value: members in another order, white space, letters as escapes. */
export function rewriteJson(value: unknown, random: Random): string {
  const space = () => pick(random, ["", "", "", " ", "\n", "\t", "  "]);
  if (Array.isArray(value)) {
    return `[${value.map((element) => space() + rewriteJson(element, random) + space()).join(",")}]`;
  }
  if (isObject(value)) {
    const members = shuffled(Object.entries(value), random).map(
      ([key, child]) => `${space()}${rewriteString(key, random)}${space()}:${space()}${rewriteJson(child, random)}`,
    );
    return `{${members.join(",")}${space()}}`;
  }
  return typeof value === "string" ? rewriteString(value, random) : JSON.stringify(value);
}

function rewriteString(text: string, random: Random): string {
  if (chance(random, 3, 4)) return JSON.stringify(text);
  const escaped = text.split("").map((unit) => {
    const code = unit.charCodeAt(0).toString(16).padStart(4, "0");
    return chance(random, 1, 4) ? `\\u${code}` : JSON.stringify(unit).slice(1, -1);
  });
  return `"${escaped.join("")}"`;
}

/** A list in another order. */
export function shuffled<T>(list: readonly T[], random: Random): T[] {
  const copy = [...list];
  for (let last = copy.length - 1; last > 0; last--) {
    const other = random.integer(last + 1);
    [copy[last], copy[other]] = [at(copy, other), at(copy, last)];
  }
  return copy;
}

/** A text with one to three changes: pieces put in, taken out, repeated or moved. */
export function mutateText(text: string, random: Random, pieces: readonly string[] = TEXTS): string {
  let changed = text;
  for (let edits = 1 + random.integer(3); edits > 0; edits--) {
    const start = random.integer(changed.length + 1);
    const end = Math.min(changed.length, start + 1 + random.integer(12));
    const cut = changed.slice(start, end);
    const kinds: readonly (() => string)[] = [
      () => changed.slice(0, start) + pick(random, pieces) + changed.slice(start),
      () => changed.slice(0, start) + pick(random, pieces) + changed.slice(end),
      () => changed.slice(0, start) + changed.slice(end),
      () => changed.slice(0, start) + cut.repeat(1 + random.integer(4)) + changed.slice(end),
      () =>
        changed.slice(0, start) +
        String.fromCharCode(random.integer(chance(random, 3, 4) ? 128 : 65_536)) +
        changed.slice(end),
      () => changed.slice(0, start),
    ];
    // Cutting off the rest comes last and is rare.
    changed = at(kinds, chance(random, 1, 20) ? kinds.length - 1 : random.integer(kinds.length - 1))();
  }
  return changed;
}

/** JSON texts that are no text of a mutated value: deeper than any limit, cut off, with keys twice. */
export function brokenJson(text: string, random: Random): string {
  const kinds: readonly (() => string)[] = [
    () => mutateText(text, random, ['"', "{", "}", "[", "]", ",", ":", "\\", "1e999", "-", "NaN", "\0", "//", "'"]),
    () => `${'{"a":'.repeat(5000)}0${"}".repeat(5000)}`,
    () => text.replace("{", `{"a":${"[".repeat(1 + random.integer(3000))},`),
    () => text.replace("{", `{"x":${"[".repeat(250)}${"]".repeat(250)},`),
    () => text.replace(/"(\w+)":/, (member, key) => `${member} 0, "${key}":`),
    () => `\ufeff${text}`,
    () => `${text}${text}`,
    () => pick(random, ["", "null", "[]", "0", '"a"', "{}", " ", "\0"]),
  ];
  return pick(random, kinds)();
}

/** Bytes with one to four changes. */
export function mutateBytes(bytes: Uint8Array<ArrayBuffer>, random: Random): Uint8Array<ArrayBuffer> {
  let changed = bytes;
  for (let edits = 1 + random.integer(4); edits > 0; edits--) {
    // Headers, where lengths and sizes are, are more interesting than the data behind them.
    const start = random.integer(chance(random, 1, 2) ? Math.min(64, changed.length + 1) : changed.length + 1);
    const copy = Uint8Array.from(changed);
    const edit = random.integer(6);
    if (edit === 0) copy[start] = random.integer(256);
    else if (edit === 1) copy[start] = (copy[start] ?? 0) ^ (1 << random.integer(8));
    else if (edit === 2) copy[start] = pick(random, [0, 1, 0x7f, 0x80, 0xff]);
    else if (edit === 3) copy.fill(pick(random, [0, 0xff]), start, start + 1 + random.integer(8));
    if (edit === 4) changed = chance(random, 1, 4) ? copy.slice(0, start) : spliced(copy, start, random);
    else if (edit === 5)
      changed = joined([copy.subarray(0, start), copy.subarray(start, start + 16), copy.subarray(start)]);
    else changed = copy;
  }
  return changed;
}

function spliced(bytes: Uint8Array<ArrayBuffer>, start: number, random: Random): Uint8Array<ArrayBuffer> {
  return joined([bytes.subarray(0, start), bytes.subarray(start + 1 + random.integer(8))]);
}

/** Byte arrays one after the other. */
export function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let start = 0;
  for (const part of parts) {
    bytes.set(part, start);
    start += part.length;
  }
  return bytes;
}
