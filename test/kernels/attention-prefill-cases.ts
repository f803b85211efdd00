// What the tests of the prefill kernels share: runs of the op, and the cases.
import { describe, expect, test } from "vitest";
import { type AttentionKernel, attentionPrefill, KERNELS } from "../../src/gpu/ops/ops.ts";
import { attentionPrefill as twin } from "../reference/attention-prefill.ts";
import { createRandom } from "../reference/random.ts";
import { padRows } from "../reference/rows.ts";
import { makeStep, packStep, type Step } from "../reference/step.ts";
import { expectSame } from "../setup/expect-close.ts";
import { POISON, runKernel } from "../setup/run-kernel.ts";
import {
  attendStep,
  expectAttention,
  expectCapture,
  headLayout,
  makeLargeOperands,
  makeOperands,
  type Operands,
} from "./attention-cases.ts";

interface Options {
  readonly kernel?: AttentionKernel;
  readonly captureRow?: number;
  /** First row and number of rows of the operands' queries to run. */
  readonly rows?: readonly [number, number];
  /** Threads of a workgroup of the plain kernel, instead of what the op chooses. */
  readonly workgroupRows?: number;
}

/** Columns of a captured row: more than any row here has keys. */
const STRIDE = 96;

/** A decoder's step: queries in rows of q, k and v together, keys and values in a cache [Hkv, capacity, headDim]. */
export async function runCausal(operands: Operands, step: Step, options: Options = {}) {
  const { heads, numSlots } = operands;
  const { paddedHeadDim, headDim, numHeads, numKeyValueHeads } = heads;
  const { kernel = "auto", captureRow, rows: [rowStart, numRows] = [0, operands.numRows], workgroupRows } = options;
  const rowOfHeads = numHeads * headDim;
  const queries = padRows(
    padRows(
      operands.queries.subarray(rowStart * rowOfHeads, (rowStart + numRows) * rowOfHeads),
      headDim,
      paddedHeadDim,
    ),
    numHeads * paddedHeadDim,
    (numHeads + 2 * numKeyValueHeads) * paddedHeadDim,
    1e30, // keys and values of qkv, which must not be read
  );
  return await runKernel(({ gpu, program, upload, uniform, output }) => {
    const target = output(numRows * numHeads * paddedHeadDim);
    const scores = output(numHeads * STRIDE);
    const probs = output(numHeads * STRIDE);
    const buffers = {
      queries: upload(queries),
      keys: upload(padRows(operands.keys, headDim, paddedHeadDim)),
      values: upload(padRows(operands.values, headDim, paddedHeadDim)),
      output: target,
      step: uniform(packStep(step)),
    };
    const strides = {
      numRows,
      numKeys: 0,
      queryRowStride: (numHeads + 2 * numKeyValueHeads) * paddedHeadDim,
      keyOffset: 0,
      valueOffset: 0,
      positionStride: paddedHeadDim,
      headStride: numSlots * paddedHeadDim,
    };
    if (workgroupRows === undefined) {
      const capture = captureRow === undefined ? undefined : { scores, probs, row: captureRow, stride: STRIDE };
      attentionPrefill(program, gpu, { heads, causal: true, ...buffers, ...strides, capture, kernel });
    } else {
      program.dispatch(KERNELS.attentionPrefill, {
        constants: {
          CAUSAL: true,
          CAPTURE: false,
          ROWS: workgroupRows,
        },
        bindings: { ...buffers, scores, probs },
        params: {
          headDim4: paddedHeadDim / 4,
          numRows,
          numKeys: 0,
          queryRowStride4: strides.queryRowStride / 4,
          keyOffset4: 0,
          valueOffset4: 0,
          positionStride4: strides.positionStride / 4,
          headStride4: strides.headStride / 4,
          outputRowStride4: (numHeads * paddedHeadDim) / 4,
          group: numHeads / numKeyValueHeads,
          captureRow: 0,
          captureStride: 0,
          scale: 1 / Math.sqrt(headDim),
        },
        grid: [Math.ceil(numRows / workgroupRows), numHeads],
      });
    }
    return { output: target, scores, probs };
  });
}

