import { expect, test } from "vitest";
import { CheckpointError } from "../../src/errors.ts";
import { readModelConfig } from "../../src/models/config.ts";
import { ropeTable } from "../../src/models/layers/rope.ts";
import { MAX_BATCH_ROWS, packStep } from "../../src/models/layers/step.ts";

const LLAVA = {
  model_type: "llava",
  text_config: { model_type: "llama" },
  vision_config: { model_type: "clip_vision_model" },
};

test("the defaults of transformers fill what config.json leaves out", () => {
  const { text, multimodal } = readModelConfig(LLAVA);
  expect(text).toMatchObject({
    vocabSize: 32000,
    hiddenSize: 4096,
    intermediateSize: 11008,
    numHiddenLayers: 32,
    numAttentionHeads: 32,
    numKeyValueHeads: 32,
    headDim: 128,
    hiddenAct: "silu",
    rmsNormEps: 1e-6,
    maxPositionEmbeddings: 2048,
    tieWordEmbeddings: false,
  });
  expect(text.rope).toMatchObject({ type: "default", theta: 10000 });
  expect(multimodal).toMatchObject({
    imageTokenId: 32000,
    projectorHiddenAct: "gelu",
    visionFeatureSelectStrategy: "default",
    numVisionLayers: 11,
    imageGridPinpoints: undefined,
  });
  expect(multimodal?.vision).toMatchObject({
    hiddenSize: 768,
    imageSize: 224,
    patchSize: 32,
    numPatches: 49,
    hiddenAct: "quick_gelu",
  });
});

test("llava-1.5-7b-hf's own config.json", () => {
  const config = readModelConfig({
    model_type: "llava",
    image_token_index: 32000,
    projector_hidden_act: "gelu",
    vision_feature_layer: -2,
    vision_feature_select_strategy: "default",
    text_config: { model_type: "llama", max_position_embeddings: 4096, rms_norm_eps: 1e-5, vocab_size: 32064 },
    vision_config: {
      model_type: "clip_vision_model",
      hidden_size: 1024,
      intermediate_size: 4096,
      num_hidden_layers: 24,
      num_attention_heads: 16,
      image_size: 336,
      patch_size: 14,
    },
  });
  expect(config.multimodal).toMatchObject({ numVisionLayers: 23 });
  expect(config.multimodal?.vision).toMatchObject({ numPatches: 576, headDim: 64 });
  expect(config.text).toMatchObject({ vocabSize: 32064, maxPositionEmbeddings: 4096 });
});

const text = (changes: object) => ({ ...LLAVA, text_config: { model_type: "llama", ...changes } });
const vision = (changes: object) => ({ ...LLAVA, vision_config: { model_type: "clip_vision_model", ...changes } });

test.each([
  ["an unknown model type", { model_type: "gpt2" }, "model_type must be llava, llava_next, llama, mistral or qwen2"],
  ["no model type", {}, "model_type must be a string, got nothing"],
  ["no object", [], "expected a JSON object"],
  ["a quantised checkpoint", { ...LLAVA, quantization_config: { bits: 4 } }, "quantization_config is set"],
  ["an unknown text model", text({ model_type: "gemma" }), "text_config.model_type must be"],
  [
    "an unknown vision model",
    vision({ model_type: "siglip_vision_model" }),
    "vision_config.model_type must be clip_vision_model",
  ],
  ["an unknown activation", text({ hidden_act: "xielu" }), "text_config.hidden_act must be one of"],
  ["heads that do not divide", text({ num_key_value_heads: 5 }), "num_key_value_heads must be a divisor"],
  ["an odd head size", text({ head_dim: 15 }), "head_dim must be an even number"],
  ["a fractional count", text({ num_hidden_layers: 1.5 }), "num_hidden_layers must be a positive integer"],
  ["a string for a number", text({ vocab_size: "32000" }), 'vocab_size must be a number, got "32000"'],
  ["yarn", text({ rope_scaling: { rope_type: "yarn", factor: 4 } }), "rope_type must be default, linear or llama3"],
  ["partial rotary", text({ partial_rotary_factor: 0.5 }), "partial_rotary_factor must be 1"],
  ["sliding windows", text({ model_type: "mistral", sliding_window: 1024 }), "sliding_window must be null"],
  ["several feature layers", { ...LLAVA, vision_feature_layer: [-2, -5] }, "vision_feature_layer must be one number"],
  [
    "a feature layer out of range",
    { ...LLAVA, vision_feature_layer: -14 },
    "vision_feature_layer must be an integer from -13 to 12",
  ],
  [
    "an unknown strategy",
    { ...LLAVA, vision_feature_select_strategy: "cls" },
    "vision_feature_select_strategy must be default or full",
  ],
  ["a patch larger than the picture", vision({ patch_size: 300 }), "patch_size must be at most image_size"],
])("%s is refused by name", (_, json, message) => {
  expect(() => readModelConfig(json)).toThrow(CheckpointError);
  expect(() => readModelConfig(json)).toThrow(message);
});

test("qwen2 has q/k/v biases, llama only with attention_bias", () => {
  expect(readModelConfig({ model_type: "qwen2", num_key_value_heads: 4 }).text).toMatchObject({
    qkvBias: true,
    outputBias: false,
  });
  expect(readModelConfig({ model_type: "llama", attention_bias: true }).text).toMatchObject({
    qkvBias: true,
    outputBias: true,
  });
});

test("rope tables hold cosines, then sines; linear scaling divides positions", () => {
  const rope = readModelConfig({ model_type: "llama", rope_theta: 100 }).text.rope;
  const table = ropeTable(rope, 4, 3);
  const expected = [0, 1, 2].flatMap((position) => [
    Math.cos(position),
    Math.cos(position / 10),
    Math.sin(position),
    Math.sin(position / 10),
  ]);
  for (const [i, value] of expected.entries()) expect(table[i]).toBeCloseTo(value, 6);
  const halved = ropeTable({ ...rope, type: "linear", factor: 2 }, 4, 3);
  expect(halved[8]).toBeCloseTo(Math.cos(1), 6);
});

test("a step's words lie as shaders/shared/step.wgsl declares them", () => {
  const positions = { positionStart: 9, isBatch: true, prefixLength: 7, tailStride: 3 };
  const words = packStep(positions, { span: [2, 5], rows: [6, 10], factors: [0.5, 1.5], heads: [0, 33] });
  expect(Array.from(words.slice(0, 12))).toEqual([9, 0, 7, 3, 2, 5, 6, 10, 1, 2, 0, 0]);
  expect(Array.from(new Float32Array(words.buffer).slice(12, 15))).toEqual([0.5, 1.5, 1]);
  const plain = packStep({ ...positions, isBatch: false }, undefined);
  expect(Array.from(plain.slice(1, 8))).toEqual([1, 7, 3, 0, 0, 0, 0]);
  expect(() => packStep(positions, { span: [0, 1], rows: [0, 1], factors: [], heads: [128] })).toThrow(
    "heads 0 to 127",
  );
  const factors = Array.from({ length: MAX_BATCH_ROWS + 1 }, () => 1);
  expect(() => packStep(positions, { span: [0, 1], rows: [0, 1], factors })).toThrow("at most 32");
});
