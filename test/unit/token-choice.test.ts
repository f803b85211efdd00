import { expect, test } from "vitest";
import { GpuError } from "../../src/errors.ts";
import { readChoice } from "../../src/generate/token-chooser.ts";

/** What choose-token writes for one row: id, logit and log Σ exp as f32, number of logits that are not finite. */
function written(logit: number, logSumExp: number, numBad = 0): DataView {
  const data = new DataView(new ArrayBuffer(16));
  data.setUint32(0, 7, true);
  data.setFloat32(4, logit, true);
  data.setFloat32(8, logSumExp, true);
  data.setUint32(12, numBad, true);
  return data;
}

const PLAIN = { isPenalised: false, topK: 0 };

test("the confidence is the largest probability", () => {
  expect(readChoice(written(2, 2 + Math.log(4)), PLAIN)).toMatchObject({
    tokenId: 7,
    confidence: expect.closeTo(0.25, 6),
  });
});

test("a sum that the GPU computed a little too small gives no confidence above 1", () => {
  expect(readChoice(written(5, 4.999999), PLAIN).confidence).toBe(1);
});

test("logits that are not finite are refused", () => {
  expect(() => readChoice(written(5, 6, 1), PLAIN)).toThrow(GpuError);
});
