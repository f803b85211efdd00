// The ops that begin a vision tower: a picture's pixels as rows of patches, and their embeddings. Letters: N pictures, C
// channels, S image size, P patches, G patches along a side, p pixels along a patch's side, D hidden size.
import unfoldPatchesWgsl from "../../../shaders/unfold-patches.wgsl";
import visionEmbedWgsl from "../../../shaders/vision-embed.wgsl";
import { GpuError } from "../../errors.ts";
import { defineKernel } from "../kernel.ts";
import type { Program } from "../program.ts";
import { isQuantized, type Matrix } from "../tensor.ts";
import { descriptions } from "./descriptions-loader.ts";
import { perFloat } from "./weight-kernels.ts";

/** The kernel of {@link unfoldPatches}. */
export const UNFOLD_PATCHES = defineKernel("unfold-patches", unfoldPatchesWgsl);
/** The kernel of {@link visionEmbed}, by the position table's dtype. */
export const VISION_EMBED = perFloat("vision-embed", visionEmbedWgsl);

/** The call of {@link unfoldPatches}. */
export interface UnfoldCall {
  readonly pixels: GPUBuffer;
  readonly output: GPUBuffer;
  readonly imageIndex: number;
  readonly imageSize: number;
  readonly patchSize: number;
  readonly numChannels: number;
}

/** Picture `imageIndex` of pixels [N, C, S, S] as rows of patches [G², padTo4(C·p²)]. */
export function unfoldPatches(program: Program, call: UnfoldCall): void {
  const { imageSize, patchSize, numChannels } = call;
  const gridSize = Math.floor(imageSize / patchSize);
  const columns = numChannels * patchSize * patchSize;
  const columns4 = Math.ceil(columns / 4);
  const numRows = gridSize * gridSize;
  program.dispatch(UNFOLD_PATCHES, {
    bindings: { pixels: call.pixels, output: call.output },
    params: {
      imageSize,
      patchSize,
      gridSize,
      columns,
      columns4,
      imageOffset: call.imageIndex * numChannels * imageSize * imageSize,
    },
    grid: [Math.ceil(columns4 / 64), numRows],
    describe: async () => (await descriptions()).unfoldPatches(call, numRows, columns),
  });
}

/** The call of {@link visionEmbed}. */
export interface VisionEmbedCall {
  readonly position: Matrix;
  readonly patches: GPUBuffer;
  /** [D] f32; none where the tower has no class token */
  readonly classEmbedding: GPUBuffer | undefined;
  readonly output: GPUBuffer;
  readonly numPatches: number;
}

/**
 * output [P + c, D] = [classEmbedding | patches [P, D]] + position [P + c, D]; c is 1 with a class embedding, else 0.
 * @throws GpuError `limit` when the position table is split, `shader` when it is quantised.
 */
export function visionEmbed(program: Program, call: VisionEmbedCall): void {
  const columns4 = call.position.columns / 4;
  const { name, pieces } = call.position;
  const piece = pieces[0];
  if (piece === undefined || pieces.length > 1) {
    throw new GpuError("limit", `vision-embed: position table ${name} must be one piece, got ${pieces.length}.`);
  }
  if (isQuantized(call.position.dtype)) {
    throw new GpuError("shader", `vision-embed: position table ${name} must not be quantised.`);
  }
  const numClassTokens = call.classEmbedding === undefined ? 0 : 1;
  program.dispatch(VISION_EMBED[call.position.dtype], {
    bindings: {
      weight: piece.buffer,
      patches: call.patches,
      classEmbedding: call.classEmbedding ?? call.patches,
      output: call.output,
    },
    params: { columns4, numClassTokens },
    grid: [Math.ceil(columns4 / 64), call.numPatches + numClassTokens],
    describe: async () => (await descriptions()).visionEmbed(call),
  });
}
