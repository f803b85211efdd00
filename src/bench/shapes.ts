// The shapes that kernels are measured at: real models' sizes.
import type { HeadLayout } from "../gpu/ops/rope.ts";
import { padTo4 } from "../gpu/tensor.ts";

/** A decoder's sizes, as config.json names them. */
export interface DecoderShape {
  readonly name: string;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly numKeyValueHeads: number;
  readonly headDim: number;
  readonly vocabSize: number;
  /** Keys that a decode step attends to. */
  readonly numKeys: number;
  /** Rows of the prefill cases. */
  readonly prefillRows: readonly number[];
}

/** A vision tower's sizes. */
export interface VisionShape {
  readonly name: string;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  readonly numAttentionHeads: number;
  readonly imageSize: number;
  readonly patchSize: number;
}

/** LLaVA-1.5-7B's decoder. */
export const LLAVA_7B: DecoderShape = {
  name: "llava-7b",
  hiddenSize: 4096,
  intermediateSize: 11_008,
  numHiddenLayers: 32,
  numAttentionHeads: 32,
  numKeyValueHeads: 32,
  headDim: 128,
  vocabSize: 32_064,
  numKeys: 640,
  prefillRows: [64, 640],
};

/** LLaVA-1.5's vision tower. */
export const CLIP_L: VisionShape = {
  name: "clip-l-336",
  hiddenSize: 1024,
  intermediateSize: 4096,
  numHiddenLayers: 24,
  numAttentionHeads: 16,
  imageSize: 336,
  patchSize: 14,
};

/** The 110 M parameters LLaMA. */
export const LLAMA_110M: DecoderShape = {
  name: "llama-110m",
  hiddenSize: 768,
  intermediateSize: 2048,
  numHiddenLayers: 12,
  numAttentionHeads: 12,
  numKeyValueHeads: 12,
  headDim: 64,
  vocabSize: 32_000,
  numKeys: 256,
  prefillRows: [64, 256],
};

/** The vision tower that goes with it: ViT-B/16 at 224 pixels. */
export const CLIP_B: VisionShape = {
  name: "clip-b-224",
  hiddenSize: 768,
  intermediateSize: 3072,
  numHiddenLayers: 12,
  numAttentionHeads: 12,
  imageSize: 224,
  patchSize: 16,
};

/** SmolVLM-256M's decoder, that of SmolLM2-135M. */
export const SMOLVLM_256M: DecoderShape = {
  name: "smolvlm-256m",
  hiddenSize: 576,
  intermediateSize: 1536,
  numHiddenLayers: 30,
  numAttentionHeads: 9,
  numKeyValueHeads: 3,
  headDim: 64,
  vocabSize: 49_280,
  numKeys: 128,
  prefillRows: [128],
};

/** SmolVLM-256M's vision tower: SigLIP ViT-B/16 at 512 pixels. */
export const SIGLIP_B_512: VisionShape = {
  name: "siglip-b-512",
  hiddenSize: 768,
  intermediateSize: 3072,
  numHiddenLayers: 12,
  numAttentionHeads: 12,
  imageSize: 512,
  patchSize: 16,
};

/** The embedded checkpoint's decoder. */
export const TINY_SPATIAL: DecoderShape = {
  name: "tiny-spatial",
  hiddenSize: 128,
  intermediateSize: 384,
  numHiddenLayers: 4,
  numAttentionHeads: 4,
  numKeyValueHeads: 4,
  headDim: 32,
  vocabSize: 448,
  numKeys: 128,
  prefillRows: [96],
};

/** Head layout of a decoder. */
export function decoderHeads(shape: DecoderShape): HeadLayout {
  const { numAttentionHeads, numKeyValueHeads, headDim } = shape;
  return { numHeads: numAttentionHeads, numKeyValueHeads, headDim, paddedHeadDim: padTo4(headDim) };
}

/** Head layout of a vision tower. */
export function visionHeads(shape: VisionShape): HeadLayout {
  const headDim = shape.hiddenSize / shape.numAttentionHeads;
  return {
    numHeads: shape.numAttentionHeads,
    numKeyValueHeads: shape.numAttentionHeads,
    headDim,
    paddedHeadDim: padTo4(headDim),
  };
}
