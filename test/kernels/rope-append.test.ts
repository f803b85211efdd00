import { describe, test } from "vitest";
import { type HeadLayout, ropeAppend } from "../../src/gpu/ops/ops.ts";
import { createRandom } from "../reference/random.ts";
import { ropeTable, ropeAppend as twin } from "../reference/rope-append.ts";
import { padRows, unpadRows } from "../reference/rows.ts";
import { makeStep, packStep, type Step } from "../reference/step.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { POISON, runKernel } from "../setup/run-kernel.ts";
import { headLayout } from "./attention-cases.ts";

const THETA = 10_000;

interface RopeCase {
  readonly title: string;
  readonly heads: HeadLayout;
  readonly numRows: number;
  readonly step: Step;
  readonly capacity: number;
}

const CASES: readonly RopeCase[] = [
  {
    title: "tiny-spatial's heads, a prompt from position 0",
    heads: headLayout(4, 4, 32),
    numRows: 70,
    step: makeStep(),
    capacity: 72,
  },
  {
    title: "LLaMA-7B's head size, a later chunk, positions of a long context",
    heads: headLayout(2, 2, 128),
    numRows: 3,
    step: makeStep({ positionStart: 2045 }),
    capacity: 2048,
  },
  {
    title: "three query heads a key/value head, headDim 20",
    heads: headLayout(6, 2, 20),
    numRows: 5,
    step: makeStep({ positionStart: 7 }),
    capacity: 16,
  },
  {
    title: "one key/value head for all, headDim 10 in 12",
    heads: headLayout(4, 1, 10),
    numRows: 5,
    step: makeStep({ positionStart: 1 }),
    capacity: 8,
  },
  { title: "headDim 6 in 8", heads: headLayout(2, 1, 6), numRows: 3, step: makeStep(), capacity: 4 },
  { title: "headDim 2 in 4", heads: headLayout(1, 1, 2), numRows: 2, step: makeStep(), capacity: 2 },
  // A workgroup takes 32 pairs: 31, 33 and, above, 16 and 64 of them.
  { title: "headDim 62 in 64", heads: headLayout(1, 1, 62), numRows: 2, step: makeStep(), capacity: 2 },
  { title: "headDim 66 in 68", heads: headLayout(1, 1, 66), numRows: 2, step: makeStep(), capacity: 2 },
  {
    title: "three batch rows at one position, each into its own tail",
    heads: headLayout(4, 2, 32),
    numRows: 3,
    step: makeStep({ positionStart: 11, positionStep: 0, prefixLength: 9, tailStride: 5 }),
    capacity: 32,
  },
  {
    title: "one batch row in the shared prefix",
    heads: headLayout(4, 2, 32),
    numRows: 1,
    step: makeStep({ positionStart: 8, positionStep: 0, prefixLength: 9, tailStride: 5 }),
    capacity: 32,
  },
  {
    title: "a sequence past a prefix, whose rows have no tails of their own",
    heads: headLayout(4, 2, 32),
    numRows: 4,
    step: makeStep({ positionStart: 7, prefixLength: 9, tailStride: 5 }),
    capacity: 32,
  },
];

describe("ropeAppend", () => {
  test.each(CASES)("$title", async ({ title, heads, numRows, step, capacity }) => {
    const { numHeads, numKeyValueHeads, headDim, paddedHeadDim } = heads;
    const allHeads = numHeads + 2 * numKeyValueHeads;
    const qkv = createRandom(title.length).normals(numRows * allHeads * headDim);
    const table = ropeTable(step.positionStart + numRows, headDim, THETA);
    const cacheLength = numKeyValueHeads * capacity * paddedHeadDim;
    const gpuResult = await runKernel(({ program, upload, uniform, output }) => {
      const rotated = output(padRows(qkv, headDim, paddedHeadDim));
      const keys = output(cacheLength);
      const values = output(cacheLength);
      ropeAppend(program, {
        heads,
        qkv: rotated,
        table: upload(table),
        keys,
        values,
        step: uniform(packStep(step)),
        numRows,
        capacity,
      });
      return { qkv: rotated, keys, values };
    });

    const expected = twin(qkv, heads, { step, numRows, capacity, theta: THETA, filler: POISON });
    // The rotated queries are the first heads of every row of qkv.
    const rowLength = allHeads * paddedHeadDim;
    const queries = gpuResult.qkv.filter((_, index) => index % rowLength < numHeads * paddedHeadDim);
    expectClose(unpadRows(queries, paddedHeadDim, headDim), expected.queries.values, BOUNDS.rope, {
      shape: [numRows, numHeads, headDim],
      magnitudes: expected.queries.magnitudes,
    });
    const shape = [numKeyValueHeads, capacity, headDim];
    expectClose(unpadRows(gpuResult.keys, paddedHeadDim, headDim), expected.keys.values, BOUNDS.rope, {
      shape,
      magnitudes: expected.keys.magnitudes,
    });
    expectClose(unpadRows(gpuResult.values, paddedHeadDim, headDim), expected.values, BOUNDS.exact, { shape });
  });
});
