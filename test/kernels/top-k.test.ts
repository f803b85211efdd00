import { describe, expect, test } from "vitest";
import { topK } from "../../src/gpu/ops/sampling.ts";
import { createRandom } from "../reference/random.ts";
import { topK as twin } from "../reference/top-k.ts";
import { runKernel } from "../setup/run-kernel.ts";

/** Compares the entries of rows of one length, each followed by larger numbers that do not count. */
async function check(rows: readonly Float32Array[], k: number): Promise<void> {
  const vocabSize = Number(rows[0]?.length);
  const stride = vocabSize + 2;
  const logits = Float32Array.from(rows.flatMap((row) => [...row, 1e6, 1e6]));
  const { entries } = await runKernel(({ program, upload, output }) => {
    const entries = output(rows.length * k * 2);
    topK(program, { logits: upload(logits), numRows: rows.length, vocabSize, stride }, { entries, k });
    return { entries };
  });
  const tokens = new Uint32Array(entries.buffer);
  const actual = rows.map((_, row) =>
    Array.from({ length: k }, (_, index) => ({
      token: tokens[(row * k + index) * 2],
      logit: entries[(row * k + index) * 2 + 1],
    })),
  );
  expect(actual).toEqual(rows.map((row) => twin(row, k)));
}

describe("topK", () => {
  test.each([
    [32_064, 1],
    [32_064, 40],
    [1, 1],
    [2, 2],
    [63, 63],
    [64, 64],
    [65, 65],
    [300, 7],
  ])("of %d tokens %d, two rows", async (vocabSize, k) => {
    const random = createRandom(vocabSize);
    await check([random.normals(vocabSize), random.normals(vocabSize, 10)], k);
  });

  test("ties come in the order of their tokens", async () => {
    const random = createRandom(3);
    const row = () => Float32Array.from({ length: 200 }, () => random.integer(5) - 2);
    await check([row(), row()], 200);
  });
});
