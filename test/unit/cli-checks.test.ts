import { InvalidArgumentError } from "commander";
import { expect, test } from "vitest";
import { armTexts } from "../../src/cli/arms.ts";
import { mapLayerOf } from "../../src/cli/box-flags.ts";
import {
  indexList,
  numberFrom,
  pictureBox,
  repeated,
  rowSelection,
  someText,
  wholeFrom,
  wordList,
} from "../../src/cli/checks.ts";
import { methodOf, methodOptions } from "../../src/cli/flags.ts";
import { UsageError } from "../../src/cli/session.ts";

test.each([
  ["0", [0]],
  ["0,1", [0, 1]],
  ["2-5, 8,2", [2, 3, 4, 5, 8]],
  ["11685-11686", [11685, 11686]],
])("the list %s is %j", (text, indices) => {
  expect(indexList(text)).toEqual(indices);
});

test.each(["", "a", "1-", "5-2", "1,,2", "-1", "0.5", "100000"])("%j is not a list of indices", (text) => {
  expect(() => indexList(text)).toThrow(InvalidArgumentError);
});

test("numbers keep to their bounds", () => {
  const share = numberFrom({ above: 0, most: 1 });
  expect(share("0.5")).toBe(0.5);
  expect(share("1e-3")).toBe(0.001);
  for (const text of ["0", "1.5", "", " ", "NaN", "Infinity", "1,5"])
    expect(() => share(text)).toThrow(/above 0 and at most 1/);
  const count = wholeFrom(1, 100);
  expect(count("100")).toBe(100);
  for (const text of ["0", "101", "1.5", "-1", "", "1e1"]) expect(() => count(text)).toThrow(/from 1 to 100/);
});

test("the layer of kept maps is the middle one unless another that the model has is given", () => {
  const config = { text: { numHiddenLayers: 5 } } as Parameters<typeof mapLayerOf>[1]; // all that is read of it
  expect(mapLayerOf({}, config)).toBe(2);
  expect(mapLayerOf({ mapLayer: 4 }, config)).toBe(4);
  const message = "--map-layer must be a whole number from 0 to 4 for this model, got 5.";
  expect(() => mapLayerOf({ mapLayer: 5 }, config)).toThrow(new UsageError(message));
});

test("rows are last, generated or a count", () => {
  expect(rowSelection("last")).toBe("last");
  expect(rowSelection("generated")).toBe("generated");
  expect(rowSelection("3")).toEqual({ last: 3 });
  for (const text of ["0", "-1", "all", "1.5", ""]) expect(() => rowSelection(text)).toThrow(InvalidArgumentError);
});

test("a box is four numbers, and words are not empty", () => {
  expect(pictureBox("0, 1.5,20,30")).toEqual([0, 1.5, 20, 30]);
  for (const text of ["1,2,3", "1,2,3,4,5", "1,2,3,x", "1,,3,4", ""])
    expect(() => pictureBox(text)).toThrow(InvalidArgumentError);
  expect(wordList("Left, Right")).toEqual(["Left", "Right"]);
  for (const text of ["", "Left,", " "]) expect(() => wordList(text)).toThrow(InvalidArgumentError);
});

test("texts are not empty, and may come several times", () => {
  expect(repeated("b", ["a"])).toEqual(["a", "b"]);
  expect(() => someText("")).toThrow(InvalidArgumentError);
});

test.each([
  [{}, "greedy"],
  [{ factor: 0.5 }, "scaling"],
  [{ beta: 0.5 }, "adaptvis"],
  [{ method: "adaptvis", layers: [0] }, "adaptvis"],
] as const)("%j is the method %s", (flags, method) => {
  expect(methodOf(flags)).toBe(method);
});

test.each([
  { method: "greedy", factor: 1 },
  { method: "adaptvis", factor: 1 },
  { method: "scaling", alpha1: 1 },
  { factor: 1, beta: 0.5 },
  { layers: [0] },
  { rows: "generated" },
  { patches: [0] },
  { method: "greedy", intervention: "own.mjs" },
  { factor: 1, intervention: "own.mjs" },
  { set: ["power=1"] },
] as const)("%j contradicts itself", (flags) => {
  expect(() => methodOf(flags)).toThrow(UsageError);
});

test("what the command line does not say is left to the engine", async () => {
  expect(await methodOptions({ method: "adaptvis", beta: 0.3 })).toEqual({ method: "adaptvis", beta: 0.3 });
  expect(await methodOptions({ factor: 0.5, rows: "generated" })).toEqual({
    method: "scaling",
    factor: 0.5,
    rows: "generated",
  });
  expect(await methodOptions({ gate: "margin", maxNewTokens: 3 })).toEqual({
    method: "adaptvis",
    gate: "margin",
    maxNewTokens: 3,
  });
});

test("--factors adds ScalingVis with each factor, and does not imply greedy", () => {
  expect(armTexts({})).toEqual(["greedy", "scaling", "adaptvis"]);
  expect(armTexts({ factors: [0.5, 2] })).toEqual(["scaling:factor=0.5", "scaling:factor=2"]);
  expect(armTexts({ method: ["greedy"], factors: [1.2] })).toEqual(["greedy", "scaling:factor=1.2"]);
  for (const flags of [{ factors: [2, 2] }, { method: ["scaling:factor=2"], factors: [2] }]) {
    expect(() => armTexts(flags)).toThrow(
      new UsageError("--factors: scaling:factor=2 is given twice: give each factor once."),
    );
  }
});
