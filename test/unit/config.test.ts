import { describe, expect, test } from "vitest";
import { CheckpointError } from "../../src/errors.ts";
import { RotaryPositions } from "../../src/generate/rotary-positions.ts";
import { noVisionTower, requireMultimodal } from "../../src/models/config.ts";
import { rotaryRows, rotatedLength, rotationOf } from "../../src/models/layers/rope.ts";
import { packStep, STEP_BYTES } from "../../src/models/layers/step.ts";
import { readModelConfig } from "../../src/models/registry.ts";
import type { RopeConfig } from "../../src/models/rope-config.ts";

const LLAVA = {
  model_type: "llava",
  text_config: { model_type: "llama" },
  vision_config: { model_type: "clip_vision_model" },
};

const text = (changes: object) => ({ ...LLAVA, text_config: { model_type: "llama", ...changes } });
const ropeOf = (json: object) => readModelConfig({ model_type: "llama", ...json }).text.rope;
const scaled = (scaling: object) => text({ rope_scaling: scaling });
const next = (pinpoints: unknown) => ({ ...LLAVA, model_type: "llava_next", image_grid_pinpoints: pinpoints });
const vision = (changes: object) => ({ ...LLAVA, vision_config: { model_type: "clip_vision_model", ...changes } });

const LLAMA_DEFAULTS = {
  modelType: "llama",
  vocabSize: 32000,
  hiddenSize: 4096,
  intermediateSize: 11008,
  numHiddenLayers: 32,
  numAttentionHeads: 32,
  numKeyValueHeads: 32,
  headDim: 128,
  hiddenAct: "silu",
  rmsNormEps: 1e-6,
  rope: { type: "default", theta: 10000 },
  maxPositionEmbeddings: 2048,
  slidingWindows: undefined,
  tieWordEmbeddings: false,
  qkvBias: false,
  outputBias: false,
  mlpBias: false,
  hasHeadNorm: false,
  numDeepstackLayers: 0,
};

/** What every CLIP tower is made of. */
const CLIP_PARTS = {
  modelType: "clip_vision_model",
  hasClassToken: true,
  patchBias: false,
  hasPreLayernorm: true,
  hasPostLayernorm: true,
};

describe("the defaults of transformers fill what config.json leaves out", () => {
  test.each([
    [{ model_type: "llama" }, LLAMA_DEFAULTS],
    [
      { model_type: "mistral", sliding_window: null },
      {
        ...LLAMA_DEFAULTS,
        maxPositionEmbeddings: 131072,
        modelType: "mistral",
        intermediateSize: 14336,
        numKeyValueHeads: 8,
      },
    ],
    [
      { model_type: "qwen2" },
      {
        ...LLAMA_DEFAULTS,
        maxPositionEmbeddings: 32768,
        modelType: "qwen2",
        vocabSize: 151936,
        intermediateSize: 22016,
        qkvBias: true,
      },
    ],
  ])("%j", (json, expected) => {
    expect(readModelConfig(json)).toEqual({ modelType: json.model_type, text: expected, multimodal: undefined });
    expect(readModelConfig({ ...LLAVA, text_config: json }).text).toEqual(expected);
  });

  test("qwen2's 32 key/value heads do not follow the query heads; llama's do", () => {
    expect(() => readModelConfig({ model_type: "qwen2", num_attention_heads: 16 })).toThrow("num_key_value_heads");
    const qwen2 = readModelConfig({ model_type: "qwen2", num_attention_heads: 64 }).text;
    expect(qwen2).toMatchObject({ numKeyValueHeads: 32, headDim: 64 });
    const llama = readModelConfig({ model_type: "llama", num_attention_heads: 64 }).text;
    expect(llama).toMatchObject({ numKeyValueHeads: 64, headDim: 64 });
  });

  test.each([
    ["llava", undefined],
    [
      "llava_next",
      [
        [336, 672],
        [672, 336],
        [672, 672],
        [1008, 336],
        [336, 1008],
      ],
    ],
  ])("%s", (modelType, imageGridPinpoints) => {
    const patches = imageGridPinpoints === undefined ? "49 patches" : "49 patches per tile, 5 grids";
    expect(readModelConfig({ model_type: modelType })).toEqual({
      modelType,
      text: LLAMA_DEFAULTS,
      multimodal: {
        vision: {
          hiddenSize: 768,
          intermediateSize: 3072,
          numHiddenLayers: 12,
          numAttentionHeads: 12,
          headDim: 64,
          imageSize: 224,
          patchSize: 32,
          numChannels: 3,
          hiddenAct: "quick_gelu",
          layerNormEps: 1e-5,
          numPatches: 49,
          numPositions: 50,
          ...CLIP_PARTS,
        },
        imageTokenId: 32000,
        projectorHiddenAct: "gelu",
        projectorBias: true,
        numVisionLayers: 11,
        visionFeatureSelectStrategy: "default",
        imageGridPinpoints,
        pictureForm: imageGridPinpoints === undefined ? "square" : "tiles",
        featureSummary: `${patches}, features default, projector gelu`,
      },
    });
  });
});

