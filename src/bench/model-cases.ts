// The whole models of the bench: the embedded checkpoint and random ones at real shapes.
import type { QuantizedDtype } from "../gpu/tensor.ts";
import type { CheckpointSpec } from "./random-checkpoint.ts";
import { CLIP_B, CLIP_L, LLAMA_110M, LLAVA_7B, SIGLIP_B_512, SMOLVLM_256M, TINY_SPATIAL } from "./shapes.ts";

/** Forms of weights that models are measured with. */
export type WeightForm = "f32" | "f16" | QuantizedDtype;

/** A model to measure, and the amount of work. */
export interface ModelCase {
  /** The part's name, models/… */
  readonly name: string;
  readonly description: string;
  /** Undefined for the embedded checkpoint. */
  readonly spec: CheckpointSpec | undefined;
  /** What the matrices are quantised to at load time; as in the file when undefined. */
  readonly quantized?: QuantizedDtype;
  /** The form of the weights in tables: f32, f16, q8 or q4. */
  readonly weights: WeightForm;
  /** Rows of the prefill figure. */
  readonly prefillRows: number;
  /** Tokens of the decode figure. */
  readonly decodeTokens: number;
  /** Whether questions about pictures are measured: first and second question, AdaptVis, sweep. */
  readonly asksQuestions: boolean;
  /** Text positions of such a question. */
  readonly questionTokens: number;
  /** Whether peers also run it. */
  readonly hasPeers: boolean;
  /** Whether `--quick` runs it when it is not selected by name. */
  readonly isQuick: boolean;
  /** Whether its weights are made while they are read, and one question is measured, once; such a case runs only when selected by name. */
  readonly isFullSize?: boolean;
}

/** LLaVA-1.5-7B as it is published, with random weights: 14.1 GB in f16. */
export const LLAVA_7B_FULL: CheckpointSpec = {
  name: "llava-7b",
  seed: 7,
  dtype: "F16",
  decoder: LLAVA_7B,
  vision: CLIP_L,
  tieWordEmbeddings: false,
  maxPositions: 4096,
};

/** The cases; CPU adapters run a smaller slice of the 7B model. */
export function modelCases(options: { readonly isSoftware: boolean; readonly isQuick: boolean }): readonly ModelCase[] {
  const { isSoftware, isQuick } = options;
  const dtype = isSoftware ? "F32" : "F16";
  const weights = isSoftware ? "f32" : "f16";
  const slice = isSoftware
    ? { numHiddenLayers: 1, vocabSize: 1024, rows: 16, text: "1 layer, 1,024 of 32,064 tokens" }
    : { numHiddenLayers: 2, vocabSize: 32_064, rows: 640, text: "2 layers, whole vocabulary" };
  const tiny: ModelCase = {
    name: "models/tiny-spatial",
    description: "the embedded checkpoint, trained, f16",
    spec: undefined,
    weights: "f16",
    prefillRows: TINY_SPATIAL.prefillRows[0] ?? 96,
    decodeTokens: 64,
    asksQuestions: true,
    questionTokens: 24,
    hasPeers: false,
    isQuick: true,
  };
  const llava110m: ModelCase = {
    name: "models/llava-110m",
    description: `random: LLaMA of 110 M (12 layers, tied embeddings) and CLIP ViT-B/16 at 224 pixels, ${weights}`,
    spec: {
      name: "llava-110m",
      seed: 110,
      dtype,
      decoder: LLAMA_110M,
      vision: CLIP_B,
      tieWordEmbeddings: true,
      maxPositions: 1024,
    },
    weights,
    prefillRows: 236,
    decodeTokens: isQuick ? 16 : 32,
    asksQuestions: true,
    questionTokens: 40,
    hasPeers: true,
    isQuick: true,
  };
  const quantized = (["q8", "q4"] as const).map(
    (form): ModelCase => ({
      ...llava110m,
      name: `${llava110m.name}-${form}`,
      description: `the same checkpoint, its linear layers and embedding table in ${form}`,
      quantized: form,
      weights: form,
      asksQuestions: false,
      isQuick: false,
    }),
  );
  const smolvlm: ModelCase = {
    ...llava110m,
    name: "models/smolvlm-256m",
    description: `random: SmolVLM-256M (30 layers; SigLIP ViT-B/16 at 512 pixels, pictures not split, 64 positions each), ${weights}`,
    spec: {
      name: "smolvlm-256m",
      seed: 256,
      dtype,
      decoder: SMOLVLM_256M,
      vision: SIGLIP_B_512,
      scaleFactor: 4,
      tieWordEmbeddings: false,
      maxPositions: 1024,
    },
    prefillRows: 104,
    isQuick: false,
  };
  const slice7b: ModelCase = {
    name: "models/llava-7b-slice",
    description: `random: full-width slice of LLaVA-1.5-7B (${slice.text}) and of CLIP-L/14-336 (1 layer runs), f16`,
    spec: {
      name: "llava-7b-slice",
      seed: 7,
      dtype: "F16",
      decoder: { ...LLAVA_7B, numHiddenLayers: slice.numHiddenLayers, vocabSize: slice.vocabSize },
      vision: { ...CLIP_L, numHiddenLayers: 2 },
      tieWordEmbeddings: false,
      maxPositions: 2048,
    },
    weights: "f16",
    prefillRows: slice.rows,
    decodeTokens: 16,
    asksQuestions: !isSoftware,
    questionTokens: 64,
    hasPeers: false,
    isQuick: !isSoftware,
  };
  const slices = (["q8", "q4"] as const).map((form): ModelCase => {
    const { name, description } = slice7b;
    const what = `${description.replace(/f16$/, "")}quantised to ${form}`;
    return { ...slice7b, name: `${name}-${form}`, description: what, quantized: form, weights: form, isQuick: false };
  });
  const full7b: ModelCase = {
    ...slice7b,
    name: "models/llava-7b-full",
    description:
      "random, made while it is read: LLaVA-1.5-7B and CLIP-L/14-336 of full width and depth, f16 quantised to q4",
    spec: { ...LLAVA_7B_FULL, name: "llava-7b-full" },
    quantized: "q4",
    weights: "q4",
    prefillRows: 16 + (CLIP_L.imageSize / CLIP_L.patchSize) ** 2,
    decodeTokens: 4,
    asksQuestions: false,
    questionTokens: 16,
    isQuick: false,
    isFullSize: true,
  };
  return [tiny, llava110m, ...quantized, smolvlm, slice7b, ...(isSoftware ? [] : slices), full7b];
}
