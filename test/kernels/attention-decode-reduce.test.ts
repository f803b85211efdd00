import { describe, test } from "vitest";
import { KERNELS } from "../../src/gpu/ops.ts";
import { attentionDecodeReduce } from "../reference/attention-decode-reduce.ts";
import type { SplitResult } from "../reference/attention-decode-split.ts";
import { createRandom } from "../reference/random.ts";
import { makeStep, packStep } from "../reference/step.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose, expectSame } from "../setup/expect-close.ts";
import { POISON, runKernel } from "../setup/run-kernel.ts";
import {
  attendStep,
  DECODE_CASES,
  expectAttention,
  expectCapture,
  headLayout,
  makeDecodeOperands,
  makeLargeOperands,
  runDecode,
} from "./attention-cases.ts";

describe("attentionDecodeReduce, after the splits", () => {
  test.each(DECODE_CASES)("$title", async (decodeCase) => {
    const operands = makeDecodeOperands(createRandom(decodeCase.title.length), decodeCase);
    const { output } = await runDecode(operands, decodeCase.step);
    expectAttention(output, attendStep(operands, decodeCase.step), operands);
  });

  test.each(DECODE_CASES)("captured scores and probabilities of row 0: $title", async (decodeCase) => {
    const operands = makeDecodeOperands(createRandom(decodeCase.title.length), decodeCase);
    const captureStride = decodeCase.step.positionStart + 5;
    const captured = await runDecode(operands, decodeCase.step, { captureStride });
    const expected = attendStep(operands, decodeCase.step)[0] ?? [];
    expectCapture(captured, expected, { stride: captureStride, filler: POISON });
    const { output } = await runDecode(operands, decodeCase.step);
    expectSame(captured.output, output);
  });

  test("a factor of 1 gives the same bits as no factor", async () => {
    const heads = headLayout(4, 4, 32);
    const step = makeStep({ positionStart: 69, span: [4, 68], scaled: [69, 70], factors: [1] });
    const operands = makeDecodeOperands(createRandom(1), { heads, numRows: 1, step });
    const plain = await runDecode(operands, makeStep({ positionStart: 69 }));
    expectSame((await runDecode(operands, step)).output, plain.output);
  });

  test("a factor leaves the batch's other rows as they were, bit for bit", async () => {
    const heads = headLayout(4, 2, 32);
    const common = {
      positionStart: 60,
      positionStep: 0,
      prefixLength: 55,
      tailStride: 8,
      span: [4, 50],
      scaled: [0, 99],
    } as const;
    const operands = makeDecodeOperands(createRandom(2), { heads, numRows: 3, step: makeStep(common) });
    const rowLength = 4 * 32;
    const ones = (await runDecode(operands, makeStep({ ...common, factors: [1, 1, 1] }))).output;
    const { output } = await runDecode(operands, makeStep({ ...common, factors: [1, 1.7, 1] }));
    const isOther = (_: number, index: number) => Math.floor(index / rowLength) !== 1;
    expectSame(output.filter(isOther), ones.filter(isOther));
  });

  test.each([1, 5, 0.5, -2])("scores of ±10,000 times %d stay finite", async (factor) => {
    const numKeys = 90;
    const large = makeLargeOperands(createRandom(3), { numRows: 4, numSlots: numKeys });
    const step = makeStep({
      positionStart: numKeys - 1,
      positionStep: 0,
      prefixLength: numKeys,
      span: [3, 60],
      scaled: [0, numKeys],
      factors: [factor, factor, 1, factor],
    });
    const { output } = await runDecode(large, step);
    expectAttention(output, attendStep(large, step), large, { scoresAreExact: true });
  });
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
      program.dispatch(KERNELS.attentionDecodeReduce, {
        constants: { NUM_HEADS: numHeads, CAPTURE: false },
        bindings: {
          partials: upload(Float32Array.from(splits.flatMap(({ partial }) => partial))),
          stats: upload(Float32Array.from(splits.flatMap(({ largest, total }) => [largest, total]))),
          output: target,
          scores: gpu.unused,
          probs: gpu.unusedOutputs[0],
          step: uniform(packStep(makeStep())),
        },
        params: { headDim4: headDim / 4, numSplits, captureStride: 0 },
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
