import { describe, test } from "vitest";
import { KERNELS } from "../../src/gpu/ops.ts";
import { attentionDecodeSplit, type SplitResult } from "../reference/attention-decode-split.ts";
import { createRandom } from "../reference/random.ts";
import { at, padRows, unpadRows } from "../reference/rows.ts";
import { cacheSlot, makeStep, packStep, type Step, scoreFactor } from "../reference/step.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { runKernel } from "../setup/run-kernel.ts";
import {
  attendStep,
  DECODE_CASES,
  headLayout,
  makeDecodeOperands,
  makeOperands,
  type Operands,
  runDecode,
} from "./attention-cases.ts";

/** The twin's splits of all rows and heads, in the buffers' order. */
function splitsOf(operands: Operands, step: Step, numSplits: number): readonly SplitResult[] {
  const { heads, numSlots, values } = operands;
  return attendStep(operands, step).flatMap((row, rowIndex) =>
    row.flatMap(({ scores }, head) => {
      const keyHead = Math.floor(head / (heads.numHeads / heads.numKeyValueHeads));
      return attentionDecodeSplit(
        scores.map((score, key) => score * scoreFactor(step, rowIndex, head, key)),
        scores.map((_, key) => {
          const start = (keyHead * numSlots + cacheSlot(step, rowIndex, key)) * heads.headDim;
          return Array.from({ length: heads.headDim }, (_, d) => at(values, start + d));
        }),
        numSplits,
      );
    }),
  );
}

function expectSplits(
  actual: { readonly partials: Float32Array; readonly stats: Float32Array },
  expected: readonly SplitResult[],
  operands: Operands,
): void {
  const { headDim, paddedHeadDim } = operands.heads;
  const largestValue = operands.values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  const largestScore = Math.max(...expected.filter(({ total }) => total > 0).map(({ largest }) => Math.abs(largest)));
  const column = (index: number) => actual.stats.filter((_, at) => at % 2 === index);
  // A split without keys has a sum of 0; its largest score then is whatever is smaller than every score.
  expectClose(
    column(0).map((largest, index) => (expected[index]?.total === 0 ? 0 : largest)),
    expected.map(({ largest, total }) => (total === 0 ? 0 : largest)),
    BOUNDS.attentionScores,
    { shape: [expected.length], magnitudes: expected.map(() => 1 + largestScore) },
  );
  expectClose(
    column(1),
    expected.map(({ total }) => total),
    BOUNDS.attention,
    { shape: [expected.length], magnitudes: expected.map(({ total }) => total * (1 + largestScore)) },
  );
  expectClose(
    unpadRows(actual.partials, paddedHeadDim, headDim),
    expected.flatMap(({ partial }) => partial),
    BOUNDS.attention,
    {
      shape: [expected.length, headDim],
      magnitudes: expected.flatMap(({ partial, total }) =>
        partial.map(() => total * largestValue * (1 + largestScore)),
      ),
    },
  );
}

describe("attentionDecodeSplit", () => {
  test.each(DECODE_CASES)("$title", async (decodeCase) => {
    const operands = makeDecodeOperands(createRandom(decodeCase.title.length), decodeCase);
    const result = await runDecode(operands, decodeCase.step);
    expectSplits(result, splitsOf(operands, decodeCase.step, result.numSplits), operands);
  });

  test("24 splits as three workgroups of 8 threads", async () => {
    const [numSplits, threads, numRows, numKeys] = [24, 8, 2, 60];
    const heads = headLayout(4, 2, 20);
    const { numHeads, numKeyValueHeads, headDim, paddedHeadDim } = heads;
    const operands = makeOperands(createRandom(9), heads, { numRows, numSlots: numKeys });
    const step = makeStep({ positionStart: numKeys - 1, positionStep: 0, prefixLength: numKeys });
    const pad = (values: Float32Array) => padRows(values, headDim, paddedHeadDim);
    const result = await runKernel(({ gpu, program, upload, uniform, output }) => {
      const partials = output(numRows * numHeads * numSplits * paddedHeadDim);
      const stats = output(numRows * numHeads * numSplits * 2);
      program.dispatch(KERNELS.attentionDecodeSplit, {
        constants: { NUM_HEADS: numHeads, GROUP: numHeads / numKeyValueHeads, CAPTURE: false, THREADS: threads },
        bindings: {
          queries: upload(pad(operands.queries)),
          keys: upload(pad(operands.keys)),
          values: upload(pad(operands.values)),
          partials,
          stats,
          scores: gpu.unusedOutputs[0],
          step: uniform(packStep(step)),
        },
        params: {
          headDim4: paddedHeadDim / 4,
          queryRowStride4: (numHeads * paddedHeadDim) / 4,
          headStride4: (numKeys * paddedHeadDim) / 4,
          numSplits,
          captureStride: 0,
          scale: 1 / Math.sqrt(headDim),
        },
        grid: [numSplits / threads, numHeads, numRows],
      });
      return { partials, stats };
    });
    expectSplits(result, splitsOf(operands, step, numSplits), operands);
  });
});
