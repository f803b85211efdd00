// Pixel shuffle and projection: the s × s patches of each block become one row, s² times as wide, which one linear layer projects.
// Formula: row (Y, X) of [P / s², s²·Dv] = patches (s·Y + dy, s·X + dx) one after the other, by dy, then dx
// Source: modeling_idefics3.py Idefics3Connector.pixel_shuffle, Idefics3SimpleMLP
import { type BufferMaker, GPU_STORAGE, type Gpu } from "../../gpu/device.ts";
import { gatherRows } from "../../gpu/ops/embedding.ts";
import { linear } from "../../gpu/ops/linear.ts";
import type { Program } from "../../gpu/program.ts";
import { type Linear, padTo4 } from "../../gpu/tensor.ts";
import type { VisionConfig } from "../config.ts";
import type { PictureRecipe } from "./picture-encoder.ts";
import { createVisionState, encodeImage, type VisionWeights } from "./vision-encoder.ts";

/** Row of the patch at each place of the shuffled rows, [P]: the blocks row by row, and each block's patches row by row. */
export function shuffledPatches(side: number, scale: number): Int32Array<ArrayBuffer> {
  const blocks = side / scale;
  return Int32Array.from({ length: side * side }, (_, index) => {
    const inBlock = index % (scale * scale);
    const block = Math.floor(index / (scale * scale));
    const y = Math.floor(block / blocks) * scale + Math.floor(inBlock / scale);
    const x = (block % blocks) * scale + (inBlock % scale);
    return y * side + x;
  });
}

/** The recipe of a tower without class token whose patches are shuffled and projected, one tile at a time. */
export function shuffledTower(model: {
  readonly vision: VisionConfig;
  /** D of the decoder. */
  readonly hiddenSize: number;
  /** s: patches along a side of each block. */
  readonly scale: number;
  readonly weights: {
    readonly vision: VisionWeights;
    /** [D, s²·Dv] */
    readonly projection: Linear;
  };
}): PictureRecipe {
  const { vision, hiddenSize, scale, weights } = model;
  const { numPatches } = vision;
  const featuresPerTile = numPatches / scale ** 2;
  return {
    tileLength: vision.numChannels * vision.imageSize ** 2,
    featuresPerTile,
    filler: undefined,
    open(gpu, buffers) {
      const state = createVisionState(buffers, vision);
      const shuffle = createShuffle(buffers, vision, scale);
      return (program, { pixels, tile, imageFeatures, featureRow, places }) => {
        encodeImage(program, gpu, { vision, weights: weights.vision, state, pixels, imageIndex: tile, places });
        gatherRows(program.at("connector.pixel_shuffle", `the patches of each block of ${scale} × ${scale} in a row`), {
          index: shuffle.index,
          source: state.hiddenStates,
          filler: shuffle.filler,
          output: shuffle.output,
          numRows: numPatches,
          outputRowStart: 0,
          columns: vision.hiddenSize,
        });
        project(program, gpu, {
          projection: weights.projection,
          shuffled: shuffle.output,
          imageFeatures,
          numRows: featuresPerTile,
          rowStart: featureRow,
          hiddenSize,
        });
      };
    },
  };
}

function createShuffle(buffers: BufferMaker, vision: VisionConfig, scale: number) {
  const width = padTo4(vision.hiddenSize) * 4;
  const index = shuffledPatches(Math.sqrt(vision.numPatches), scale);
  return {
    /** [P] */
    index: buffers.createBufferWith("pixel shuffle index", index, GPU_STORAGE),
    /** [Dv]: no index is negative */
    filler: buffers.createBuffer("pixel shuffle filler", width, GPU_STORAGE),
    /** [P, Dv], read as [P / s², s²·Dv] */
    output: buffers.createBuffer("pixel shuffle", vision.numPatches * width, GPU_STORAGE),
  };
}

function project(
  program: Program,
  gpu: Gpu,
  run: {
    readonly projection: Linear;
    readonly shuffled: GPUBuffer;
    readonly imageFeatures: GPUBuffer;
    readonly numRows: number;
    readonly rowStart: number;
    readonly hiddenSize: number;
  },
): void {
  const stride = padTo4(run.hiddenSize);
  linear(program.at("connector.modality_projection", "image features: a row for each position of the picture"), gpu, {
    layer: run.projection,
    input: run.shuffled,
    output: run.imageFeatures,
    numRows: run.numRows,
    outputColumn: run.rowStart * stride,
    outputStride: stride,
  });
}
