// The cases of both gated-matvec kernels: same formula, same shapes, same bounds.
import { describe, test } from "vitest";
import type { Activation } from "../../src/gpu/ops/activations.ts";
import { type GatedMatvecKernelName, gatedMatvec } from "../../src/gpu/ops/linear.ts";
import { isQuantized, WEIGHT_DTYPES, type WeightDtype } from "../../src/gpu/tensor.ts";
import { gatedMatvec as twin } from "../reference/gated-matvec.ts";
import { quantizeActivations } from "../reference/quantize-activations.ts";
import { createRandom } from "../reference/random.ts";
import { storeWeights } from "../reference/weight-formats.ts";
import { linearBoundOf } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { runKernel } from "../setup/run-kernel.ts";

interface GatedCase {
  readonly title: string;
  readonly numRows?: number;
  /** K */
  readonly inner: number;
  /** I */
  readonly columns: number;
  readonly dtype?: WeightDtype;
  readonly hasBias?: boolean;
  readonly activation?: Activation;
}

// A workgroup of the one takes 32 columns, of the other 4, and 256 of K at a time.
const CASES: readonly GatedCase[] = [
  { title: "tiny-spatial's MLP", inner: 128, columns: 352 },
  { title: "LLaVA-1.5's at 1/16", inner: 256, columns: 688 },
  { title: "three rows", numRows: 3, inner: 36, columns: 20 },
  ...WEIGHT_DTYPES.map((dtype) => ({ title: `${dtype}, with bias`, inner: 100, columns: 36, dtype, hasBias: true })),
  ...[4, 28, 32, 36].map((columns) => ({ title: `${columns} columns`, inner: 20, columns })),
  ...[4, 252, 256, 260].map((inner) => ({ title: `inner dimension ${inner}`, inner, columns: 8 })),
  { title: "gelu_pytorch_tanh", inner: 64, columns: 64, activation: "gelu_pytorch_tanh" },
];

/** Runs the cases on one kernel. */
export function testGatedMatvec(kernel: GatedMatvecKernelName): void {
  const isQuantizedOnly = /-(quad|int8)$/.test(kernel);
  describe(kernel, () => {
    test.each(CASES.filter(({ dtype = "f32" }) => !isQuantizedOnly || isQuantized(dtype)))(
      "$title",
      async ({ inner, columns, ...rest }) => {
        const { numRows = 1, dtype = "f32", hasBias = false, activation = "silu" } = rest;
        const random = createRandom(inner + columns);
        const input = random.normals(numRows * inner);
        const weight = random.normals(2 * columns * inner, 1 / Math.sqrt(inner));
        const bias = hasBias ? random.normals(2 * columns) : undefined;
        const quantized = kernel.endsWith("-int8") ? quantizeActivations(input, inner) : undefined;
        const { output } = await runKernel(({ gpu, program, upload, output, matrix }) => {
          const target = output(numRows * columns);
          gatedMatvec(program, gpu, {
            layer: { weight: matrix(weight, [2 * columns, inner], { dtype }), bias: bias && upload(bias) },
            input: upload(input),
            quantizedInput: quantized && upload(quantized.packed),
            output: target,
            numRows,
            activation,
            kernel,
          });
          return { output: target };
        });
        const stored = storeWeights(weight, dtype, inner).values;
        const call = { input: quantized?.values ?? input, weight: stored, numRows, inner, columns: 2 * columns, bias };
        const expected = twin(call, activation);
        const { values, magnitudes } = expected;
        expectClose(output, values, linearBoundOf(kernel, dtype, inner), { shape: [numRows, columns], magnitudes });
      },
    );
  });
}
