import { describe, expect, test } from "vitest";
import { EXCLUDED_LOGIT, maskTokens } from "../../src/gpu/ops/sampling.ts";
import { maskTokens as twin } from "../reference/mask-tokens.ts";
import { createRandom } from "../reference/random.ts";
import { runKernel } from "../setup/run-kernel.ts";

// Vocabularies: LLaVA-1.5's, one token, a workgroup of 64 and its neighbours, a word of 32 bits and its neighbours.
const SIZES = [32_064, 1, 31, 32, 33, 63, 64, 65];

describe("maskTokens", () => {
  test.each(SIZES)("%d tokens, two rows of four", async (vocabSize) => {
    const random = createRandom(vocabSize);
    const stride = vocabSize + 3;
    const logits = random.normals(4 * stride, 10);
    logits[stride] = Number.NEGATIVE_INFINITY;
    const tokens = Array.from({ length: vocabSize }, (_, token) => token);
    const allowed = [0, 1].map(() => new Set(tokens.filter(() => random.next() < 0.4)));
    const words = Math.ceil(vocabSize / 32);
    const bits = new Uint32Array(2 * words).map(() => random.integer(2 ** 32)); // bits beyond the vocabulary do not count
    for (const [row, set] of allowed.entries()) {
      for (const token of tokens) {
        const word = row * words + Math.floor(token / 32);
        const bit = 1 << (token % 32);
        bits[word] = set.has(token) ? Number(bits[word]) | bit : Number(bits[word]) & ~bit;
      }
    }
    const firstRow = 1;
    const { output } = await runKernel(({ program, upload, output }) => {
      const target = output(logits);
      const view = { logits: target, numRows: 2, vocabSize, stride };
      maskTokens(program, view, { allowed: upload(bits), firstRow });
      return { output: target };
    });
    const expected = Float32Array.from(logits);
    for (const [index, set] of allowed.entries()) {
      const start = (firstRow + index) * stride;
      expected.set(twin(logits.subarray(start, start + vocabSize), set), start);
    }
    expect([...output]).toEqual([...expected]);
  });

  test("writes the logit that the CPU writes for a token that is ruled out", () => {
    expect([...twin([1, 2], new Set([1]))]).toEqual([EXCLUDED_LOGIT, 2]);
  });
});
