// What the writer writes, the reader reads; and a file of the reference implementation, byte for byte.
import { describe, expect, it } from "vitest";
import { readSafetensorsHeader } from "../../src/checkpoint/safetensors.ts";
import { encodeSafetensors, type TensorToWrite } from "../../src/checkpoint/safetensors-writer.ts";
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

  it("writes an empty file of 16 bytes", async () => {
    const file = encodeSafetensors([]);
    expect(file.length).toBe(16);
    expect((await readSafetensorsHeader(memorySource({ [PATH]: file }), PATH)).tensors.size).toBe(0);
  });

  it.each([
    ["a name twice", [f32("a", 1), f32("a", 2)], 'name: "a" appears twice.'],
    ["the name __metadata__", [f32("__metadata__", 1)], "is not a tensor's name in this format"],
    ["half a character", [f32("\ud83d", 1)], "is not valid Unicode"],
    [
      "a size that does not fit",
      [{ ...f32("a", 1), shape: [2] }],
      '"a": expected 8 bytes for shape [2] in F32, got 4.',
    ],
    ["a negative dimension", [{ ...f32("a", 1), shape: [-1] }], '"a": expected a shape of whole numbers, got [-1].'],
    ["an overflow", [{ ...f32("a", 1), shape: [2 ** 50, 2 ** 50] }], "expected overflow bytes"],
  ])("refuses %s", (_, tensors, message) => {
    expect(() => encodeSafetensors(tensors)).toThrow(RangeError);
    expect(() => encodeSafetensors(tensors)).toThrow(message);
  });

  it("refuses metadata that is not Unicode", () => {
    expect(() => encodeSafetensors([], { a: "\udc00" })).toThrow(RangeError);
  });

  it("refuses an array of another dtype", () => {
    const wrong = { ...f32("a", 1), dtype: "I32" } as const;
    expect(() => encodeSafetensors([wrong])).toThrow(TypeError);
    expect(() => encodeSafetensors([wrong])).toThrow(
      '"a": expected Int32Array or Uint8Array for I32, got Float32Array.',
    );
  });
});
