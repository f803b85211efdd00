import { expect, test } from "vitest";
import { sinkActivations } from "../../src/gpu/ops/row-strengths.ts";
import { padTo4 } from "../../src/gpu/tensor.ts";
import { createRandom } from "../reference/random.ts";
import { padRows } from "../reference/rows.ts";
import { sinkActivations as twin } from "../reference/sink-activations.ts";
import { makeStep, packStep } from "../reference/step.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { POISON, runKernel } from "../setup/run-kernel.ts";

// LLaMA-13B's rows are 5120 wide; 62 values are padded to 64.
test.each([
  { numRows: 2, columns: 5120, dimensions: [2100, 4743] },
  { numRows: 5, columns: 62, dimensions: [0, 3, 61] },
  { numRows: 1, columns: 1, dimensions: [0] },
  { numRows: 3, columns: 257, dimensions: [256] },
])("sinkActivations of $numRows × $columns", async ({ numRows, columns, dimensions }) => {
  const input = createRandom(columns).normals(numRows * columns);
  const [capacity, slotStart, layer] = [16, 4, 1];
  const { output } = await runKernel(({ program, upload, uniform, output }) => {
    const target = output(2 * capacity);
    sinkActivations(program, {
      input: upload(padRows(input, columns, padTo4(columns))),
      output: target,
      step: uniform(packStep(makeStep({ slotStart }))),
      edits: upload(Uint32Array.of(7, 7, ...dimensions, 7)),
      numRows,
      columns,
      layer,
      capacity,
      dimensionsStart: 2,
      numDimensions: dimensions.length,
    });
    return { output: target };
  });
  const first = layer * capacity + slotStart;
  const expected = twin(input, { columns, dimensions });
  expectClose(output.subarray(first, first + numRows), expected, BOUNDS.rmsNorm, { shape: [numRows] });
  const rest = [...output.subarray(0, first), ...output.subarray(first + numRows)];
  expect(new Set(rest)).toEqual(new Set([POISON]));
});
