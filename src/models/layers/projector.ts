// The projector: vision hidden states [P, Dv] → imageFeatures [P, D], linear_1 → activation → linear_2.
// Source: modeling_llava.py LlavaMultiModalProjector.forward
import type { Gpu } from "../../gpu/device.ts";
import * as ops from "../../gpu/ops/ops.ts";
import type { Program } from "../../gpu/program.ts";
import { padTo4 } from "../../gpu/tensor.ts";
import type { ModelConfig, MultimodalConfig } from "../config.ts";
import type { ProjectorWeights } from "../weights.ts";

/** Features of one picture (or tile): its patches, and the class token too under the `full` strategy. */
export function numImageFeatures(multimodal: MultimodalConfig): number {
  return multimodal.vision.numPatches + (multimodal.visionFeatureSelectStrategy === "full" ? 1 : 0);
}

/** Records the projection of one picture's hidden states into rows [rowStart, +P) of imageFeatures. */
export function projectFeatures(
  program: Program,
  gpu: Gpu,
  run: {
    readonly config: ModelConfig;
    readonly multimodal: MultimodalConfig;
    readonly weights: ProjectorWeights;
    /** [P + 1, Dv] */
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
  const stride = padTo4(run.config.text.hiddenSize);
  ops.linear(program.at("multi_modal_projector.linear_1"), gpu, {
    layer: weights.linear1,
    input: run.hiddenStates,
    inputRowStart: multimodal.visionFeatureSelectStrategy === "full" ? 0 : 1, // the class token is row 0
    output: run.inner,
    numRows,
    activation: multimodal.projectorHiddenAct,
  });
  ops.linear(program.at("multi_modal_projector.linear_2"), gpu, {
    layer: weights.linear2,
    input: run.inner,
    output: run.imageFeatures,
    numRows,
    outputColumn: run.rowStart * stride,
    outputStride: stride,
  });
}
