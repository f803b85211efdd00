import { expect, test } from "vitest";
import { linear } from "../../src/gpu/ops/linear.ts";
import { TUNABLES } from "../../src/gpu/ops/linear-kernels.ts";
import type { Matrix } from "../../src/gpu/tensor.ts";
import { choiceText, type TunableChoice } from "../../src/gpu/tunables.ts";
import { matmul } from "../reference/matmul.ts";
import { createRandom } from "../reference/random.ts";
import { isBrief } from "../setup/device.ts";
import { runKernel } from "../setup/run-kernel.ts";
import { choiceCases, linearCases, testLinear } from "./linear-cases.ts";

const CHOICES: readonly TunableChoice[] = [...TUNABLES["matmul-tiled"], ...TUNABLES["matmul-tiled small"]];

// 65 rows: an image of 8 × 8 patches and the class token. A workgroup of the default computes 32 × 32 where tiles are few.
const cases = linearCases([65, 1, 3, 4, 5, 31, 32, 33], { workgroupColumns: 32, activations: ["quick_gelu", "gelu"] });
const choices = isBrief ? [] : choiceCases(CHOICES, { rows: [65], dtypes: ["f16"] });
testLinear("matmul-tiled", matmul, [...cases, ...choices]);

test.each(isBrief ? [] : (["f32", "q4"] as const))(
  "a row of %s weights is the same, to the bit, under every choice and among any others",
  async (dtype) => {
    const [numRows, inner, columns] = [67, 292, 72];
    const random = createRandom(7);
    const [input, values] = [random.normals(numRows * inner), random.normals(columns * inner)];
    const run = async (rowStart: number, count: number, choice?: TunableChoice): Promise<Float32Array> => {
      const { output } = await runKernel(({ gpu, program, upload, output: outputOf, matrix }) => {
        const target = outputOf(count * columns);
        const weight: Matrix = matrix(values, [columns, inner], { dtype });
        linear(program, gpu, {
          layer: { weight, bias: undefined },
          input: upload(input),
          inputRowStart: rowStart,
          output: target,
          numRows: count,
          kernel: "matmul-tiled",
          choice,
        });
        return { output: target };
      });
      return output;
    };
    const whole = await run(0, numRows);
    for (const choice of CHOICES) expect(await run(0, numRows, choice), choiceText(choice)).toEqual(whole);
    for (const [start, count] of [
      [0, 1],
      [13, 1],
      [30, 37],
    ] as const) {
      const part = whole.subarray(start * columns, (start + count) * columns);
      expect(await run(start, count)).toEqual(part);
      expect(await run(start, count, TUNABLES["matmul-tiled"][0])).toEqual(part);
    }
  },
);
