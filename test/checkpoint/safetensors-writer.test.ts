// What the writer writes, the reader reads; and a file of the reference implementation, byte for byte.
import { describe, expect, it } from "vitest";
import { readSafetensorsHeader } from "../../src/checkpoint/safetensors.ts";
import { encodeSafetensors, type TensorToWrite } from "../../src/checkpoint/safetensors-writer.ts";
import { InputError } from "../../src/errors.ts";
import { memorySource } from "./fixtures.ts";

const PATH = "trace.safetensors";
const f32 = (name: string, ...values: number[]): TensorToWrite => ({
  name,
  dtype: "F32",
  shape: [values.length],
  data: Float32Array.from(values),
});

describe("encodeSafetensors", () => {
  it("writes what the reader reads, also from a view into a larger buffer", async () => {
    const view = Float32Array.of(9, 1, 2, 3, 4, 9).subarray(1, 5);
    const file = encodeSafetensors(
      [
        { name: "logits", dtype: "F32", shape: [2, 2], data: view },
        { name: "generated_ids", dtype: "I32", shape: [3], data: Int32Array.of(-1, 2, 3) },
        { name: "scalar", dtype: "I64", shape: [], data: BigInt64Array.of(-5n) },
        { name: "half", dtype: "BF16", shape: [1], data: Uint16Array.of(0x3f80) },
        { name: "none", dtype: "F16", shape: [0, 4], data: new Uint16Array(0) },
        { name: "bytes", dtype: "BOOL", shape: [2], data: Uint8Array.of(1, 0) },
      ],
      { model: "tiny", ü: "🦙" },
    );
    const source = memorySource({ [PATH]: file });
    const { tensors, metadata, dataStart } = await readSafetensorsHeader(source, PATH);
    expect(dataStart % 8).toBe(0);
    expect(metadata).toEqual({ model: "tiny", ü: "🦙" });
    expect([...tensors.keys()]).toEqual(["scalar", "logits", "generated_ids", "half", "none", "bytes"]);
    const { start, end } = tensors.get("logits") ?? { start: 0, end: 0 };
    const bytes = await source.read(PATH, start, end);
    expect([...new Float32Array(bytes.buffer)]).toEqual([1, 2, 3, 4]);
  });

  it("writes the bytes that the reference writes", () => {
    // Python: safetensors 0.8.0, safetensors.numpy.save({"b": np.float32([1, -2]), "a": np.float16([1, 2, 3]), "9": np.int32([7])},
    //   metadata={"format": "np"})
    const header =
      '{"__metadata__":{"format":"np"},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},' +
      '"9":{"dtype":"I32","shape":[1],"data_offsets":[8,12]},"a":{"dtype":"F16","shape":[3],"data_offsets":[12,18]}}      ';
    const data = "0000803f000000c0" + "07000000" + "003c00400042";
    const reference = `c800000000000000${Buffer.from(header).toString("hex")}${data}`;
    const file = encodeSafetensors(
      [
        f32("b", 1, -2),
        { name: "a", dtype: "F16", shape: [3], data: Uint16Array.of(0x3c00, 0x4000, 0x4200) },
        { name: "9", dtype: "I32", shape: [1], data: Int32Array.of(7) },
      ],
      { format: "np" },
    );
    expect(Buffer.from(file).toString("hex")).toBe(reference);
  });

  it("gives the same bytes whatever the order of the tensors", () => {
    const tensors = [f32("b", 1), f32("10", 2), f32("9", 3)];
    expect(encodeSafetensors(tensors)).toEqual(encodeSafetensors(tensors.toReversed()));
  });

  it("sorts names of one dtype by their UTF-16 code units", async () => {
    const file = encodeSafetensors(["b", "9", "ä", "B", "10"].map((name) => f32(name, 1)));
    const { tensors } = await readSafetensorsHeader(memorySource({ [PATH]: file }), PATH);
    expect([...tensors.keys()]).toEqual(["10", "9", "B", "b", "ä"]);
  });

  it("writes an empty file of 16 bytes", async () => {
    const file = encodeSafetensors([]);
    expect(file.length).toBe(16);
    expect((await readSafetensorsHeader(memorySource({ [PATH]: file }), PATH)).tensors.size).toBe(0);
  });

  it.each([
    ["a name twice", [f32("a", 1), f32("a", 2)], 'name: "a" appears twice.'],
    ["the name __metadata__", [f32("__metadata__", 1)], 'name: "__metadata__" is not a tensor\'s name in this format.'],
    ["half a character", [f32("\ud83d", 1)], String.raw`name: "\ud83d" is not valid Unicode.`],
    [
      "a size that does not fit",
      [{ ...f32("a", 1), shape: [2] }],
      '"a": expected 8 bytes for shape [2] in F32, got 4.',
    ],
    [
      "a size that does not fit two dimensions",
      [{ ...f32("a", 1, 2), shape: [1, 3] }],
      '"a": expected 12 bytes for shape [1, 3] in F32, got 8.',
    ],
    ["a negative dimension", [{ ...f32("a", 1), shape: [-1] }], '"a": expected a shape of whole numbers, got [-1].'],
    [
      "one negative dimension of two",
      [{ ...f32("a", 1), shape: [1, -1] }],
      '"a": expected a shape of whole numbers, got [1, -1].',
    ],
    ["half a dimension", [{ ...f32("a", 1, 2), shape: [0.5, 4] }], "expected a shape of whole numbers, got [0.5, 4]."],
    [
      "an overflow",
      [{ ...f32("a", 1), shape: [2 ** 50, 2 ** 50] }],
      '"a": expected overflow bytes for shape [1125899906842624, 1125899906842624] in F32, got 4.',
    ],
  ])("refuses %s", (_, tensors, message) => {
    expect(() => encodeSafetensors(tensors)).toThrow(InputError);
    expect(() => encodeSafetensors(tensors)).toThrow(message);
  });

  it("refuses metadata that is not Unicode, in keys and in values", () => {
    const bad: readonly Readonly<Record<string, string>>[] = [
      { "\udc00": "a" },
      { a: "\udc00" },
      { a: "a", b: "\udc00" },
    ];
    for (const metadata of bad) {
      expect(() => encodeSafetensors([], metadata)).toThrow(
        new InputError(String.raw`metadata: "\udc00" is not valid Unicode.`),
      );
    }
  });

  it.each<[dtype: TensorToWrite["dtype"], data: TensorToWrite["data"]]>([
    ["F32", new Float32Array(1)],
    ["F64", new Float64Array(1)],
    ["I32", new Int32Array(1)],
    ["I64", new BigInt64Array(1)],
    ["F16", new Uint16Array(1)],
    ["BF16", new Uint16Array(1)],
    ["U16", new Uint16Array(1)],
    ["U8", new Uint8Array(1)],
    ["C64", new Uint8Array(8)],
  ])("takes %s from its own array", (dtype, data) => {
    expect(encodeSafetensors([{ name: "a", dtype, shape: [], data }]).length % 8).toBe(data.byteLength % 8);
  });

  it.each<[dtype: TensorToWrite["dtype"], message: string]>([
    ["I32", '"a": expected Int32Array or Uint8Array for I32, got Float32Array.'],
    ["U16", '"a": expected Uint16Array or Uint8Array for U16, got Float32Array.'],
    ["U32", '"a": expected Uint8Array for U32, got Float32Array.'],
  ])("refuses F32's array for %s", (dtype, message) => {
    expect(() => encodeSafetensors([{ ...f32("a", 1), dtype }])).toThrow(new InputError(message));
  });

  it("writes a header up to the format's 100,000,000 bytes", () => {
    const frame = '{"__metadata__":{"a":""}}'.length;
    const full = encodeSafetensors([], { a: "x".repeat(100_000_000 - frame) });
    expect(full.length).toBe(100_000_008);
    expect(() => encodeSafetensors([], { a: "x".repeat(100_000_001 - frame) })).toThrow(
      new InputError("tensors: the header takes 100000008 bytes, expected at most 100000000."),
    );
  });
});
