// Several pictures in one prompt, and a conversation that brings a second picture, against transformers.
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { Llava } from "../../src/llava.ts";
import { imageRuns, imageSpan, type ModelInputs } from "../../src/models/inputs.ts";
import { PictureEncoder } from "../../src/models/layers/picture-encoder.ts";
import { largestError, readTensorFile, type TensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { PARITY } from "../setup/parity-bounds.ts";

const PROMPTS = ["two", "turn.0", "turn.1", "turn.2"];

let model: Llava;
let golden: TensorFile;

beforeAll(async () => {
  model = await loadGoldenModel("llava-biases");
  golden = await readTensorFile("multi-picture/expected.safetensors");
});
afterAll(() => model.dispose());

/** The inputs of one prompt, from one image token per picture or already expanded. */
function inputsOf(prompt: string, ids: "input_ids" | "expanded_ids" = "input_ids"): ModelInputs {
  const [numPictures = 0] = golden.get(`${prompt}.runs`).shape;
  const { data, shape } = golden.get("pixel_values");
  const pixelValues = data.slice(0, (data.length / (shape[0] ?? 1)) * numPictures);
  return model.processor.fromTensors({ inputIds: golden.ids(`${prompt}.${ids}`), pixelValues });
}

test.each(PROMPTS)("%s: positions, features, logits and ids", async (prompt) => {
  const inputs = inputsOf(prompt);
  expect(inputsOf(prompt, "expanded_ids")).toEqual(inputs);
  expect(Array.from(inputs.inputIds)).toEqual(golden.ids(`${prompt}.expanded_ids`));
  expect(imageRuns(inputs).flat()).toEqual(golden.ids(`${prompt}.runs`));
  const expectedIds = golden.ids(`${prompt}.generated`);
  const { tensors, answer, metadata } = await model.trace(inputs, {
    maxNewTokens: expectedIds.length,
    ignoreEos: true,
  });
  const named = (name: string) => tensors.find((tensor) => tensor.name === name)?.data ?? [];
  const features = named("image_features");
  expect(largestError(features, golden.get("image_features").data.slice(0, features.length))).toBeLessThan(
    PARITY.hiddenStates,
  );
  expect(largestError(named("logits"), golden.get(`${prompt}.logits`).data)).toBeLessThan(PARITY.logits);
  expect(answer.tokens.map(({ tokenId }) => tokenId)).toEqual(expectedIds);
  expect(answer.imageSpan).toEqual(imageSpan(inputs));
  expect([Number(metadata.image_start), Number(metadata.image_end)]).toEqual(imageSpan(inputs));
});

test("a turn with a second picture encodes that one only, and is answered to the bit as on its own", async () => {
  const options = { maxNewTokens: 8, ignoreEos: true, topLogProbs: 5 } as const;
  const alone = await model.answer(inputsOf("turn.1"), { ...options, reusePrefix: false });
  model.clearCaches();
  await model.answer(inputsOf("turn.0"), { ...options, reusePrefix: false });
  const encode = vi.spyOn(PictureEncoder.prototype, "encode");
  try {
    const { reusedTokens, ...answer } = await model.answer(inputsOf("turn.1"), options);
    expect({ ...answer, reusedTokens: 0 }).toEqual(alone);
    expect(reusedTokens).toBeGreaterThan(0);
    expect(encode).toHaveBeenCalledTimes(1);
    await model.answer(inputsOf("turn.2"), options);
    expect(encode).toHaveBeenCalledTimes(1);
  } finally {
    encode.mockRestore();
  }
});
