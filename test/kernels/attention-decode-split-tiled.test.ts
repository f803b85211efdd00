import { describe, test } from "vitest";
import { createRandom } from "../reference/random.ts";
import { makeEdit, makeEdits } from "../reference/score-edit.ts";
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
      step: makeStep({ slotStart: 4200 }),
      edits: makeEdits(makeEdit(2, 1.4, { rows: [4200, 4201], columns: [[4, 580]] })),
    },
  ])("$title", async (decodeCase) => {
    const operands = makeDecodeOperands(createRandom(decodeCase.title.length), decodeCase);
    const result = await runDecode(operands, decodeCase.step, {
      edits: decodeCase.edits,
      kernel: "attention-decode-split-tiled",
    });
    expectSplits(result, splitsOf(operands, decodeCase, { numSplits: result.numSplits, multiple: 16 }), operands);
  });

  testDecode("attention-decode-split-tiled");
});
