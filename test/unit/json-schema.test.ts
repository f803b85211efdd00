// JSON schemas as grammars: every text that the masks allow is valid JSON of the schema, as Ajv 8 sees it.
import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import type { JsonSchema } from "../../src/generate/grammar/json-schema.ts";
import { createRandom } from "../reference/random.ts";
import { bytePlaces, END, idsOf, randomText } from "./json-walk.ts";

const ajv = new Ajv2020({ strict: false });
formats.default(ajv);

const object = (properties: JsonSchema, ...required: readonly string[]): JsonSchema => ({
  type: "object",
  properties,
  required,
});
const text = (more: object): JsonSchema => ({ type: "string", ...more });
const whole = (more: object): JsonSchema => ({ type: "integer", ...more });
const decimal = (more: object): JsonSchema => ({ type: "number", ...more });
const list = (more: object): JsonSchema => ({ type: "array", ...more });

const SCHEMAS: readonly JsonSchema[] = [
  ...[true, {}, { type: ["string", "null"] }, { type: "boolean" }, { type: "null" }, { title: "anything" }],
  ...[text({}), text({ minLength: 2, maxLength: 5 }), text({ minLength: 2, maxLength: 70 }), text({ minLength: 40 })],
  ...[text({ maxLength: 0 }), text({ format: "date" }), text({ format: "time" }), text({ format: "date-time" })],
  ...[text({ format: "uuid" }), text({ format: "ipv4" }), text({ format: "a-note", maxLength: 3 })],
  ...[whole({}), whole({ minimum: -3, maximum: 12 }), whole({ exclusiveMinimum: 3 }), whole({ maximum: -5 })],
  ...[whole({ exclusiveMaximum: 7, minimum: 2 }), whole({ minimum: 17, maximum: 12345 }), whole({ minimum: 0.5 })],
  ...[whole({ minimum: -1200, maximum: -37 }), whole({ minimum: 99, maximum: 1001 }), whole({ maximum: 0 })],
  ...[decimal({}), decimal({ minimum: 0, maximum: 1 }), decimal({ minimum: -2, maximum: 3 }), decimal({ maximum: -2 })],
  ...[decimal({ exclusiveMinimum: 0, exclusiveMaximum: 1 }), decimal({ exclusiveMaximum: -2, minimum: -4 })],
  ...[decimal({ exclusiveMaximum: 0, minimum: -1 }), decimal({ minimum: 0, maximum: 0 }), decimal({ minimum: 8 })],
  ...[decimal({ exclusiveMinimum: -3, maximum: -1 }), decimal({ minimum: 1, exclusiveMinimum: 1, maximum: 2 })],
  ...[{ enum: ['a"b', "\\", 1, null, { a: 1 }, "ä\n😀"] }, { const: [1, "a", {}] }, { const: 1e-7 }],
  ...[{ enum: ["x", 1, 2.5, true, null], type: ["integer", "string"] }, { enum: ["aaba", "bb", "aba", "ba", "abb"] }],
  ...[list({}), list({ items: whole({}), minItems: 1, maxItems: 3 }), list({ items: { type: "null" }, minItems: 2 })],
  ...[list({ prefixItems: [whole({}), true] }), list({ prefixItems: [whole({})], items: { type: "null" } })],
  ...[list({ prefixItems: [whole({})], minItems: 2, maxItems: 3 }), list({ maxItems: 0 }), list({ items: false })],
  ...[list({ prefixItems: [whole({}), whole({})], maxItems: 1 }), list({ items: { type: "null" }, maxItems: 90 })],
  ...[{ type: "object" }, object({}), { type: "object", additionalProperties: false }, { required: ["z"] }],
  ...[object({ a: whole({}), b: { type: "boolean" } }), object({ a: whole({}), 'c"d': { type: "null" } }, 'c"d')],
  object({ a: { type: "null" }, "é\n": { type: "null" }, d: false, e: { type: "null" } }, "a", "e"),
  { type: "object", properties: { a: whole({}) }, additionalProperties: { type: "null" }, required: ["b"] },
  ...[{ type: "object", additionalProperties: whole({}) }, { properties: { a: true } }],
  { type: "object", additionalProperties: { type: "null" }, minProperties: 1, maxProperties: 3 },
  ...[{ anyOf: [whole({}), text({ pattern: "^a+$" })] }, { allOf: [whole({ minimum: 3 })] }],
  ...[{ oneOf: [whole({}), text({})] }, { oneOf: [{ type: "null" }, { type: ["boolean", "string"] }] }],
  {
    oneOf: [
      object({ kind: { const: "a" }, v: whole({}) }, "kind"),
      object({ kind: { enum: ["b"] }, v: text({}) }, "kind"),
    ],
  },
  {
    $ref: "#/$defs/a~1node",
    $defs: { "a/node": object({ next: { anyOf: [{ type: "null" }, { $ref: "#/$defs/a~1node" }] } }, "next") },
  },
  { anyOf: [{ type: "null" }, list({ items: { $ref: "#" }, maxItems: 2 })] },
];