test.each([
  ["llama", { qkvBias: true, outputBias: true, mlpBias: true }],
  ["mistral", { qkvBias: false, outputBias: false, mlpBias: false }],
  ["qwen2", { qkvBias: true, outputBias: false, mlpBias: false }],
])("biases of %s are those that transformers' class has, whatever the config says", (model_type, biases) => {
  const { text } = readModelConfig({ model_type, attention_bias: true, mlp_bias: true, sliding_window: null });
  expect(text).toMatchObject(biases);
});

test("every key that config.json gives is read", () => {
  const { text, multimodal } = readModelConfig({
    model_type: "llava_next",
    image_token_index: 70,
    projector_hidden_act: "relu",
    multimodal_projector_bias: false,
    vision_feature_layer: 3,
    vision_feature_select_strategy: "full",
    image_grid_pinpoints: [[8, 16]],
    text_config: {
      model_type: "mistral",
      vocab_size: 71,
      hidden_size: 24,
      intermediate_size: 40,
      num_hidden_layers: 3,
      num_attention_heads: 6,
      num_key_value_heads: 3,
      head_dim: 10,
      hidden_act: "gelu_new",
      rms_norm_eps: 0.5,
      max_position_embeddings: 128,
      sliding_window: 128,
      tie_word_embeddings: true,
      attention_bias: true,
      mlp_bias: true,
      rope_scaling: {
        type: "llama3",
        factor: 8,
        low_freq_factor: 2,
        high_freq_factor: 5,
        original_max_position_embeddings: 64,
      },
      rope_theta: 500,
    },
    vision_config: {
      hidden_size: 12,
      intermediate_size: 20,
      num_hidden_layers: 4,
      num_attention_heads: 3,
      image_size: 11,
      patch_size: 4,
      num_channels: 1,
      hidden_act: "gelu",
      layer_norm_eps: 0.25,
    },
  });
  expect(text).toEqual({
    modelType: "mistral",
    vocabSize: 71,
    hiddenSize: 24,
    intermediateSize: 40,
    numHiddenLayers: 3,
    numAttentionHeads: 6,
    numKeyValueHeads: 3,
    headDim: 10,
    hiddenAct: "gelu_pytorch_tanh",
    rmsNormEps: 0.5,
    rope: {
      type: "llama3",
      theta: 500,
      factor: 8,
      lowFreqFactor: 2,
      highFreqFactor: 5,
      originalMaxPositionEmbeddings: 64,
    },
    maxPositionEmbeddings: 128,
    slidingWindows: undefined,
    tieWordEmbeddings: true,
    qkvBias: false,
    outputBias: false,
    mlpBias: false,
    hasHeadNorm: false,
    numDeepstackLayers: 0,
  });
  expect(multimodal).toEqual({
    vision: {
      hiddenSize: 12,
      intermediateSize: 20,
      numHiddenLayers: 4,
      numAttentionHeads: 3,
      headDim: 4,
      imageSize: 11,
      patchSize: 4,
      numChannels: 1,
      hiddenAct: "gelu",
      layerNormEps: 0.25,
      numPatches: 4,
      numPositions: 5,
      ...CLIP_PARTS,
    },
    imageTokenId: 70,
    projectorHiddenAct: "relu",
    projectorBias: false,
    numVisionLayers: 3,
    visionFeatureSelectStrategy: "full",
    imageGridPinpoints: [[8, 16]],
    pictureForm: "tiles",
    featureSummary: "4 patches per tile, 1 grids, features full, projector relu",
  });
});

test("newer keys come before older ones, and either flag ties the embeddings", () => {
  const outer = { ...LLAVA, image_token_id: 5, image_token_index: 6, tie_word_embeddings: true };
  expect(readModelConfig(outer).multimodal?.imageTokenId).toBe(5);
  expect(readModelConfig(outer).text.tieWordEmbeddings).toBe(true);
  const untied = { ...outer, text_config: { tie_word_embeddings: false } };
  expect(readModelConfig(untied).text.tieWordEmbeddings).toBe(true);
  expect(readModelConfig({ ...untied, tie_word_embeddings: false }).text.tieWordEmbeddings).toBe(false);
  const scaling = { rope_type: "linear", type: "yarn", factor: 2 };
  expect(ropeOf({ rope_scaling: scaling })).toEqual({ type: "linear", factor: 2, theta: 10000 });
});

test("rope_scaling comes before rope_parameters unless it is empty, as transformers 5.23 reads them", () => {
  const scaling = { type: "linear", factor: 2 };
  const parameters = { rope_type: "linear", factor: 4, rope_theta: 7 };
  const both = { rope_parameters: parameters, rope_scaling: scaling, rope_theta: 8 };
  expect(ropeOf(both)).toEqual({ type: "linear", factor: 2, theta: 8 });
  expect(ropeOf({ ...both, rope_scaling: {} })).toEqual({ type: "linear", factor: 4, theta: 7 });
  expect(ropeOf({ ...both, rope_scaling: null })).toEqual({ type: "linear", factor: 4, theta: 7 });
  expect(ropeOf({ ...both, rope_parameters: null })).toEqual({ type: "linear", factor: 2, theta: 8 });
});