/** A vision tower's layer: q, k and v of all positions in the rows of one buffer, every row sees `numKeys` of them. */
async function runFull(operands: Operands, numKeys: number, options: Options) {
  const { heads, numRows, numSlots } = operands;
  const { kernel = "auto", captureRow } = options;
  const { numHeads, numKeyValueHeads, headDim, paddedHeadDim } = heads;
  const numBlocks = numHeads + 2 * numKeyValueHeads;
  const numBufferRows = Math.max(numRows, numSlots);
  const qkv = new Float32Array(numBufferRows * numBlocks * paddedHeadDim);
  const put = (source: Float32Array, from: number, row: number, block: number) =>
    qkv.set(source.subarray(from * headDim, (from + 1) * headDim), (row * numBlocks + block) * paddedHeadDim);
  for (let row = 0; row < numRows; row++) {
    for (let head = 0; head < numHeads; head++) put(operands.queries, row * numHeads + head, row, head);
  }
  for (let slot = 0; slot < numSlots; slot++) {
    for (let head = 0; head < numKeyValueHeads; head++) {
      put(operands.keys, head * numSlots + slot, slot, numHeads + head);
      put(operands.values, head * numSlots + slot, slot, numHeads + numKeyValueHeads + head);
    }
  }
  return await runKernel(({ gpu, program, upload, uniform, output }) => {
    const target = output(numRows * numHeads * paddedHeadDim);
    const scores = output(numHeads * STRIDE);
    const probs = output(numHeads * STRIDE);
    const buffer = upload(qkv);
    attentionPrefill(program, gpu, {
      heads,
      queries: buffer,
      keys: buffer,
      values: buffer,
      output: target,
      step: uniform(packStep(makeStep({ span: [0, 100], scaled: [0, 100], factors: [9] }))), // not for a vision tower
      numRows,
      causal: false,
      numKeys,
      queryRowStride: numBlocks * paddedHeadDim,
      keyOffset: numHeads * paddedHeadDim,
      valueOffset: (numHeads + numKeyValueHeads) * paddedHeadDim,
      positionStride: numBlocks * paddedHeadDim,
      headStride: paddedHeadDim,
      kernel,
      capture: captureRow === undefined ? undefined : { scores, probs, row: captureRow, stride: STRIDE },
    });
    return { output: target, scores, probs };
  });
}

function attendFull(operands: Operands, numKeys: number) {
  return twin({ ...operands, numKeys: () => numKeys, slotOf: (_, key) => key, factorOf: () => 1 });
}

