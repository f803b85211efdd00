// What the tests of the prefill kernels share: runs of the op, and the cases.
import { describe, expect, test } from "vitest";
import { cacheSlotLength } from "../../src/gpu/cache-format.ts";
import { attentionPrefill, type PrefillKernelName } from "../../src/gpu/ops/attention.ts";
import { kernelNamed } from "../../src/gpu/ops/kernels.ts";
import { attentionPrefill as twin } from "../reference/attention-prefill.ts";
import { createRandom } from "../reference/random.ts";
import { padRows } from "../reference/rows.ts";
import { type Edits, editScore, makeEdit, makeEdits } from "../reference/score-edit.ts";
import { makeStep, packStep, type Step } from "../reference/step.ts";
import { isBrief } from "../setup/device.ts";
import { expectSame } from "../setup/expect-close.ts";
import { POISON, runKernel } from "../setup/run-kernel.ts";
import {
  attendStep,
  type CapturedRows,
  captureLength,
  expectAttention,
  expectCapture,
  headLayout,
  inCache,
  makeLargeOperands,
  makeOperands,
  OPERATIONS,
  type Operands,
  PACKED_CASES,
  packed,
  uploadEdits,
} from "./attention-cases.ts";

interface Options {
  readonly kernel?: PrefillKernelName;
  readonly edits?: Edits | undefined;
  readonly capture?: CapturedRows | undefined;
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
  const { kernel, edits, capture, rows: [rowStart, numRows] = [0, operands.numRows], workgroupRows } = options;
  const slotLength = cacheSlotLength(paddedHeadDim, operands.cacheDtype ?? "f32");
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
    const scores = output(captureLength(numHeads, capture));
    const probs = output(captureLength(numHeads, capture));
    const buffers = {
      queries: upload(queries),
      keys: upload(packed(operands.keys, operands)),
      values: upload(packed(operands.values, operands)),
      output: target,
      step: uniform(packStep(step)),
    };
    const strides = {
      numRows,
      numKeys: 0,
      queryRowStride: (numHeads + 2 * numKeyValueHeads) * paddedHeadDim,
      keyOffset: 0,
      valueOffset: 0,
      positionStride: slotLength,
      headStride: numSlots * slotLength,
    };
    if (workgroupRows === undefined) {
      attentionPrefill(program, gpu, {
        heads,
        causal: true,
        cacheDtype: operands.cacheDtype,
        window: operands.window,
        ...buffers,
        ...strides,
        capture: capture && { scores, probs, ...capture },
        edits: uploadEdits(upload, heads, edits),
        kernel,
      });
    } else {
      program.dispatch(kernelNamed("attention-prefill"), {
        constants: {
          CAUSAL: true,
          CAPTURE: false,
          EDIT: false,
          WINDOWED: false,
          BLOCKED: false,
          ROWS: workgroupRows,
        },
        bindings: { ...buffers, scores, probs, edits: gpu.unused, blocks: gpu.unused },
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
          numHeads,
          layer: 0,
          captureStart: 0,
          captureEnd: 0,
          captureTarget: 0,
          captureStride: 0,
          scale: 1 / Math.sqrt(headDim),
          window: 0,
        },
        grid: [Math.ceil(numRows / workgroupRows), numHeads],
      });
    }
    return { output: target, scores, probs };
  });
}

/** A vision tower's layer: q, k and v of all positions in the rows of one buffer, every row sees `numKeys` of them. */
async function runFull(
  operands: Operands,
  numKeys: number,
  options: Options & { readonly blocks?: Uint32Array<ArrayBuffer> },
) {
  const { heads, numRows, numSlots } = operands;
  const { kernel, edits, capture, blocks } = options;
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
    const scores = output(captureLength(numHeads, capture));
    const probs = output(captureLength(numHeads, capture));
    const buffer = upload(qkv);
    attentionPrefill(program, gpu, {
      heads,
      queries: buffer,
      keys: buffer,
      values: buffer,
      output: target,
      step: uniform(packStep(makeStep())),
      numRows,
      causal: false,
      numKeys,
      queryRowStride: numBlocks * paddedHeadDim,
      keyOffset: numHeads * paddedHeadDim,
      valueOffset: (numHeads + numKeyValueHeads) * paddedHeadDim,
      positionStride: numBlocks * paddedHeadDim,
      headStride: paddedHeadDim,
      blocks: blocks && upload(blocks),
      kernel,
      capture: capture && { scores, probs, ...capture },
      edits: uploadEdits(upload, heads, edits),
    });
    return { output: target, scores, probs };
  });
}

