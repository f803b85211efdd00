// SmolVLM and Idefics3 against transformers: prompts with tiled and whole pictures, from messages to ids.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { at } from "../../src/errors.ts";
import { mapOnPicture } from "../../src/inspect/map-on-picture.ts";
import { Llava } from "../../src/llava.ts";
import { imageRuns, type ModelInputs } from "../../src/models/inputs.ts";
import { loadProcessor, type Processor } from "../../src/models/processor.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import cases from "../golden/smolvlm/cases.json" with { type: "json" };
import { openTestDevice } from "../setup/device.ts";
import { GOLDEN, largestError, readTensorFile, type TensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { madePicture } from "../setup/made-picture.ts";
import { PARITY } from "../setup/parity-bounds.ts";
import { rewrittenCheckpoint } from "../setup/rewritten-checkpoint.ts";

type CaseName = keyof typeof cases;
const NAMES = Object.keys(cases) as CaseName[]; // the file's own keys
const FOLDER = `${GOLDEN}/smolvlm`;

let model: Llava;
let golden: TensorFile;
let whole: Processor;

beforeAll(async () => {
  model = await loadGoldenModel("smolvlm");
  golden = await readTensorFile("smolvlm/expected.safetensors");
  const checkpoint = await openCheckpoint(fileSource(FOLDER));
  whole = await loadProcessor(checkpoint, readArchitecture(checkpoint.config), { imageSplitting: false });
  await checkpoint.close();
});
afterAll(() => model.dispose());

const picturesOf = (name: CaseName) =>
  cases[name].sizes.map(([width, height]) => madePicture([width ?? 0, height ?? 0]));

function inputsOf(name: CaseName): ModelInputs {
  const processor = cases[name].splits ? model.processor : whole;
  return processor.inputs(cases[name].prompt, picturesOf(name));
}

test.each(NAMES)("%s: the template's prompt, ids, tiles, features, logits and greedy ids", async (name) => {
  const { messages, prompt } = cases[name];
  const pictures = picturesOf(name);
  const numbered = messages.map(({ role, content }) => ({
    role: role as "user" | "assistant", // as the generator writes them
    content: content.map((part) =>
      "text" in part && part.text !== undefined
        ? ({ type: "text", text: part.text } as const)
        : ({ type: "image", image: madePicture([1, 1]) } as const),
    ),
  }));
  expect(model.processor.conversation(numbered).prompt).toBe(prompt);
  const inputs = inputsOf(name);
  expect(Array.from(inputs.inputIds)).toEqual(golden.ids(`${name}.input_ids`));
  expect(inputs.images).toHaveLength(pictures.length);
  const tileLength = 3 * 16 * 16;
  const sums = inputs.images.flatMap(({ pixelValues }) =>
    Array.from({ length: pixelValues.length / tileLength }, (_, tile) =>
      pixelValues.subarray(tile * tileLength, (tile + 1) * tileLength).reduce((sum, value) => sum + value, 0),
    ),
  );
  if (pictures.length > 0) expect(largestError(sums, golden.get(`${name}.pixels`).data)).toBeLessThan(1e-3);

  for (const factor of ["1.0", "0.5", "1.7"].filter((each) => golden.has(`${name}.f${each}.logits`))) {
    const expectedIds = golden.ids(`${name}.f${factor}.generated`);
    const { tensors, answer } = await model.trace(inputs, {
      ...(factor === "1.0" ? { method: "greedy" } : { method: "scaling", factor: Number(factor) }),
      maxNewTokens: expectedIds.length,
      ignoreEos: true,
    });
    const named = (tensor: string) => tensors.find((each) => each.name === tensor)?.data ?? [];
    if (factor === "1.0" && pictures.length > 0) {
      const features = golden.get(`${name}.image_features`).data;
      expect(largestError(named("image_features"), features)).toBeLessThan(PARITY.hiddenStates);
    }
    expect(largestError(named("logits"), golden.get(`${name}.f${factor}.logits`).data)).toBeLessThan(PARITY.logits);
    expect(answer.tokens.map(({ tokenId }) => tokenId)).toEqual(expectedIds);
  }
});

test("idefics3 computes the same with the same weights, as transformers' Idefics3 does", async () => {
  const source = await rewrittenCheckpoint("smolvlm", {
    config: (config) => ({
      ...config,
      architectures: ["Idefics3ForConditionalGeneration"],
      model_type: "idefics3",
      vision_config: { ...(config.vision_config as object), model_type: "idefics3_vision" },
    }),
  });
  const { device } = await openTestDevice();
  const other = await Llava.load(source, { device });
  try {
    expect(other.config.modelType).toBe("idefics3");
    const inputs = other.processor.inputs(cases.one.prompt, picturesOf("one"));
    expect(inputs).toEqual(inputsOf("one"));
    const expectedIds = golden.ids("one.f1.0.generated");
    const { tensors, answer } = await other.trace(inputs, { maxNewTokens: expectedIds.length, ignoreEos: true });
    const named = (tensor: string) => tensors.find((each) => each.name === tensor)?.data ?? [];
    const features = golden.get("one.image_features").data;
    expect(largestError(named("image_features"), features)).toBeLessThan(PARITY.hiddenStates);
    expect(largestError(named("logits"), golden.get("one.f1.0.logits").data)).toBeLessThan(PARITY.logits);
    expect(answer.tokens.map(({ tokenId }) => tokenId)).toEqual(expectedIds);
  } finally {
    other.dispose();
  }
});

test("every position of a tile holds an image token, and the text between tiles none", () => {
  const inputs = inputsOf("one");
  const imageId = model.config.multimodal?.imageTokenId;
  const runs = imageRuns(inputs);
  expect(runs).toHaveLength(7); // 2 × 3 tiles and the whole picture
  const isImage = Array.from(inputs.inputIds, (id) => id === imageId);
  for (const [start, end] of runs) isImage.fill(false, start, end);
  expect(isImage).not.toContain(true);
  expect(runs.every(([start, end]) => end - start === 4)).toBe(true);
});

test("maps lie over the picture: its tiles' cells in place, the whole picture's over all", async () => {
  const answer = await model.answer(inputsOf("one"), { maxNewTokens: 1, attention: true });
  const map = answer.attention?.used({ layer: 1 });
  if (map === undefined) throw new Error("expected attention");
  expect([map.width, map.height]).toEqual([6, 4]); // 3 × 2 tiles of 2 × 2
  expect(map.unplacedShare).toBe(0);
  const mapped = map.values.reduce((sum, value) => sum + value, 0);
  expect(mapped).toBeCloseTo(map.share, 6);
  const pixels = mapOnPicture(map);
  expect([pixels.width, pixels.height]).toEqual([30, 20]);
  expect(pixels.values.reduce((sum, value) => sum + value, 0)).toBeCloseTo(map.share, 4);
});

test("a follow-up reuses the first turn and its tiles", async () => {
  const options = { maxNewTokens: 4, ignoreEos: true } as const;
  const alone = await model.answer(inputsOf("turns"), { ...options, reusePrefix: false });
  const [first, second] = picturesOf("turns");
  if (first === undefined || second === undefined) throw new Error("expected two pictures");
  const prompt = cases.turns.prompt;
  await model.answer(model.processor.inputs(prompt.slice(0, prompt.indexOf(" Left.")), [first]), options);
  const { reusedTokens, tokens } = await model.answer(model.processor.inputs(prompt, [first, second]), options);
  expect(tokens.map(({ tokenId }) => tokenId)).toEqual(alone.tokens.map(({ tokenId }) => tokenId));
  expect(reusedTokens).toBeGreaterThan(imageRuns(inputsOf("turns"))[12]?.[1] ?? Number.POSITIVE_INFINITY);
});

test("tensors of transformers' processor, whose pictures' sizes are not known, give the same", async () => {
  const inputs = inputsOf("three");
  const pixelValues = Float32Array.from(inputs.images.flatMap((image) => Array.from(image.pixelValues)));
  const tensors = model.processor.fromTensors({ inputIds: inputs.inputIds, pixelValues });
  expect(tensors.inputIds).toEqual(inputs.inputIds);
  expect(imageRuns(tensors)).toEqual(imageRuns(inputs));
  const { answer } = await model.trace(tensors, { maxNewTokens: 8, ignoreEos: true, method: "greedy" });
  expect(answer.tokens.map(({ tokenId }) => tokenId)).toEqual(golden.ids("three.f1.0.generated"));
});

describe("configs", () => {
  const config = { model_type: "idefics3", vision_config: { image_size: 364, patch_size: 14 } };

  test("defaults are those of transformers", () => {
    // The default of scale_factor, 2, does not divide the default tile's 7 patches; transformers fails later.
    const { text, multimodal } = readArchitecture({ model_type: "smolvlm", scale_factor: 7 }).config;
    expect(text).toMatchObject({ modelType: "llama", rmsNormEps: 1e-5, tieWordEmbeddings: false });
    expect(multimodal).toMatchObject({
      imageTokenId: 128257,
      vision: { hiddenSize: 1152, intermediateSize: 3072, numHiddenLayers: 12, numAttentionHeads: 16, imageSize: 224 },
    });
    expect(readArchitecture({ model_type: "smolvlm", scale_factor: 1, text_config: {} }).config.text.rmsNormEps).toBe(
      1e-6,
    );
  });

  test("the positions of the published sizes", () => {
    const smol = { model_type: "smolvlm", scale_factor: 4, vision_config: { image_size: 512, patch_size: 16 } };
    const { pictures } = readArchitecture(smol);
    const count = (width: number, height: number) => pictures?.positions([height, width], {}).rowIndex.length;
    expect([count(640, 480), count(336, 336), count(1200, 300), count(200, 300)]).toEqual([832, 1088, 320, 832]);
    const idefics = readArchitecture({ ...config, scale_factor: 2 }).pictures;
    expect(at(idefics?.positions([300, 200], {}).runLengths ?? [], 0)).toBe(169);
  });

  test.each([
    [{ scale_factor: 3 }, "scale_factor must be a divisor of the 26 patches along a tile's side"],
    [{ vision_config: { model_type: "clip_vision_model" } }, "vision_config.model_type must be idefics3_vision or"],
    [{ text_config: { qk_layer_norms: true } }, "text_config.qk_layer_norms must be false"],
    [{ text_config: { rope_interleaved: true } }, "text_config.rope_interleaved must be false"],
  ])("%j is refused", (values, message) => {
    expect(() => readArchitecture({ ...config, ...values })).toThrow(message);
  });
});
