import { describe, test } from "vitest";
import { rmsNorm } from "../../src/gpu/ops/norm.ts";
import { padTo4 } from "../../src/gpu/tensor.ts";
import { createRandom } from "../reference/random.ts";
import { rmsNorm as twin } from "../reference/rms-norm.ts";
import { padRows } from "../reference/rows.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { runKernel } from "../setup/run-kernel.ts";

// LLaMA-13B's rows are 5120 wide, tiny-spatial's 128; a workgroup's 64 threads take 256 columns at a time.
const CASES = [
  { numRows: 2, columns: 5120, scale: 1 },
  { numRows: 65, columns: 128, scale: 1 },
  { numRows: 3, columns: 62, scale: 1 },
  { numRows: 2, columns: 1, scale: 1 },
  { numRows: 1, columns: 252, scale: 1 },
  { numRows: 1, columns: 257, scale: 1 },
  { numRows: 2, columns: 128, scale: 1e-4 }, // where eps decides
  { numRows: 2, columns: 128, scale: 1e4 },
];

describe("rmsNorm", () => {
  test.each(CASES)("$numRows × $columns, values of about $scale", async ({ numRows, columns, scale }) => {
    const random = createRandom(columns);
    const input = random.normals(numRows * columns, scale);
    const weight = random.normals(columns);
    const eps = 1e-5;
    const padded = padTo4(columns);
    const { output } = await runKernel(({ program, upload, output }) => {
      const target = output(numRows * padded);
      rmsNorm(program, {
        input: upload(padRows(input, columns, padded)),
        weight: upload(padRows(weight, columns, padded)),
        output: target,
        numRows,
        columns,
        eps,
      });
      return { output: target };
    });
    // Compared with its padding, which has to stay 0.
    const expected = padRows(twin(input, weight, { eps }), columns, padded);
    expectClose(output, expected, BOUNDS.rmsNorm, { shape: [numRows, padded] });
  });
});
