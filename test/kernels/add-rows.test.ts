import { describe, test } from "vitest";
import { addRows } from "../../src/gpu/ops/embedding.ts";
import { addRows as twin } from "../reference/add-rows.ts";
import { createRandom } from "../reference/random.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { runKernel } from "../setup/run-kernel.ts";

const CASES = [
  { title: "one row of one vec4", columns: 4, numRows: 1, valueRowStart: 0, outputRowStart: 0 },
  { title: "the third vector to the fifth row", columns: 128, numRows: 1, valueRowStart: 2, outputRowStart: 4 },
  {
    title: "several rows, a workgroup less one vec4 wide",
    columns: 252,
    numRows: 3,
    valueRowStart: 1,
    outputRowStart: 2,
  },
  { title: "a workgroup and one vec4", columns: 260, numRows: 2, valueRowStart: 0, outputRowStart: 1 },
];

describe("addRows", () => {
  test.each(CASES)("$title", async ({ title: _, ...call }) => {
    const random = createRandom(call.columns);
    const before = random.normals(6 * call.columns);
    const values = random.normals(4 * call.columns);
    const result = await runKernel(({ program, upload, output }) => {
      const target = output(before);
      addRows(program, { values: upload(values), output: target, ...call });
      return { output: target };
    });
    expectClose(result.output, twin(before, values, call), BOUNDS.oneRounding, { shape: [6, call.columns] });
  });
});
