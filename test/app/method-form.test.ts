// The form of a method is the registry's description: every method and parameter has a field whose default can be written and read, and
// what cannot be is refused in the library's words.
import { describe, expect, test } from "vitest";
import { hintOf, parameterOf, refusalOf, settingsOfForm, textOf } from "../../src/app/draw/method-form.ts";
import { type Parameter, settingsFrom } from "../../src/interventions/parameters.ts";
import { INTERVENTIONS } from "../../src/interventions/registry.ts";

const context = { numLayers: 4, numHeads: 2, promptLength: 20 };
/** One text of each kind of parameter, and what it means. */
const written: Readonly<Record<Parameter<unknown>["type"]["kind"], readonly [text: string, value: unknown]>> = {
  number: ["1", 1],
  choice: ["", undefined],
  indices: ["0, 1-1", [0, 1]],
  box: ["0,0, 2.5,3", [0, 0, 2.5, 3]],
  strengths: [
    "1,0; 0,1; 1,1; 0,0.5",
    [
      [1, 0],
      [0, 1],
      [1, 1],
      [0, 0.5],
    ],
  ],
  columns: ["2-4", [2, 3, 4]],
  rows: ["3", { last: 3 }],
};

const all = INTERVENTIONS.flatMap(({ name: method, parameters }) =>
  Object.entries<Parameter<unknown>>(parameters).map(([name, parameter]) => ({ method, name, parameter })),
);

describe("forms of the registry's methods", () => {
  test.each(all)("$method: $name is written and read, and its default too", ({ method, name, parameter }) => {
    const { type } = parameter;
    const [text, value] =
      type.kind === "choice" ? [type.choices.at(-1) ?? "", type.choices.at(-1)] : written[type.kind];
    const form = { name: method, texts: { [name]: text } };
    expect(settingsOfForm({ [name]: parameter }, form)).toEqual({ [name]: value });
    const initial = textOf(parameter.default);
    expect(initial === "").toBe(parameter.default === undefined);
    const again = settingsOfForm({ [name]: parameter }, { name: method, texts: { [name]: initial } });
    expect(settingsFrom({ [name]: parameter }, again, { ...context, method })).toEqual({ [name]: parameter.default });
    expect(refusalOf(name, initial, { type, context })).toBeUndefined();
    expect(hintOf(type)).not.toBe("");

    // "?" is none of them, and the library says so with the parameter's name first, by which the page finds the field.
    const refusal = refusalOf(name, "?", { type, context });
    expect(refusal).toMatch(new RegExp(`^${name}\\b.*\\.$`));
    expect(parameterOf({ [name]: parameter, other: parameter }, refusal ?? "")).toBe(name);
    expect(() =>
      settingsFrom(
        { [name]: parameter },
        settingsOfForm({ [name]: parameter }, { name: method, texts: { [name]: "?" } }),
        { ...context, method },
      ),
    ).toThrow(refusal);
  });

  test("an empty text is the default, and a number that is none stays what was written", () => {
    const { parameters } = INTERVENTIONS[1];
    expect(
      settingsOfForm(parameters, { name: "scaling", texts: { factor: "  ", layers: "3-1", stranger: "1" } }),
    ).toEqual({
      layers: "3-1",
    });
    expect(refusalOf("factor", "-1", { type: parameters.factor.type, context })).toBe(
      "factor must be a number from 0 to 10000, got -1.",
    );
    expect(refusalOf("layers", "4", { type: parameters.layers.type, context })).toContain("from 0 to 3, got 4");
    expect(refusalOf("layers", "4", { type: parameters.layers.type, context: undefined })).toBeUndefined();
  });

  test("lists are written with ranges", () => {
    expect([[], [3], [3, 4], [0, 2, 3, 4, 7]].map(textOf)).toEqual(["", "3", "3,4", "0,2-4,7"]);
    expect(
      [
        [
          [1, 0],
          [0.5, 1],
        ],
        "image",
        { last: 4 },
        1.5,
      ].map(textOf),
    ).toEqual(["1,0; 0.5,1", "image", "4", "1.5"]);
  });
});