function attendFull(operands: Operands, numKeys: number, edits?: Edits) {
  return twin({
    ...operands,
    numKeys: () => numKeys,
    slotOf: (_, key) => key,
    edit: (score, place) => editScore(score, edits, { step: makeStep(), ...place }),
  });
}

/** The tests that every prefill kernel has to pass. */
export function testPrefill(kernel: PrefillKernelName): void {
  const run = (operands: Operands, step: Step, options: Options = {}) =>
    runCausal(operands, step, { kernel, ...options });

  describe("causal", () => {
    // Rows: one, a workgroup of 32, one less and one more; heads: 1, 2 and 3 queries a key (a variant of
    // the kernel each, which lavapipe takes a second to compile).
    const CASES = [
      { title: "tiny-spatial's prompt", heads: headLayout(4, 4, 32), numRows: 70, slotStart: 0 },
      { title: "LLaMA-7B's head size", heads: headLayout(2, 2, 128), numRows: 33, slotStart: 0 },
      { title: "a later chunk of a prompt", heads: headLayout(4, 4, 32), numRows: 9, slotStart: 61 },
      { title: "one row, one key", heads: headLayout(4, 4, 32), numRows: 1, slotStart: 0 },
      { title: "32 rows, headDim 4", heads: headLayout(2, 1, 4), numRows: 32, slotStart: 3 },
      { title: "31 rows, headDim 20, two queries a key", heads: headLayout(4, 2, 20), numRows: 31, slotStart: 0 },
      {
        title: "one key head for all three, headDim 10 in 12",
        heads: headLayout(3, 1, 10),
        numRows: 17,
        slotStart: 5,
      },
      { title: "headDim 6 in 8", heads: headLayout(2, 2, 6), numRows: 8, slotStart: 0 },
      { title: "headDim 256", heads: headLayout(2, 1, 256), numRows: 18, slotStart: 0 },
    ];

    test.each(CASES)("$title", async ({ heads, numRows, slotStart }) => {
      const numSlots = slotStart + numRows + 3;
      const operands = makeOperands(createRandom(numRows), heads, { numRows, numSlots });
      const step = makeStep({ slotStart });
      const { output } = await run(operands, step);
      expectAttention(output, attendStep(operands, step), operands);
    });

    test.each(PACKED_CASES)("$title in $cacheDtype", async ({ title, heads, cacheDtype }) => {
      const [numRows, slotStart] = [34, 5];
      const numSlots = slotStart + numRows + 3;
      const operands = inCache(makeOperands(createRandom(title.length), heads, { numRows, numSlots }), cacheDtype);
      const step = makeStep({ slotStart });
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
        const second = await run(operands, makeStep({ slotStart: cut }), { rows: [cut, 45 - cut] });
        expectSame([...first.output, ...second.output], output, 4 * 32);
      },
    );
  });

  describe("a sliding window", () => {
    const heads = headLayout(4, 2, 32);
    const numRows = 70;
    const plain = makeOperands(createRandom(6), heads, { numRows, numSlots: 72 });
    const edits = makeEdits(
      makeEdit(4, [1, 1.5, -1, 0.5], { columns: [[4, 60]] }),
      makeEdit(4, [1, 0, 1, 0], { operation: "knock-out", rows: [20, 50], columns: [[10, 45]] }),
    );
    const capture = { rows: [30, 70], targetRow: 1, stride: STRIDE } as const;

    test.each([1, 5, 16, 17, 69])("of %d keys, with edits and captures", async (window) => {
      const operands = { ...plain, window };
      const expected = attendStep(operands, makeStep(), edits);
      const captured = await run(operands, makeStep(), { edits, capture });
      expectAttention(captured.output, expected, operands);
      expectCapture(captured, expected, { capture, filler: POISON });
    });

    test("as long as the prompt, or longer, gives the same bits as none", async () => {
      const { output } = await run(plain, makeStep(), { edits, capture });
      for (const window of [numRows, 1000]) {
        expectSame((await run({ ...plain, window }, makeStep(), { edits, capture })).output, output, 4 * 32);
      }
    });

    if (!isBrief)
      test("gives the same bits in two chunks as in one", async () => {
        const operands = { ...plain, window: 9 };
        const { output } = await run(operands, makeStep());
        expectAttention(output, attendStep(operands, makeStep()), operands);
        const first = await run(operands, makeStep(), { rows: [0, 41] });
        const second = await run(operands, makeStep({ slotStart: 41 }), { rows: [41, numRows - 41] });
        expectSame([...first.output, ...second.output], output, 4 * 32);
      });

    test("skips tiles of keys that no row of a workgroup sees", async () => {
      // Row 0 is at slot 61 and sees keys from 58 on; a value that is not a number would show, whatever its weight.
      const step = makeStep({ slotStart: 61 });
      const operands = { ...plain, numRows: 8, window: 4 };
      const values = plain.values.map((value, index) => (Math.floor(index / 32) % 72 < 48 ? Number.NaN : value));
      const { output } = await run({ ...operands, values }, step, { rows: [0, 8] });
      expectAttention(output, attendStep(operands, step), operands);
    });
  });

  describe("score edits", () => {
    const numRows = 70;
    const heads = headLayout(4, 4, 32);
    const operands = makeOperands(createRandom(3), heads, { numRows, numSlots: 72 });
    const rowLength = 4 * 32;
    const columns = [[4, 68]] as const;
    const expectEdited = async (edits: Edits, step = makeStep()) => {
      const { output } = await run(operands, step, { edits });
      expectAttention(output, attendStep(operands, step, edits), operands);
      return output;
    };

    test.each([0, 0.5, 2, -1])("the last row's scores times %d leave all other rows as they were", async (factor) => {
      const output = await expectEdited(makeEdits(makeEdit(4, factor, { rows: [numRows - 1, numRows], columns })));
      const { output: plain } = await run(operands, makeStep());
      expectSame(output.subarray(0, -rowLength), plain.subarray(0, -rowLength), rowLength);
      expect(output.subarray(-rowLength).some((value, index) => value !== plain.at(index - rowLength))).toBe(true);
    });

    test("neutral edits give the same bits as none", async () => {
      const neutral = OPERATIONS.map((operation) =>
        makeEdit(4, operation === "multiply" ? 1 : 0, { operation, columns }),
      );
      const others = [
        makeEdit(4, 3, { columns: [[9, 9]] }),
        makeEdit(4, 3, { rows: [numRows, numRows + 9], columns }),
        makeEdit(4, 3, { columns: [[numRows, numRows + 40]] }),
      ];
      const { output: plain } = await run(operands, makeStep());
      for (const edits of [makeEdits(...neutral, ...others), makeEdits()]) {
        expectSame((await run(operands, makeStep(), { edits })).output, plain, rowLength);
      }
    });

    test.each([
      { title: "all rows", rows: [0, numRows], columns },
      { title: "rows [10, 20) only", rows: [10, 20], columns },
      { title: "from row 33 on", rows: [33, Number.POSITIVE_INFINITY], columns },
      { title: "a single column", rows: [0, numRows], columns: [[7, 8]] },
      {
        title: "columns with holes",
        rows: [0, numRows],
        columns: [
          [1, 3],
          [31, 33],
          [40, 64],
          [69, 70],
        ],
      },
      { title: "columns past the keys", rows: [0, numRows], columns: [[60, 1000]] },
    ] as const)("$title", async (changes) => {
      await expectEdited(makeEdits(makeEdit(4, 1.5, changes)));
    });

    test.each(OPERATIONS)("%s with a strength per head, in the second of three layers", async (operation) => {
      const strengths = [9, 9, 9, 9, 0.5, 1, 0, -1.5, 9, 9, 9, 9];
      const edit = makeEdit(12, strengths, {
        operation,
        rows: [20, 60],
        columns: [
          [4, 30],
          [35, 68],
        ],
      });
      await expectEdited({ rows: [[edit]], numLayers: 3, layer: 1 });
    });

    test("several edits of one row, in their order; what is knocked out stays so", async () => {
      const edits = makeEdits(
        makeEdit(4, 2, { columns }),
        makeEdit(4, [0.5, 0, -1, 3], { operation: "add", columns: [[0, 40]] }),
        makeEdit(4, [0, 1, 0, 1], { operation: "knock-out", rows: [40, 65], columns: [[20, 34]] }),
        makeEdit(4, -0.5, { operation: "add-magnitude", rows: [0, 50], columns: [[10, 70]] }),
        makeEdit(4, -2, { rows: [60, 70], columns: [[30, 33]] }),
      );
      await expectEdited(edits);
    });

    test("all keys knocked out: the mean of the values", async () => {
      await expectEdited(makeEdits(makeEdit(4, 1, { operation: "knock-out", columns: [[0, numRows]] })));
    });

    test("slots count, not rows: a later chunk", async () => {
      await expectEdited(makeEdits(makeEdit(4, 0.7, { rows: [40, 50], columns })), makeStep({ slotStart: 2 }));
    });

    if (!isBrief)
      test("of more than 128 heads", async () => {
        const many = makeOperands(createRandom(4), headLayout(132, 66, 4), { numRows: 10, numSlots: 10 });
        const strengths = Array.from({ length: 132 }, (_, head) => (head % 33 === 5 || head > 127 ? 2.5 : 1));
        const edits = makeEdits(makeEdit(132, strengths, { columns: [[2, 8]] }));
        const { output } = await run(many, makeStep(), { edits });
        expectAttention(output, attendStep(many, makeStep(), edits), many);
        const { output: plain } = await run(many, makeStep());
        const isPlain = (_: number, index: number) => strengths[Math.floor(index / 4) % 132] === 1;
        expectSame(output.filter(isPlain), plain.filter(isPlain));
      });

    test.each([5, 0.5, -2])("scores of ±10,000 times %d stay finite", async (factor) => {
      const large = makeLargeOperands(createRandom(5), { numRows: 40, numSlots: 40 });
      const edits = makeEdits(makeEdit(2, factor, { columns: [[3, 30]] }));
      const { output } = await run(large, makeStep(), { edits });
      expectAttention(output, attendStep(large, makeStep(), edits), large, { scoresAreExact: true });
    });

    test("scores that are all about −10,000 stay finite", async () => {
      const large = makeLargeOperands(createRandom(6), { numRows: 20, numSlots: 20 });
      const negative = {
        ...large,
        queries: large.queries.map((x) => -Math.abs(x)),
        keys: large.keys.map((x) => Math.abs(x)),
      };
      const edits = makeEdits(makeEdit(2, 5, { columns: [[3, 30]] }));
      const { output } = await run(negative, makeStep(), { edits });
      expectAttention(output, attendStep(negative, makeStep(), edits), negative, { scoresAreExact: true });
    });
  });

  describe("capture", () => {
    const operands = makeOperands(createRandom(7), headLayout(4, 2, 20), { numRows: 40, numSlots: 50 });
    const step = makeStep({ slotStart: 7 });
    const edits = makeEdits(makeEdit(4, 1.8, { rows: [10, 99], columns: [[3, 30]] }));

    // All rows: each thread of a workgroup, and each row of a thread of attention-prefill-quad.
    test.each([
      { rows: [0, 40] },
      { rows: [39, 40], targetRow: 3 },
      { rows: [6, 19], targetRow: 1 },
      { rows: [18, 19] },
    ] as const)("$rows: scores before the edits, probabilities after them", async (some) => {
      const capture = { ...some, stride: STRIDE };
      const captured = await run(operands, step, { edits, capture });
      expectCapture(captured, attendStep(operands, step, edits), { capture, filler: POISON });
    });

    // Of a workgroup's 32 rows every fourth part is another variable or component of some kernel: a neighbour's edit would show.
    test.each([0, 7, 8, 13, 16, 23, 24, 31, 32, 39])("row %d of 40 is the only edited one", async (row) => {
      const only = makeEdits(makeEdit(4, 1.8, { rows: [7 + row, 8 + row], columns: [[3, 30]] }));
      const capture = { rows: [0, 40], stride: STRIDE } as const;
      const captured = await run(operands, step, { edits: only, capture });
      expectCapture(captured, attendStep(operands, step, only), { capture, filler: POISON });
    });

    test.each([1, 8, 9, 13, 16])("of %d rows", async (numRows) => {
      const few = { ...operands, numRows };
      const capture = { rows: [0, numRows], stride: STRIDE } as const;
      const captured = await run(operands, step, { edits, capture, rows: [0, numRows] });
      expectCapture(captured, attendStep(few, step, edits), { capture, filler: POISON });
    });

    test("does not change a bit of the output", async () => {
      const { output } = await run(operands, step, { edits, capture: { rows: [3, 40], stride: STRIDE } });
      expectSame(output, (await run(operands, step, { edits })).output, 4 * 20);
    });

    test("without capture nothing is written", async () => {
      const { scores, probs } = await run(operands, step, { edits });
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

    test("edits, and capture of two rows", async () => {
      const operands = makeOperands(createRandom(8), headLayout(2, 2, 64), { numRows: 65, numSlots: 65 });
      const edits = makeEdits(makeEdit(2, [2, -1], { rows: [40, 50], columns: [[1, 33]] }));
      const capture = { rows: [44, 46], stride: STRIDE } as const;
      const captured = await runFull(operands, 65, { kernel, edits, capture });
      const expected = attendFull(operands, 65, edits);
      expectAttention(captured.output, expected, operands);
      expectCapture(captured, expected, { capture, filler: POISON });
    });
  });

  describe("every row sees one block of keys", () => {
    // Blocks that end within tiles of keys and groups of rows, one of them shorter than a quad.
    const LENGTHS = [16, 4, 30, 3, 1, 64, 27];
    const bounds = LENGTHS.flatMap((length, index) => {
      const start = LENGTHS.slice(0, index).reduce((sum, other) => sum + other, 0);
      return Array.from({ length }, () => [start, start + length] as const);
    });
    const numRows = bounds.length;
    const blocks = Uint32Array.from(bounds.flat());

    const heads = headLayout(2, 2, 64);

    test("blocks of many lengths", async () => {
      const operands = makeOperands(createRandom(9), heads, { numRows, numSlots: numRows });
      const { output } = await runFull(operands, numRows, { kernel, blocks });
      const expected = twin({
        ...operands,
        firstKey: (row) => bounds[row]?.[0] ?? 0,
        numKeys: (row) => bounds[row]?.[1] ?? 0,
        slotOf: (_, key) => key,
      });
      expectAttention(output, expected, operands);
    });

    test("one block of all keys gives the same bits as none", async () => {
      const operands = makeOperands(createRandom(9), heads, { numRows, numSlots: numRows });
      const whole = Uint32Array.from({ length: 2 * numRows }, (_, index) => (index % 2) * numRows);
      const { output } = await runFull(operands, numRows, { kernel });
      expectSame((await runFull(operands, numRows, { kernel, blocks: whole })).output, output, 2 * 64);
    });
  });
}
