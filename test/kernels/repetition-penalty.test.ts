import { describe, test } from "vitest";
import { repetitionPenalty } from "../../src/gpu/ops/sampling.ts";
import { createRandom } from "../reference/random.ts";
import { repetitionPenalty as twin } from "../reference/repetition-penalty.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";
import { runKernel } from "../setup/run-kernel.ts";

// Vocabularies: LLaVA-1.5's, one token, a workgroup of 64 and its neighbours, a word of 32 bits and its neighbours.
const SIZES = [32_064, 1, 31, 32, 33, 63, 64, 65];

describe("repetitionPenalty", () => {
  test.each(SIZES)("%d tokens, two rows", async (vocabSize) => {
    const random = createRandom(vocabSize);
    const stride = vocabSize + 3;
    const logits = random.normals(2 * stride, 10);
    logits[0] = 0;
    const penalty = 1.25;
    const rows = [0, 1].map(
      () => new Set(Array.from({ length: vocabSize }, (_, token) => token).filter(() => random.next() < 0.4)),
    );
    const words = Math.ceil(vocabSize / 32);
    const seen = new Uint32Array(2 * words);
    for (const [row, tokens] of rows.entries()) {
      for (const token of tokens) {
        const word = row * words + Math.floor(token / 32);
        seen[word] = Number(seen[word]) | (1 << (token % 32));
      }
    }
    const { output } = await runKernel(({ program, upload, output }) => {
      const target = output(logits);
      repetitionPenalty(program, { logits: target, numRows: 2, vocabSize, stride }, { seen: upload(seen), penalty });
      return { output: target };
    });
    const expected = rows.flatMap((tokens, row) => [
      ...twin(logits.subarray(row * stride, (row + 1) * stride), tokens, penalty),
    ]);
    expectClose(output, expected, BOUNDS.penalty, { shape: [2, stride] });
  });
});
