// The cases of the kernels that compute a linear layer: same formula, same shapes, same bounds.
import { describe, test } from "vitest";
import type { Activation } from "../../src/gpu/ops/activations.ts";
import { linear } from "../../src/gpu/ops/linear.ts";
import type { LinearKernelName } from "../../src/gpu/ops/linear-kernels.ts";
import { QUANTIZED_DTYPES, WEIGHT_DTYPES, type WeightDtype } from "../../src/gpu/tensor.ts";
import { choiceText, type TunableChoice } from "../../src/gpu/tunables.ts";
import type { LinearCall, Sums } from "../reference/matmul.ts";
import { quantizeActivations } from "../reference/quantize-activations.ts";
import { createRandom } from "../reference/random.ts";
import { storeWeights } from "../reference/weight-formats.ts";
import { BOUNDS, LARGEST_INNER, linearBoundOf } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { POISON, runKernel } from "../setup/run-kernel.ts";

/** One case; what is left out is the plainest choice. */
export interface LinearCase {
  readonly title: string;
  readonly numRows: number;
  /** K */
  readonly inner: number;
  /** N */
  readonly columns: number;
  readonly dtype?: WeightDtype;
  readonly hasBias?: boolean;
  readonly activation?: Activation;
  readonly addToOutput?: boolean;
  readonly inputRowStart?: number;
  readonly outputColumn?: number;
  readonly outputStride?: number;
  /** Rows of the weight before which it is split into pieces. */
  readonly splits?: readonly number[];
  readonly inputScale?: number;
  /** Values of the kernel's tunable constants; the defaults unless given. */
  readonly choice?: TunableChoice;
}

/**
 * Cases for a kernel that is used with these numbers of rows, the first being the usual one. Software adapters take a second
 * to compile a variant (dtype, bias, addition, activation), so the cases share few of them.
 */
export function linearCases(
  rows: readonly [number, ...number[]],
  options: { readonly workgroupColumns: number; readonly activations: readonly Activation[] },
): readonly LinearCase[] {
  const [numRows] = rows;
  const { workgroupColumns, activations } = options;
  const fewRows = Math.min(numRows, 9);
  const tiny = { numRows, inner: 128, columns: 64 };
  return [
    { title: "tiny-spatial's q/k/v", numRows, inner: 128, columns: 384 },
    { title: "a patch embedding of 588 pixels", numRows: fewRows, inner: 588, columns: 256 },
    { title: "LLaVA-1.5's gate/up at 1/16", numRows: fewRows, inner: 256, columns: 688 },
    { title: "eight columns of LLaVA-1.5-13B's down_proj", numRows: fewRows, inner: 13_824, columns: 8 },
    ...WEIGHT_DTYPES.flatMap((dtype): LinearCase[] => [
      { title: `${dtype}, with bias`, ...tiny, dtype, hasBias: true },
      {
        title: `${dtype}, with bias, LLaVA-1.5's down_proj at 1/4 in three pieces`,
        numRows: fewRows,
        inner: LARGEST_INNER,
        columns: 64,
        dtype,
        hasBias: true,
        splits: [20, 24],
      },
    ]),
    // Rows of whole groups, of a part of one, of one and a part, and an odd number of groups a row.
    ...QUANTIZED_DTYPES.flatMap((dtype) =>
      [32, 4, 36, 96].map(
        (inner): LinearCase => ({
          title: `${dtype}, inner dimension ${inner}, in pieces`,
          numRows: fewRows,
          inner,
          columns: 20,
          dtype,
          hasBias: true,
          splits: [4, 12],
        }),
      ),
    ),
    ...rows.map((count): LinearCase => ({ title: `${count} rows`, numRows: count, inner: 36, columns: 20 })),
    ...[4, workgroupColumns - 4, workgroupColumns, workgroupColumns + 4].map(
      (columns): LinearCase => ({ title: `${columns} columns`, numRows, inner: 20, columns }),
    ),
    ...[4, 252, 256, 260].map(
      (inner): LinearCase => ({ title: `inner dimension ${inner}`, numRows: fewRows, inner, columns: 8 }),
    ),
    ...activations.map(
      (activation): LinearCase => ({
        title: `${activation}, with bias, added to the output`,
        ...tiny,
        activation,
        hasBias: true,
        addToOutput: true,
        inputScale: 3,
      }),
    ),
    { title: "from a later input row", ...tiny, inputRowStart: 5 },
    {
      title: "into a part of wider output rows, with bias, in pieces",
      ...tiny,
      outputColumn: 24,
      outputStride: 120,
      hasBias: true,
      splits: [12],
    },
    {
      title: "added to a part of wider output rows, from a later input row, in pieces",
      ...tiny,
      inputRowStart: 2,
      outputColumn: 24,
      outputStride: 120,
      addToOutput: true,
      splits: [8, 36],
    },
  ];
}

