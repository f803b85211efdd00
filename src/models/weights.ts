// A model's weights: checked against the checkpoint, allocated on the GPU, then read into their buffers.
import { type Checkpoint, requireTensors } from "../checkpoint/checkpoint.ts";
import { at, CheckpointError, GpuError, throwIfAborted } from "../errors.ts";
import { formatBytes, GPU_STORAGE, type Gpu, OutOfMemoryError } from "../gpu/device.ts";
import { isQuantized, type Matrix, paddedLength, storedRowBytes, type WeightDtype } from "../gpu/tensor.ts";
import type { Architecture, ModelWeights } from "./architecture.ts";
import { Quantizer } from "./quantizer.ts";
import { Staging } from "./staging.ts";
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
  planWeights,
  WeightDeclarer,
  weightMemory,
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
 * Checks the checkpoint's tensors, allocates all weights, then reads them. Nothing of a failed load stays allocated or goes on.
 * @throws CheckpointError listing missing, unexpected or misshapen tensors; GpuError, `out-of-memory` at the first buffer that the
 *   GPU has no memory for; AbortError.
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
  const onBytes = (byteLength: number, tensor: string) => {
    loadedBytes += byteLength;
    onProgress?.({ loadedBytes, totalBytes, tensor });
  };
  const allocation = new Allocation(gpu, plan, signal);
  const staging = new Staging(gpu);
  const quantizer = new Quantizer(gpu, staging);
  try {
    const weights = await gpu.guard("loading the weights", () => allocation.allocate(architecture));
    await weights.pictures?.load?.();
    await options.onAllocated?.(weights);
    await gpu.guard("loading the weights", async () => {
      await allocation.fill({ checkpoint, gpu, signal, staging, quantizer, onBytes });
      await staging.flush();
    });
    return weights;
  } catch (error) {
    allocation.destroy();
    throw error instanceof OutOfMemoryError ? doesNotFit(error, checkpoint, { architecture, dtype, plan }) : error;
  } finally {
    quantizer.dispose();
  }
}

/** The error for weights that the GPU has no memory for, with what they need in other forms. */
function doesNotFit(
  error: OutOfMemoryError,
  checkpoint: Checkpoint,
  load: {
    readonly architecture: Architecture;
    readonly dtype: WeightDtype | undefined;
    readonly plan: readonly PlannedWeight[];
  },
): GpuError {
  const { architecture, dtype, plan } = load;
  const need = weightMemory(checkpoint, architecture, dtype);
  const isPacked = plan.some(({ tensors }) => tensors.some(({ packed }) => packed !== undefined));
  const smaller = (isPacked ? [] : (["q8", "q4"] as const)).flatMap((form) => {
    const bytes = weightMemory(checkpoint, architecture, form);
    return bytes < need ? [`"${form}" (${formatBytes(bytes)})`] : [];
  });
  const what = error.byteLength === undefined ? "" : `: ${error.label} needs ${formatBytes(error.byteLength)}`;
  const all = `${what === "" ? "," : " and"} the weights ${formatBytes(need)} in all${dtype === undefined ? "" : ` in ${dtype}`}`;
  const advice =
    smaller.length === 0 ? "" : `load them in dtype ${smaller.join(" or ")} (--dtype on the command line), or `;
  return new GpuError(
    "out-of-memory",
    `The GPU ran out of memory while loading the weights${what}${all}, with ${formatBytes(error.bytesInUse)} already in use; ${advice}use a smaller model.`,
    { cause: error },
  );
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
  private readonly gpu: Gpu;
  private readonly plan: readonly PlannedWeight[];
  private readonly signal: AbortSignal | undefined;
  private readonly buffers: GPUBuffer[] = [];
  private readonly fills: ((context: UploadContext) => Promise<void>)[] = [];

  constructor(gpu: Gpu, plan: readonly PlannedWeight[], signal: AbortSignal | undefined) {
    this.gpu = gpu;
    this.plan = plan;
    this.signal = signal;
  }

  /** Allocates one weight after the other, in the order of the plan, which is that of their declaration. */
  async allocate(architecture: Architecture): Promise<ModelWeights> {
    const { gpu } = this;
    const matrices: Matrix[] = [];
    const vectors: GPUBuffer[] = [];
    for (const weight of this.plan) {
      if (!weight.isUsed) continue;
      throwIfAborted(this.signal, "Loading the model");
      const { columns } = weight;
      if (columns === undefined) {
        const buffer = await allocateVector(weight, this.createBuffer);
        vectors.push(buffer);
        this.fills.push((context) => fillVector(context, weight, buffer));
      } else {
        const matrix = await allocateMatrix(gpu, weight, { columns, createBuffer: this.createBuffer });
        matrices.push(matrix);
        this.fills.push((context) => fillMatrix(context, weight, matrix));
      }
    }
    let [nextMatrix, nextVector] = [0, 0];
    return architecture.weights(
      new WeightDeclarer({
        matrix: (spec, columns) => (spec.isUsed ? at(matrices, nextMatrix++) : emptyMatrix(spec, columns)),
        vector: (spec) => (spec.isUsed ? at(vectors, nextVector++) : gpu.unused),
      }),
    );
  }

  /** Fills two weights at once, so that one is read while the other is written; packing takes one after the other. */
  async fill(context: UploadContext): Promise<void> {
    const { plan, fills } = this;
    let next = 0;
    let failure: { readonly error: unknown } | undefined;
    const fillRest = async () => {
      try {
        while (next < fills.length) await at(fills, next++)({ ...context, isStopped: () => failure !== undefined });
      } catch (error) {
        failure ??= { error };
        next = fills.length; // the other lane begins no other weight, and no chunk of its own
      }
    };
    const isPacked = plan.some(
      ({ dtype, tensors }) => isQuantized(dtype) && tensors.some(({ packed }) => packed === undefined),
    );
    await Promise.all(isPacked ? [fillRest()] : [fillRest(), fillRest()]);
    if (failure !== undefined) throw failure.error;
  }

  destroy(): void {
    for (const buffer of this.buffers) this.gpu.destroyBuffer(buffer);
  }

  /** Waits for each buffer, so that the first one that the GPU has no memory for is the last one asked for. */
  private readonly createBuffer: CreateBuffer = async (label, byteLength) => {
    const buffer = this.gpu.createBuffer(label, byteLength, GPU_STORAGE);
    this.buffers.push(buffer);
    await this.gpu.settled();
    return buffer;
  };
}
