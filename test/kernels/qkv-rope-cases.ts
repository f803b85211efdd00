// The cases of both qkv-rope kernels: same formula, same shapes, same bounds.
import { describe, expect, test } from "vitest";
import { type HeadLayout, type QkvRopeKernelName, qkvRope } from "../../src/gpu/ops/rope.ts";
import { isQuantized, WEIGHT_DTYPES, type WeightDtype } from "../../src/gpu/tensor.ts";
import { qkvRope as twin } from "../reference/qkv-rope.ts";
import { quantizeActivations } from "../reference/quantize-activations.ts";
import { createRandom } from "../reference/random.ts";
import { rotaryRows } from "../reference/rope-append.ts";
import { makeRows, makeStep, packStep, rowSlot, type Step } from "../reference/step.ts";
import { storeWeights } from "../reference/weight-formats.ts";
import { BOUNDS, linearBoundOf } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { POISON, runKernel } from "../setup/run-kernel.ts";
import { headLayout } from "./attention-cases.ts";

const THETA = 10_000;

interface QkvCase {
  readonly title: string;
  readonly heads: HeadLayout;
  /** K */
  readonly inner: number;
  readonly numRows?: number;
  readonly step?: Step;
  readonly capacity?: number;
  /** Of row 0, if not its slot. */
  readonly positionStart?: number;
  readonly dtype?: WeightDtype;
  readonly hasBias?: boolean;
}

const CASES: readonly QkvCase[] = [
  { title: "tiny-spatial's heads", heads: headLayout(4, 4, 32), inner: 128, step: makeStep({ slotStart: 70 }) },
  {
    title: "LLaMA-7B's head size at a late position",
    heads: headLayout(2, 2, 128),
    inner: 256,
    step: makeStep({ slotStart: 2045 }),
    capacity: 2048,
  },
  { title: "three query heads a key/value head, headDim 24", heads: headLayout(6, 2, 24), inner: 36 },
  { title: "one head of 8", heads: headLayout(1, 1, 8), inner: 4 },
  { title: "one head of 72, 9 vec4s of pairs", heads: headLayout(1, 1, 72), inner: 260 },
  ...WEIGHT_DTYPES.map((dtype) => ({
    title: `${dtype}, with bias`,
    heads: headLayout(4, 2, 32),
    inner: 100,
    dtype,
    hasBias: true,
  })),
  {
    title: "positions that are not the slots",
    heads: headLayout(4, 2, 32),
    inner: 64,
    numRows: 3,
    step: makeStep({ slotStart: 3 }),
    positionStart: 1000,
  },
  {
    title: "batch rows at slots of their own",
    heads: headLayout(4, 2, 32),
    inner: 64,
    numRows: 3,
    step: makeRows([
      [11, 10],
      [0, 0],
      [6, 3],
    ]),
  },
  {
    title: "three batch rows at one slot, each into its own tail",
    heads: headLayout(4, 2, 32),
    inner: 64,
    numRows: 3,
    step: makeStep({ slotStart: 11, slotStep: 0, prefixLength: 9, tailStride: 5 }),
  },
];

/** Runs the cases on one kernel. */
export function testQkvRope(kernel: QkvRopeKernelName): void {
  const isQuantizedOnly = /-(quad|int8)$/.test(kernel);
  describe(kernel, () => {
    test.each(CASES.filter(({ dtype = "f32" }) => !isQuantizedOnly || isQuantized(dtype)))(
      "$title",
      async ({ title, heads, inner, ...rest }) => {
        const { numRows = 1, step = makeStep({ slotStart: 5 }), capacity = 128 } = rest;
        const { dtype = "f32", hasBias = false, positionStart } = rest;
        const { numHeads, numKeyValueHeads, headDim } = heads;
        const positions = Array.from({ length: numRows }, (_, row) =>
          positionStart === undefined ? rowSlot(step, row) : positionStart - 300 * row,
        );
        const columns = (numHeads + 2 * numKeyValueHeads) * headDim;
        const random = createRandom(title.length);
        const input = random.normals(numRows * inner);
        const weight = random.normals(columns * inner, 1 / Math.sqrt(inner));
        const bias = hasBias ? random.normals(columns) : undefined;
        const cacheLength = numKeyValueHeads * capacity * headDim;
        const quantized = kernel.endsWith("-int8") ? quantizeActivations(input, inner) : undefined;
        const gpuResult = await runKernel(({ gpu, program, upload, uniform, output, matrix }) => {
          const qkv = output(numRows * columns);
          const keys = output(cacheLength);
          const values = output(cacheLength);
          qkvRope(program, gpu, {
            heads,
            layer: { weight: matrix(weight, [columns, inner], { dtype }), bias: bias && upload(bias) },
            input: upload(input),
            quantizedInput: quantized && upload(quantized.packed),
            qkv,
            rotary: upload(rotaryRows(positions, headDim, THETA)),
            keys,
            values,
            step: uniform(packStep(step)),
            numRows,
            capacity,
            kernel,
          });
          return { qkv, keys, values };
        });

        const stored = storeWeights(weight, dtype, inner).values;
        const call = { input: quantized?.values ?? input, weight: stored, numRows, inner, columns, bias };
        const expected = twin(call, heads, { step, positions, capacity, theta: THETA, filler: POISON });
        // A pair's sums are each off by the linear layer's bound, and the rotation mixes two of them.
        const largest = Math.max(...expected.sums.magnitudes);
        const bound = linearBoundOf(kernel, dtype, inner);
        const close = (got: Float32Array, want: Float64Array, shape: readonly number[]) =>
          expectClose(got, want, bound, { shape, magnitudes: want.map((x) => (x === POISON ? 0 : 2 * largest)) });
        const isQuery = (_: number, index: number) => index % columns < numHeads * headDim;
        close(gpuResult.qkv.filter(isQuery), expected.queries.values, [numRows, numHeads, headDim]);
        expect(gpuResult.qkv.filter((value, index) => !isQuery(value, index)).every((x) => x === POISON)).toBe(true);
        close(gpuResult.keys, expected.keys.values, [numKeyValueHeads, capacity, headDim]);
        close(gpuResult.values, expected.values, [numKeyValueHeads, capacity, headDim]);
        expect(BOUNDS.rope.relative).toBeLessThan(bound.relative); // the rotation's own error is covered
      },
    );
  });
}
