import { describe, test } from "vitest";
import { type HeadLayout, ropeAppend } from "../../src/gpu/ops/rope.ts";
import { createRandom } from "../reference/random.ts";
import { rotaryRows, ropeAppend as twin } from "../reference/rope-append.ts";
import { padRows, unpadRows } from "../reference/rows.ts";
import { makeRows, makeStep, packStep, rowSlot, type Step } from "../reference/step.ts";
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
  /** Of row 0, if not its slot. */
  readonly positionStart?: number;
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
    step: makeStep({ slotStart: 2045 }),
    capacity: 2048,
  },
  {
    title: "three query heads a key/value head, headDim 20",
    heads: headLayout(6, 2, 20),
    numRows: 5,
    step: makeStep({ slotStart: 7 }),
    capacity: 16,
  },
  {
    title: "one key/value head for all, headDim 10 in 12",
    heads: headLayout(4, 1, 10),
    numRows: 5,
    step: makeStep({ slotStart: 1 }),
    capacity: 8,
  },
  { title: "headDim 6 in 8", heads: headLayout(2, 1, 6), numRows: 3, step: makeStep(), capacity: 4 },
  { title: "headDim 2 in 4", heads: headLayout(1, 1, 2), numRows: 2, step: makeStep(), capacity: 2 },
  // A workgroup takes 32 pairs: 31, 33 and, above, 16 and 64 of them.
  { title: "headDim 62 in 64", heads: headLayout(1, 1, 62), numRows: 2, step: makeStep(), capacity: 2 },
  { title: "headDim 66 in 68", heads: headLayout(1, 1, 66), numRows: 2, step: makeStep(), capacity: 2 },
  {
    title: "batch rows at slots of their own",
    heads: headLayout(4, 2, 32),
    numRows: 3,
    step: makeRows([
      [11, 10],
      [0, 0],
      [6, 3],
    ]),
    capacity: 32,
  },
  {
    title: "three batch rows at one slot, each into its own tail",
    heads: headLayout(4, 2, 32),
    numRows: 3,
    step: makeStep({ slotStart: 11, slotStep: 0, prefixLength: 9, tailStride: 5 }),
    capacity: 32,
  },
  {
    title: "positions that are not the slots, above and below them",
    heads: headLayout(4, 2, 32),
    numRows: 4,
    step: makeStep({ slotStart: 12 }),
    positionStart: 900,
    capacity: 16,
  },
  {
    title: "one batch row in the shared prefix",
    heads: headLayout(4, 2, 32),
    numRows: 1,
    step: makeStep({ slotStart: 8, slotStep: 0, prefixLength: 9, tailStride: 5 }),
    capacity: 32,
  },
  {
    title: "a sequence past a prefix, whose rows have no tails of their own",
    heads: headLayout(4, 2, 32),
    numRows: 4,
    step: makeStep({ slotStart: 7, prefixLength: 9, tailStride: 5 }),
    capacity: 32,
  },
];

describe("ropeAppend", () => {
  test.each(CASES)("$title", async ({ title, heads, numRows, step, capacity, positionStart }) => {
    const { numHeads, numKeyValueHeads, headDim, paddedHeadDim } = heads;
    const allHeads = numHeads + 2 * numKeyValueHeads;
    const qkv = createRandom(title.length).normals(numRows * allHeads * headDim);
    const positions = Array.from({ length: numRows }, (_, row) =>
      positionStart === undefined ? rowSlot(step, row) : positionStart - 300 * row,
    );
    const cacheLength = numKeyValueHeads * capacity * paddedHeadDim;
    const gpuResult = await runKernel(({ program, upload, uniform, output }) => {
      const rotated = output(padRows(qkv, headDim, paddedHeadDim));
      const keys = output(cacheLength);
      const values = output(cacheLength);
      ropeAppend(program, {
        heads,
        qkv: rotated,
        rotary: upload(rotaryRows(positions, headDim, THETA)),
        keys,
        values,
        step: uniform(packStep(step)),
        numRows,
        capacity,
      });
      return { qkv: rotated, keys, values };
    });

    const expected = twin(qkv, heads, { step, positions, capacity, theta: THETA, filler: POISON });
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
