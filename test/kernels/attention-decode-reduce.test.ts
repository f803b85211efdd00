import { describe, test } from "vitest";
import { kernelNamed } from "../../src/gpu/ops/kernels.ts";
import { attentionDecodeReduce } from "../reference/attention-decode-reduce.ts";
import type { SplitResult } from "../reference/attention-decode-split.ts";
import { createRandom } from "../reference/random.ts";
import { makeStep, packStep } from "../reference/step.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { runKernel } from "../setup/run-kernel.ts";
import { testDecode } from "./attention-decode-cases.ts";

const NOTHING_CAPTURED = { layer: 0, captureStart: 0, captureEnd: 0, captureTarget: 0, captureStride: 0, window: 0 };

describe("attentionDecodeReduce, after the splits", () => {
  testDecode("attention-decode-split");
});

describe("attentionDecodeReduce, of given splits", () => {
  // 33 values a head: the 32 threads of a workgroup take 128, so 132 is one more vec4.
  test.each([
    { numSplits: 1, headDim: 4 },
    { numSplits: 32, headDim: 124 },
    { numSplits: 32, headDim: 132 },
    { numSplits: 5, headDim: 256 },
  ])("$numSplits splits, headDim $headDim", async ({ numSplits, headDim }) => {
    const [numHeads, numRows] = [4, 2];
    const random = createRandom(headDim);
    const splits: readonly SplitResult[] = Array.from({ length: numRows * numHeads * numSplits }, (_, index) => {
      const isEmpty = index % numSplits > 0 && random.next() < 0.3;
      return {
        largest: isEmpty ? -3.0e38 : Math.fround((random.next() - 0.5) * 40),
        total: isEmpty ? 0 : Math.fround(1 + random.next()),
        partial: Array.from(random.normals(headDim), (value) => (isEmpty ? 0 : value)),
      };
    });
    const { output } = await runKernel(({ gpu, program, upload, uniform, output }) => {
      const target = output(numRows * numHeads * headDim);
      program.dispatch(kernelNamed("attention-decode-reduce"), {
        constants: { CAPTURE: false, EDIT: false, WINDOWED: false },
        bindings: {
          partials: upload(Float32Array.from(splits.flatMap(({ partial }) => partial))),
          stats: upload(Float32Array.from(splits.flatMap(({ largest, total }) => [largest, total]))),
          output: target,
          scores: gpu.unused,
          probs: gpu.unusedOutputs[0],
          step: uniform(packStep(makeStep())),
          edits: gpu.unused,
        },
        params: { headDim4: headDim / 4, numSplits, numHeads, ...NOTHING_CAPTURED },
        grid: [numHeads, numRows],
      });
      return { output: target };
    });
    const expected = Array.from({ length: numRows * numHeads }, (_, index) =>
      attentionDecodeReduce(splits.slice(index * numSplits, (index + 1) * numSplits)),
    ).flat();
    // The difference of two maxima of up to 20 is rounded before exp: its error is relative to them, as that of scores.
    const magnitudes = expected.map(() => 4 * 20);
    expectClose(output, expected, BOUNDS.attention, { shape: [numRows, numHeads, headDim], magnitudes });
  });
});
