// What the tests of the decode kernels share: a whole step against the twin.
import { test } from "vitest";
import type { AttentionKernel } from "../../src/gpu/ops/ops.ts";
import { createRandom } from "../reference/random.ts";
import { makeStep, type Step } from "../reference/step.ts";
import { expectSame } from "../setup/expect-close.ts";
import { POISON } from "../setup/run-kernel.ts";
import {
  attendStep,
  DECODE_CASES,
  expectAttention,
  expectCapture,
  headLayout,
  makeDecodeOperands,
  makeLargeOperands,
  type Operands,
  runDecode,
} from "./attention-cases.ts";

/** The tests that a whole decode step has to pass, with whichever kernels. */
export function testDecode(kernel: AttentionKernel): void {
  const run = (operands: Operands, step: Step, options: { readonly captureStride?: number } = {}) =>
    runDecode(operands, step, { kernel, ...options });

  test.each(DECODE_CASES)("$title", async (decodeCase) => {
    const operands = makeDecodeOperands(createRandom(decodeCase.title.length), decodeCase);
    const { output } = await run(operands, decodeCase.step);
    expectAttention(output, attendStep(operands, decodeCase.step), operands);
  });

  test.each(DECODE_CASES)("captured scores and probabilities of row 0: $title", async (decodeCase) => {
    const operands = makeDecodeOperands(createRandom(decodeCase.title.length), decodeCase);
    const captureStride = decodeCase.step.positionStart + 5;
    const captured = await run(operands, decodeCase.step, { captureStride });
    const expected = attendStep(operands, decodeCase.step)[0] ?? [];
    expectCapture(captured, expected, { stride: captureStride, filler: POISON });
    const { output } = await run(operands, decodeCase.step);
    expectSame(captured.output, output);
  });

  test("a factor of 1 gives the same bits as no factor", async () => {
    const heads = headLayout(4, 4, 32);
    const step = makeStep({ positionStart: 69, span: [4, 68], scaled: [69, 70], factors: [1] });
    const operands = makeDecodeOperands(createRandom(1), { heads, numRows: 1, step });
    const plain = await run(operands, makeStep({ positionStart: 69 }));
    expectSame((await run(operands, step)).output, plain.output);
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
    const ones = (await run(operands, makeStep({ ...common, factors: [1, 1, 1] }))).output;
    const { output } = await run(operands, makeStep({ ...common, factors: [1, 1.7, 1] }));
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
    const { output } = await run(large, step);
    expectAttention(output, attendStep(large, step), large, { scoresAreExact: true });
  });
}
