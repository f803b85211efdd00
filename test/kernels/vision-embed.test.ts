import { describe, expect, test } from "vitest";
import { visionEmbed } from "../../src/gpu/ops/vision.ts";
import type { WeightDtype } from "../../src/gpu/tensor.ts";
import { createRandom } from "../reference/random.ts";
import { visionEmbed as twin } from "../reference/vision-embed.ts";
import { storeWeights } from "../reference/weight-formats.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { runKernel } from "../setup/run-kernel.ts";

const DTYPES: readonly WeightDtype[] = ["f32", "f16", "bf16"];

async function embed(
  data: {
    readonly patches: Float32Array<ArrayBuffer>;
    readonly classEmbedding: Float32Array<ArrayBuffer> | undefined;
    readonly position: Float32Array;
    readonly columns: number;
  },
  options: { readonly dtype: WeightDtype; readonly splits?: readonly number[] },
): Promise<Float32Array> {
  const { columns, classEmbedding } = data;
  const numPatches = data.patches.length / columns;
  const numPositions = data.position.length / columns;
  const { output } = await runKernel(({ program, upload, output, matrix }) => {
    const target = output(numPositions * columns);
    visionEmbed(program, {
      position: matrix(data.position, [numPositions, columns], options),
      patches: upload(data.patches),
      classEmbedding: classEmbedding && upload(classEmbedding),
      output: target,
      numPatches,
    });
    return { output: target };
  });
  return output;
}

function makeData(numPatches: number, columns: number) {
  const random = createRandom(columns);
  return {
    columns,
    patches: random.normals(numPatches * columns),
    classEmbedding: random.normals(columns),
    position: random.normals((numPatches + 1) * columns),
  };
}

describe.each(DTYPES)("visionEmbed, %s", (dtype) => {
  // tiny-spatial's 64 patches, CLIP-L's width, a workgroup's 256 columns and its neighbours, one patch of one vec4.
  test.each([
    [64, 128],
    [2, 1024],
    [3, 252],
    [3, 260],
    [1, 4],
  ] as const)("%d patches × %d", async (numPatches, columns) => {
    const data = makeData(numPatches, columns);
    const expected = twin(data.patches, data.classEmbedding, storeWeights(data.position, dtype).values);
    expectClose(await embed(data, { dtype }), expected, BOUNDS.oneRounding, { shape: [numPatches + 1, columns] });
  });

  test.each([
    [64, 128],
    [1, 260],
  ] as const)("%d patches × %d without a class token", async (numPatches, columns) => {
    const made = makeData(numPatches, columns);
    const data = { ...made, classEmbedding: undefined, position: made.position.slice(columns) };
    const expected = twin(data.patches, [], storeWeights(data.position, dtype).values);
    expectClose(await embed(data, { dtype }), expected, BOUNDS.oneRounding, { shape: [numPatches, columns] });
  });
});

test("visionEmbed refuses a position table in pieces", async () => {
  await expect(embed(makeData(4, 8), { dtype: "f32", splits: [4] })).rejects.toThrow(/position.*one piece.*2/);
});
