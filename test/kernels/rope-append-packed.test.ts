// Keys and values into caches in f16 and q8: the layout, what is rounded and how, and the queries as in rope-append.
import { describe, expect, test } from "vitest";
import { cacheSlotBytes, type PackedCacheDtype } from "../../src/gpu/cache-format.ts";
import { type HeadLayout, ropeAppend } from "../../src/gpu/ops/rope.ts";
import { type ReadSlots, readSlots } from "../reference/cache-formats.ts";
import { createRandom } from "../reference/random.ts";
import { rotaryRows, ropeAppend as twin } from "../reference/rope-append.ts";
import { at, padRows, unpadRows } from "../reference/rows.ts";
import { cacheSlot, makeRows, makeStep, packStep, rowSlot, type Step } from "../reference/step.ts";
import { BOUNDS, STORED } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { POISON, runKernel } from "../setup/run-kernel.ts";
import { headLayout } from "./attention-cases.ts";

const THETA = 10_000;

interface PackedCase {
  readonly title: string;
  readonly heads: HeadLayout;
  readonly numRows: number;
  readonly step: Step;
  readonly capacity: number;
}

const CASES: readonly PackedCase[] = [
  { title: "tiny-spatial's heads", heads: headLayout(4, 4, 32), numRows: 70, step: makeStep(), capacity: 72 },
  {
    title: "LLaMA-7B's head size, a later chunk",
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
  { title: "headDim 10 in 12", heads: headLayout(4, 1, 10), numRows: 5, step: makeStep(), capacity: 8 },
  { title: "headDim 2 in 4", heads: headLayout(1, 1, 2), numRows: 2, step: makeStep(), capacity: 2 },
  // A thread takes 64 values: one less, one more, and a group of 32 begun.
  { title: "headDim 62 in 64", heads: headLayout(1, 1, 62), numRows: 2, step: makeStep(), capacity: 2 },
  { title: "headDim 66 in 68", heads: headLayout(1, 1, 66), numRows: 2, step: makeStep(), capacity: 3 },
  { title: "headDim 104", heads: headLayout(2, 1, 104), numRows: 2, step: makeStep({ slotStart: 1 }), capacity: 3 },
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
];

/** Runs the kernel on qkv [rows, H + 2·Hkv, headDim] and reads the cache back. */
async function run(qkv: Float32Array<ArrayBuffer>, options: Omit<PackedCase, "title">, cacheDtype: PackedCacheDtype) {
  const { heads, numRows, step, capacity } = options;
  const { numKeyValueHeads, headDim, paddedHeadDim } = heads;
  const positions = Array.from({ length: numRows }, (_, row) => rowSlot(step, row));
  const cacheWords = (numKeyValueHeads * capacity * cacheSlotBytes(paddedHeadDim, cacheDtype)) / 4;
  const result = await runKernel(({ program, upload, uniform, output }) => {
    const rotated = output(padRows(qkv, headDim, paddedHeadDim));
    const keys = output(cacheWords);
    const values = output(cacheWords);
    ropeAppend(program, {
      heads,
      qkv: rotated,
      rotary: upload(rotaryRows(positions, headDim, THETA)),
      keys,
      values,
      cacheDtype,
      step: uniform(packStep(step)),
      numRows,
      capacity,
    });
    return { qkv: rotated, keys, values };
  });
  return { ...result, expected: twin(qkv, heads, { step, positions, capacity, theta: THETA, filler: POISON }) };
}

/** Compares what a cache's slots mean with exact values. @param slack how far an exact value may be off, by index */
function expectStored(
  { values, scales }: ReadSlots,
  expected: { readonly values: Float64Array; readonly slack: (index: number) => number },
  options: { readonly headDim: number; readonly cacheDtype: PackedCacheDtype },
): void {
  const { headDim, cacheDtype } = options;
  const { f16, q8 } = STORED;
  for (let index = 0; index < values.length; index++) {
    const [value, exact, scale] = [at(values, index), at(expected.values, index), at(scales, index)];
    const where = `slot ${Math.floor(index / headDim)}, column ${index % headDim}: ${value} for ${exact}`;
    const bound =
      cacheDtype === "f16"
        ? Math.max(Math.abs(exact) * f16.relative, f16.absolute)
        : scale * (q8.step + q8.tie) + Math.abs(value) * q8.ulps;
    expect(Math.abs(value - exact) - expected.slack(index), where).toBeLessThanOrEqual(bound);
  }
}

/** Scales are the largest magnitudes of their groups / 127, so that the steps use the whole range. */
function expectScales({ scales }: ReadSlots, exact: Float64Array, headDim: number): void {
  for (let index = 0; index < scales.length; index++) {
    const start = index - (index % headDim) + Math.floor((index % headDim) / 32) * 32;
    const end = Math.min(start + 32, index - (index % headDim) + headDim);
    const largest = exact.subarray(start, end).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const scale = at(scales, index);
    expect(Math.abs(scale - largest / 127)).toBeLessThanOrEqual(scale * STORED.f16.relative + STORED.f16.absolute);
  }
}

describe.each(["f16", "q8"] as const)("ropeAppend into a cache in %s", (cacheDtype) => {
  test.each(CASES)("$title", async ({ title, ...options }) => {
    const { heads, numRows, step, capacity } = options;
    const { numHeads, numKeyValueHeads, headDim, paddedHeadDim } = heads;
    const allHeads = numHeads + 2 * numKeyValueHeads;
    const qkv = createRandom(title.length).normals(numRows * allHeads * headDim);
    const { expected, ...result } = await run(qkv, options, cacheDtype);

    const rowLength = allHeads * paddedHeadDim;
    const isQuery = (_: number, index: number) => index % rowLength < numHeads * paddedHeadDim;
    expectClose(unpadRows(result.qkv.filter(isQuery), paddedHeadDim, headDim), expected.queries.values, BOUNDS.rope, {
      shape: [numRows, numHeads, headDim],
      magnitudes: expected.queries.magnitudes,
    });
    const written = new Set(
      Array.from({ length: numRows }, (_, row) => cacheSlot(step, row, rowSlot(step, row))).flatMap((slot) =>
        Array.from({ length: numKeyValueHeads }, (_, head) => head * capacity + slot),
      ),
    );
    const slotWords = cacheSlotBytes(paddedHeadDim, cacheDtype) / 4;
    const parts = [
      { stored: result.keys, exact: expected.keys.values, magnitudes: expected.keys.magnitudes },
      { stored: result.values, exact: expected.values, magnitudes: undefined },
    ];
    for (const { stored, exact, magnitudes } of parts) {
      const isOther = (_: number, word: number) => !written.has(Math.floor(word / slotWords));
      expect(new Set(stored.filter(isOther)).size).toBeLessThanOrEqual(1); // poison
      expect(stored.filter(isOther).every((value) => value === POISON)).toBe(true);
      for (const slot of written) {
        const own = stored.slice(slot * slotWords, (slot + 1) * slotWords);
        const values = exact.subarray(slot * headDim, (slot + 1) * headDim);
        const slack = (index: number) =>
          magnitudes === undefined ? 0 : BOUNDS.rope.relative * at(magnitudes, slot * headDim + index);
        const read = readSlots(own, headDim, cacheDtype);
        expectStored(read, { values, slack }, { headDim, cacheDtype });
        if (cacheDtype === "q8") expectScales(read, values, headDim);
      }
    }
  });

  test.each([Number.POSITIVE_INFINITY, Number.NaN, 1e12])(
    "%s does not become a number that looks right",
    async (bad) => {
      const options = { heads: headLayout(1, 1, 32), numRows: 1, step: makeStep(), capacity: 1 };
      const qkv = createRandom(1).normals(3 * 32);
      qkv[2 * 32 + 5] = bad; // a value
      const { values } = readSlots((await run(qkv, options, cacheDtype)).values, 32, cacheDtype);
      expect(Number.isFinite(values[5])).toBe(false);
    },
  );

  test("zeros stay zeros", async () => {
    const options = { heads: headLayout(1, 1, 32), numRows: 1, step: makeStep(), capacity: 1 };
    const { keys } = await run(new Float32Array(3 * 32), options, cacheDtype);
    expect(new Set(readSlots(keys, 32, cacheDtype).values)).toEqual(new Set([0]));
  });
});
