import { expect, test } from "vitest";
import { kernelNamed } from "../../src/gpu/ops/kernels.ts";
import { linear } from "../../src/gpu/ops/linear.ts";
import { Program } from "../../src/gpu/program.ts";
import { matrixSizes, whole } from "../../src/gpu/tensor.ts";
import { matmul } from "../reference/matmul.ts";
import { createRandom } from "../reference/random.ts";
import { linearBound } from "../setup/bounds.ts";
import { isBrief } from "../setup/device.ts";
import { expectClose } from "../setup/expect-close.ts";
import { openTestGpu, runKernel } from "../setup/run-kernel.ts";
import { choiceCases, linearCases, testLinear } from "./linear-cases.ts";

// A workgroup of 128 threads computes 4 columns of up to 8 rows; other candidates 8 columns.
const cases = linearCases([1, 2, 3, 5, 9], { workgroupColumns: 8, activations: ["silu"] });
const choices = [
  ...choiceCases([{ THREADS: 64, COLUMNS4: 1 }], { rows: [1, 9], dtypes: ["q4"] }),
  // With eight rows lavapipe takes a minute to compile this one.
  ...choiceCases([{ THREADS: 256, COLUMNS4: 2 }], { rows: [1, 2], dtypes: ["f16"] }),
];
testLinear("matvec-reduce", matmul, [...cases, ...choices.slice(0, isBrief ? 1 : undefined)]);

// A vocabulary above 262,140 needs two rows of workgroups; a software adapter takes 16 s for so many, so the fold of
// the grid is tested here with 5 workgroups as 2 rows of 3.
test("matvecReduce over a folded grid", async () => {
  const [numRows, inner, columns] = [2, 12, 20];
  const random = createRandom(1);
  const input = random.normals(numRows * inner);
  const weight = random.normals(columns * inner);
  const { output } = await runKernel(({ gpu, program, upload, output }) => {
    const target = output(numRows * columns);
    program.dispatch(kernelNamed("matvec-reduce", "f32"), {
      constants: { HAS_BIAS: false, ADD_TO_OUTPUT: false, ACTIVATION: 0, BATCH: 1, IS_PADDED: false },
      bindings: { weight: upload(weight), input: upload(input), bias: gpu.unused, output: target },
      params: {
        numRows,
        inputRowStart: 0,
        inner4: inner / 4,
        weightStride4: inner / 4,
        columns4: columns / 4,
        outputColumn4: 0,
        outputStride4: columns / 4,
        biasColumn4: 0,
      },
      grid: [3, 2, numRows],
    });
    return { output: target };
  });
  const { values, magnitudes } = matmul({ input, weight, numRows, inner, columns });
  expectClose(output, values, linearBound(inner), { shape: [numRows, columns], magnitudes });
});

test("more columns than one grid dimension holds are recorded without an error", async () => {
  const gpu = await openTestGpu();
  const program = new Program("test");
  const rows = 4 * 65_537;
  const weight = {
    name: "lm_head",
    dtype: "f32",
    ...matrixSizes([whole(rows)], whole(4)),
    pieces: [{ buffer: gpu.unused, rowStart: 0, numRows: rows }],
  } as const;
  linear(program, gpu, {
    layer: { weight, bias: undefined },
    input: gpu.unused,
    output: gpu.unusedOutputs[0],
    numRows: 1,
    kernel: "matvec-reduce",
  });
  expect(program.numDispatches).toBe(1);
});
