// Sessions with another epsilon of the norms, against a checkpoint whose config.json has it.
import { afterAll, beforeAll, expect, test } from "vitest";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import type { Source } from "../../src/checkpoint/source.ts";
import { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { openTestDevice } from "../setup/device.ts";
import { GOLDEN, goldenInputs, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";

/** Large enough to change every logit. */
const EPS = 0.05;

let model: Llava;
let other: Llava;
let inputs: ModelInputs;

beforeAll(async () => {
  model = await loadGoldenModel("tiny-llava");
  const { device } = await openTestDevice();
  other = await Llava.load(withEps(fileSource(`${GOLDEN}/tiny-llava`)), { device });
  inputs = goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));
});

afterAll(() => {
  model.dispose();
  other.dispose();
});

test("a session's epsilon is that of a checkpoint with it, and other sessions keep theirs", async () => {
  const options = { maxNewTokens: 4, ignoreEos: true, roundConfidence: false };
  const expected = await other.answer(inputs, options);
  const before = await model.answer(inputs, options);
  expect(before.tokens).not.toEqual(expected.tokens);
  using session = model.session({ rmsNormEps: EPS });
  for (let turn = 0; turn < 2; turn++) {
    expect((await session.answer(inputs, options).answer).tokens).toEqual(expected.tokens);
    expect((await model.answer(inputs, options)).tokens).toEqual(before.tokens);
  }
  using again = model.session({ rmsNormEps: EPS });
  const methods = [{ method: "greedy" as const }, { method: "scaling" as const, factor: 0.5 }];
  const { answers } = await again.answerEach(inputs, methods, options);
  const scaled = await other.answer(inputs, { ...options, method: "scaling", factor: 0.5 });
  expect(answers.map(({ text }) => text)).toEqual([expected.text, scaled.text]);
});

test.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])("an epsilon of %d is refused", (rmsNormEps) => {
  expect(() => model.session({ rmsNormEps })).toThrow(/rmsNormEps must be a number above 0/);
});

/** A checkpoint with another rms_norm_eps in its config.json. */
function withEps(source: Source): Source {
  const name = "config.json";
  const config = async (signal?: AbortSignal) => {
    const whole = await source.read(name, 0, (await source.size(name, signal)) ?? 0, signal);
    const text = new TextDecoder().decode(whole).replace('"rms_norm_eps": 1e-05', `"rms_norm_eps": ${EPS}`);
    return new TextEncoder().encode(text);
  };
  return {
    name: source.name,
    size: async (path, signal) => (path === name ? (await config(signal)).length : source.size(path, signal)),
    read: async (path, start, end, signal) =>
      path === name ? (await config(signal)).slice(start, end) : source.read(path, start, end, signal),
  };
}
