// Typed access to config.json: what counts as absent, and the sentence for each wrong type.
import { describe, expect, test } from "vitest";
import { CheckpointError } from "../../src/errors.ts";
import { ConfigReader } from "../../src/models/config-reader.ts";

const read = (json: unknown) => new ConfigReader(json, "some.json");
const problem = (message: string) => new CheckpointError(`some.json: ${message}.`, { file: "some.json" });

describe("a key", () => {
  test("that is absent or null has its fallback", () => {
    for (const config of [read({}), read({ key: null })]) {
      expect(config.string("key", "word")).toBe("word");
      expect(config.number("key", 0.5)).toBe(0.5);
      expect(config.count("key", 3)).toBe(3);
      expect(config.boolean("key", true)).toBe(true);
      expect(config.boolean("key", false)).toBe(false);
      expect(config.optionalNumber("key")).toBeUndefined();
      expect(config.optionalNumberOrSingle("key")).toBeUndefined();
      expect(config.optionalBoolean("key")).toBeUndefined();
      expect(config.child("key").number("inner", 2)).toBe(2);
      expect(() => config.refuse("key", "such files")).not.toThrow();
    }
  });

  test("that is there has its own value, 0, false and the empty text too", () => {
    expect(read({ key: "" }).string("key", "word")).toBe("");
    expect(read({ key: 0 }).number("key", 0.5)).toBe(0);
    expect(read({ key: 1 }).count("key", 3)).toBe(1);
    expect(read({ key: false }).boolean("key", true)).toBe(false);
    expect(read({ key: 0 }).optionalNumber("key")).toBe(0);
    expect(read({ key: false }).optionalBoolean("key")).toBe(false);
    expect(read({ key: -2 }).optionalNumberOrSingle("key")).toBe(-2);
    expect(read({ key: [-2] }).optionalNumberOrSingle("key")).toBe(-2);
    expect(
      read({ key: { inner: 7 } })
        .child("key")
        .number("inner", 2),
    ).toBe(7);
  });

  test("is given by the file alone, not by what every object has", () => {
    expect(read({}).raw("constructor")).toBeUndefined();
    expect(read({}).has("constructor")).toBe(false);
    expect(read({ key: null }).raw("key")).toBeNull();
    expect(read({ key: null }).has("key")).toBe(true);
  });
});

test.each<[problem: string, json: unknown, access: (config: ConfigReader) => unknown]>([
  ["key must be a string, got nothing", {}, (config) => config.string("key", undefined)],
  ["key must be a string, got 3", { key: 3 }, (config) => config.string("key", "word")],
  ['key must be a number, got "3"', { key: "3" }, (config) => config.number("key", 1)],
  ["key must be a number, got [3]", { key: [3] }, (config) => config.optionalNumber("key")],
  ["key must be a number, got -Infinity", { key: Number.NEGATIVE_INFINITY }, (config) => config.number("key", 1)],
  ["key must be a positive integer, got 0", { key: 0 }, (config) => config.count("key", 1)],
  ["key must be a positive integer, got 2.5", { key: 2.5 }, (config) => config.count("key", 1)],
  ["key must be a positive integer, got 2.5", {}, (config) => config.count("key", 2.5)],
  ["key must be true or false, got 1", { key: 1 }, (config) => config.boolean("key", true)],
  ['key must be true or false, got {"a":1}', { key: { a: 1 } }, (config) => config.optionalBoolean("key")],
  ["key must be one number, got []", { key: [] }, (config) => config.optionalNumberOrSingle("key")],
  ["key must be one number, got [1,2]", { key: [1, 2] }, (config) => config.optionalNumberOrSingle("key")],
  ["key must be one number, got [null]", { key: [null] }, (config) => config.optionalNumberOrSingle("key")],
  ['key must be a number, got "1"', { key: "1" }, (config) => config.optionalNumberOrSingle("key")],
  [
    "key is set, but such files are not implemented; use the plain f32, f16 or bf16 checkpoint",
    { key: false },
    (config) => config.refuse("key", "such files"),
  ],
  ["expected an object at key", { key: "word" }, (config) => config.child("key")],
  ["expected an object at key.inner", { key: { inner: [] } }, (config) => config.child("key").child("inner")],
  [
    "key.inner must be a number, got true",
    { key: { inner: true } },
    (config) => config.child("key").number("inner", 1),
  ],
])("%s", (message, json, access) => {
  expect(() => access(read(json))).toThrow(problem(message));
});

test.each([[[]], [null], ["text"], [3], [undefined]])("%j is not a config", (json) => {
  expect(() => read(json)).toThrow(problem("expected a JSON object"));
});
