// The options of an answer: defaults, limits, and what a checkpoint's adaptvis.json sets.
import { describe, expect, test } from "vitest";
import { factorList } from "../../src/check-arguments.ts";
import { CheckpointError, InputError } from "../../src/errors.ts";
import { GREEDY } from "../../src/generate/sampler.ts";
import { defineIntervention } from "../../src/interventions/intervention.ts";
import { number } from "../../src/interventions/parameters.ts";
import { readModelConfig } from "../../src/models/registry.ts";
import { readMethodDefaults, type Settings, settingsOf } from "../../src/settings.ts";
import { memorySource, rejection } from "../checkpoint/fixtures.ts";

describe("options of an answer", () => {
  const json = { model_type: "llama", max_position_embeddings: 100, num_hidden_layers: 2, num_attention_heads: 4 };
  const { text } = readModelConfig(json);
  const of = (options: object, promptLength = 40): Settings =>
    settingsOf(options, { text, defaults: {} }, promptLength);

  test("defaults", () => {
    expect({ ...of({}), method: of({}).method.name }).toEqual({
      method: "greedy",
      values: {},
      maxNewTokens: 61,
      stop: [],
      sampling: { temperature: 0, topK: 0, topP: 1, repetitionPenalty: 1, seed: 0 },
      topLogProbs: 0,
    });
    expect(of({}, 4).maxNewTokens).toBe(64);
  });

  test("what is given is taken", () => {
    const options = { maxNewTokens: 3, stop: ["a"], topLogProbs: 100 };
    expect(of({ ...options, method: "scaling", factor: 0, sampling: { seed: 3 } })).toMatchObject({
      ...options,
      values: { factor: 0 },
      sampling: { ...GREEDY, seed: 3 },
    });
    for (const method of ["greedy", "scaling", "adaptvis"]) expect(of({ method }).method.name).toBe(method);
    of({ method: "scaling", layers: [0, 1], heads: [0, 3], confidence: ["Left"] });
    of({ method: "scaling", layers: [], heads: [], confidence: "vocabulary" });
  });

  test.each([
    [100, 5, 1],
    [99, 5, 2],
    [96, 5, 5],
    [95, 5, 5],
    [4, 1, 1],
  ])("after a prompt of %i of 100 positions, %i tokens become %i", (promptLength, maxNewTokens, expected) => {
    expect(of({ maxNewTokens }, promptLength).maxNewTokens).toBe(expected);
  });

  test("a prompt that is longer than the context is refused", () => {
    expect(() => of({}, 101)).toThrow(
      new InputError("The prompt has 101 positions, but the model's context has 100: shorten the text."),
    );
  });

  test.each([
    [{ method: "beam" }, "method must be one of greedy, scaling, adaptvis, constant-add"],
    [
      { method: null },
      "method must be one of greedy, scaling, adaptvis, constant-add, temperature, pai, vaf, visual-sinks, knock-out, vcd, m3id, dola, got null.",
    ],
    [{ method: {} }, "method.name must be a text, got undefined."],
    [{ method: { name: "mine", parameters: {} } }, "method.edits must be a function, got undefined."],
    [
      { method: { name: "mine", edits: (): number => 0 } },
      "method.parameters must be an object of parameters, got undefined.",
    ],
    [
      { method: { name: "mine", edits: (): number => 0, parameters: { a: { type: { kind: "colour" } } } } },
      'method.parameters.a.type.kind must be "number" or "choice" or "indices" or "columns" or "rows" or "box" or "strengths", got "colour".',
    ],
    [{ method: Object.assign(() => 0, { edits: (): number => 0 }) }, "dola, got a function."],
    [{ method: "scaling", factor: null }, "factor must be a number from 0 to 10000, got null."],
    [{ method: "scaling", factor: -2 }, "factor must be"],
    [{ method: "scaling", factor: "2" }, 'factor must be a number from 0 to 10000, got "2".'],
    [{ method: "adaptvis", alpha1: -1 }, "alpha1 must be"],
    [{ maxNewTokens: 0 }, "maxNewTokens must be a whole number of at least 1, got 0."],
    [{ maxNewTokens: 1.5 }, "maxNewTokens must be"],
    [{ method: "scaling", layers: [0, 2] }, "layers must be whole numbers from 0 to 1, got 2"],
    [{ method: "scaling", layers: [0.5] }, "layers must be"],
    [{ method: "scaling", layers: 1 }, "layers must be a list of whole numbers, got a number."],
    [{ method: "scaling", heads: new Set([1]) }, "heads must be a list of whole numbers, got Set."],
    [{ method: "scaling", heads: [-1] }, "heads must be"],
    [{ method: "scaling", heads: [4] }, "heads must be whole numbers from 0 to 3, got 4"],
    [{ topLogProbs: 101 }, "topLogProbs must be a whole number from 0 to 100"],
    [{ topLogProbs: -1 }, "topLogProbs must be"],
    [{ topLogProbs: 0.5 }, "topLogProbs must be"],
    [{ sampling: { topP: 2 } }, "topP must be"],
    [{ confidence: [] }, 'confidence must be "vocabulary" or a list of at least one text, got an empty list.'],
    [{ confidence: "left" }, 'confidence must be "vocabulary" or a list of at least one text, got "left".'],
    [{ confidence: [1] }, "confidence[0] must be a text, got 1."],
    [{ stop: "a" }, 'stop must be a list of texts, got "a".'],
    [{ stop: [1] }, "stop[0] must be a text, got 1."],
  ])("%j is refused by name", (options, message) => {
    expect(() => of(options)).toThrow(InputError);
    expect(() => of(options)).toThrow(message);
  });

  test.each([
    [{ maxTokens: 3 }, "There is no option maxTokens of an answer; did you mean maxNewTokens?"],
    [{ max_new_tokens: 3 }, "There is no option max_new_tokens of an answer; did you mean maxNewTokens?"],
    [{ sampling: { temprature: 1 } }, "There is no option temprature of sampling; did you mean temperature?"],
    [
      { sampling: { beams: 1 } },
      "There is no option beams of sampling; the options are temperature, topK, topP, repetitionPenalty, seed.",
    ],
  ])("%j: an option that nothing reads is refused with what was meant", (options, message) => {
    expect(() => of(options)).toThrow(new InputError(message));
  });

  test("no more alternatives than the vocabulary has", () => {
    const small = { text: { ...text, vocabSize: 7 }, defaults: {} };
    expect(settingsOf({ topLogProbs: 7 }, small, 4).topLogProbs).toBe(7);
    expect(() => settingsOf({ topLogProbs: 8 }, small, 4)).toThrow("topLogProbs must be a whole number from 0 to 7");
  });

  test("a checkpoint's defaults replace a method's own, and the caller's settings replace both", () => {
    const own = { text, defaults: { adaptvis: { alpha1: 0.7, beta: 0.6 }, scaling: { factor: 0.9 } } };
    const values = (options: object) => settingsOf(options, own, 40).values;
    expect(values({ method: "adaptvis" })).toMatchObject({ alpha1: 0.7, alpha2: 1.5, beta: 0.6 });
    expect(values({ method: "adaptvis", beta: 0 })).toMatchObject({ alpha1: 0.7, beta: 0 });
    expect(values({ method: "scaling" })).toMatchObject({ factor: 0.9 });
    expect(values({})).toEqual({});
  });

  test("an intervention of the caller's brings its own settings", () => {
    const mine = defineIntervention({
      name: "mine",
      title: "Mine",
      summary: "test",
      source: "",
      parameters: { strength: number({ default: 2, minimum: 0, maximum: 4, meaning: "test" }) },
      edits: () => ({ scores: [], factor: 1 }),
    });
    expect(of({ method: mine, settings: { strength: 3 } })).toMatchObject({
      values: { strength: 3 },
      method: { name: "mine" },
    });
    expect(of({ method: mine }).values).toEqual({ strength: 2 });
    expect(() => of({ method: mine, settings: { strength: 5 } })).toThrow(
      "strength must be a number from 0 to 4, got 5",
    );
    expect(() => of({ method: mine, factor: 1 })).toThrow("factor is not a setting of method mine: it has strength");
  });
});

