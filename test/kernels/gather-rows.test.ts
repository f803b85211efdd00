import { describe, test } from "vitest";
import { gatherRows } from "../../src/gpu/ops/embedding.ts";
import { gatherRows as twin } from "../reference/gather-rows.ts";
import { createRandom } from "../reference/random.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { POISON, runKernel } from "../setup/run-kernel.ts";

const CASES = [
  {
    title: "a picture's 64 features in the middle of a prompt",
    columns: 128,
    index: Array.from({ length: 64 }, (_, row) => row),
    outputRowStart: 5,
  },
  {
    title: "rows in another order, some twice, fillers between",
    columns: 128,
    index: [3, -1, 0, 0, -1, 8],
    outputRowStart: 0,
  },
  { title: "fillers only", columns: 8, index: [-1, -1], outputRowStart: 1 },
  { title: "one row of one vec4", columns: 4, index: [2], outputRowStart: 0 },
  { title: "a workgroup less one vec4", columns: 252, index: [1, -1], outputRowStart: 0 },
  { title: "a workgroup and one vec4", columns: 260, index: [1, -1], outputRowStart: 0 },
];

describe("gatherRows", () => {
  test.each(CASES)("$title", async ({ columns, index, outputRowStart }) => {
    const random = createRandom(columns);
    const source = random.normals(64 * columns);
    const filler = random.normals(columns);
    const { output } = await runKernel(({ program, upload, output }) => {
      const target = output((outputRowStart + index.length + 1) * columns);
      gatherRows(program, {
        index: upload(Int32Array.from(index)),
        source: upload(source),
        filler: upload(filler),
        output: target,
        numRows: index.length,
        outputRowStart,
        columns,
      });
      return { output: target };
    });
    const untouched = (numRows: number) => new Float64Array(numRows * columns).fill(POISON);
    const expected = [...untouched(outputRowStart), ...twin(source, index, filler), ...untouched(1)];
    expectClose(output, expected, BOUNDS.exact, { shape: [outputRowStart + index.length + 1, columns] });
  });
});