/** Cases that run every candidate for a kernel's constants, over edges of the largest tiles and batches. */
export function choiceCases(
  choices: readonly TunableChoice[],
  options: { readonly rows: readonly number[]; readonly dtypes: readonly WeightDtype[] },
): readonly LinearCase[] {
  return choices.flatMap((choice) =>
    options.dtypes.flatMap((dtype) =>
      options.rows.map((numRows): LinearCase => {
        const title = `${choiceText(choice)}, ${dtype}, ${numRows} rows`;
        return { title, numRows, inner: 292, columns: 140, dtype, splits: [136], hasBias: true, choice };
      }),
    ),
  );
}

/** Runs the cases on one kernel. */
export function testLinear(
  kernel: LinearKernelName,
  twin: (call: LinearCall) => Sums,
  cases: readonly LinearCase[],
): void {
  describe(kernel, () => {
    for (const [seed, linearCase] of cases.entries()) {
      test(linearCase.title, () => check(kernel, twin, linearCase, seed));
    }
  });
}

async function check(
  kernel: LinearKernelName,
  twin: (call: LinearCall) => Sums,
  linearCase: LinearCase,
  seed: number,
): Promise<void> {
  const { numRows, inner, columns, dtype = "f32", hasBias = false, activation, addToOutput = false } = linearCase;
  const { inputRowStart = 0, outputColumn = 0, outputStride = columns, splits = [], inputScale = 1 } = linearCase;
  const random = createRandom(seed);
  const input = random.normals((inputRowStart + numRows) * inner, inputScale);
  const weight = random.normals(columns * inner, 1 / Math.sqrt(inner));
  const bias = hasBias ? random.normals(columns) : undefined;
  const before = addToOutput
    ? random.normals(numRows * outputStride)
    : new Float32Array(numRows * outputStride).fill(POISON);

  const used = input.subarray(inputRowStart * inner);
  const quantized = kernel.endsWith("-int8") ? quantizeActivations(used, inner) : undefined;

  const { output } = await runKernel(({ gpu, program, upload, output, matrix }) => {
    const target = output(before);
    linear(program, gpu, {
      layer: {
        weight: matrix(weight, [columns, inner], { dtype, splits }),
        bias: bias === undefined ? undefined : upload(bias),
      },
      input: upload(input),
      quantizedInput: quantized && upload(quantized.packed),
      output: target,
      numRows,
      inputRowStart,
      outputColumn,
      outputStride,
      addToOutput,
      kernel,
      choice: linearCase.choice,
      ...(activation !== undefined && { activation }),
    });
    return { output: target };
  });

  const pick = (values: Float32Array): Float64Array =>
    Float64Array.from({ length: numRows * columns }, (_, index) =>
      Number(values[Math.floor(index / columns) * outputStride + outputColumn + (index % columns)]),
    );
  const expected = twin({
    input: quantized?.values ?? used,
    weight: storeWeights(weight, dtype, inner).values,
    numRows,
    inner,
    columns,
    bias,
    activation,
    addTo: addToOutput ? pick(before) : undefined,
  });
  expectClose(pick(output), expected.values, linearBoundOf(kernel, dtype, inner), {
    shape: [numRows, columns],
    magnitudes: expected.magnitudes,
  });
  const outside = (_: number, index: number) => {
    const column = index % outputStride;
    return column < outputColumn || column >= outputColumn + columns;
  };
  expectClose(output.filter(outside), before.filter(outside), BOUNDS.exact, {
    shape: [numRows, outputStride - columns],
  });
}
