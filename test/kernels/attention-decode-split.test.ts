import { describe, test } from "vitest";
import { kernelNamed } from "../../src/gpu/ops/kernels.ts";
import { createRandom } from "../reference/random.ts";
import { padRows } from "../reference/rows.ts";
import { makeStep, packStep } from "../reference/step.ts";
import { runKernel } from "../setup/run-kernel.ts";
import { DECODE_CASES, headLayout, makeDecodeOperands, makeOperands, runDecode } from "./attention-cases.ts";
import { expectSplits, splitsOf } from "./attention-split-cases.ts";

describe("attentionDecodeSplit", () => {
  test.each(DECODE_CASES)("$title", async (decodeCase) => {
    const operands = makeDecodeOperands(createRandom(decodeCase.title.length), decodeCase);
    const result = await runDecode(operands, decodeCase.step, {
      edits: decodeCase.edits,
      kernel: "attention-decode-split",
    });
    expectSplits(result, splitsOf(operands, decodeCase, result), operands);
  });

  test("24 splits as three workgroups of 8 threads", async () => {
    const [numSplits, threads, numRows, numKeys] = [24, 8, 2, 60];
    const heads = headLayout(4, 2, 20);
    const { numHeads, numKeyValueHeads, headDim, paddedHeadDim } = heads;
    const operands = makeOperands(createRandom(9), heads, { numRows, numSlots: numKeys });
    const step = makeStep({ slotStart: numKeys - 1, slotStep: 0, prefixLength: numKeys });
    const pad = (values: Float32Array) => padRows(values, headDim, paddedHeadDim);
    const result = await runKernel(({ gpu, program, upload, uniform, output }) => {
      const partials = output(numRows * numHeads * numSplits * paddedHeadDim);
      const stats = output(numRows * numHeads * numSplits * 2);
      program.dispatch(kernelNamed("attention-decode-split"), {
        constants: {
          GROUP: numHeads / numKeyValueHeads,
          CAPTURE: false,
          EDIT: false,
          WINDOWED: false,
          THREADS: threads,
        },
        bindings: {
          queries: upload(pad(operands.queries)),
          keys: upload(pad(operands.keys)),
          values: upload(pad(operands.values)),
          partials,
          stats,
          scores: gpu.unusedOutputs[0],
          step: uniform(packStep(step)),
          edits: gpu.unused,
        },
        params: {
          headDim4: paddedHeadDim / 4,
          queryRowStride4: (numHeads * paddedHeadDim) / 4,
          headStride4: (numKeys * paddedHeadDim) / 4,
          numSplits,
          numHeads,
          layer: 0,
          captureStart: 0,
          captureEnd: 0,
          captureTarget: 0,
          captureStride: 0,
          scale: 1 / Math.sqrt(headDim),
          window: 0,
        },
        grid: [numSplits / threads, numHeads, numRows],
      });
      return { partials, stats };
    });
    expectSplits(result, splitsOf(operands, { step }, { numSplits }), operands);
  });
});