/** The tests that every prefill kernel has to pass. */
export function testPrefill(kernel: AttentionKernel): void {
  const run = (operands: Operands, step: Step, options: Options = {}) =>
    runCausal(operands, step, { kernel, ...options });

  describe("causal", () => {
    // Rows: one, a workgroup of 32, one less and one more; heads: 1, 2 and 3 queries a key (a variant of
    // the kernel each, which lavapipe takes a second to compile).
    const CASES = [
      { title: "tiny-spatial's prompt", heads: headLayout(4, 4, 32), numRows: 70, positionStart: 0 },
      { title: "LLaMA-7B's head size", heads: headLayout(2, 2, 128), numRows: 33, positionStart: 0 },
      { title: "a later chunk of a prompt", heads: headLayout(4, 4, 32), numRows: 9, positionStart: 61 },
      { title: "one row, one key", heads: headLayout(4, 4, 32), numRows: 1, positionStart: 0 },
      { title: "32 rows, headDim 4", heads: headLayout(2, 1, 4), numRows: 32, positionStart: 3 },
      { title: "31 rows, headDim 20, two queries a key", heads: headLayout(4, 2, 20), numRows: 31, positionStart: 0 },
      {
        title: "one key head for all three, headDim 10 in 12",
        heads: headLayout(3, 1, 10),
        numRows: 17,
        positionStart: 5,
      },
      { title: "headDim 6 in 8", heads: headLayout(2, 2, 6), numRows: 8, positionStart: 0 },
      { title: "headDim 256", heads: headLayout(2, 1, 256), numRows: 18, positionStart: 0 },
    ];

    test.each(CASES)("$title", async ({ heads, numRows, positionStart }) => {
      const numSlots = positionStart + numRows + 3;
      const operands = makeOperands(createRandom(numRows), heads, { numRows, numSlots });
      const step = makeStep({ positionStart });
      const { output } = await run(operands, step);
      expectAttention(output, attendStep(operands, step), operands);
    });

    // The last chunk of 11 or 5 rows, or one row, is another variant of attention-prefill-quad.
    test.each([34, 40, 44])(
      "a prompt in two chunks, the first of %d rows, gives the same bits as in one",
      async (cut) => {
        const operands = makeOperands(createRandom(2), headLayout(4, 2, 32), { numRows: 45, numSlots: 48 });
        const { output } = await run(operands, makeStep());
        const first = await run(operands, makeStep(), { rows: [0, cut] });
        const second = await run(operands, makeStep({ positionStart: cut }), { rows: [cut, 45 - cut] });
        expectSame([...first.output, ...second.output], output, 4 * 32);
      },
    );
  });

  describe("the image factor", () => {
    const numRows = 70;
    const operands = makeOperands(createRandom(3), headLayout(4, 4, 32), { numRows, numSlots: 72 });
    const rowLength = 4 * 32;
    const span = [4, 68] as const;
    const lastRow = [numRows - 1, numRows] as const;

    test.each([0, 0.5, 1.2, 2, -1])("%d on the last row leaves all other rows as they were", async (factor) => {
      const step = makeStep({ span, scaled: lastRow, factors: [factor] });
      const { output } = await run(operands, step);
      expectAttention(output, attendStep(operands, step), operands);
      const { output: plain } = await run(operands, makeStep());
      expectSame(output.subarray(0, -rowLength), plain.subarray(0, -rowLength), rowLength);
      expect(output.subarray(-rowLength).some((value, index) => value !== plain.at(index - rowLength))).toBe(true);
    });

    test("1 gives the same bits as no factor", async () => {
      const step = makeStep({ span, scaled: [0, numRows], factors: [1] });
      const plain = await run(operands, makeStep());
      expectSame((await run(operands, step)).output, plain.output, rowLength);
    });

    test.each([
      { title: "all rows", span, scaled: [0, numRows] },
      { title: "rows [10, 20) only", span, scaled: [10, 20] },
      { title: "from row 33 on", span, scaled: [33, 0xffffffff] },
      { title: "a span of one column", span: [7, 8], scaled: [0, numRows] },
      { title: "a span that ends behind the keys", span: [60, 1000], scaled: [0, numRows] },
      { title: "all columns", span: [0, numRows], scaled: [0, numRows] },
    ] as const)("$title", async ({ span, scaled }) => {
      const step = makeStep({ span, scaled, factors: [1.5] });
      const { output } = await run(operands, step);
      expectAttention(output, attendStep(operands, step), operands);
    });

    test.each([
      { title: "an empty span", span: [9, 9], scaled: [0, numRows] },
      { title: "no scaled row", span, scaled: [numRows, numRows + 9] },
      { title: "no scaled head", span, scaled: [0, numRows], scaledHeads: [] },
    ] as const)("$title changes nothing", async (changes) => {
      const { output } = await run(operands, makeStep({ ...changes, factors: [3] }));
      expectSame(output, (await run(operands, makeStep())).output, rowLength);
    });

    test("positions count, not rows: a later chunk", async () => {
      const step = makeStep({ positionStart: 2, span, scaled: [40, 50], factors: [0.7] });
      const { output } = await run(operands, step);
      expectAttention(output, attendStep(operands, step), operands);
    });

    test("heads by the mask, of more than 64", async () => {
      const many = makeOperands(createRandom(4), headLayout(72, 36, 4), { numRows: 10, numSlots: 10 });
      const scaledHeads = [0, 5, 31, 32, 63, 64, 71];
      const step = makeStep({ span: [2, 8], scaled: [0, 10], scaledHeads, factors: [2.5] });
      const { output } = await run(many, step);
      expectAttention(output, attendStep(many, step), many);
      const { output: plain } = await run(many, makeStep());
      const isPlain = (_: number, index: number) => !scaledHeads.includes(Math.floor(index / 4) % 72);
      expectSame(output.filter(isPlain), plain.filter(isPlain));
    });

    test.each([1, 5, 0.5, -2])("scores of ±10,000 times %d stay finite", async (factor) => {
      const large = makeLargeOperands(createRandom(5), { numRows: 40, numSlots: 40 });
      const step = makeStep({ span: [3, 30], scaled: [0, 40], factors: [factor] });
      const { output } = await run(large, step);
      expectAttention(output, attendStep(large, step), large, { scoresAreExact: true });
    });

    test("scores that are all about −10,000 stay finite", async () => {
      const large = makeLargeOperands(createRandom(6), { numRows: 20, numSlots: 20 });
      const negative = {
        ...large,
        queries: large.queries.map((x) => -Math.abs(x)),
        keys: large.keys.map((x) => Math.abs(x)),
      };
      const step = makeStep({ span: [3, 30], scaled: [0, 40], factors: [5] });
      const { output } = await run(negative, step);
      expectAttention(output, attendStep(negative, step), negative, { scoresAreExact: true });
    });
  });

  describe("capture", () => {
    const operands = makeOperands(createRandom(7), headLayout(4, 2, 20), { numRows: 40, numSlots: 50 });
    const step = makeStep({ positionStart: 7, span: [3, 30], scaled: [0, 100], factors: [1.8] });

    test.each([39, 0, 18])("row %d: scores before the factor, probabilities after it", async (captureRow) => {
      const captured = await run(operands, step, { captureRow });
      const expected = attendStep(operands, step)[captureRow] ?? [];
      expectCapture(captured, expected, { stride: STRIDE, filler: POISON });
    });

    test("does not change a bit of the output", async () => {
      const { output } = await run(operands, step, { captureRow: 39 });
      expectSame(output, (await run(operands, step)).output, 4 * 20);
    });

    test("without capture nothing is written", async () => {
      const { scores, probs } = await run(operands, step);
      expect(new Set([...scores, ...probs])).toEqual(new Set([POISON]));
    });
  });

  describe("every row sees every key", () => {
    test.each([
      { title: "tiny-spatial's patches", heads: headLayout(4, 4, 32), numRows: 65, numKeys: 65 },
      { title: "CLIP-L's head size", heads: headLayout(2, 2, 64), numRows: 65, numKeys: 65 },
      { title: "fewer keys than rows", heads: headLayout(2, 2, 64), numRows: 34, numKeys: 9 },
      { title: "one key", heads: headLayout(2, 2, 64), numRows: 3, numKeys: 1 },
      { title: "headDim 18 in 20", heads: headLayout(3, 3, 18), numRows: 10, numKeys: 10 },
    ])("$title", async ({ heads, numRows, numKeys }) => {
      const operands = makeOperands(createRandom(numRows), heads, { numRows, numSlots: numKeys });
      const { output } = await runFull(operands, numKeys, { kernel });
      expectAttention(output, attendFull(operands, numKeys), operands);
    });

    test("capture of a row", async () => {
      const operands = makeOperands(createRandom(8), headLayout(2, 2, 64), { numRows: 65, numSlots: 65 });
      const captured = await runFull(operands, 65, { kernel, captureRow: 44 });
      expectCapture(captured, attendFull(operands, 65)[44] ?? [], { stride: STRIDE, filler: POISON });
    });
  });
}
