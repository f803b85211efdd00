// The rules for one tensor's entry and for how the entries cover the data.
import { describe, expect, it } from "vitest";
import { HEADER_PATH, oneTensor, readHeader, refusal } from "./fixtures.ts";

describe("an entry", () => {
  it.each([
    [null, "is null, expected an object"],
    [[], "is an array, expected an object"],
    ["F32", "is a string, expected an object"],
  ])("is an object, not %j", async (entry, message) => {
    const error = await refusal({ header: { a: entry } });
    expect(error.message).toContain(`tensor "a" ${message}`);
    expect(error.tensor).toBe("a");
    expect(error.file).toBe(HEADER_PATH);
  });

  it.each(["dtype", "shape", "data_offsets"])("has %s", async (field) => {
    const error = await refusal({ header: oneTensor({ [field]: undefined }), dataBytes: 24 });
    expect(error.message).toContain(`tensor "a" has no ${field}`);
  });

  it("has nothing else", async () => {
    const { message } = await refusal({ header: oneTensor({ strides: [3, 1] }), dataBytes: 24 });
    expect(message).toBe(
      'model.safetensors: tensor "a" has the field "strides", expected only dtype, shape and data_offsets; ' +
        "the file is damaged or not safetensors, so download or write it again.",
    );
  });

  it.each(["f32", "F31", "", "toString", "__proto__"])("has a dtype that the format knows, not %j", async (dtype) => {
    const { message } = await refusal({ header: oneTensor({ dtype }), dataBytes: 24 });
    expect(message).toContain(`tensor "a" has the dtype "${dtype}", which the format lacks`);
  });

  it("has a dtype that is a string", async () => {
    const { message } = await refusal({ header: oneTensor({ dtype: ["F32"] }), dataBytes: 24 });
    expect(message).toContain('tensor "a" has the dtype an array, which the format lacks; ');
  });

  it.each([["6"], [{ 0: 6 }], [6], [["2", 3]], [[null]], [[[2], 3]]])(
    "has a shape of numbers, not %j",
    async (shape) => {
      const { message } = await refusal({ header: oneTensor({ shape }), dataBytes: 24 });
      expect(message).toContain('tensor "a" has a shape that is not an array of whole numbers');
    },
  );

  it.each(["-2", "-0", "2.0", "2.5", "2e0", "1E400"])("spells numbers in digits, not as %s", async (literal) => {
    for (const fields of [
      `"shape":[${literal},3],"data_offsets":[0,24]`,
      `"shape":[2,3],"data_offsets":[${literal},24]`,
    ]) {
      const { message } = await refusal({ header: `{"a":{"dtype":"F32",${fields}}}`, dataBytes: 24 });
      expect(message).toContain(`tensor "a" holds the number ${literal}, expected digits only`);
    }
  });

  it("is named when a number is not in digits, with the number cut to 40 characters", async () => {
    const literal = `1.${"0123456789".repeat(4)}`;
    const header = `{"a":{"dtype":"F32","shape":[${literal}],"data_offsets":[0,24]}}`;
    const error = await refusal({ header, dataBytes: 24 });
    expect(error.message).toContain(`tensor "a" holds the number ${literal.slice(0, 40)}, expected digits only; `);
    expect(error.tensor).toBe("a");
  });

  it("has no dimension beyond 2^53 − 1", async () => {
    const header = '{"a":{"dtype":"U8","shape":[9007199254740992],"data_offsets":[0,9007199254740992]}}';
    expect((await refusal({ header })).message).toContain("not an array of whole numbers from 0 to 2^53 − 1; ");
  });

  it.each([
    [[0], 1],
    [[0, 12, 24], 3],
    [[], 0],
  ])("has two data_offsets, not %j", async (offsets, count) => {
    const { message } = await refusal({ header: oneTensor({ data_offsets: offsets }), dataBytes: 24 });
    expect(message).toContain(`tensor "a" has ${count} data_offsets, expected 2`);
  });

  it.each([["0,24"], [{ 0: 0, 1: 24 }], [["0", 24]], [[0, 2 ** 53]]])(
    "has data_offsets of numbers, not %j",
    async (offsets) => {
      const { message } = await refusal({ header: oneTensor({ data_offsets: offsets }), dataBytes: 24 });
      expect(message).toContain('tensor "a" has data_offsets that are not whole numbers from 0 to 2^53 − 1; ');
    },
  );

  it("begins before it ends", async () => {
    const { message } = await refusal({ header: oneTensor({ data_offsets: [24, 0] }), dataBytes: 24 });
    expect(message).toContain('tensor "a" begins at byte 24 of the data and ends before it, at 0');
  });

  it.each([
    { shape: [2 ** 27, 2 ** 27], dtype: "U8" },
    { shape: [2 ** 32, 2 ** 32, 2 ** 32], dtype: "F32" },
    { shape: [2 ** 52, 2 ** 52, 0], dtype: "F32" },
    { shape: [2 ** 50], dtype: "F64" },
  ])("has a size below 2^53: $shape $dtype", async (fields) => {
    const { message } = await refusal({ header: oneTensor({ ...fields, data_offsets: [0, 0] }) });
    expect(message).toContain(`tensor "a" has a shape whose size in ${fields.dtype} overflows 2^53 − 1`);
  });

  it("fills whole bytes", async () => {
    expect(
      (await readHeader({ header: oneTensor({ dtype: "F4", data_offsets: [0, 3] }), dataBytes: 3 })).tensors.size,
    ).toBe(1);
    const { message } = await refusal({ header: oneTensor({ dtype: "F6_E2M3", data_offsets: [0, 4] }), dataBytes: 4 });
    expect(message).toContain('tensor "a" does not fill whole bytes: shape [2, 3] in F6_E2M3');
  });

  it.each([
    ["F16", [0, 24], 24, 12],
    ["F32", [0, 23], 23, 24],
    ["F64", [0, 24], 24, 48],
  ])("takes as many bytes as shape and dtype say: %s", async (dtype, offsets, got, expected) => {
    const { message } = await refusal({ header: oneTensor({ dtype, data_offsets: offsets }), dataBytes: got });
    expect(message).toContain(`takes ${got} bytes, expected ${expected} for shape [2, 3] in ${dtype}`);
  });

  it("takes as many bytes wherever it begins", async () => {
    const header = { ...oneTensor(), b: { dtype: "U8", shape: [2], data_offsets: [24, 27] } };
    const { message } = await refusal({ header, dataBytes: 27 });
    expect(message).toContain('tensor "b" takes 3 bytes, expected 2 for shape [2] in U8');
  });

  it("is named with escapes and never at length", async () => {
    const { message } = await refusal({ header: { [`\u001b[31m\u009b${"x".repeat(5000)}`]: 1 } });
    expect(message).toContain(String.raw`\u001b[31m\u009bxxx`);
    expect(message.length).toBeLessThan(400);
  });
});

