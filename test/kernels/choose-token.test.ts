import { describe, expect, test } from "vitest";
import { chooseToken } from "../../src/gpu/ops/sampling.ts";
import { chooseToken as twin } from "../reference/choose-token.ts";
import { createRandom } from "../reference/random.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { runKernel } from "../setup/run-kernel.ts";

/** Runs rows of logits of one length, each followed by larger numbers that do not count. */
async function choose(rows: readonly ArrayLike<number>[]) {
  const vocabSize = Number(rows[0]?.length);
  const stride = vocabSize + 4;
  const logits = Float32Array.from(rows.flatMap((row) => [...Array.from(row), 1e6, 1e6, 1e6, 1e6]));
  const { choice } = await runKernel(({ program, upload, output }) => {
    const choice = output(rows.length * 4);
    chooseToken(program, { logits: upload(logits), numRows: rows.length, vocabSize, stride }, { choice });
    return { choice };
  });
  const tokens = new Uint32Array(choice.buffer);
  return rows.map((_, row) => ({
    token: tokens[row * 4],
    logit: Number(choice[row * 4 + 1]),
    logSumExp: Number(choice[row * 4 + 2]),
    numBad: tokens[row * 4 + 3],
  }));
}

async function check(rows: readonly ArrayLike<number>[]): Promise<void> {
  const expected = rows.map(twin);
  const actual = await choose(rows);
  expect(actual.map(({ token, logit, numBad }) => ({ token, logit, numBad }))).toEqual(
    expected.map(({ token, logit }) => ({ token, logit, numBad: 0 })),
  );
  expectClose(
    actual.map(({ logSumExp }) => logSumExp),
    expected.map(({ logSumExp }) => logSumExp),
    BOUNDS.logSumExp,
    { shape: [rows.length], magnitudes: expected.map(({ logit }) => logit) },
  );
}

describe("chooseToken", () => {
  // Vocabularies: LLaVA-1.5's, tiny ones, a workgroup's 128 threads and their neighbours.
  test.each([32_064, 1, 2, 127, 128, 129, 1000])("%d tokens, three rows of normal logits", async (vocabSize) => {
    const random = createRandom(vocabSize);
    await check([1, 5, 0.01].map((scale) => random.normals(vocabSize, scale)));
  });

  test("the smallest of equal tokens wins, whichever threads hold them", async () => {
    const row = (...largest: number[]) => {
      const logits = createRandom(1).normals(700);
      for (const token of largest) logits[token] = 9;
      return logits;
    };
    await check([row(5, 133, 261), row(600, 127), row(130, 129, 2), row(699, 0), row(256, 128)]);
  });

  test("NaN and +infinity are counted, -infinity and the largest f32 are not", async () => {
    const row = (...values: number[]) => {
      const logits = createRandom(3).normals(400);
      for (const [i, value] of values.entries()) logits[i * 131] = value;
      return logits;
    };
    const { NaN: nan, POSITIVE_INFINITY: infinity } = Number;
    const rows = [
      row(nan),
      row(nan, infinity, nan),
      row(1, 2, infinity),
      row(-infinity, 3.4e38),
      new Float32Array(400).fill(nan),
    ];
    expect((await choose(rows)).map(({ numBad }) => numBad)).toEqual([1, 3, 1, 0, 400]);
  });

  test("all logits equal", () => check([new Float32Array(300).fill(-2.5)]));

  test("negative logits only", () =>
    check([
      createRandom(2)
        .normals(500)
        .map((x) => -40 - Math.abs(x)),
    ]));

  test("logits that overflow or vanish under exp", () =>
    check([
      Float32Array.from({ length: 300 }, (_, token) => 1e4 - token * 0.25),
      Float32Array.from({ length: 300 }, (_, token) => -1e4 + token * 0.25),
      Float32Array.from({ length: 300 }, (_, token) => (token - 150) * 1e3),
    ]));

  test("masked logits of −Infinity", () =>
    check([
      Float32Array.from({ length: 300 }, (_, token) => (token % 3 === 0 ? 1 / (token + 1) : Number.NEGATIVE_INFINITY)),
      Float32Array.from({ length: 300 }, (_, token) => (token === 299 ? 2 : Number.NEGATIVE_INFINITY)),
    ]));
});
