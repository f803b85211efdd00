// Every rule of the safetensors format: one file that keeps it, one that breaks it, one message.
import { describe, expect, it } from "vitest";
import { DTYPES, dtypeBits } from "../../src/checkpoint/dtypes.ts";
import { readSafetensorsHeader } from "../../src/checkpoint/safetensors.ts";
import type { Source } from "../../src/checkpoint/source.ts";
import { HEADER_PATH, memorySource, oneTensor, rawSafetensors, readHeader, refusal, rejection } from "./fixtures.ts";

describe("a good file", () => {
  it("gives names, dtypes, shapes, absolute byte ranges and metadata", async () => {
    const header = {
      __metadata__: { format: "pt", "": "" },
      second: { dtype: "I64", shape: [2], data_offsets: [12, 28] },
      first: { dtype: "BF16", shape: [3, 2], data_offsets: [0, 12] },
    };
    const { metadata, tensors, dataStart } = await readHeader({ header, dataBytes: 28 });
    expect(dataStart).toBe(8 + JSON.stringify(header).length);
    expect(metadata).toEqual({ format: "pt", "": "" });
    expect([...tensors.values()]).toEqual([
      { name: "first", dtype: "BF16", shape: [3, 2], start: dataStart, end: dataStart + 12 },
      { name: "second", dtype: "I64", shape: [2], start: dataStart + 12, end: dataStart + 28 },
    ]);
  });

  it("may have its length field come as a view into a larger buffer", async () => {
    const memory = memorySource({ [HEADER_PATH]: rawSafetensors({ header: oneTensor(), dataBytes: 24 }) });
    const source: Source = {
      ...memory,
      read: async (path, start, end) => {
        const bytes = await memory.read(path, start, end);
        const larger = new Uint8Array(bytes.length + 6).fill(0xff);
        larger.set(bytes, 3);
        return larger.subarray(3, 3 + bytes.length);
      },
    };
    expect([...(await readSafetensorsHeader(source, HEADER_PATH)).tensors.keys()]).toEqual(["a"]);
  });

  it("needs only 8 + N bytes to be read", async () => {
    const memory = memorySource({ [HEADER_PATH]: rawSafetensors({ header: oneTensor(), dataBytes: 24 }) });
    const ranges: (readonly [number, number])[] = [];
    const source: Source = {
      name: memory.name,
      size: (path) => memory.size(path),
      read: (path, start, end) => {
        ranges.push([start, end]);
        return memory.read(path, start, end);
      },
    };
    const { dataStart } = await readSafetensorsHeader(source, HEADER_PATH);
    expect(ranges).toEqual([
      [0, 8],
      [8, dataStart],
    ]);
  });

  it("may hold no tensors at all", async () => {
    expect((await readHeader({ header: "{}" })).tensors.size).toBe(0);
  });

  it("may hold scalars and tensors without elements, wherever they begin", async () => {
    const header = {
      b: { dtype: "F32", shape: [], data_offsets: [0, 4] },
      a: { dtype: "F16", shape: [3, 0, 2], data_offsets: [0, 0] },
      c: { dtype: "U8", shape: [0], data_offsets: [4, 4] },
    };
    const { tensors } = await readHeader({ header, dataBytes: 4 });
    expect([...tensors.keys()]).toEqual(["a", "b", "c"]);
    expect(tensors.get("b")?.shape).toEqual([]);
  });

  it("may call a tensor __proto__ or constructor", async () => {
    const entry = '{"dtype":"U8","shape":[],"data_offsets":';
    const header = `{"__metadata__":{"__proto__":"m"},"__proto__":${entry}[0,1]},"constructor":${entry}[1,2]}}`;
    const { tensors, metadata } = await readHeader({ header, dataBytes: 2 });
    expect([...tensors.keys()]).toEqual(["__proto__", "constructor"]);
    expect(Object.entries(metadata)).toEqual([["__proto__", "m"]]);
  });

  it.each(DTYPES)("may hold %s", async (dtype) => {
    const bytes = dtypeBits(dtype);
    const header = { a: { dtype, shape: [2, 4], data_offsets: [0, bytes] } };
    expect((await readHeader({ header, dataBytes: bytes })).tensors.get("a")?.dtype).toBe(dtype);
  });
});

describe("the length field", () => {
  it("refuses a file that is not there", async () => {
    const read = () => Promise.reject(new Error("a file that is not there was read"));
    const error = await rejection(readSafetensorsHeader({ ...memorySource({}, "the folder"), read }, HEADER_PATH));
    expect(String(error)).toContain("model.safetensors is not in the folder");
  });

  it.each([0, 1, 7])("refuses a file of %i bytes", async (size) => {
    const { message } = await refusal(new Uint8Array(size));
    expect(message).toBe(
      `model.safetensors: the file has ${size} bytes, expected at least the 8 of the header length; ` +
        "the file is cut short, so download it again.",
    );
  });

  it("refuses a header without a byte", async () => {
    expect((await refusal(new Uint8Array(8))).message).toContain('must begin with "{", got nothing');
  });

  it.each([100_000_001n, 2n ** 32n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n])("refuses a length of %i", async (n) => {
    const { message } = await refusal({ header: "{}", headerLength: n });
    expect(message).toBe(
      `model.safetensors: the header length is ${n}, expected at most 100000000; ` +
        "the file is damaged or not safetensors, so download or write it again.",
    );
  });

  it("refuses a length that passes the end of the file", async () => {
    const error = await refusal({ header: "{}", headerLength: 3n });
    expect(error.message).toBe(
      "model.safetensors: the header length is 3, but only 2 bytes follow it; " +
        "the file is cut short, so download it again.",
    );
    expect([error.file, error.tensor]).toEqual([HEADER_PATH, undefined]);
    expect((await refusal({ header: "{}", headerLength: 100_000_000n })).message).toContain("only 2 bytes follow it");
  });
});

