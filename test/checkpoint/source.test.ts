// What all sources and their readers share: checks of names and ranges, text files, names in messages.
import { describe, expect, it } from "vitest";
import {
  allocate,
  checkPath,
  checkRange,
  jsonKindOf,
  listNames,
  missingFile,
  parseJsonFile,
  quote,
  readTextFile,
  type Source,
  shortFile,
} from "../../src/checkpoint/source.ts";
import { CheckpointError } from "../../src/errors.ts";
import { memorySource, rejection } from "./fixtures.ts";

/** The error that `work` throws. */
function errorOf(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error("expected an error");
}

describe("parseJsonFile", () => {
  it.each([
    [
      '{"a": NaN, "b": [-Infinity, Infinity], "c": "NaN, \\"NaN"}',
      { a: "NaN", b: ["-Infinity", "Infinity"], c: 'NaN, "NaN' },
    ],
    ['{"a": {"b": 1}, "c": "\\\\"}', { a: { b: 1 }, c: "\\" }],
    [`${"[".repeat(200)}${"]".repeat(200)}`, JSON.parse(`${"[".repeat(200)}${"]".repeat(200)}`)],
    [`"${"[".repeat(300)}"`, "[".repeat(300)],
  ])("reads %j as Python does", (text, value) => {
    expect(parseJsonFile(text, "config.json")).toEqual(value);
  });

  it.each([
    [`${"[".repeat(201)}${"]".repeat(201)}`, /^config\.json is nested more than 200 levels deep/],
    [`${'{"a":'.repeat(100_000)}1${"}".repeat(100_000)}`, /^config\.json is nested more than 200 levels deep/],
    ['{"a": NaNs}', /^config\.json is not valid JSON/],
    ['{"a": "', /^config\.json is not valid JSON/],
  ])("refuses what is not JSON, or too deep", (text, message) => {
    expect(() => parseJsonFile(text, "config.json")).toThrow(message);
  });
});

describe("checkPath", () => {
  it.each(["a", "a/b", "a.b/..c/d..", "...", "ü b/%2e", "a/~"])("takes %j", (path) => {
    expect(() => checkPath(path)).not.toThrow();
  });

  it.each([
    ["", '""'],
    ["/a", '"/a"'],
    ["a/", '"a/"'],
    ["a//b", '"a//b"'],
    [".", '"."'],
    ["a/..", '"a/.."'],
    ["../a", '"../a"'],
    ["a\\b", '"a\\\\b"'],
    ["c:a", '"c:a"'],
    ["a\u0085", '"a\\u0085"'],
  ])("refuses %j and names the file", (path, shown) => {
    const error = errorOf(() => checkPath(path));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({
      file: path,
      message: `The file name ${shown} is not a plain path inside the checkpoint's folder; do not trust this checkpoint.`,
    });
  });
});

describe("checkRange", () => {
  it.each([
    [0, 0],
    [0, 1],
    [7, 7],
    [0, Number.MAX_SAFE_INTEGER],
  ])("takes [%d, %d)", (start, end) => {
    expect(() => checkRange("a", start, end)).not.toThrow();
  });

  it.each([
    [-1, 1],
    [1, 0],
    [0.5, 1],
    [0, 1.5],
    [Number.NaN, 1],
    [0, Number.POSITIVE_INFINITY],
    [0, 2 ** 53],
  ])("refuses [%d, %d)", (start, end) => {
    const error = errorOf(() => checkRange("a", start, end));
    expect(error).toBeInstanceOf(RangeError);
    expect(String(error)).toBe(`RangeError: a: expected a byte range 0 ≤ start ≤ end, got [${start}, ${end}).`);
  });
});

