// Which recorded values are the gate's confidence. The files of test/golden/evaluate/rescore cover the usual spellings.
import { expect, test } from "vitest";
import { type ConfidenceField, readConfidences } from "../../src/evaluate/answers/confidence-fields.ts";

const kindsOf = (fields: readonly ConfidenceField[]) => fields.map(({ field, kind }) => [field, kind]);

test("a rounded value that passed through f32 is the same hundredth", () => {
  const values = [0.35, 0.4, 0.41].map(Math.fround);
  const { rounded, unrounded, fields } = readConfidences(values.map((uncertainty) => ({ uncertainty })));
  expect(rounded).toEqual([0.35, 0.4, 0.41]);
  expect(unrounded).toEqual([null, null, null]);
  expect(kindsOf(fields)).toEqual([["uncertainty", "rounded"]]);
});

test("one value above 1, or one that is not rounded, decides for the whole field", () => {
  const kind = (...values: readonly number[]) =>
    readConfidences(values.map((uncertainty) => ({ uncertainty }))).fields[0]?.kind;
  expect(kind(0, 1)).toBe("rounded");
  expect(kind(0.5, 1.0000001192092896)).toBe("rounded");
  expect(kind(0.5, 1.01)).toBe("logit");
  expect(kind(0.5, -0.1)).toBe("logit");
  expect(kind(0.5, 0.123)).toBe("other-gate");
});

test("the recorded rounded value is used before the unrounded one, and contradictions are counted", () => {
  const found = readConfidences([
    { Uncertainty: 0.4, Uncertainties: { confidence: 0.396 } },
    { Uncertainty: 0.41, Uncertainties: { confidence: 0.396 } },
    { Uncertainty: null, Uncertainties: { confidence: [0.396, null] } },
    null,
    { Uncertainties: null },
  ]);
  expect(found.rounded).toEqual([0.4, 0.41, 0.4, null, null]);
  expect(found.unrounded).toEqual([0.396, 0.396, 0.396, null, null]);
  expect(found).toMatchObject({
    numDisagreeing: 1,
    roundedField: "Uncertainty",
    unroundedField: "Uncertainties.confidence",
    fields: [
      { field: "Uncertainty", kind: "rounded", n: 2, numMissing: 2, min: 0.4, max: 0.41 },
      { field: "Uncertainties.confidence", kind: "unrounded", n: 3, numMissing: 1 },
    ],
  });
});

test("measures that are not the confidence give none", () => {
  const found = readConfidences([
    { uncertainty_prob: 0.4, uncertainty_kl: 3, uncertainty_margin: 0.2, Uncertainties: { confidence: 21.5, kld: 1 } },
  ]);
  expect(found.rounded).toEqual([null]);
  expect(found.roundedField).toBeNull();
  expect(kindsOf(found.fields)).toEqual([
    ["Uncertainties.confidence", "logit"],
    ["Uncertainties.kld", "other"],
    ["uncertainty_prob", "untrusted"],
    ["uncertainty_kl", "other"],
    ["uncertainty_margin", "other"],
  ]);
});