describe("the header's text", () => {
  it("must be UTF-8", async () => {
    const utf8 = new TextEncoder().encode('{"__metadata__":{"ä":"🦙"}}');
    expect((await readHeader({ header: utf8 })).metadata).toEqual({ ä: "🦙" });
    utf8[utf8.indexOf(0xc3)] = 0xff;
    const error = await refusal({ header: utf8 });
    expect(error.message).toContain("the header is not valid UTF-8");
    expect(error.cause).toBeInstanceOf(TypeError);
  });

  it("must begin with {, without white space or a byte order mark", async () => {
    expect((await refusal({ header: " {}" })).message).toContain('must begin with "{", got byte 0x20');
    expect((await refusal({ header: "\ufeff{}" })).message).toContain('must begin with "{", got byte 0xef');
    expect((await refusal({ header: "[]" })).message).toContain('must begin with "{", got byte 0x5b');
    expect((await refusal({ header: "\n{}" })).message).toContain('must begin with "{", got byte 0x0a;');
  });

  it.each(["{", '{"a":', "{a:1}", "{'a':1}", "{,}", '{"a":NaN}', "{}{}", "{}x", "{}\0", '{"a\n":1}'])(
    "must be one JSON object: %j",
    async (header) => {
      const error = await refusal({ header });
      expect(error.message).toContain("the header is not one valid JSON object");
      expect(error.cause).toBeInstanceOf(SyntaxError);
    },
  );

  it("may nest as deep as it likes without another error", async () => {
    const depth = 200_000;
    const header = `{"a":${"[".repeat(depth)}${"]".repeat(depth)}}`;
    expect((await refusal({ header })).message).toMatch(/is an array, expected an object|not one valid JSON object/);
  });

  it("may end in spaces, and in nothing else", async () => {
    expect((await readHeader({ header: "{}      " })).tensors.size).toBe(0);
    for (const header of ["{}\n", "{}\t  ", "{}  \r"]) {
      expect((await refusal({ header })).message).toContain(
        "model.safetensors: only spaces (0x20) may follow the header's JSON, got other white space; ",
      );
    }
  });
});

describe("keys", () => {
  const entry = (begin: number) => `{"dtype":"U8","shape":[1],"data_offsets":[${begin},${begin + 1}]}`;

  it("may stand in several objects", async () => {
    const header = `{"__metadata__":{"a":"a","dtype":"a"},"a":${entry(0)},"b":${entry(1)}}`;
    expect((await readHeader({ header, dataBytes: 2 })).tensors.size).toBe(2);
  });

  it.each([
    [`{"a":${entry(0)},"a":${entry(1)}}`, 'the key "a" appears twice in the header', "a"],
    [`{"a":${entry(0)},"\\u0061":${entry(1)}}`, 'the key "a" appears twice in the header', "a"],
    [`{"a" :${entry(0)}, "b\\"": ${entry(1)},"b\\u0022"\n:${entry(1)}}`, String.raw`the key "b\"" appears twice`, 'b"'],
    [`{"a":{"dtype":"U8","dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, 'the key "dtype" appears twice in "a"', "a"],
    [`{"a":{"x":{"y":{"k":"1","k":"1"}}}}`, 'the key "k" appears twice in "a.x.y"', "a"],
    ['{"__metadata__":{"x":"1","x":"1"}}', 'the key "x" appears twice in "__metadata__"', undefined],
    ['{"__metadata__":{},"__metadata__":{}}', 'the key "__metadata__" appears twice in the header', undefined],
  ])("must not stand twice: %s", async (header, message, tensor) => {
    const error = await refusal({ header, dataBytes: 2 });
    expect(error.message).toContain(message);
    expect(error.tensor).toBe(tensor);
  });

  it("is not fooled by strings that look like keys", async () => {
    const header = { __metadata__: { a: '"a":1', b: '{"a":1,"a":2}', "c\\": "\\", d: "," } };
    expect((await readHeader({ header })).metadata).toEqual(header.__metadata__);
  });
});

describe("__metadata__", () => {
  it("may be null, which safetensors reads as none", async () => {
    expect((await readHeader({ header: '{"__metadata__":null}' })).metadata).toEqual({});
  });

  it.each([
    [[], "must be an object, got an array"],
    ["x", "must be an object, got a string"],
    [{ a: 1 }, 'holds a number under "a", expected a string'],
    [{ a: -1.5 }, 'holds a number under "a", expected a string'],
    [{ a: null }, 'holds null under "a", expected a string'],
    [{ a: {} }, 'holds an object under "a", expected a string'],
  ])("holds only strings, not %j", async (value, message) => {
    const error = await refusal({ header: { __metadata__: value } });
    expect(error.message).toContain(`"__metadata__" ${message}`);
    expect(error.tensor).toBeUndefined();
  });
});