test.each(SCHEMAS)("%j: what ends is valid", (schema) => {
  const places = bytePlaces(schema);
  const validate = ajv.compile(schema);
  const random = createRandom(3);
  let numEnded = 0;
  for (let run = 0; run < 100; run++) {
    const bytes = randomText(places, random, 300);
    if (bytes === undefined) continue;
    numEnded++;
    const json = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    expect(validate(JSON.parse(json)), `${json}: ${ajv.errorsText(validate.errors)}`).toBe(true);
  }
  expect(numEnded).toBeGreaterThan(40);
});

/** Whether the masks allow a text, and its end behind it. */
function isAllowed(schema: JsonSchema, json: string): boolean {
  const places = bytePlaces(schema);
  let place = places.start();
  for (const byte of new TextEncoder().encode(json)) {
    if (!idsOf(places.allowed(place)).includes(byte)) return false;
    const next = places.after(place, byte);
    if (next === null) return false;
    place = next;
  }
  return idsOf(places.allowed(place)).includes(END);
}

describe("what a schema allows can be written", () => {
  test.each<[JsonSchema, readonly unknown[]]>([
    [true, [null, true, -12.5e-3, "ä😀\u2028", [], {}, [1, [2]], { a: { b: [] }, "": 0 }]],
    [whole({ minimum: -3, maximum: 112 }), Array.from({ length: 116 }, (_, index) => index - 3)],
    [decimal({ minimum: -1, exclusiveMaximum: 2 }), [-1, -0.5, 0, 0.25, 1, 1.999]],
    [text({ minLength: 3, maxLength: 200 }), ["äöü", "😀".repeat(200), '"\\\n', "x".repeat(127)]],
    [object({ a: true, b: true, c: true }, "b"), [{ b: 1 }, { a: 1, b: 2 }, { b: 1, c: 2 }, { a: 1, b: 2, c: 3 }]],
    [object({ a: true, b: true, c: true }), [{}, { c: 1 }, { a: 1, c: 1 }, { b: 1 }, { a: 1, b: 1, c: 1 }]],
    [list({ items: whole({}), minItems: 2, maxItems: 40 }), [[1, 2], Array.from({ length: 40 }, (_, index) => index)]],
    [text({ format: "date" }), ["2024-02-28", "1999-12-31", "2000-04-30"]],
  ])("%j", (schema, values) => {
    for (const value of values) expect([value, isAllowed(schema, spelled(value))]).toEqual([value, true]);
  });

  test("what it does not allow cannot", () => {
    expect(isAllowed(whole({ minimum: 17, maximum: 12345 }), "12346")).toBe(false);
    expect(isAllowed({ enum: ["aaba", "bb", "aba", "ba", "abb"] }, '"aabb"')).toBe(false);
    expect(isAllowed(text({ maxLength: 3 }), '"abcd"')).toBe(false);
    expect(isAllowed(text({}), '"a\tb"')).toBe(false);
    expect(isAllowed(text({}), '"\\ud800"')).toBe(false);
    expect(isAllowed(object({ a: true }, "a"), "{}")).toBe(false);
    expect(isAllowed(object({ a: true }), '{"a": 1, "b": 2}')).toBe(false);
    expect(isAllowed(whole({}), "01")).toBe(false);
    expect(isAllowed(text({ format: "date" }), '"2024-02-30"')).toBe(false);
  });
});