describe("factors of a sweep", () => {
  test.each([
    ["one", [1]],
    ["32", Array.from({ length: 32 }, () => 1)],
    ["the smallest and the largest", [0, 10_000]],
  ])("%s may be given", (_, factors) => {
    factorList(factors);
  });

  test.each([
    [null, "factors must be a list of numbers, got null."],
    [0.5, "factors must be a list of numbers, got 0.5."],
    [[], "factors must be 1 to 32 numbers, got 0."],
    [Array.from({ length: 33 }, () => 1), "factors must be 1 to 32 numbers, got 33."],
    [[-1], "factors[0] must be a number from 0 to 10000, got -1."],
    [[1, 10_000.5], "factors[1] must be a number from 0 to 10000, got 10000.5."],
    [[1, Number.NaN], "factors[1] must be a number from 0 to 10000, got NaN."],
    [["1"], 'factors[0] must be a number from 0 to 10000, got "1".'],
    [[1, undefined], "factors[1] must be a number from 0 to 10000, got undefined."],
  ])("%j is refused", (factors, message) => {
    const check = () => factorList(factors as number[]);
    expect(check).toThrow(InputError);
    expect(check).toThrow(message);
  });
});

describe("adaptvis.json", () => {
  const defaultsOf = (content: unknown) => {
    const text = typeof content === "string" ? content : JSON.stringify(content);
    return readMethodDefaults(memorySource({ "adaptvis.json": text }, "models/mine"));
  };

  test("a checkpoint without one sets nothing", async () => {
    expect(await readMethodDefaults(memorySource({ "config.json": "{}" }))).toEqual({});
  });

  test("its numbers are the defaults of the methods that they belong to, and other keys are left alone", async () => {
    const values = { alpha1: 0.25, alpha2: 1.75, beta: 0.5, scalingFactor: 1.25, dataset: "Controlled_A" };
    expect(await defaultsOf(values)).toEqual({
      adaptvis: { alpha1: 0.25, alpha2: 1.75, beta: 0.5 },
      scaling: { factor: 1.25 },
    });
    expect(await defaultsOf({ beta: 0.5 })).toEqual({ adaptvis: { beta: 0.5 } });
  });

  test.each([["{}"], ["null"], ["3"], ['"beta"'], ["[]"]])("%s sets nothing", async (content) => {
    expect(await defaultsOf(content)).toEqual({});
  });

  test.each([
    ["alpha1", "adaptvis", "alpha1", 10_000],
    ["alpha2", "adaptvis", "alpha2", 10_000],
    ["beta", "adaptvis", "beta", 1],
    ["scalingFactor", "scaling", "factor", 10_000],
  ])("%s may be from 0 to its method's largest value", async (key, method, setting, most) => {
    for (const value of [0, most])
      expect(await defaultsOf({ [key]: value })).toEqual({ [method]: { [setting]: value } });
    for (const value of [-0.5, most + 0.5, "0.5", null]) {
      const error = await rejection(defaultsOf({ [key]: value }));
      expect(error).toBeInstanceOf(CheckpointError);
      expect(error).toMatchObject({
        message: `adaptvis.json of models/mine: ${key} must be a number from 0 to ${most}, got ${JSON.stringify(value)}.`,
        file: "adaptvis.json",
      });
    }
  });

  test("a number that JSON does not have, as Python writes it, is no trouble where nobody reads it", async () => {
    expect(await defaultsOf('{"beta": 0.5, "loss": NaN}')).toEqual({ adaptvis: { beta: 0.5 } });
  });

  test("text that is not JSON is refused, with the parser's error as the cause", async () => {
    const error = await rejection(defaultsOf("alpha1 = 0.5"));
    expect(error).toBeInstanceOf(CheckpointError);
    expect(error).toMatchObject({
      message: expect.stringMatching(/^adaptvis\.json is not valid JSON \(.+\); download or write the file again\.$/),
      file: "adaptvis.json",
      cause: expect.any(SyntaxError),
    });
  });
});
