import { describe, test } from "vitest";
import { headNorm } from "../../src/gpu/ops/norm.ts";
import { padTo4 } from "../../src/gpu/tensor.ts";
import { headNorm as twin } from "../reference/head-norm.ts";
import { createRandom } from "../reference/random.ts";
import { padRows } from "../reference/rows.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { runKernel } from "../setup/run-kernel.ts";

// Qwen3-VL-2B has 16 and 8 heads of 128; a workgroup's 32 threads take 128 columns at a time.
const CASES = [
  { numRows: 3, numHeads: 16, numKeyValueHeads: 8, headDim: 128, scale: 1 },
  { numRows: 1, numHeads: 4, numKeyValueHeads: 1, headDim: 10, scale: 1 },
  { numRows: 2, numHeads: 1, numKeyValueHeads: 1, headDim: 256, scale: 1e-4 }, // where eps decides
  { numRows: 65, numHeads: 3, numKeyValueHeads: 3, headDim: 130, scale: 100 },
];

describe("headNorm", () => {
  test.each(CASES)("$numRows rows, $numHeads and $numKeyValueHeads heads of $headDim", async (own) => {
    const { numRows, numHeads, numKeyValueHeads, headDim, scale } = own;
    const random = createRandom(headDim);
    const perRow = numHeads + 2 * numKeyValueHeads;
    const qkv = random.normals(numRows * perRow * headDim, scale);
    const [queryWeight, keyWeight] = [random.normals(headDim), random.normals(headDim)];
    const eps = 1e-6;
    const paddedHeadDim = padTo4(headDim);
    const pad = (values: ArrayLike<number>) => padRows(values, headDim, paddedHeadDim);
    const { output } = await runKernel(({ program, upload }) => {
      const buffer = upload(pad(qkv));
      headNorm(program, {
        heads: { numHeads, numKeyValueHeads, headDim, paddedHeadDim },
        qkv: buffer,
        queryWeight: upload(pad(queryWeight)),
        keyWeight: upload(pad(keyWeight)),
        numRows,
        eps,
      });
      return { output: buffer };
    });
    const expected = twin(qkv, { queryWeight, keyWeight }, { numHeads, numKeyValueHeads, eps });
    // Compared with its padding, which has to stay 0.
    expectClose(output, pad(expected), BOUNDS.rmsNorm, { shape: [numRows * perRow, paddedHeadDim] });
  });
});
