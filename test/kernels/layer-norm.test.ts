import { describe, test } from "vitest";
import { layerNorm } from "../../src/gpu/ops/norm.ts";
import { padTo4 } from "../../src/gpu/tensor.ts";
import { layerNorm as twin } from "../reference/layer-norm.ts";
import { createRandom } from "../reference/random.ts";
import { padRows } from "../reference/rows.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { runKernel } from "../setup/run-kernel.ts";

// CLIP ViT-L's rows are 1024 wide, tiny-spatial's 128; a workgroup's 64 threads take 256 columns at a time.
const CASES = [
  { numRows: 3, columns: 1024, mean: 0, scale: 1 },
  { numRows: 65, columns: 128, mean: 0, scale: 1 },
  { numRows: 3, columns: 62, mean: 2, scale: 1 },
  { numRows: 2, columns: 1, mean: 0, scale: 1 },
  { numRows: 1, columns: 252, mean: 0, scale: 1 },
  { numRows: 1, columns: 257, mean: 0, scale: 1 },
  { numRows: 2, columns: 130, mean: 100, scale: 1 }, // a mean far from 0: E[x²] − μ² would lose four digits
  { numRows: 2, columns: 128, mean: 0, scale: 1e-4 }, // where eps decides
];

describe("layerNorm", () => {
  test.each(CASES)("$numRows × $columns, mean $mean, deviation $scale", async ({ numRows, columns, mean, scale }) => {
    const random = createRandom(columns);
    const input = random.normals(numRows * columns, scale).map((x) => x + mean);
    const weight = random.normals(columns);
    const bias = random.normals(columns);
    const eps = 1e-5;
    const padded = padTo4(columns);
    const pad = (values: ArrayLike<number>) => padRows(values, columns, padded);
    const { output } = await runKernel(({ program, upload, output }) => {
      const target = output(numRows * padded);
      layerNorm(program, {
        input: upload(pad(input)),
        weight: upload(pad(weight)),
        bias: upload(pad(bias)),
        output: target,
        numRows,
        columns,
        eps,
      });
      return { output: target };
    });
    // Compared with its padding, which has to stay 0.
    const { values, magnitudes } = twin(input, weight, { bias, eps });
    expectClose(output, pad(values), BOUNDS.layerNorm, { shape: [numRows, padded], magnitudes: pad(magnitudes) });
  });
});
