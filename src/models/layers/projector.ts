// The projector: vision hidden states [P, Dv] → imageFeatures [P, D], linear_1 → activation → linear_2; and with it the recipe of
// families whose features are a vision tower's hidden states, projected.
// Source: modeling_llava.py LlavaMultiModalProjector.forward
import { GPU_STORAGE, type Gpu } from "../../gpu/device.ts";
import type { Activation } from "../../gpu/ops/activations.ts";
import { linear } from "../../gpu/ops/linear.ts";
import type { Program } from "../../gpu/program.ts";
import { type Linear, padTo4 } from "../../gpu/tensor.ts";
import type { MultimodalConfig, TextConfig } from "../config.ts";
import type { WeightDeclarer } from "../weight-table.ts";
import type { PictureRecipe } from "./picture-encoder.ts";
import { createVisionState, encodeImage, type VisionWeights } from "./vision-encoder.ts";

/** The config of a family whose features are a tower's hidden states, projected. */
export interface ProjectedConfig extends MultimodalConfig {
  readonly projectorHiddenAct: Activation;
  readonly projectorBias: boolean;
  /** `default` drops the class token, `full` keeps it. */
  readonly visionFeatureSelectStrategy: "default" | "full";
  /** Grids that pictures are cut into, as [height, width] in pixels; undefined where a picture is a single tile. */
  readonly imageGridPinpoints: readonly (readonly [number, number])[] | undefined;
}

/** The two linear layers between the vision tower and the decoder. */
export interface ProjectorWeights {
  /** [D, Dv] */
  readonly linear1: Linear;
  /** [D, D] */
  readonly linear2: Linear;
  /** [D], LLaVA-NeXT only */
  readonly imageNewline: GPUBuffer | undefined;
}

/** Declares the projector. */
export function projectorWeights(
  w: WeightDeclarer,
  text: TextConfig,
  { vision, projectorBias: bias, imageGridPinpoints }: ProjectedConfig,
): ProjectorWeights {
  const projector = w.part("projector");
  const { hiddenSize } = text;
  const layer = (name: string, columns: number) =>
    projector.linear({ stack: [{ name: `multi_modal_projector.${name}`, rows: hiddenSize }], columns, bias });
  return {
    linear1: layer("linear_1", vision.hiddenSize),
    linear2: layer("linear_2", hiddenSize),
    imageNewline: imageGridPinpoints && projector.vector("image_newline", hiddenSize, "position"),
  };
}

/** Features of one picture (or tile): its hidden states, without the first one under the `default` strategy. */
export function numImageFeatures(multimodal: ProjectedConfig): number {
  return multimodal.vision.numPositions - firstFeature(multimodal);
}

/** The first hidden state that becomes a feature; the class token is number 0, where there is one. */
function firstFeature({ visionFeatureSelectStrategy }: ProjectedConfig): number {
  return visionFeatureSelectStrategy === "full" ? 0 : 1;
}

/** Records the projection of one picture's hidden states into rows [rowStart, +P) of imageFeatures. */
function projectFeatures(
  program: Program,
  gpu: Gpu,
  run: {
    readonly text: TextConfig;
    readonly multimodal: ProjectedConfig;
    readonly weights: ProjectorWeights;
    /** [numPositions, Dv] */
    readonly hiddenStates: GPUBuffer;
    /** Scratch [P, D] */
    readonly inner: GPUBuffer;
    /** [.., D] */
    readonly imageFeatures: GPUBuffer;
    readonly rowStart: number;
  },
): void {
  const { multimodal, weights } = run;
  const numRows = numImageFeatures(multimodal);
  const stride = padTo4(run.text.hiddenSize);
  const at = (name: string, what: string) => program.at(`multi_modal_projector.${name}`, what);
  const features = `features of the picture, as wide as the decoder, through ${multimodal.projectorHiddenAct}`;
  linear(at("linear_1", features), gpu, {
    layer: weights.linear1,
    input: run.hiddenStates,
    inputRowStart: firstFeature(multimodal),
    output: run.inner,
    numRows,
    activation: multimodal.projectorHiddenAct,
  });
  linear(at("linear_2", "image features: a row for each position of the picture"), gpu, {
    layer: weights.linear2,
    input: run.inner,
    output: run.imageFeatures,
    numRows,
    outputColumn: run.rowStart * stride,
    outputStride: stride,
  });
}

/** The recipe of a vision tower whose hidden states are projected, one tile at a time. */
export function projectedTower(model: {
  readonly text: TextConfig;
  readonly multimodal: ProjectedConfig;
  readonly weights: { readonly vision: VisionWeights; readonly projector: ProjectorWeights };
}): PictureRecipe {
  const { text, multimodal, weights } = model;
  const { vision } = multimodal;
  const featuresPerTile = numImageFeatures(multimodal);
  return {
    tileLength: vision.numChannels * vision.imageSize ** 2,
    featuresPerTile,
    filler: weights.projector.imageNewline,
    open(gpu, buffers) {
      const state = createVisionState(buffers, vision);
      const inner = buffers.createBuffer("projector inner", featuresPerTile * padTo4(text.hiddenSize) * 4, GPU_STORAGE);
      return (program, { pixels, tile, imageFeatures, featureRow, places }) => {
        encodeImage(program, gpu, {
          vision,
          weights: weights.vision,
          state,
          pixels,
          imageIndex: tile,
          places,
        });
        projectFeatures(program, gpu, {
          text,
          multimodal,
          weights: weights.projector,
          hiddenStates: state.hiddenStates,
          inner,
          imageFeatures,
          rowStart: featureRow,
        });
      };
    },
  };
}
