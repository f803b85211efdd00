// Methods with a second stream: every token against two prefills, one with the picture and one without.
import { afterAll, beforeAll, expect, test } from "vitest";
import { defineIntervention, NO_EDITS } from "../../src/interventions/intervention.ts";
import { number } from "../../src/interventions/parameters.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { goldenInputs, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";

/** gamma · logits − (gamma − 1) · logits without the picture, as classifier-free guidance does. */
const guided = defineIntervention({
  name: "guided",
  title: "Guided",
  summary: "moves the logits away from those without the picture",
  source: "arXiv 2306.17806, equation 7",
  parameters: { gamma: number({ default: 3, minimum: 0, maximum: 10, meaning: "how far" }) },
  edits: () => NO_EDITS,
  contrast: ({ gamma }) => ({
    against: "no-picture",
    combine: (logits, other) => {
      for (const [id, value] of other.entries()) logits[id] = gamma * (logits[id] ?? 0) - (gamma - 1) * value;
    },
  }),
});

/** Decode steps against prefills: other kernels, so other rounding, three and two times as large here. */
const BOUND = 5e-4;

let model: Llava;
let inputs: ModelInputs;
beforeAll(async () => {
  model = await loadGoldenModel("llava-deep");
  inputs = goldenInputs(model, await readTensorFile("score-edits/expected.safetensors"));
});
afterAll(() => model.dispose());

async function logitsAfter(prompt: ModelInputs, tokenIds: readonly number[]): Promise<readonly number[]> {
  const longer = { ...prompt, inputIds: Int32Array.from([...prompt.inputIds, ...tokenIds]) };
  const { tensors } = await model.trace(longer, { maxNewTokens: 1, ignoreEos: true });
  return Array.from(tensors.find(({ name }) => name === "logits")?.data ?? []);
}

function logSoftmax(values: readonly number[]): number[] {
  const largest = Math.max(...values);
  const logSum = largest + Math.log(values.reduce((sum, value) => sum + Math.exp(value - largest), 0));
  return values.map((value) => value - logSum);
}

const options = { method: guided, settings: { gamma: 3 }, maxNewTokens: 4, ignoreEos: true } as const;

test("each token is the most probable of the combined logits, with its log-probability", async () => {
  const { tokens } = await model.answer(inputs, options);
  const ids = tokens.map(({ tokenId }) => tokenId);
  const runs = inputs.images.flatMap((image) => image.runs);
  const isText = (position: number) => !runs.some(([start, end]) => position >= start && position < end);
  const blind = { inputIds: inputs.inputIds.filter((_, position) => isText(position)), images: [] };
  expect(blind.inputIds.length).toBeLessThan(inputs.inputIds.length);
  for (const [index, { tokenId, logProb }] of tokens.entries()) {
    const seen = await logitsAfter(inputs, ids.slice(0, index));
    const unseen = await logitsAfter(blind, ids.slice(0, index));
    const expected = logSoftmax(seen.map((value, id) => 3 * value - 2 * (unseen[id] ?? 0)));
    expect(expected.indexOf(Math.max(...expected))).toBe(tokenId);
    expect(Math.abs((expected[tokenId] ?? 0) - logProb)).toBeLessThan(BOUND);
    expect(Math.abs((logSoftmax(seen)[tokenId] ?? 0) - logProb)).toBeGreaterThan(10 * BOUND);
  }
});

test("a gamma of 1, and a prompt without a picture, give the greedy answer", async () => {
  const greedy = await model.answer(inputs, { maxNewTokens: 4, ignoreEos: true });
  const same = await model.answer(inputs, { ...options, settings: { gamma: 1 } });
  expect(same.tokens.map(({ tokenId }) => tokenId)).toEqual(greedy.tokens.map(({ tokenId }) => tokenId));
  const text = { inputIds: Int32Array.of(1, 37, 31, 82), images: [] };
  const alone = await model.answer(text, options);
  const { tokens } = await model.answer(text, { maxNewTokens: 4, ignoreEos: true });
  expect(alone.tokens.map(({ tokenId }) => tokenId)).toEqual(tokens.map(({ tokenId }) => tokenId));
});

test("the second stream leaves nothing behind", async () => {
  await model.answer(inputs, options);
  model.clearCaches();
  const before = model.gpu.allocatedBytes;
  await model.answer(inputs, options);
  model.clearCaches();
  expect(model.gpu.allocatedBytes).toBe(before);
});