/** As Python's json.dumps with ensure_ascii=False. */
function spelled(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(spelled).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const pairs = Object.entries(value).map(([name, member]) => `${JSON.stringify(name)}: ${spelled(member)}`);
  return `{${pairs.join(", ")}}`;
}

const deep = Array.from({ length: 70 }).reduce<JsonSchema>((inner) => list({ items: inner }), {});
const doubling = Object.fromEntries(
  Array.from({ length: 40 }, (_, index) => [
    `d${index}`,
    { anyOf: [0, 1].map(() => ({ $ref: `#/$defs/d${index + 1}` })) },
  ]),
);

test.each<[JsonSchema, RegExp]>([
  [false, /the schema is false, which allows nothing/],
  [{ type: "frog" }, /the schema must have a type out of string, .*, got "frog"/],
  [object({ a: object({ b: { not: {} } }) }), /properties\.a\.properties\.b uses not, which is not supported/],
  [{ properties: [] }, /must have an object in properties/],
  [{ type: "array", items: [true] }, /has a list in items: use prefixItems/],
  [{ allOf: [whole({}), whole({})] }, /has several schemas in allOf/],
  [{ oneOf: [whole({}), decimal({})] }, /uses oneOf with schemas that could both fit/],
  [
    { oneOf: [object({ k: { const: 1 } }), object({ k: { const: 2 } })] },
    /uses oneOf with schemas that could both fit/,
  ],
  [{ anyOf: [] }, /must have a list in anyOf/],
  [{ anyOf: [{}], properties: {} }, /has properties beside anyOf/],
  [{ enum: ["a"], minLength: 2 }, /has minLength beside enum/],
  [{ enum: ["a"], type: "null" }, /has no value of its type/],
  [list({ uniqueItems: true }), /uses uniqueItems/],
  [text({ pattern: "a", minLength: 3 }), /has minLength or maxLength beside pattern/],
  [text({ minLength: 3, maxLength: 2 }), /has a minLength above its maxLength/],
  [text({ maxLength: -1 }), /must have a whole number from 0 to 100000 in maxLength, got -1/],
  [whole({ minimum: 5, maximum: 4 }), /has bounds that no number of up to 15 digits fits/],
  [decimal({ minimum: 5, exclusiveMaximum: 5 }), /has bounds that no number/],
  [decimal({ minimum: 0.5 }), /bounds of decimal numbers must be whole/],
  [list({ items: false, minItems: 1 }), /must have 1 items, but allows only 0/],
  [{ type: "object", minProperties: 2 }, /has a minProperties above 1/],
  [{ type: "object", properties: { a: true }, minProperties: 1 }, /minProperties or maxProperties beside properties/],
  [object({ a: false }, "a"), /requires the property "a", but does not allow it/],
  [{ type: "object", additionalProperties: false, required: ["a"] }, /requires the property "a"/],
  [{ $ref: "#/$defs/x" }, /has the \$ref "#\/\$defs\/x", which does not exist/],
  [{ $ref: "https://example.org" }, /has the \$ref "https:\/\/example.org": only those within the schema/],
  [{ $ref: "#" }, /refers to itself without an end by its \$ref #/],
  [{ anyOf: [{ type: "null" }, { $ref: "#" }] }, /refers to itself without an end/],
  [deep, /is nested more than 64 levels deep/],
  [object(Object.fromEntries(Array.from({ length: 2001 }, (_, index) => [index, {}]))), /more than 2000 schemas/],
  [{ $ref: "#/$defs/d0", $defs: { ...doubling, d40: { $ref: "#/$defs/d0" } } }, /refers to itself without an end/],
])("%j is refused", (schema, message) => {
  expect(() => bytePlaces(schema)).toThrow(message);
  expect(() => bytePlaces(schema)).toThrow(InputError);
});

test("references that double at every step are read once", () => {
  const places = bytePlaces({ $ref: "#/$defs/d0", $defs: { ...doubling, d40: { type: "null" } } });
  expect(idsOf(places.allowed(places.start()))).toEqual(["n".charCodeAt(0)]);
});
