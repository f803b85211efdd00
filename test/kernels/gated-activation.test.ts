import { describe, test } from "vitest";
import type { Activation } from "../../src/gpu/ops/activations.ts";
import { gatedActivation } from "../../src/gpu/ops/linear.ts";
import { gatedActivation as twin } from "../reference/gated-activation.ts";
import { createRandom } from "../reference/random.ts";
import { besides } from "../reference/rows.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { runKernel } from "../setup/run-kernel.ts";

// LLaVA-1.5's intermediate size is 11008; a workgroup takes 256 columns of one row.
const CASES: readonly { readonly numRows: number; readonly columns: number; readonly activation: Activation }[] = [
  { numRows: 3, columns: 11_008, activation: "silu" },
  { numRows: 65, columns: 352, activation: "silu" },
  { numRows: 1, columns: 4, activation: "gelu_pytorch_tanh" },
  { numRows: 2, columns: 252, activation: "gelu" },
  { numRows: 2, columns: 256, activation: "quick_gelu" },
  { numRows: 2, columns: 260, activation: "relu" },
];

describe("gatedActivation", () => {
  test.each(CASES)("$numRows × $columns, $activation", async ({ numRows, columns, activation }) => {
    const random = createRandom(columns);
    const gate = random.normals(numRows * columns, 4);
    const up = random.normals(numRows * columns);
    const { output } = await runKernel(({ program, upload, output }) => {
      const target = output(numRows * columns);
      gatedActivation(program, {
        gateUp: upload(besides(gate, up, columns)),
        output: target,
        numRows,
        columns,
        activation,
      });
      return { output: target };
    });
    const expected = twin(gate, up, { activation });
    const magnitudes = expected.map((value, index) => Math.abs(value) + 0.4 * Math.abs(Number(up[index])));
    expectClose(output, expected, BOUNDS.gatedActivation, { shape: [numRows, columns], magnitudes });
  });
});