describe("errors about a file", () => {
  it("say which file and what to do", () => {
    expect(missingFile("a", "the drop")).toMatchObject({
      file: "a",
      message: "a is not in the drop; check the folder or download the file.",
    });
    expect(shortFile("a", 9, 8)).toMatchObject({
      file: "a",
      message: "a has 8 bytes, but bytes up to 9 are needed; the file is cut short, so download it again.",
    });
  });

  it("include memory that the host does not have", () => {
    expect([...allocate("a", 3)]).toEqual([0, 0, 0]);
    const error = errorOf(() => allocate("a", Number.MAX_SAFE_INTEGER));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({
      file: "a",
      message: "a: cannot allocate 9007199254740991 bytes in one piece; read smaller ranges.",
      cause: expect.any(RangeError),
    });
  });
});

describe("readTextFile", () => {
  /** A file that claims to have `fileBytes` bytes. */
  const claiming = (fileBytes: number): Source => ({
    name: "claims",
    size: async () => fileBytes,
    read: async () => new TextEncoder().encode("text"),
  });

  it("reads UTF-8, and undefined for what is not there", async () => {
    const source = memorySource({ a: "grün 👍", empty: "" });
    expect(await readTextFile(source, "a")).toBe("grün 👍");
    expect(await readTextFile(source, "empty")).toBe("");
    expect(await readTextFile(source, "none")).toBeUndefined();
  });

  it("refuses bytes that are not UTF-8", async () => {
    const error = await rejection(readTextFile(memorySource({ a: Uint8Array.of(0x61, 0xff) }), "a"));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({
      file: "a",
      message: "a is not valid UTF-8; download the file again.",
      cause: expect.any(TypeError),
    });
  });

  it("takes 128 MiB and refuses more", async () => {
    expect(await readTextFile(claiming(134_217_728), "a")).toBe("text");
    const error = await rejection(readTextFile(claiming(134_217_729), "a"));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({
      file: "a",
      message: "a has 134217729 bytes, expected at most 134217728; check the file.",
    });
  });
});

describe("parseJsonFile", () => {
  it("gives the value", () => {
    expect(parseJsonFile('{"a": [1, null]}', "a.json")).toEqual({ a: [1, null] });
  });

  it("gives the parser's reason on one line", () => {
    const error = errorOf(() => parseJsonFile('{\n  "a": x\n}', "a.json"));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({ file: "a.json", cause: expect.any(SyntaxError) });
    expect(String(error)).toBe(
      `CheckpointError: a.json is not valid JSON (Unexpected token 'x', "{ "a": x }" is not valid JSON); download or write the file again.`,
    );
  });
});

describe("quote", () => {
  it("shows 120 characters whole and cuts longer names", () => {
    expect(quote("x".repeat(120))).toBe(`"${"x".repeat(120)}"`);
    expect(quote("x".repeat(121))).toBe(`"${"x".repeat(120)}…"`);
  });

  it.each([
    ["\n", "\\n"],
    ['"', '\\"'],
    ["\u0000", "\\u0000"],
    ["~\u007f", "~\\u007f"],
    ["\u009f\u00a0", "\\u009f\u00a0"],
    ["\u2027\u2028", "\u2027\\u2028"],
    ["\u202e\u202f", "\\u202e\u202f"],
    ["\u2065\u2066", "\u2065\\u2066"],
    ["\u2069\u206a", "\\u2069\u206a"],
    ["\u202eb\u202ea", "\\u202eb\\u202ea"],
  ])("escapes what would change the line around it: %j", (text, shown) => {
    expect(quote(text)).toBe(`"${shown}"`);
  });
});

describe("listNames", () => {
  const names = [..."abcdefghij"];

  it.each([
    [0, ""],
    [1, "a"],
    [8, "a, b, c, d, e, f, g, h"],
    [9, "a, b, c, d, e, f, g, h and 1 more"],
    [10, "a, b, c, d, e, f, g, h and 2 more"],
  ])("shows at most eight of %i", (count, shown) => {
    expect(listNames(names.slice(0, count))).toBe(shown);
  });
});

describe("jsonKindOf", () => {
  it.each([
    [null, "null"],
    [[], "an array"],
    [{}, "an object"],
    ["", "a string"],
    [0, "a number"],
    [false, "a boolean"],
  ])("calls %j %s", (value, kind) => {
    expect(jsonKindOf(value)).toBe(kind);
  });
});