test("yarn's defaults, its attention factor, and where the original context is given", () => {
  const yarn = { type: "yarn", factor: 4, original_max_position_embeddings: 64 };
  const expected = {
    type: "yarn",
    theta: 10000,
    factor: 4,
    attentionFactor: 0.1 * Math.log(4) + 1,
    betaFast: 32,
    betaSlow: 1,
    truncate: true,
    originalMaxPositionEmbeddings: 64,
  };
  expect(ropeOf({ rope_scaling: yarn })).toEqual(expected);
  const zeros = { ...yarn, beta_fast: 0, beta_slow: null, mscale: 0.7, attention_factor: null };
  expect(ropeOf({ rope_scaling: zeros })).toEqual(expected);
  const both = { ...yarn, mscale: 0.7, mscale_all_dim: 0.4 };
  const ratio = (0.07 * Math.log(4) + 1) / (0.04 * Math.log(4) + 1);
  expect(ropeOf({ rope_scaling: both })).toMatchObject({ attentionFactor: ratio });
  expect(ropeOf({ rope_scaling: { ...both, attention_factor: 0.5 } })).toMatchObject({ attentionFactor: 0.5 });
  const outer = { rope_scaling: yarn, original_max_position_embeddings: 32 };
  expect(ropeOf(outer)).toMatchObject({ originalMaxPositionEmbeddings: 32 });
  const none = { type: "yarn", factor: 4 };
  expect(ropeOf({ rope_scaling: none })).toMatchObject({ originalMaxPositionEmbeddings: 2048 });
});

test.each([
  ["default", {}, 64],
  ["linear", { factor: 2.5 }, 160],
  ["dynamic", { factor: 4 }, 256],
  ["llama3", { factor: 4, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 16 }, 64],
  ["yarn", { factor: 4, original_max_position_embeddings: 16 }, 64],
  ["yarn", { factor: 4, original_max_position_embeddings: 64 }, 256],
])("the context of 64 positions with %s embeddings %j has %i", (type, scaling, length) => {
  const json = { model_type: "llama", max_position_embeddings: 64, rope_scaling: { type, ...scaling } };
  expect(readModelConfig(json).text.maxPositionEmbeddings).toBe(length);
});

test("a picture may be one patch", () => {
  const { multimodal } = readModelConfig(vision({ image_size: 8, patch_size: 8 }));
  expect(multimodal?.vision.numPatches).toBe(1);
});

test("null is as good as absent", () => {
  const nulls = { head_dim: null, rope_scaling: null, hidden_act: null, tie_word_embeddings: null, mlp_bias: null };
  const json = { model_type: "llama", ...nulls, quantization_config: null };
  expect(readModelConfig(json).text).toEqual(LLAMA_DEFAULTS);
  const outer = { ...LLAVA, model_type: "llava_next", text_config: null, vision_config: null, image_token_id: null };
  expect(readModelConfig({ ...outer, image_grid_pinpoints: null, image_token_index: null })).toEqual(
    readModelConfig({ model_type: "llava_next" }),
  );
});

test.each([
  ["quick_gelu", "quick_gelu"],
  ["gelu", "gelu"],
  ["silu", "silu"],
  ["swish", "silu"],
  ["gelu_pytorch_tanh", "gelu_pytorch_tanh"],
  ["gelu_new", "gelu_pytorch_tanh"],
  ["relu", "relu"],
])("the activation %s is computed as %s", (name, activation) => {
  expect(readModelConfig({ model_type: "llama", hidden_act: name }).text.hiddenAct).toBe(activation);
});

test.each([
  [-13, 0],
  [-1, 12],
  [0, 0],
  [12, 12],
  [[-3], 10],
])("vision_feature_layer %j of 12 layers runs %i of them", (layer, numVisionLayers) => {
  const config = readModelConfig({ ...LLAVA, vision_feature_layer: layer });
  expect(config.multimodal?.numVisionLayers).toBe(numVisionLayers);
});

