// config.json of Qwen3-VL, whose decoder's keys are always under text_config.
// Source: transformers 5.24, configuration_qwen3_vl.py

import { readActivation, readTextConfig } from "../config.ts";
import type { ConfigReader } from "../config-reader.ts";
import type { GridVisionConfig } from "../layers/grid-encoder-weights.ts";
import { gridConfig, type QwenConfig, readGridVision, refuseSibling } from "../qwen2-vl/config.ts";

const TEXT_DEFAULTS = {
  vocab_size: 151936,
  intermediate_size: 22016,
  num_key_value_heads: 32,
  head_dim: 128,
  max_position_embeddings: 128000,
  rope_theta: 500000,
};

/** @throws CheckpointError naming the key, what is possible and what was found. */
export function readQwen3Config(reader: ConfigReader): QwenConfig {
  const modelType = reader.string("model_type", undefined);
  const textReader = reader.child("text_config");
  refuseSibling(textReader, ["qwen3_vl_text"]);
  const text = readTextConfig(textReader, reader.optionalBoolean("tie_word_embeddings"), {
    modelType: "llama",
    defaults: TEXT_DEFAULTS,
    sections: [24, 20, 20],
    isInterleaved: true,
    hasHeadNorm: true,
  });
  const visionReader = reader.child("vision_config");
  refuseSibling(visionReader, ["qwen3_vl_vision", "qwen3_vl"]);
  const vision = readVision(visionReader);
  const numDeepstackLayers = vision.deepstackLayers.length;
  if (numDeepstackLayers > text.numHiddenLayers) {
    const most = `at most ${text.numHiddenLayers} layers, as many as the decoder has`;
    throw visionReader.error("deepstack_visual_indexes", most, vision.deepstackLayers);
  }
  return gridConfig(reader, { modelType, text: { ...text, numDeepstackLayers }, vision });
}

function readVision(config: ConfigReader): GridVisionConfig {
  const hiddenSize = config.count("hidden_size", 1152);
  const shared = readGridVision(config, hiddenSize, { depth: 27, patchSize: 16 });
  return {
    ...shared,
    modelType: "qwen3_vl_vision",
    intermediateSize: config.count("intermediate_size", 4304),
    hiddenAct: readActivation(config, "hidden_act", "gelu_pytorch_tanh"),
    norm: "layer",
    hasGate: false,
    patchBias: true,
    windowSide: undefined,
    fullLayers: [],
    outputSize: config.count("out_hidden_size", 3584),
    positionSide: readPositionSide(config),
    deepstackLayers: readDeepstackLayers(config, shared.numHiddenLayers),
    names: {
      mlp: ["mlp.linear_fc1", "mlp.linear_fc2"],
      mergerNorm: "norm",
      merger: ["linear_fc1", "linear_fc2"],
    },
  };
}

function readPositionSide(config: ConfigReader): number {
  const numPositions = config.count("num_position_embeddings", 2304, 2 ** 16 - 1);
  const side = Math.sqrt(numPositions);
  if (Number.isInteger(side)) return side;
  throw config.error("num_position_embeddings", "a square number", numPositions);
}

function readDeepstackLayers(config: ConfigReader, numLayers: number): readonly number[] {
  const layers: unknown = config.raw("deepstack_visual_indexes") ?? [8, 16, 24];
  const isLayer = (layer: unknown, index: number, all: readonly unknown[]): layer is number =>
    Number.isInteger(layer) && Number(layer) < numLayers && Number(layer) > Number(all[index - 1] ?? -1);
  if (Array.isArray(layers) && layers.every(isLayer)) return layers;
  throw config.error("deepstack_visual_indexes", `layers below ${numLayers} in ascending order`, layers);
}
