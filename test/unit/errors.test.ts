// The errors that callers distinguish, and small checks of values.
import { describe, expect, test } from "vitest";
import { UsageError } from "../../src/cli/session.ts";
import {
  AbortError,
  at,
  CheckpointError,
  GpuError,
  InputError,
  isObject,
  kindOf,
  reasonOf,
  shown,
  throwIfAborted,
} from "../../src/errors.ts";

describe("errors", () => {
  const cause = new Error("underneath");

  test("a checkpoint's error says where it is", () => {
    const error = new CheckpointError("bad", { file: "a.safetensors", tensor: "w", cause });
    expect(error).toMatchObject({ name: "CheckpointError", message: "bad", file: "a.safetensors", tensor: "w", cause });
    const bare = new CheckpointError("bad", { file: "config.json" });
    expect(bare.tensor).toBeUndefined();
    expect(Object.hasOwn(bare, "cause")).toBe(false);
  });

  test("a GPU's error says why", () => {
    expect(new GpuError("limit", "too small", { cause })).toMatchObject({
      name: "GpuError",
      message: "too small",
      reason: "limit",
      cause,
    });
    expect(Object.hasOwn(new GpuError("shader", "bad"), "cause")).toBe(false);
  });

  test("an error of the caller's input has its own name", () => {
    expect(new InputError("bad")).toMatchObject({ name: "InputError", message: "bad" });
  });

  test("an abort says what was stopped, and how", () => {
    expect(new AbortError("Prefill")).toMatchObject({
      name: "AbortError",
      message: "Prefill was stopped by its AbortSignal.",
    });
    expect(new AbortError("Prefill", "by its reader").message).toBe("Prefill was stopped by its reader.");
  });
});

describe("messages with texts of strangers", () => {
  const kinds = [
    (text: string) => new CheckpointError(text, { file: "a" }),
    (text: string) => new InputError(text),
    (text: string) => new GpuError("shader", text),
    (text: string) => new AbortError(text),
    (text: string) => new UsageError(text),
  ];
  const long = "x".repeat(4000);
  // A bell, a title, C1's CSI, a turn of direction, halves of pairs, many lines, and characters of which escapes make six.
  const texts = [
    long,
    `\u0007${long}\u001b]0;t`,
    "\u009b".repeat(4000),
    "\u202e\ud800",
    "a\n  b\r\nc",
    "🦙".repeat(3000),
  ];

  test.each(texts)("are one line of at most 500 characters (%#)", (text) => {
    for (const make of kinds) {
      const { message } = make(`The file ${text} is bad: choose another one.`);
      expect(message.length).toBeLessThanOrEqual(500);
      expect(message).not.toMatch(/[\p{Cc}\p{Cs}\u202e]/u);
      expect(message).toMatch(/^The file .* is bad: choose another one\./u);
    }
  });

  test("the whole of what was cut is the cause, unless there is one", () => {
    const message = `The file ${long} is bad.`;
    expect(new InputError(message).cause).toBe(message);
    expect(new InputError(message, { cause: 1 }).cause).toBe(1);
    expect(Object.hasOwn(new InputError("bad"), "cause")).toBe(false);
  });

  test("of values whose own code fails", () => {
    const throwing = new Proxy({}, { get: () => JSON.parse("{") });
    const named = { constructor: { name: { toString: () => JSON.parse("{") } } };
    expect([throwing, named].map(kindOf)).toEqual(["an object", "an object"]);
    expect([throwing, named].map(reasonOf)).toEqual(["an object", "[object Object]"]);
    expect(shown(throwing)).toBe("an object");
  });
});

test("work goes on until its signal is aborted", () => {
  const controller = new AbortController();
  throwIfAborted(undefined, "Prefill");
  throwIfAborted(controller.signal, "Prefill");
  controller.abort();
  const check = () => throwIfAborted(controller.signal, "Prefill");
  expect(check).toThrow(AbortError);
  expect(check).toThrow("Prefill was stopped by its AbortSignal.");
});

test.each([
  [null, "null"],
  [undefined, "undefined"],
  ["text", "a string"],
  [3, "a number"],
  [() => 0, "a function"],
  [{}, "Object"],
  [[1], "Array"],
  [[], "an empty list"],
  [new Uint8Array(1), "Uint8Array"],
  [Object.create(null), "an object"],
])("kindOf names what a value is (%#)", (value, kind) => {
  expect(kindOf(value)).toBe(kind);
});

test("at reads an element that must exist", () => {
  expect(at([5, 0], 1)).toBe(0);
  expect(at(Float32Array.of(1.5), 0)).toBe(1.5);
  for (const index of [2, -1]) {
    expect(() => at([5, 6], index)).toThrow(RangeError);
    expect(() => at([5, 6], index)).toThrow(`index: expected below 2, got ${index}`);
  }
});

test("an object is neither null nor an array", () => {
  expect([{}, { a: 1 }].map(isObject)).toEqual([true, true]);
  expect([null, [], "a", 1, true, undefined].map(isObject)).toEqual(Array(6).fill(false));
});
