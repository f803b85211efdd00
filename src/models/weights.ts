// A model's weights: checked against the checkpoint, allocated on the GPU, then read into their buffers.
import { type Checkpoint, requireTensors } from "../checkpoint/checkpoint.ts";
import { at, CheckpointError } from "../errors.ts";
import { GPU_STORAGE, type Gpu } from "../gpu/device.ts";
import { isQuantized, paddedLength, storedRowBytes, type WeightDtype } from "../gpu/tensor.ts";
import type { Architecture, ModelWeights } from "./architecture.ts";
import { Quantizer } from "./quantizer.ts";
import {
  allocateMatrix,
  allocateVector,
  type CreateBuffer,
  fillMatrix,
  fillVector,
  rowsPerPiece,
  type UploadContext,
} from "./upload.ts";
import {
  emptyMatrix,
  expectedTensors,
  labelOf,
  otherForm,
  type PlannedWeight,
  planWeight,
  planWeights,
  WeightDeclarer,
} from "./weight-table.ts";

/** Progress of a load. */
export interface LoadProgress {
  readonly loadedBytes: number;
  readonly totalBytes: number;
  /** The tensor that was just worked on. */
  readonly tensor: string;
}

/** How weights are loaded. */
export interface LoadWeightsOptions {
  readonly gpu: Gpu;
  /** How matrices are stored; as in the file unless given. */
  readonly dtype?: WeightDtype | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: LoadProgress) => void) | undefined;
  /** Gets the allocated weights before their values are read, and is awaited: programs may be recorded against them. */
  readonly onAllocated?: (weights: ModelWeights) => void | Promise<void>;
}

/**
 * Checks the checkpoint's tensors, allocates all weights, then reads them. Nothing of a failed load stays allocated.
 * @throws CheckpointError listing missing, unexpected or misshapen tensors; GpuError; AbortError.
 */
export async function loadWeights(
  checkpoint: Checkpoint,
  architecture: Architecture,
  options: LoadWeightsOptions,
): Promise<ModelWeights> {
  const { gpu, dtype, signal, onProgress } = options;
  const plan = planWeights(checkpoint, architecture, dtype);
  const { expected, unused } = expectedTensors(plan);
  requireTensors(checkpoint, expected, { unused });
  for (const weight of plan) if (weight.isUsed) checkForm(checkpoint, weight);
  for (const weight of plan) if (weight.isUsed) checkLimit(gpu, weight);

  const totalBytes = expected.reduce((sum, { name }) => sum + checkpoint.tensorBytes(name), 0);
  let loadedBytes = 0;
  const quantizer = new Quantizer(gpu);
  const context: UploadContext = {
    checkpoint,
    gpu,
    signal,
    quantizer,
    onBytes: (byteLength, tensor) => {
      loadedBytes += byteLength;
      onProgress?.({ loadedBytes, totalBytes, tensor });
    },
  };
  const allocation = new Allocation(checkpoint, gpu, dtype);
  try {
    const weights = await gpu.guard("loading the weights", () => allocation.allocate(architecture));
    await options.onAllocated?.(weights);
    await gpu.guard("loading the weights", () => allocation.fill(context));
    return weights;
  } catch (error) {
    allocation.destroy();
    throw error;
  } finally {
    quantizer.dispose();
  }
}

/** Finds a matrix of a quantised checkpoint that would have to be stored in another form. @throws CheckpointError */
export function checkForm(checkpoint: Checkpoint, weight: PlannedWeight): void {
  const tensor = otherForm(weight);
  if (tensor === undefined) return;
  const { name, packed } = tensor;
  throw new CheckpointError(
    `Tensor ${name} is stored in ${packed} and cannot be loaded as ${weight.dtype}; load it without a dtype, or load the checkpoint that it was made from.`,
    { file: checkpoint.source.name, tensor: name },
  );
}

/** Finds a matrix that the adapter cannot hold before anything is allocated. @throws GpuError `limit`. */
function checkLimit(gpu: Gpu, weight: PlannedWeight): void {
  if (weight.columns === undefined) return;
  const { weights: rowBytes } = storedRowBytes({ dtype: weight.dtype, columns: paddedLength(weight.columns) });
  const numRows = weight.tensors.reduce((sum, { rows }) => sum + paddedLength(rows), 0);
  rowsPerPiece(gpu, labelOf(weight), { numRows, rowBytes, splittable: weight.isSplittable });
}

/** The buffers of one load and how each is filled. */
class Allocation {
  private readonly checkpoint: Checkpoint;
  private readonly gpu: Gpu;
  private readonly dtype: WeightDtype | undefined;
  private readonly buffers: GPUBuffer[] = [];
  private readonly createBuffer: CreateBuffer;
  private readonly fills: ((context: UploadContext) => Promise<void>)[] = [];

  constructor(checkpoint: Checkpoint, gpu: Gpu, dtype: WeightDtype | undefined) {
    this.checkpoint = checkpoint;
    this.gpu = gpu;
    this.dtype = dtype;
    this.createBuffer = (label, byteLength) => {
      const buffer = gpu.createBuffer(label, byteLength, GPU_STORAGE);
      this.buffers.push(buffer);
      return buffer;
    };
  }

  allocate(architecture: Architecture): ModelWeights {
    const { gpu, createBuffer } = this;
    return architecture.weights(
      new WeightDeclarer({
        matrix: (spec, columns) => {
          if (!spec.isUsed) return emptyMatrix(spec, columns);
          const weight = planWeight(this.checkpoint, spec, this.dtype);
          const matrix = allocateMatrix(gpu, weight, { columns, createBuffer });
          this.fills.push((context) => fillMatrix(context, weight, matrix));
          return matrix;
        },
        vector: (spec) => {
          if (!spec.isUsed) return gpu.unused;
          const weight = planWeight(this.checkpoint, spec, this.dtype);
          const buffer = allocateVector(weight, createBuffer);
          this.fills.push((context) => fillVector(context, weight, buffer));
          return buffer;
        },
      }),
    );
  }

  /** Fills two weights at once, so that one is read while the other is written; packing takes one after the other. */
  async fill(context: UploadContext): Promise<void> {
    const { dtype, fills } = this;
    let next = 0;
    const fillRest = async () => {
      try {
        while (next < fills.length) await at(fills, next++)(context);
      } finally {
        next = fills.length; // after a failure, the other lane begins no more
      }
    };
    const isPacked = dtype !== undefined && isQuantized(dtype);
    const lanes = await Promise.allSettled(isPacked ? [fillRest()] : [fillRest(), fillRest()]);
    for (const lane of lanes) if (lane.status === "rejected") throw lane.reason;
  }

  destroy(): void {
    for (const buffer of this.buffers) this.gpu.destroyBuffer(buffer);
  }
}
