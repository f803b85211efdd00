import { describe, expect, test } from "vitest";
import { quantizeActivations, quantizedRowBytes } from "../../src/gpu/ops/linear.ts";
import { quantizeActivations as twin, unpackActivations } from "../reference/quantize-activations.ts";
import { createRandom } from "../reference/random.ts";
import { at } from "../reference/rows.ts";
import { runKernel } from "../setup/run-kernel.ts";

/** Runs the kernel on rows of `columns`. */
async function packedOf(input: Float32Array<ArrayBuffer>, columns: number, inputRowStart = 0) {
  const numRows = input.length / columns - inputRowStart;
  const { output } = await runKernel(({ program, upload, output }) => {
    const target = output((numRows * quantizedRowBytes(columns)) / 4);
    quantizeActivations(program, { input: upload(input), output: target, numRows, columns, inputRowStart });
    return { output: target };
  });
  return new Uint32Array(output.buffer, 0, output.length);
}

// A workgroup takes eight groups of 32: whole ones, parts of one, and more than one workgroup.
describe("quantize-activations", () => {
  test.each([
    ["tiny-spatial's width", 1, 128],
    ["one group less than a workgroup", 2, 224],
    ["a workgroup", 1, 256],
    ["one group more than a workgroup", 3, 288],
    ["a part of a group", 2, 4],
    ["a group and a part", 2, 36],
    ["LLaVA-1.5's inner size at 1/16", 1, 688],
  ])("%s, %i rows of %i", async (_, numRows, columns) => {
    const input = createRandom(columns).normals(numRows * columns, 3);
    const packed = await packedOf(input, columns);
    const expected = twin(input, columns);
    const scales = new Float32Array(packed.buffer, packed.byteOffset, packed.length);
    const wanted = new Float32Array(expected.packed.buffer);
    const values = unpackActivations(packed, columns);
    // Half a step, and what the division may be off by: 2.5 ulp of a value of up to 127 steps.
    const most = 0.5 + (127 * 5) / 2 ** 23;
    for (let group = 0; group * 12 < packed.length; group++) {
      const scale = at(scales, group * 12 + 8);
      expect(Math.abs(scale / at(wanted, group * 12 + 8) - 1)).toBeLessThan(5 / 2 ** 23);
      const bytes = new Int8Array(packed.buffer, packed.byteOffset + group * 48, 32);
      const sum = bytes.reduce((total, step) => total + step, 0);
      expect(at(scales, group * 12 + 9)).toBeCloseTo(scale * sum, 4);
      expect(Math.max(...bytes.map(Math.abs))).toBe(127);
      expect([packed[group * 12 + 10], packed[group * 12 + 11]]).toEqual([0, 0]);
    }
    for (const [index, value] of values.entries()) {
      const groups = Math.ceil(columns / 32);
      const group = Math.floor(index / columns) * groups + Math.floor((index % columns) / 32);
      const error = Math.abs(value - at(input, index)) / at(scales, group * 12 + 8);
      expect(error, `value ${index}`).toBeLessThanOrEqual(most);
    }
    const padding = 32 * Math.ceil(columns / 32) - columns;
    if (padding > 0) {
      const last = new Int8Array(packed.buffer, packed.byteOffset + (packed.length / 12 - 1) * 48, 32);
      expect([...last.subarray(32 - padding)]).toEqual(new Array(padding).fill(0));
    }
  });

  test("rows from a later one on", async () => {
    const input = createRandom(1).normals(3 * 64);
    expect(await packedOf(input, 64, 2)).toEqual(await packedOf(input.slice(128), 64));
  });

  test("a group of zeros has scale 0", async () => {
    expect([...(await packedOf(new Float32Array(32), 32))]).toEqual(new Array(12).fill(0));
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    "%f makes the scale of its group NaN, and of no other",
    async (bad) => {
      const input = createRandom(2).normals(64);
      input[5] = bad;
      const packed = await packedOf(input, 64);
      const floats = new Float32Array(packed.buffer, packed.byteOffset, packed.length);
      expect([floats[8], floats[9]]).toEqual([Number.NaN, Number.NaN]);
      expect(at(floats, 20)).toBeGreaterThan(0);
    },
  );
});
