import { describe, expect, test } from "vitest";
import { GPU_STORAGE } from "../../src/gpu/device.ts";
import { runOnce, SubmitExecutor } from "../../src/gpu/executor.ts";
import { quantize } from "../../src/gpu/ops/linear.ts";
import { Program } from "../../src/gpu/program.ts";
import type { FloatDtype, QuantizedDtype } from "../../src/gpu/tensor.ts";
import { storedRowBytes } from "../../src/gpu/tensor.ts";
import { quantizeGroup, quantize as twin } from "../reference/quantize.ts";
import { createRandom } from "../reference/random.ts";
import { storeWeights, widen } from "../reference/weight-formats.ts";
import { withErrorScopes } from "../setup/device.ts";
import { openTestGpu } from "../setup/run-kernel.ts";

const FLOATS: readonly FloatDtype[] = ["f32", "f16", "bf16"];

interface Packed {
  readonly stored: Uint32Array;
  readonly scales: Uint16Array;
  readonly hasProblem: boolean;
}

/** Packs `values` [rows, columns] into a piece of `pieceRows`, from row `rowStart` on. */
async function pack(
  values: ArrayLike<number>,
  columns: number,
  options: {
    readonly dtype: QuantizedDtype;
    readonly sourceDtype?: FloatDtype;
    readonly rowStart?: number;
    readonly pieceRows?: number;
  },
): Promise<Packed> {
  const gpu = await openTestGpu();
  const { dtype, sourceDtype = "f32", rowStart = 0 } = options;
  const numRows = values.length / columns;
  const pieceRows = options.pieceRows ?? Math.ceil(numRows / 4) * 4;
  const row = storedRowBytes({ dtype, columns });
  return withErrorScopes(gpu.device, async () => {
    const source = gpu.createBufferWith("source", storeWeights(values, sourceDtype).stored, GPU_STORAGE);
    const steps = gpu.createBuffer("steps", pieceRows * row.weights, GPU_STORAGE);
    const scales = gpu.createBuffer("scales", pieceRows * row.scales, GPU_STORAGE);
    const problem = gpu.createBuffer("problem", 4, GPU_STORAGE);
    try {
      const program = new Program("quantize");
      const call = { source, sourceDtype, numRows, columns, dtype, target: { steps, scales }, rowStart, problem };
      quantize(program, call);
      await runOnce(new SubmitExecutor(gpu), program, "quantize");
      return {
        stored: new Uint32Array(await gpu.readBuffer(steps, pieceRows * row.weights)),
        scales: new Uint16Array(await gpu.readBuffer(scales, pieceRows * row.scales)),
        hasProblem: new Uint32Array(await gpu.readBuffer(problem, 4))[0] === 1,
      };
    } finally {
      for (const buffer of [source, steps, scales, problem]) gpu.destroyBuffer(buffer);
    }
  });
}

/** Weights of every size that a group may meet, subnormal scales and none at all included. */
function widelyScaled(numRows: number, columns: number): Float32Array<ArrayBuffer> {
  const random = createRandom(numRows * columns);
  const values = random.normals(numRows * columns);
  for (let first = 0; first < values.length; first += 32) {
    const scale = 2 ** (random.integer(40) - 30);
    for (let i = first; i < Math.min(first + 32, values.length); i++) values[i] = Number(values[i]) * scale;
  }
  return values;
}

describe.each(["q8", "q4"] as const)("quantize to %s", (dtype) => {
  describe.each(FLOATS)("from %s", (sourceDtype) => {
    // tiny-spatial's 128; a vec4, a group and its neighbours; an odd number of groups a row; more than one workgroup.
    test.each([
      [48, 128],
      [3, 4],
      [4, 28],
      [4, 32],
      [5, 36],
      [7, 96],
      [1, 2752],
      [132, 36],
    ])("%d rows of %d are the twin's, bit for bit", async (numRows, columns) => {
      const meant = storeWeights(widelyScaled(numRows, columns), sourceDtype).values.map((value) =>
        Number.isFinite(value) ? value : 0,
      );
      const expected = twin(meant, columns, dtype);
      const actual = await pack(meant, columns, { dtype, sourceDtype });
      expect(actual.scales.subarray(0, expected.scales.length)).toEqual(expected.scales);
      expect(actual.stored.subarray(0, expected.stored.length)).toEqual(expected.stored);
      expect(actual.hasProblem).toBe(false);
    });
  });

  test("ties go to the even step", async () => {
    // The first weight makes the scale 1.
    const values = [dtype === "q8" ? 127 : -8, ...Array.from({ length: 31 }, (_, index) => (index - 15) / 2)];
    expect(quantizeGroup([Number(values[0]), 0.5, 1.5, 2.5, -2.5], dtype).steps.slice(1)).toEqual([0, 2, 2, -2]);
    const rows = [...values, ...values, ...values, ...values];
    expect((await pack(rows, 32, { dtype })).stored).toEqual(twin(rows, 32, dtype).stored);
  });

  test("q's ends: clipped where the f16 scale came out too small, −8 only on the side of the largest", async () => {
    const largest = 3.0005;
    const values = Float32Array.from({ length: 32 }, (_, index) => (index % 2 === 0 ? largest : -largest));
    const actual = await pack(values, 32, { dtype });
    expect(actual.stored.slice(0, dtype === "q8" ? 8 : 4)).toEqual(twin(values, 32, dtype).stored);
  });

  test("a group of zeros, and one too small for an f16 scale, mean zero", async () => {
    const values = new Float32Array(64).fill(1e-9, 32);
    const actual = await pack(values, 64, { dtype });
    expect([...actual.scales.subarray(0, 2)].map((bits) => Math.abs(widen(bits, "f16")))).toEqual([0, 0]);
    const words = dtype === "q8" ? 16 : 8;
    expect([...new Set(actual.stored.subarray(0, words))]).toEqual([dtype === "q8" ? 0 : 0x88888888]);
    expect(actual.hasProblem).toBe(false);
  });

  test("rows land behind those before them and leave the others alone", async () => {
    const values = widelyScaled(5, 96);
    const actual = await pack(values, 96, { dtype, rowStart: 4, pieceRows: 12 });
    const expected = twin(values, 96, dtype);
    const words = expected.stored.length / 5;
    expect(actual.stored.subarray(words * 4, words * 9)).toEqual(expected.stored);
    expect(actual.scales.subarray(12, 27)).toEqual(expected.scales);
    expect(actual.stored.subarray(0, words * 4).every((word) => word === 0)).toBe(true);
    expect(actual.stored.subarray(words * 9).every((word) => word === 0)).toBe(true);
    expect(actual.scales.subarray(27).every((bits) => bits === 0)).toBe(true);
  });

  test.each([Number.NaN, Infinity, -Infinity, 65_520 * (dtype === "q8" ? 127 : 8)])(
    "%d is a problem",
    async (value) => {
      const values = new Float32Array(64);
      values[40] = value;
      expect((await pack(values, 64, { dtype })).hasProblem).toBe(true);
    },
  );

  test("the largest weight with an f16 scale is no problem", async () => {
    const values = new Float32Array(32).fill(65_504 * (dtype === "q8" ? 127 : 8));
    const actual = await pack(values, 32, { dtype });
    expect(actual.hasProblem).toBe(false);
    expect(Number(actual.scales[0]) & 0x7fff).toBe(0x7bff);
  });
});