describe("sliding windows", () => {
  const windowsOf = (json: object) => readModelConfig({ num_hidden_layers: 4, ...json }).text.slidingWindows;
  const qwen2 = { model_type: "qwen2", use_sliding_window: true, sliding_window: 8 };
  const [full, sliding] = ["full_attention", "sliding_attention"];
  const none = undefined;

  test("of mistral are of all layers, 4,096 keys unless given", () => {
    expect(windowsOf({ model_type: "mistral" })).toEqual([4096, 4096, 4096, 4096]);
    const short = { model_type: "mistral", max_position_embeddings: 64 };
    expect(windowsOf({ ...short, sliding_window: 63 })).toEqual([63, 63, 63, 63]);
    const types = [sliding, sliding, sliding, sliding];
    expect(windowsOf({ ...short, sliding_window: 1, layer_types: types })).toEqual([1, 1, 1, 1]);
  });

  test("of qwen2 are those of layer_types, or from max_window_layers on, 28 unless given", () => {
    expect(windowsOf({ ...qwen2, max_window_layers: 3 })).toEqual([none, none, none, 8]);
    expect(windowsOf({ ...qwen2, max_window_layers: 0, sliding_window: undefined })).toEqual([4096, 4096, 4096, 4096]);
    expect(windowsOf({ ...qwen2, num_hidden_layers: 29 })?.map((window) => window ?? 0)).toEqual([
      ...Array(28).fill(0),
      8,
    ]);
    expect(windowsOf(qwen2)).toBeUndefined();
    const types = [sliding, full, full, sliding];
    expect(windowsOf({ ...qwen2, layer_types: types, max_window_layers: 0 })).toEqual([8, none, none, 8]);
    expect(windowsOf({ ...qwen2, layer_types: [full, full, full, full] })).toBeUndefined();
  });

  test("that the context does not exceed, or that the model type does not use, are none", () => {
    expect(windowsOf({ model_type: "mistral", sliding_window: null })).toBeUndefined();
    expect(windowsOf({ model_type: "mistral", max_position_embeddings: 4096 })).toBeUndefined();
    expect(windowsOf({ ...qwen2, use_sliding_window: false, max_window_layers: 0 })).toBeUndefined();
    expect(windowsOf({ model_type: "llama", sliding_window: 64, use_sliding_window: true })).toBeUndefined();
    const dynamic = { max_position_embeddings: 64, rope_scaling: { type: "dynamic", factor: 2 } };
    expect(windowsOf({ model_type: "mistral", ...dynamic, sliding_window: 64 })).toEqual([64, 64, 64, 64]);
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

const GRIDS = "image_grid_pinpoints must be a list of [height, width] in pixels, got";
const ACTIVATIONS = "one of quick_gelu, gelu, silu, swish, gelu_pytorch_tanh, gelu_new, relu";
const FACTOR = "text_config.rope_scaling.factor must be a number of at least 1, got";
const LLAMA3 = { type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4 };
const TYPES = ["sliding_attention", "full_attention"];
const LAYERS = "vision_feature_layer must be an integer from -13 to 12, got";

test.each([
  [
    "text layers",
    { model_type: "llama", num_hidden_layers: 1e9 },
    "num_hidden_layers must be a positive integer of at most 1000",
  ],
  [
    "vision layers",
    { ...LLAVA, vision_config: { model_type: "clip_vision_model", num_hidden_layers: 1e7 } },
    "vision_config.num_hidden_layers must be a positive integer of at most 1000",
  ],
  [
    "tiles",
    { ...LLAVA, model_type: "llava_next", image_grid_pinpoints: [[336e6, 336]] },
    "image_grid_pinpoints must be grids of at most 10000 tiles of",
  ],
  [
    "an epsilon below 0",
    { model_type: "llama", rms_norm_eps: -1 },
    "rms_norm_eps must be a number from 0 to 1, got -1",
  ],
  ["a large epsilon", { model_type: "llama", rms_norm_eps: 1e39 }, "rms_norm_eps must be a number from 0 to 1"],
  ["a base of 0", { model_type: "llama", rope_theta: 0 }, "rope_theta must be a number above 0, got 0"],
  ["a name of every object", { model_type: "llama", hidden_act: "constructor" }, "hidden_act must be one of"],
])("what no model has is refused before anything is made of it: %s", (_, json, message) => {
  expect(() => readModelConfig(json)).toThrow(CheckpointError);
  expect(() => readModelConfig(json)).toThrow(message);
});

test.each([
  ["gpt2", ""],
  ["llava_next_video", " (the nearest is llava_next)"],
])("model_type %s is refused with the list of those that there are", (model_type, hint) => {
  const refused = () => readModelConfig({ model_type });
  expect(refused).toThrow(CheckpointError);
  expect(refused).toThrow(/^config\.json: model_type must be llava, llava_next, (\w+, )*mistral or qwen2/);
  expect(refused).toThrow(`${hint}, got "${model_type}".`);
});

test.each([
  [
    "a checkpoint of LLaVA's own repository",
    { model_type: "llava", mm_vision_tower: "openai/clip-vit-large-patch14-336", hidden_size: 4096 },
    "mm_vision_tower is a setting of LLaVA's own repository, whose checkpoints are not read; use the same model in Hugging Face's layout, such as llava-hf/llava-1.5-7b-hf, or convert it with convert_llava_weights_to_hf.py of transformers",
  ],
  ["no model type", {}, "model_type must be a string, got nothing"],
  ["a list for the whole", [], "expected a JSON object"],
  ["null for the whole", null, "expected a JSON object"],
  ["a word for the whole", "llava", "expected a JSON object"],
  [
    "a quantised checkpoint",
    { ...LLAVA, quantization_config: { bits: 4 } },
    "quantization_config is set, but checkpoints quantised by another program are not implemented; use the plain f32, f16 or bf16 checkpoint",
  ],
  [
    "an unknown text model",
    text({ model_type: "gemma" }),
    'text_config.model_type must be llama, mistral or qwen2, got "gemma"',
  ],
  [
    "an unknown vision model",
    vision({ model_type: "pixtral" }),
    'vision_config.model_type must be clip_vision_model or siglip_vision_model, got "pixtral"',
  ],
  [
    "an unknown activation",
    text({ hidden_act: "xielu" }),
    `text_config.hidden_act must be ${ACTIVATIONS}, got "xielu"`,
  ],
  [
    "a name that every object has",
    text({ hidden_act: "constructor" }),
    `text_config.hidden_act must be ${ACTIVATIONS}, got "constructor"`,
  ],
  [
    "an unknown activation of the projector",
    { ...LLAVA, projector_hidden_act: "tanh" },
    `projector_hidden_act must be ${ACTIVATIONS}, got "tanh"`,
  ],
  [
    "heads that do not divide",
    text({ num_key_value_heads: 5 }),
    "text_config.num_key_value_heads must be a divisor of num_attention_heads (32), got 5",
  ],
  [
    "an odd head size",
    text({ head_dim: 15 }),
    "text_config.head_dim must be an even number, which rotary embeddings need, got 15",
  ],
  [
    "query heads that do not divide the width",
    text({ hidden_size: 8, num_attention_heads: 3 }),
    "text_config.head_dim must be a positive integer, got 2.6666666666666665",
  ],
  [
    "a fractional count",
    text({ num_hidden_layers: 1.5 }),
    "text_config.num_hidden_layers must be a positive integer of at most 1000, got 1.5",
  ],
  ["a string for a number", text({ vocab_size: "32000" }), 'text_config.vocab_size must be a number, got "32000"'],
  [
    "longrope",
    scaled({ rope_type: "longrope", factor: 4 }),
    'text_config.rope_scaling.rope_type must be default, linear, dynamic, yarn or llama3 (others are not implemented), got "longrope"',
  ],
  ["linear scaling without a factor", scaled({ type: "linear" }), `${FACTOR} nothing`],
  ["dynamic scaling by less than 1", scaled({ type: "dynamic", factor: 0.5 }), `${FACTOR} 0.5`],
  ["yarn without a factor", scaled({ type: "yarn" }), `${FACTOR} nothing`],
  ["a factor that is null", scaled({ type: "yarn", factor: null }), `${FACTOR} null`],
  [
    "yarn with a negative attention factor",
    scaled({ type: "yarn", factor: 2, attention_factor: -1 }),
    "text_config.rope_scaling.attention_factor must be a number of at least 0, got -1",
  ],
  [
    "yarn with a fast bound below the slow one",
    scaled({ type: "yarn", factor: 2, beta_fast: 2, beta_slow: 3 }),
    "text_config.rope_scaling.beta_fast must be at least beta_slow (3), got 2",
  ],
  [
    "yarn with an original context of 0",
    scaled({ type: "yarn", factor: 2, original_max_position_embeddings: 0 }),
    "text_config.rope_scaling.original_max_position_embeddings must be a positive integer, got 0",
  ],
  [
    "llama3 without a low factor",
    scaled({ ...LLAMA3, low_freq_factor: undefined }),
    "text_config.rope_scaling.low_freq_factor must be a number of at least 0, got nothing",
  ],
  [
    "llama3 with factors that are equal",
    scaled({ ...LLAMA3, low_freq_factor: 4 }),
    "text_config.rope_scaling.high_freq_factor must be more than low_freq_factor (4), got 4",
  ],
  [
    "dynamic scaling of one pair",
    text({ head_dim: 2, rope_scaling: { type: "dynamic", factor: 2 } }),
    "text_config.head_dim must be more than 2 with dynamic rotary embeddings, got 2",
  ],
  [
    "frequencies per layer type",
    text({ rope_parameters: { full_attention: { rope_type: "default" } } }),
    'text_config.rope_parameters.full_attention must be absent: rotary embeddings per layer type are not implemented, got {"rope_type":"default"}',
  ],
  [
    "partial rotary in rope_parameters",
    text({ rope_parameters: { rope_type: "default", partial_rotary_factor: 0.25 } }),
    "text_config.rope_parameters.partial_rotary_factor must be 1: partial rotary embeddings are not implemented, got 0.25",
  ],
  [
    "rotary embeddings of several axes",
    text({ rope_parameters: { rope_type: "default", mrope_section: [16, 24, 24] } }),
    "text_config.rope_parameters.mrope_section must be absent: rotary embeddings of several axes are not implemented, got [16,24,24]",
  ],
  [
    "partial rotary",
    text({ partial_rotary_factor: 0.5 }),
    "text_config.partial_rotary_factor must be 1: partial rotary embeddings are not implemented, got 0.5",
  ],
  [
    "a window of no keys",
    text({ model_type: "mistral", sliding_window: 0 }),
    "text_config.sliding_window must be a positive integer, got 0",
  ],
  [
    "mistral's windows in some layers only",
    text({ model_type: "mistral", num_hidden_layers: 2, layer_types: TYPES }),
    'text_config.layer_types must be sliding_attention in every layer, as sliding_window is 4096, got ["sliding_attention","full_attention"]',
  ],
  [
    "qwen2's windows where none is used",
    text({ model_type: "qwen2", num_hidden_layers: 2, layer_types: TYPES }),
    'text_config.layer_types must be full_attention in every layer, as sliding_window is not used, got ["sliding_attention","full_attention"]',
  ],
  [
    "too few layer types",
    text({ model_type: "qwen2", num_hidden_layers: 3, layer_types: TYPES }),
    'text_config.layer_types must be 3 times full_attention or sliding_attention, got ["sliding_attention","full_attention"]',
  ],
  [
    "an unknown layer type",
    text({ model_type: "qwen2", num_hidden_layers: 1, layer_types: ["chunked_attention"] }),
    'text_config.layer_types must be 1 times full_attention or sliding_attention, got ["chunked_attention"]',
  ],
  [
    "several feature layers",
    { ...LLAVA, vision_feature_layer: [-2, -5] },
    "vision_feature_layer must be one number, got [-2,-5]",
  ],
  ["no feature layer", { ...LLAVA, vision_feature_layer: [] }, "vision_feature_layer must be one number, got []"],
  [
    "a list of a word",
    { ...LLAVA, vision_feature_layer: ["-2"] },
    'vision_feature_layer must be one number, got ["-2"]',
  ],
  ["a feature layer before the first", { ...LLAVA, vision_feature_layer: -14 }, `${LAYERS} -14`],
  ["a feature layer beyond the last", { ...LLAVA, vision_feature_layer: 13 }, `${LAYERS} 13`],
  ["half a feature layer", { ...LLAVA, vision_feature_layer: 1.5 }, `${LAYERS} 1.5`],
  [
    "an unknown strategy",
    { ...LLAVA, vision_feature_select_strategy: "cls" },
    'vision_feature_select_strategy must be default or full, got "cls"',
  ],
  ["a negative image token", { ...LLAVA, image_token_index: -1 }, "image_token_index must be a token id, got -1"],
  ["half an image token", { ...LLAVA, image_token_id: 0.5 }, "image_token_id must be a token id, got 0.5"],
  ["no grids", next([]), `${GRIDS} []`],
  ["a grid of one side", next([[336]]), `${GRIDS} [[336]]`],
  ["a grid of three sides", next([[336, 336, 1]]), `${GRIDS} [[336,336,1]]`],
  ["a grid without height", next([[0, 336]]), `${GRIDS} [[0,336]]`],
  ["half a pixel", next([[336, 0.5]]), `${GRIDS} [[336,0.5]]`],
  ["a second grid that is a word", next([[336, 336], "ab"]), `${GRIDS} [[336,336],"ab"]`],
  ["a grid that is null", next([null]), `${GRIDS} [null]`],
  ["grids that are not a list", next("336"), `${GRIDS} "336"`],
  [
    "vision heads that do not divide",
    vision({ num_attention_heads: 5 }),
    "vision_config.num_attention_heads must be a divisor of hidden_size (768), got 5",
  ],
  [
    "a number that JSON writes beyond f64",
    text({ rms_norm_eps: JSON.parse("1e999") }),
    "text_config.rms_norm_eps must be a number, got Infinity",
  ],
  [
    "a count of 0",
    text({ num_hidden_layers: 0 }),
    "text_config.num_hidden_layers must be a positive integer of at most 1000, got 0",
  ],
  ["a word for a switch", text({ mlp_bias: "no" }), 'text_config.mlp_bias must be true or false, got "no"'],
  ["a number for a name", text({ hidden_act: 3 }), "text_config.hidden_act must be a string, got 3"],
  ["a text config that is a list", { ...LLAVA, text_config: [] }, "expected an object at text_config"],
  ["a rope config that is a word", text({ rope_scaling: "linear" }), "expected an object at text_config.rope_scaling"],
  [
    "a patch larger than the picture",
    vision({ patch_size: 225 }),
    "vision_config.patch_size must be at most image_size (224), got 225",
  ],
])("%s is refused by name", (_, json, message) => {
  let error: unknown;
  try {
    readModelConfig(json);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(CheckpointError);
  expect(error).toMatchObject({ message: `config.json: ${message}.`, file: "config.json" });
});

test("messages name the file that the config is from", () => {
  const message = "text.json: model_type must be a string, got nothing.";
  expect(() => readModelConfig({}, "text.json")).toThrow(new CheckpointError(message, { file: "text.json" }));
});

test("a text model cannot be given pictures", () => {
  const error = new CheckpointError(
    "config.json: model_type qwen2 has no vision tower, so no picture can be given; use a vision-language checkpoint, such as LLaVA.",
    { file: "config.json" },
  );
  expect(() => requireMultimodal(readModelConfig({ model_type: "qwen2" }))).toThrow(error);
  expect(noVisionTower(readModelConfig({ model_type: "qwen2" }))).toEqual(error);
  const llava = readModelConfig(LLAVA);
  expect(requireMultimodal(llava)).toBe(llava.multimodal);
});

test("SigLIP's tower has its own defaults, and no class token", () => {
  expect(readModelConfig(vision({ model_type: "siglip_vision_model" })).multimodal?.vision).toEqual({
    modelType: "siglip_vision_model",
    hiddenSize: 768,
    intermediateSize: 3072,
    numHiddenLayers: 12,
    numAttentionHeads: 12,
    headDim: 64,
    imageSize: 224,
    patchSize: 16,
    numChannels: 3,
    hiddenAct: "gelu_pytorch_tanh",
    layerNormEps: 1e-6,
    numPatches: 196,
    numPositions: 196,
    hasClassToken: false,
    patchBias: true,
    hasPreLayernorm: false,
    hasPostLayernorm: true,
  });
});

test("token 0 may be the image token", () => {
  expect(readModelConfig({ ...LLAVA, image_token_index: 0 }).multimodal?.imageTokenId).toBe(0);
});

test("qwen2 has q/k/v biases, llama only with attention_bias; mlp_bias is a switch of its own", () => {
  expect(readModelConfig({ model_type: "qwen2", num_key_value_heads: 4 }).text).toMatchObject({
    qkvBias: true,
    outputBias: false,
  });
  expect(readModelConfig({ model_type: "llama", attention_bias: true }).text).toMatchObject({
    qkvBias: true,
    outputBias: true,
    mlpBias: false,
  });
  expect(readModelConfig({ model_type: "llama", mlp_bias: true }).text).toMatchObject({
    qkvBias: false,
    outputBias: false,
    mlpBias: true,
  });
});

test("rotary rows hold cosines, then sines; linear scaling divides positions", () => {
  const rope = readModelConfig({ model_type: "llama", rope_theta: 100 }).text.rope;
  const rows = rotaryRows([7, 0, 2], rotationOf(rope, { headDim: 4 }));
  const expected = [7, 0, 2].flatMap((position) => [
    Math.cos(position),
    Math.cos(position / 10),
    Math.sin(position),
    Math.sin(position / 10),
  ]);
  expect(rows).toHaveLength(expected.length);
  for (const [i, value] of expected.entries()) expect(rows[i]).toBeCloseTo(value, 6);
  const halved = rotaryRows([2], rotationOf({ ...rope, type: "linear", factor: 2 }, { headDim: 4 }));
  expect(halved[0]).toBeCloseTo(Math.cos(1), 6);
});

test("each pair turns by the position on its own axis, and text by the same on all", () => {
  const rotation = rotationOf({ type: "default", theta: 16, axes: [0, 1, 1, 2] }, { headDim: 8 });
  const rows = rotaryRows([[3, 5, 7], 4], rotation);
  const angles = [3, 5 / 2, 5 / 4, 7 / 8, 4, 4 / 2, 4 / 4, 4 / 8];
  for (const [index, angle] of angles.entries()) {
    const at = index < 4 ? index : index + 4;
    expect(rows[at]).toBeCloseTo(Math.cos(angle), 6);
    expect(rows[at + 4]).toBeCloseTo(Math.sin(angle), 6);
  }
});

test("generated tokens are rotated for the position behind the prompt's largest, on every axis", () => {
  const text = { rope: { type: "default", theta: 16, axes: [0, 1, 1, 2] } as const, headDim: 8 };
  const positions = Int32Array.of(0, 0, 0, 1, 1, 1, 1, 1, 2, 1, 2, 1, 1, 2, 2, 3, 3, 3);
  const rotary = new RotaryPositions(text, { inputIds: Int32Array.of(1, 9, 9, 9, 9, 2), images: [], positions });
  const rotation = rotationOf(text.rope, { headDim: 8 });
  expect(rotary.rowsFrom(2, 2)).toEqual(
    rotaryRows(
      [
        [1, 1, 2],
        [1, 2, 1],
      ],
      rotation,
    ),
  );
  expect(rotary.rowsFrom(6, 2)).toEqual(rotaryRows([4, 5], rotation)); // slots 6 and 7
});

test.each([
  [
    { rope_scaling: { type: "mrope", mrope_section: [1, 1, 2] } },
    /^config\.json: rope_scaling\.mrope_section must be absent/,
  ],
  [
    { rope_parameters: { rope_type: "default", mrope_section: [1, 1, 2] } },
    /^config\.json: rope_parameters\.mrope_section must be absent/,
  ],
])("a model of plain positions refuses sections: %j", (rope, message) => {
  expect(() => readModelConfig({ model_type: "qwen2", ...rope })).toThrow(message);
});

test("llama3 scaling divides long wavelengths, leaves short ones, and blends between", () => {
  const rope = {
    type: "llama3",
    theta: 125,
    factor: 8,
    lowFreqFactor: 1,
    highFreqFactor: 4,
    originalMaxPositionEmbeddings: 64,
  } as const;
  // Frequencies 1, 1/5 and 1/25: wavelengths of 6.3 (below 64/4), 31.4 and 157 (above 64/1) positions.
  const kept = (64 / (10 * Math.PI) - 1) / 3;
  const frequencies = [1, (1 - kept) / 5 / 8 + kept / 5, 1 / 25 / 8];
  const row = rotaryRows([3], rotationOf(rope, { headDim: 6 }));
  for (const [i, frequency] of frequencies.entries()) {
    expect(row[i]).toBeCloseTo(Math.cos(3 * frequency), 6);
    expect(row[3 + i]).toBeCloseTo(Math.sin(3 * frequency), 6);
  }
});

test("scaling changes frequencies, with a blend that ends at both factors", () => {
  const llama3 = {
    type: "llama3",
    theta: 16,
    factor: 8,
    lowFreqFactor: 1.5,
    highFreqFactor: 4,
    originalMaxPositionEmbeddings: 64,
  } as const;
  const frequencies = (rope: RopeConfig) => rotationOf(rope, { headDim: 8 }).frequencies;
  expect(frequencies({ type: "default", theta: 16 })).toEqual([1, 1 / 2, 1 / 4, 1 / 8]);
  expect(frequencies({ type: "linear", theta: 16, factor: 8 })).toEqual([1 / 8, 1 / 16, 1 / 32, 1 / 64]);
  // 64 positions are 10.2, 5.1, 2.5 and 1.3 wavelengths: two more than 4, one between, one less than 1.5.
  const kept = (64 / (8 * Math.PI) - 1.5) / (4 - 1.5);
  const blended = Math.fround(((1 - kept) / 8 + kept) / 4);
  expect(frequencies(llama3)).toEqual([1, 1 / 2, blended, 1 / 64]);
});

test("dynamic frequencies follow the length once it exceeds the context of the training", () => {
  const rope = { type: "dynamic", theta: 16, factor: 2, maxPositionEmbeddings: 10 } as const;
  expect([3, 10, 11, 40].map((numPositions) => rotatedLength(rope, numPositions))).toEqual([10, 10, 11, 40]);
  expect(rotatedLength({ type: "default", theta: 16 }, 40)).toBe(0);
  const frequencies = (length: number) => rotationOf(rope, { headDim: 8, length }).frequencies;
  expect(frequencies(10)).toEqual([1, 1 / 2, 1 / 4, 1 / 8]);
  // 40 of 10 positions: 2 · 4 − 1 = 7, so θ = 16 · 7^(8/6), of which the fourth roots are taken.
  const root = (16 * 7 ** (4 / 3)) ** -0.25;
  for (const [pair, frequency] of frequencies(40).entries()) expect(frequency).toBeCloseTo(root ** pair, 6);
});

test("yarn keeps fast pairs, divides slow ones, blends between, and scales cosines and sines", () => {
  const yarn = {
    type: "yarn",
    theta: 16,
    factor: 4,
    attentionFactor: 3,
    betaFast: 64 / (2 * Math.PI),
    betaSlow: 64 / (2 * Math.PI * 4),
    truncate: false,
    originalMaxPositionEmbeddings: 64,
  } as const;
  // Wavelengths of 2π · 2^pair: 64 positions are betaFast turns of pair 0 and betaSlow turns of pair 2.
  const { frequencies, scale } = rotationOf(yarn, { headDim: 8 });
  const halfway = (1 / 2 + 1 / 8) / 2;
  for (const [pair, expected] of [1, halfway, 1 / 16, 1 / 32].entries())
    expect(frequencies[pair]).toBeCloseTo(expected, 6);
  expect(scale).toBe(3);
  expect(rotaryRows([5], { length: 0, frequencies: [1 / 4], scale: 3 })).toEqual(
    Float32Array.of(3 * Math.cos(5 / 4), 3 * Math.sin(5 / 4)),
  );
  // Rounded outwards, the blend between pairs 0.5 and 1.5 is between 0 and 2.
  const inner = { betaFast: yarn.betaFast / Math.SQRT2, betaSlow: yarn.betaSlow * Math.SQRT2 };
  expect(rotationOf({ ...yarn, ...inner, truncate: true }, { headDim: 8 }).frequencies[1]).toBeCloseTo(halfway, 6);
});

test("angles are rounded to f32 before their cosine, as transformers computes them", () => {
  const { rope } = readModelConfig({ model_type: "llama", rope_theta: 10 }).text;
  const [position, frequency] = [4069, Math.fround(1 / Math.sqrt(10))];
  const angle = Math.fround(position * frequency);
  expect(Math.abs(Math.cos(angle) - Math.cos(position * frequency))).toBeGreaterThan(1e-5);
  expect(rotaryRows([position], rotationOf(rope, { headDim: 4 }))[1]).toBeCloseTo(Math.cos(angle), 6);
});

test("a step's words lie as shaders/shared/step.wgsl declares them", () => {
  expect([...packStep({ slotStart: 9 })]).toEqual([9, 1, 0, 0, 0, 0, 0, 0]);
  const rows = [
    { slot: 9, offset: 0 },
    { slot: 4, offset: 30 },
  ];
  const ofBatch = [9, 0, 7, 0, 9, 0, 0, 0, 4, 30, 0, 0];
  expect([...packStep({ rows, prefixLength: 7 })]).toEqual(ofBatch);
  const words = new Uint32Array(STEP_BYTES / 4);
  expect(packStep({ rows, prefixLength: 7 }, words)).toBe(words);
  expect([...words.subarray(0, 12)]).toEqual(ofBatch);
});
