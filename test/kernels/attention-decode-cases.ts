// What the tests of the decode kernels share: a whole step against the twin.
import { test } from "vitest";
import type { DecodeKernelName } from "../../src/gpu/ops/attention.ts";
import { createRandom } from "../reference/random.ts";
import { type Edits, makeEdit, makeEdits } from "../reference/score-edit.ts";
import { makeStep, type Step } from "../reference/step.ts";
import { expectSame } from "../setup/expect-close.ts";
import { POISON } from "../setup/run-kernel.ts";
import {
  attendStep,
  DECODE_CASES,
  type DecodeOptions,
  expectAttention,
  expectCapture,
  headLayout,
  inCache,
  makeDecodeOperands,
  makeLargeOperands,
  OPERATIONS,
  type Operands,
  PACKED_CASES,
  runDecode,
} from "./attention-cases.ts";

/** The tests that a whole decode step has to pass, with any kernels. */
export function testDecode(kernel: DecodeKernelName): void {
  const run = (operands: Operands, step: Step, options: Omit<DecodeOptions, "kernel"> = {}) =>
    runDecode(operands, step, { kernel, ...options });

  test.each(DECODE_CASES)("$title", async (decodeCase) => {
    const { title, step, edits } = decodeCase;
    const operands = makeDecodeOperands(createRandom(title.length), decodeCase);
    const expected = attendStep(operands, step, edits);
    const { output } = await run(operands, step, { edits });
    expectAttention(output, expected, operands);

    // Scores before the edits and probabilities after them, of all rows; and capture does not change a bit.
    const capture = { rows: [0, operands.numRows], stride: step.slotStart + 5 } as const;
    const captured = await run(operands, step, { edits, capture });
    expectCapture(captured, expected, { capture, filler: POISON });
    expectSame(captured.output, output);
  });

  // Keys below and above the 32 splits, and batch rows with tails.
  test.each(PACKED_CASES)("$title in $cacheDtype", async ({ title, heads, cacheDtype }) => {
    for (const step of [
      makeStep({ slotStart: 69 }),
      makeStep({ slotStart: 30, slotStep: 0, prefixLength: 28, tailStride: 9 }),
    ]) {
      const numRows = step.slotStep === 0 ? 3 : 1;
      const operands = inCache(makeDecodeOperands(createRandom(title.length), { heads, numRows, step }), cacheDtype);
      const { output } = await run(operands, step);
      expectAttention(output, attendStep(operands, step), operands);
    }
  });

  test.each(["f16", "q8"] as const)("edits and captures over a cache in %s", async (cacheDtype) => {
    const step = makeStep({ slotStart: 69 });
    const made = makeDecodeOperands(createRandom(4), { heads: headLayout(4, 2, 32), numRows: 1, step });
    const operands = inCache(made, cacheDtype);
    const edits = makeEdits(makeEdit(4, [1, 1.8, 0.5, 0], { rows: [69, 70], columns: [[4, 68]] }));
    const capture = { rows: [0, 1], stride: 75 } as const;
    const captured = await run(operands, step, { edits, capture });
    const expected = attendStep(operands, step, edits);
    expectAttention(captured.output, expected, operands);
    expectCapture(captured, expected, { capture, filler: POISON });
  });

  // Rows at slot 74, whose keys from 68 on are their own.
  const windowStep = makeStep({ slotStart: 74, slotStep: 0, prefixLength: 68, tailStride: 9 });
  const windowed = makeDecodeOperands(createRandom(7), { heads: headLayout(4, 2, 32), numRows: 3, step: windowStep });
  const windowEdits: Edits = {
    rows: [
      [makeEdit(4, [1, 1.5, -1, 0.5], { columns: [[4, 72]] })],
      [],
      [makeEdit(4, [1, 0, 1, 0], { operation: "knock-out", columns: [[10, 74]] })],
    ],
    numLayers: 1,
    layer: 0,
  };

  test.each([1, 3, 16, 40, 74])("a sliding window of %d keys, with edits and captures", async (window) => {
    const operands = { ...windowed, window };
    // A value that is not a number would show, whatever its weight: keys before the window's block of 16 are not read.
    const numUnread = Math.floor((75 - window) / 16) * 16;
    const numSlots = windowed.numSlots;
    const values = windowed.values.map((value, i) => (Math.floor(i / 32) % numSlots < numUnread ? Number.NaN : value));
    const expected = attendStep(operands, windowStep, windowEdits);
    const capture = { rows: [0, 3], stride: 80 } as const;
    const captured = await run({ ...operands, values }, windowStep, { edits: windowEdits, capture });
    expectAttention(captured.output, expected, operands);
    expectCapture(captured, expected, { capture, filler: POISON });
  });

  test("a sliding window as long as the sequence, or longer, gives the same bits as none", async () => {
    const options = { edits: windowEdits, capture: { rows: [0, 3], stride: 80 } } as const;
    const { output } = await run(windowed, windowStep, options);
    for (const window of [75, 1000]) {
      expectSame((await run({ ...windowed, window }, windowStep, options)).output, output);
    }
  });

  const heads = headLayout(4, 2, 32);
  const batchStep = makeStep({ slotStart: 60, slotStep: 0, prefixLength: 55, tailStride: 8 });
  const batch = makeDecodeOperands(createRandom(2), { heads, numRows: 3, step: batchStep });

  test.each([
    { rows: [0, 1], targetRow: 2 },
    { rows: [1, 3], targetRow: 1 },
    { rows: [2, 3], targetRow: 0 },
  ] as const)("captures batch rows $rows into row $targetRow of the buffers", async (some) => {
    const edits = { rows: [[], [makeEdit(4, 1.7, { columns: [[4, 50]] })]], numLayers: 1, layer: 0 };
    const capture = { ...some, stride: 64 };
    const captured = await run(batch, batchStep, { edits, capture });
    expectCapture(captured, attendStep(batch, batchStep, edits), { capture, filler: POISON });
  });

  test("neutral edits give the same bits as none", async () => {
    const columns = [[4, 50]] as const;
    const neutral = OPERATIONS.map((operation) =>
      makeEdit(4, operation === "multiply" ? 1 : 0, { operation, columns }),
    );
    const others = [makeEdit(4, 3, { rows: [0, 60], columns }), makeEdit(4, 3, { rows: [61, 99], columns })];
    const edits = { rows: [neutral, [], others], numLayers: 1, layer: 0 };
    const { output } = await run(batch, batchStep, { edits });
    expectSame(output, (await run(batch, batchStep)).output);
  });

  test("edits leave the batch's other rows as they were, bit for bit", async () => {
    const edits = { rows: [[], [makeEdit(4, 1.7, { columns: [[4, 50]] })]], numLayers: 1, layer: 0 };
    const { output } = await run(batch, batchStep, { edits });
    const isOther = (_: number, index: number) => Math.floor(index / (4 * 32)) !== 1;
    expectSame(output.filter(isOther), (await run(batch, batchStep)).output.filter(isOther));
  });

  test.each([5, 0.5, -2])("scores of ±10,000 times %d stay finite", async (factor) => {
    const numKeys = 90;
    const large = makeLargeOperands(createRandom(3), { numRows: 4, numSlots: numKeys });
    const step = makeStep({ slotStart: numKeys - 1, slotStep: 0, prefixLength: numKeys });
    const edit = makeEdit(2, factor, { columns: [[3, 60]] });
    const edits = { ...makeEdits(), rows: [[edit], [edit], [], [edit]] };
    const { output } = await run(large, step, { edits });
    expectAttention(output, attendStep(large, step, edits), large, { scoresAreExact: true });
  });
}
