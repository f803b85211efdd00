// Pictures to image features: the vision tower and the projector over every picture or tile, one submit each.
import { throwIfAborted } from "../../errors.ts";
import { GPU_STORAGE, type Gpu } from "../../gpu/device.ts";
import { type Executor, runOnce, SubmitExecutor } from "../../gpu/executor.ts";
import { Program } from "../../gpu/program.ts";
import { padTo4 } from "../../gpu/tensor.ts";
import type { ModelConfig, MultimodalConfig } from "../config.ts";
import type { ProjectorWeights, VisionWeights } from "../weights.ts";
import { numImageFeatures, projectFeatures } from "./projector.ts";
import { createVisionState, encodeImage, type VisionState } from "./vision-encoder.ts";

/** Receives the vision tower's hidden states while they stand in the state's buffer. */
export type VisionCapture = (
  program: Program,
  at: { readonly tile: number; readonly layer: number; readonly state: VisionState },
) => void;

/** The vision tower and the projector with their scratch buffers. */
export class PictureEncoder {
  private readonly gpu: Gpu;
  private readonly config: ModelConfig;
  private readonly multimodal: MultimodalConfig;
  private readonly weights: { readonly vision: VisionWeights; readonly projector: ProjectorWeights };
  private state: VisionState | undefined;
  /** Runs all programs; explain puts another one here for the time of an answer. */
  executor: Executor;

  constructor(
    gpu: Gpu,
    config: ModelConfig,
    options: {
      readonly multimodal: MultimodalConfig;
      readonly weights: { readonly vision: VisionWeights; readonly projector: ProjectorWeights };
    },
  ) {
    this.gpu = gpu;
    this.config = config;
    this.multimodal = options.multimodal;
    this.weights = options.weights;
    this.executor = new SubmitExecutor(gpu);
  }

  /**
   * imageFeatures [N·P, D] f32 of pixelValues [N, C, S, S]; the caller destroys the buffer.
   * @throws AbortError between tiles; GpuError.
   */
  async encode(
    pixelValues: Float32Array<ArrayBuffer>,
    options: { readonly signal?: AbortSignal | undefined; readonly capture?: VisionCapture | undefined },
  ): Promise<GPUBuffer> {
    const { gpu, multimodal } = this;
    const { vision } = multimodal;
    const numTiles = pixelValues.length / (vision.numChannels * vision.imageSize ** 2);
    const rowsPerTile = numImageFeatures(multimodal);
    const d = padTo4(this.config.text.hiddenSize);
    this.state ??= createVisionState(gpu, vision);
    const { state } = this;
    const pixels = gpu.createBufferWith("pixelValues", pixelValues, GPU_STORAGE);
    const inner = gpu.createBuffer("projector inner", rowsPerTile * d * 4, GPU_STORAGE);
    const imageFeatures = gpu.createBuffer("imageFeatures", numTiles * rowsPerTile * d * 4, GPU_STORAGE);
    try {
      for (let tile = 0; tile < numTiles; tile++) {
        throwIfAborted(options.signal, "Encoding the picture");
        const program = visionProgram(gpu, {
          config: this.config,
          multimodal,
          weights: this.weights,
          state,
          tile,
          pixels,
          inner,
          imageFeatures,
          capture: options.capture,
        });
        await runOnce(this.executor, program, numTiles > 1 ? `vision, tile ${tile + 1}` : "vision");
      }
    } catch (error) {
      gpu.destroyBuffer(imageFeatures);
      throw error;
    } finally {
      gpu.destroyBuffer(pixels);
      gpu.destroyBuffer(inner);
    }
    return imageFeatures;
  }
}

/** One picture or tile of `pixels` through the vision tower and the projector, into its rows of `imageFeatures`. */
export function visionProgram(
  gpu: Gpu,
  run: {
    readonly config: ModelConfig;
    readonly multimodal: MultimodalConfig;
    readonly weights: { readonly vision: VisionWeights; readonly projector: ProjectorWeights };
    readonly state: VisionState;
    readonly tile: number;
    /** [N, C, S, S] f32 */
    readonly pixels: GPUBuffer;
    /** Scratch [P, D] f32 */
    readonly inner: GPUBuffer;
    /** [N·P, D] f32 */
    readonly imageFeatures: GPUBuffer;
    readonly capture?: VisionCapture | undefined;
  },
): Program {
  const { config, multimodal, weights, state, tile, pixels, inner, imageFeatures } = run;
  const program = new Program("vision");
  encodeImage(program, gpu, {
    config: multimodal,
    weights: weights.vision,
    state,
    pixels,
    imageIndex: tile,
    onHiddenState: (layer) => run.capture?.(program, { tile, layer, state }),
  });
  projectFeatures(program, gpu, {
    config,
    multimodal,
    weights: weights.projector,
    hiddenStates: state.hiddenStates,
    inner,
    imageFeatures,
    rowStart: tile * numImageFeatures(multimodal),
  });
  return program;
}
