// Qwen2-VL and Qwen2.5-VL against transformers: pictures of several shapes, conversations, text alone, and factors.
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { Gpu } from "../../src/gpu/device.ts";
import { SubmitExecutor } from "../../src/gpu/executor.ts";
import { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { llamaWeights } from "../../src/models/layers/decoder-weights.ts";
import { type GridVisionConfig, gridEncoderWeights } from "../../src/models/layers/grid-encoder-weights.ts";
import { gridRecipe } from "../../src/models/layers/grid-recipe.ts";
import { PictureEncoder } from "../../src/models/layers/picture-encoder.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import type { WeightDeclarer } from "../../src/models/weight-table.ts";
import { loadWeights } from "../../src/models/weights.ts";
import { openTestDevice } from "../setup/device.ts";
import { GOLDEN, largestError, readTensorFile, type TensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { PARITY } from "../setup/parity-bounds.ts";
import { rewrittenCheckpoint } from "../setup/rewritten-checkpoint.ts";

const PROMPTS = ["one.0", "one.1", "three", "text", "turn.0", "turn.1"];
const FACTORS = [0.5, 1.7];

/** The prompt of a golden as the model's inputs. */
function inputsOfGolden({ processor }: Pick<Llava, "processor">, golden: TensorFile, prompt: string): ModelInputs {
  const hasPictures = golden.has(`${prompt}.pixel_values`);
  const grids = hasPictures ? golden.ids(`${prompt}.image_grid_thw`) : [];
  return processor.fromTensors({
    inputIds: golden.ids(`${prompt}.input_ids`),
    pixelValues: hasPictures ? golden.get(`${prompt}.pixel_values`).data : undefined,
    ...(hasPictures && {
      imageGridThw: Array.from({ length: grids.length / 3 }, (_, picture) => {
        const [time = 0, height = 0, width = 0] = grids.slice(3 * picture);
        return [time, height, width] as const;
      }),
    }),
  });
}

describe.each(["qwen2-vl", "qwen2-5-vl", "qwen3-vl"])("%s", (name) => {
  let model: Llava;
  let golden: TensorFile;

  beforeAll(async () => {
    model = await loadGoldenModel(name);
    golden = await readTensorFile(`${name}/expected.safetensors`);
  });
  afterAll(() => model.dispose());

  const inputsOf = (prompt: string) => inputsOfGolden(model, golden, prompt);

  test.each(PROMPTS)("%s: positions, features, logits and ids", async (prompt) => {
    const inputs = inputsOf(prompt);
    expect(inputs.positions && [...inputs.positions]).toEqual(
      golden.has(`${prompt}.positions`) ? golden.ids(`${prompt}.positions`) : undefined,
    );
    const expectedIds = golden.ids(`${prompt}.generated`);
    const { tensors, answer } = await model.trace(inputs, { maxNewTokens: expectedIds.length, ignoreEos: true });
    const named = (tensor: string) => tensors.find((each) => each.name === tensor)?.data ?? [];
    if (inputs.images.length > 0) {
      const features = golden.get(`${prompt}.image_features`).data;
      expect(largestError(named("image_features"), features)).toBeLessThan(PARITY.hiddenStates);
      expect([...named("image_grid_thw")]).toEqual(golden.ids(`${prompt}.image_grid_thw`));
      expect(named("pixel_values")).toEqual(golden.get(`${prompt}.pixel_values`).data);
    }
    expect(largestError(named("logits"), golden.get(`${prompt}.logits`).data)).toBeLessThan(PARITY.logits);
    expect(answer.tokens.map(({ tokenId }) => tokenId)).toEqual(expectedIds);
  });

  test.each(["one.0", "three"])("%s under factors, one by one and side by side", async (prompt) => {
    const inputs = inputsOf(prompt);
    const options = { maxNewTokens: 8, ignoreEos: true } as const;
    const expected = FACTORS.map((factor) => golden.ids(`${prompt}.f${factor}.generated`));
    for (const [index, factor] of FACTORS.entries()) {
      const { tensors, answer } = await model.trace(inputs, { ...options, method: "scaling", factor });
      const logits = tensors.find((tensor) => tensor.name === "logits")?.data ?? [];
      expect(largestError(logits, golden.get(`${prompt}.f${factor}.logits`).data)).toBeLessThan(PARITY.logits);
      expect(answer.tokens.map(({ tokenId }) => tokenId)).toEqual(expected[index]);
    }
    const answers = await model.sweep(inputs, FACTORS, options);
    expect(answers.map(({ tokenIds }) => tokenIds)).toEqual(expected);
  });

  test("a second turn takes over the first one's keys and values, and encodes the second picture only", async () => {
    const options = { maxNewTokens: 8, ignoreEos: true, topLogProbs: 5 } as const;
    const alone = await model.answer(inputsOf("turn.1"), { ...options, reusePrefix: false });
    model.clearCaches();
    await model.answer(inputsOf("turn.0"), { ...options, reusePrefix: false });
    const encode = vi.spyOn(PictureEncoder.prototype, "encode");
    try {
      const { reusedTokens, ...answer } = await model.answer(inputsOf("turn.1"), options);
      expect({ ...answer, reusedTokens: 0 }).toEqual(alone);
      expect(reusedTokens).toBeGreaterThanOrEqual(inputsOf("turn.0").inputIds.length - 1);
      expect(encode).toHaveBeenCalledTimes(1);
    } finally {
      encode.mockRestore();
    }
  });
});

test.each(["qwen2-vl", "qwen2-5-vl"])("%s under the tensor names of transformers 4.52 and later", async (name) => {
  const golden = await readTensorFile(`${name}/expected.safetensors`);
  const source = await rewrittenCheckpoint(name, {
    tensorName(published) {
      const [part = "", rest = ""] = [/^\w+/.exec(published)?.[0], published.replace(/^\w+\./, "")];
      const later = { model: "model.language_model", visual: "model.visual", lm_head: "lm_head" }[part];
      if (later === undefined) throw new Error(`expected a published name, got ${published}`);
      return `${later}.${rest}`;
    },
  });
  const { device } = await openTestDevice();
  const model = await Llava.load(source, { device });
  try {
    const ids = golden.ids("three.generated");
    const options = { maxNewTokens: ids.length, ignoreEos: true } as const;
    const { tensors, answer } = await model.trace(inputsOfGolden(model, golden, "three"), options);
    const logits = tensors.find((tensor) => tensor.name === "logits")?.data ?? [];
    expect(largestError(logits, golden.get("three.logits").data)).toBeLessThan(PARITY.logits);
    expect(answer.tokens.map(({ tokenId }) => tokenId)).toEqual(ids);
  } finally {
    model.dispose();
  }
});

test("an MLP takes patches in parts, the last of them smaller, to the same features", async () => {
  const { device, isSoftware } = await openTestDevice();
  const golden = await readTensorFile("qwen2-5-vl/expected.safetensors");
  const gpu = new Gpu(device, { isSoftware });
  const checkpoint = await openCheckpoint(fileSource(`${GOLDEN}/qwen2-5-vl`));
  try {
    const read = readArchitecture(checkpoint.config);
    const { text, multimodal } = read.config;
    const vision = multimodal?.vision as GridVisionConfig; // this family's
    const weights = (w: WeightDeclarer) => {
      const pictures = gridRecipe({ vision, weights: gridEncoderWeights(w, vision) }, 16);
      return { llama: llamaWeights(w, text), pictures };
    };
    const { pictures } = await loadWeights(checkpoint, { ...read, weights }, { gpu });
    if (pictures === undefined) throw new Error("expected a tower");
    const encoder = new PictureEncoder(gpu, text, pictures);
    const { data, shape } = golden.get("one.1.image_features");
    const grid = { width: 5, height: 2 };
    const executor = new SubmitExecutor(gpu);
    const features = await encoder.encode(golden.get("one.1.pixel_values").data, { grid, executor });
    expect(shape).toEqual([10, 32]);
    const bytes = await gpu.readBuffer(features, data.length * 4);
    expect(largestError(new Float32Array(bytes), data)).toBeLessThan(PARITY.hiddenStates);
    gpu.destroyBuffer(features);
  } finally {
    await checkpoint.close();
    gpu.dispose();
  }
});