describe("the data", () => {
  const two = (first: readonly number[], second: readonly number[]) => ({
    a: { dtype: "U8", shape: [(first[1] ?? 0) - (first[0] ?? 0)], data_offsets: first },
    b: { dtype: "U8", shape: [(second[1] ?? 0) - (second[0] ?? 0)], data_offsets: second },
  });

  it("is covered in any order of names", async () => {
    expect([...(await readHeader({ header: two([4, 8], [0, 4]), dataBytes: 8 })).tensors.keys()]).toEqual(["b", "a"]);
  });

  it.each([
    [two([0, 4], [3, 8]), 8, "b", "overlaps the tensor before it: it begins at byte 3 of the data, expected 4"],
    [two([0, 8], [2, 4]), 8, "b", "overlaps the tensor before it: it begins at byte 2 of the data, expected 8"],
    [two([0, 4], [0, 4]), 4, "b", "overlaps the tensor before it: it begins at byte 0 of the data, expected 4"],
    [two([0, 4], [2, 2]), 4, "b", "overlaps the tensor before it: it begins at byte 2 of the data, expected 4"],
    [two([0, 4], [5, 8]), 8, "b", "leaves a hole before it: it begins at byte 5 of the data, expected 4"],
    [two([4, 8], [1, 4]), 8, "b", "leaves a hole before it: it begins at byte 1 of the data, expected 0"],
  ])("is covered once, without holes: case %#", async (header, dataBytes, tensor, message) => {
    const error = await refusal({ header, dataBytes });
    expect(error.message).toContain(`tensor "${tensor}" ${message}`);
    expect(error.tensor).toBe(tensor);
  });

  it("must not be followed by anything", async () => {
    expect((await refusal({ header: oneTensor(), dataBytes: 25 })).message).toContain(
      "1 bytes follow the last tensor, expected none",
    );
    expect((await refusal({ header: "{}", dataBytes: 3 })).message).toContain("3 bytes follow the last tensor");
  });

  it("must be there to its last byte", async () => {
    const error = await refusal({ header: oneTensor(), dataBytes: 23 });
    const headerBytes = JSON.stringify(oneTensor()).length;
    expect(error.message).toBe(
      `model.safetensors: the tensors need ${8 + headerBytes + 24} bytes, got ${8 + headerBytes + 23}; ` +
        "the file is cut short, so download it again.",
    );
    expect([error.file, error.tensor]).toEqual([HEADER_PATH, "a"]);
  });

  it("names the first tensor that is cut", async () => {
    const header = { ...two([0, 4], [4, 8]), c: { dtype: "U8", shape: [4], data_offsets: [8, 12] } };
    expect((await refusal({ header, dataBytes: 4 })).tensor).toBe("b");
    expect((await refusal({ header, dataBytes: 11 })).tensor).toBe("c");
  });
});
