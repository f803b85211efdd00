import { describe, test } from "vitest";
import { combineRows } from "../../src/gpu/ops/embedding.ts";
import { combineRows as twin } from "../reference/combine-rows.ts";
import { createRandom } from "../reference/random.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { runKernel } from "../setup/run-kernel.ts";

const NUM_SOURCE_ROWS = 9;
const NUM_OUTPUT_ROWS = 7;

const CASES = [
  { title: "one row of one vec4", columns: 4, rowStart: 0, numRows: 1 },
  {
    title: "rows of the tiny checkpoint's width, from the second of the lists on",
    columns: 48,
    rowStart: 1,
    numRows: 4,
  },
  { title: "a workgroup less one vec4", columns: 252, rowStart: 2, numRows: 3 },
  { title: "a workgroup and one vec4", columns: 260, rowStart: 0, numRows: 6 },
  { title: "the width of the 0.5B model", columns: 896, rowStart: 0, numRows: 6 },
];

/** Six sums: in any order of output rows, with a source row twice, with fewer than four, and one that only copies. */
const OUTPUT_ROW = Uint32Array.of(5, 0, 6, 2, 3, 1);
const INDEX = Uint32Array.from(
  [
    [0, 1, 3, 4],
    [8, 8, 8, 8],
    [2, 5, 5, 5],
    [7, 0, 0, 0],
    [6, 3, 1, 2],
    [4, 4, 7, 7],
  ].flat(),
);
const WEIGHTS = Float32Array.from(
  [
    [0.25, 0.25, 0.25, 0.25],
    [0.1, 0.2, 0.3, 0.4],
    [0.6, 0.4, 0, 0],
    [1, 0, 0, 0],
    [0.42, 0.18, 0.28, 0.12],
    [-1.5, 0.5, 3, -2],
  ].flat(),
);

describe("combineRows", () => {
  test.each(CASES)("$title", async ({ title: _, ...call }) => {
    const random = createRandom(call.columns);
    const before = random.normals(NUM_OUTPUT_ROWS * call.columns);
    const source = random.normals(NUM_SOURCE_ROWS * call.columns);
    const actual = await runKernel(({ program, upload, output }) => {
      const target = output(before);
      combineRows(program, {
        outputRow: upload(OUTPUT_ROW),
        index: upload(INDEX),
        weights: upload(WEIGHTS),
        source: upload(source),
        output: target,
        ...call,
      });
      return { output: target };
    });
    const lists = { outputRow: OUTPUT_ROW, index: INDEX, weights: WEIGHTS };
    const { result, magnitudes } = twin(before, source, lists, call);
    expectClose(actual.output, result, BOUNDS.combineRows, { shape: [NUM_OUTPUT_ROWS, call.columns], magnitudes });
  });
});
