// The cases of the kernels that pack weights.
import { describe, expect, test } from "vitest";
import { GPU_STORAGE } from "../../src/gpu/device.ts";
import { runOnce, SubmitExecutor } from "../../src/gpu/executor.ts";
import { quantize } from "../../src/gpu/ops/linear.ts";
import { Program } from "../../src/gpu/program.ts";
import { type FloatDtype, type QuantizedDtype, scalesPerGroup, storedRowBytes } from "../../src/gpu/tensor.ts";
import { quantize as twin } from "../reference/quantize.ts";
import { createRandom } from "../reference/random.ts";
import { storeWeights } from "../reference/weight-formats.ts";
import { withErrorScopes } from "../setup/device.ts";
import { openTestGpu } from "../setup/run-kernel.ts";

const FLOATS: readonly FloatDtype[] = ["f32", "f16", "bf16"];

interface Packed {
  readonly stored: Uint32Array;
  readonly scales: Uint16Array;
  readonly hasProblem: boolean;
}

/** Packs `values` [rows, columns] into a piece of `pieceRows`, from row `rowStart` on. */
export async function pack(
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

/** The cases of every form: bits of the twin, and the place of rows in a piece. */
export function testQuantize(dtype: QuantizedDtype): void {
  describe(`quantize to ${dtype}`, () => {
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

    test("rows land behind those before them and leave the others alone", async () => {
      const values = widelyScaled(5, 96);
      const actual = await pack(values, 96, { dtype, rowStart: 4, pieceRows: 12 });
      const expected = twin(values, 96, dtype);
      const words = expected.stored.length / 5;
      const numbers = 3 * scalesPerGroup(dtype); // of a row's groups
      expect(actual.stored.subarray(words * 4, words * 9)).toEqual(expected.stored);
      expect(actual.scales.subarray(numbers * 4, numbers * 9)).toEqual(expected.scales);
      expect(actual.stored.subarray(0, words * 4).every((word) => word === 0)).toBe(true);
      expect(actual.stored.subarray(words * 9).every((word) => word === 0)).toBe(true);
      expect(actual.scales.subarray(numbers * 9).every((bits) => bits === 0)).toBe(true);
    });
  });
}
