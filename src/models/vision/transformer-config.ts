// A vision_config.json of the form that CLIP's and its relatives share.
import type { Activation } from "../../gpu/ops/activations.ts";
import { MAX_LAYERS, readActivation, type VisionConfig } from "../config.ts";
import type { ConfigReader } from "../config-reader.ts";

/** What sets one vision transformer apart from another: traits without a key in the file, and defaults. */
export interface TransformerTraits {
  readonly modelType: string;
  /** Whether a class token comes before the patches. */
  readonly hasClassToken: boolean;
  /** Whether the patch convolution has a bias. */
  readonly patchBias: boolean;
  readonly hasPreLayernorm: boolean;
  readonly hasPostLayernorm: boolean;
  /** Of `hidden_size`; 768 unless given. */
  readonly defaultHiddenSize?: number;
  /** Of `num_attention_heads`; 12 unless given. */
  readonly defaultHeads?: number;
  /** Of `patch_size`, in pixels. */
  readonly defaultPatchSize: number;
  readonly defaultActivation: Activation;
  /** Of `layer_norm_eps`. */
  readonly defaultNormEps: number;
}

/** Reads a vision_config. @throws CheckpointError naming the key, what is possible and what was found. */
export function readTransformerConfig(config: ConfigReader, traits: TransformerTraits): VisionConfig {
  const { modelType, hasClassToken, patchBias, hasPreLayernorm, hasPostLayernorm } = traits;
  const hiddenSize = config.count("hidden_size", traits.defaultHiddenSize ?? 768);
  const numAttentionHeads = config.count("num_attention_heads", traits.defaultHeads ?? 12);
  const imageSize = config.count("image_size", 224);
  const patchSize = config.count("patch_size", traits.defaultPatchSize);
  const gridSize = Math.floor(imageSize / patchSize);
  if (gridSize < 1) throw config.error("patch_size", `at most image_size (${imageSize})`, patchSize);
  if (hiddenSize % numAttentionHeads !== 0) {
    throw config.error("num_attention_heads", `a divisor of hidden_size (${hiddenSize})`, numAttentionHeads);
  }
  const numPatches = gridSize * gridSize;
  return {
    modelType,
    hiddenSize,
    intermediateSize: config.count("intermediate_size", 3072),
    numHiddenLayers: config.count("num_hidden_layers", 12, MAX_LAYERS),
    numAttentionHeads,
    headDim: hiddenSize / numAttentionHeads,
    imageSize,
    patchSize,
    numChannels: config.count("num_channels", 3),
    hiddenAct: readActivation(config, "hidden_act", traits.defaultActivation),
    layerNormEps: config.epsilon("layer_norm_eps", traits.defaultNormEps),
    numPatches,
    hasClassToken,
    numPositions: numPatches + (hasClassToken ? 1 : 0),
    patchBias,
    hasPreLayernorm,
    hasPostLayernorm,
  };
}
