import { describe, test } from "vitest";
import { createRandom } from "../reference/random.ts";
import { makeStep } from "../reference/step.ts";
import { DECODE_CASES, headLayout, makeDecodeOperands, runDecode } from "./attention-cases.ts";
import { testDecode } from "./attention-decode-cases.ts";
import { expectSplits, splitsOf } from "./attention-split-cases.ts";

describe("attentionDecodeSplitTiled", () => {
  test.each([
    ...DECODE_CASES,
    {
      title: "more keys in a split than a workgroup has threads",
      heads: headLayout(2, 1, 4),
      numRows: 1,
      step: makeStep({ positionStart: 4200, span: [4, 580], scaled: [4200, 4201], factors: [1.4] }),
    },
  ])("$title", async (decodeCase) => {
    const operands = makeDecodeOperands(createRandom(decodeCase.title.length), decodeCase);
    const result = await runDecode(operands, decodeCase.step, { kernel: "tiled" });
    expectSplits(result, splitsOf(operands, decodeCase.step, { numSplits: result.numSplits, multiple: 16 }), operands);
  });

  testDecode("tiled");
});
