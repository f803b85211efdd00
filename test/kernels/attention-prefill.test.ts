import { describe, test } from "vitest";
import { createRandom } from "../reference/random.ts";
import { makeStep } from "../reference/step.ts";
import { expectSame } from "../setup/expect-close.ts";
import { headLayout, makeOperands } from "./attention-cases.ts";
import { runCausal, testPrefill } from "./attention-prefill-cases.ts";

describe("attentionPrefill", () => {
  testPrefill("attention-prefill");

  test("workgroups of 8 and 64 rows give the same bits", async () => {
    const operands = makeOperands(createRandom(1), headLayout(4, 4, 32), { numRows: 19, numSlots: 19 });
    const { output } = await runCausal(operands, makeStep(), { kernel: "attention-prefill" });
    for (const workgroupRows of [8, 64]) {
      expectSame((await runCausal(operands, makeStep(), { workgroupRows })).output, output, 4 * 32);
    }
  });
});
