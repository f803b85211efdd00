// How much memory a model needs, from the headers of its checkpoint alone: a load and a greedy question run on a device that only
// counts (gpu/counting-device.ts), with the classes that a real load and a real question use. No weight is read.
import type { Checkpoint } from "./checkpoint/checkpoint.ts";
import { requireTensors } from "./checkpoint/checkpoint.ts";
import { at, GpuError } from "./errors.ts";
import { FeatureCache } from "./generate/feature-cache.ts";
import { DEFAULT_CACHE_BYTES, LruBudget } from "./generate/lru-budget.ts";
import { SequencePool } from "./generate/sequence-pool.ts";
import { SharedDecoder } from "./generate/shared-decoder.ts";
import type { CacheDtype } from "./gpu/cache-format.ts";
import { countingDevice, type DeviceTraits } from "./gpu/counting-device.ts";
import { GPU_STORAGE, Gpu, isSoftwareAdapter } from "./gpu/device.ts";
import type { Executor, StagedProgram } from "./gpu/executor.ts";
import { PreparedProgram } from "./gpu/prepared-program.ts";
import { type ActivationDtype, isQuantized, type Matrix, type WeightDtype } from "./gpu/tensor.ts";
import type { Architecture, ModelWeights } from "./models/architecture.ts";
import { keyValueBytes } from "./models/layers/decoder-state.ts";
import type { LlamaWeights } from "./models/layers/decoder-weights.ts";
import { PictureEncoder } from "./models/layers/picture-encoder.ts";
import { STAGING_BYTES } from "./models/staging.ts";
import { allocateMatrix, allocateVector, CHUNK_BYTES } from "./models/upload.ts";
import {
  emptyMatrix,
  expectedTensors,
  type PlannedWeight,
  planWeights,
  WeightDeclarer,
} from "./models/weight-table.ts";
import { checkForm } from "./models/weights.ts";
import { type PlannedQuestion, plannedQuestion, type QuestionOptions } from "./planned-question.ts";

/** A device to plan for, and the class of its kernels. */
export interface PlannedDevice extends DeviceTraits {
  /** Whether it computes on the CPU; found out from `adapterInfo` unless given. */
  readonly isSoftware?: boolean | undefined;
}

/** The load and the question to plan for. What is left out has the default of `Llava.load` and of an answer. */
export interface PlanOptions extends QuestionOptions {
  readonly dtype?: WeightDtype | undefined;
  readonly kvDtype?: CacheDtype | undefined;
  readonly activationDtype?: ActivationDtype | undefined;
  readonly chunkRows?: number | undefined;
  readonly lookahead?: number | undefined;
  readonly cacheBytes?: number | undefined;
}

/** Parts of the memory, in the order of a listing. */
export const PLAN_PARTS = [
  "vision tower",
  "projector",
  "embeddings",
  "decoder layers",
  "lm_head",
  "keys and values",
  "image features",
  "scratch, pictures",
  "scratch, decoder",
  "logits and parameters",
] as const;

/** A part of the memory on the GPU. */
export type PlanPart = (typeof PLAN_PARTS)[number];

/** A matrix that is split because one binding of the adapter is too small for it. */
export interface SplitMatrix {
  readonly name: string;
  readonly numPieces: number;
}

/** What the decoder computes for the question; weights by their dtype. */
export interface PlannedWork {
  /** Bytes of weights that a decode step reads. */
  readonly stepBytes: Readonly<Partial<Record<WeightDtype, number>>>;
  readonly stepDispatches: number;
  /** Multiply-adds of linear layers per row of the prompt, which has the logits of one row only. */
  readonly rowMacs: Readonly<Partial<Record<WeightDtype, number>>>;
  /** Multiply-adds of attention per row and key. */
  readonly attentionMacs: number;
  /** Dispatches of all chunks of the prompt. */
  readonly promptDispatches: number;
}

/** The memory that a model needs; all sizes in bytes. */
export interface MemoryPlan {
  /** As given; undefined where matrices stay as in the file. */
  readonly dtype: WeightDtype | undefined;
  readonly kvDtype: CacheDtype;
  readonly contextLength: number;
  /** Positions of the prompt. */
  readonly promptLength: number;
  readonly numImages: number;
  /** On the GPU after the question; parts without bytes included. */
  readonly parts: Readonly<Record<PlanPart, number>>;
  /** On the GPU after the load. */
  readonly loadedBytes: number;
  /** On the GPU after the question: the sum of `parts`. */
  readonly answeredBytes: number;
  /** Most at once on the GPU. */
  readonly peakBytes: number;
  /** Keys and values of one more position. */
  readonly cacheBytesPerToken: number;
  /** Bytes that are on their way to the GPU during the load, at most. */
  readonly stagingBytes: number;
  /** The most memory of the host; on an adapter that computes on the CPU, that of the GPU is part of it. */
  readonly hostPeakBytes: number;
  readonly isSoftware: boolean;
  readonly splits: readonly SplitMatrix[];
  readonly work: PlannedWork;
  /** Why the adapter's limits forbid the load or the question, as one sentence; undefined where they do not. */
  readonly problem: string | undefined;
}

/**
 * Memory of a process beside buffers and chunks: the JavaScript engine, Dawn, the driver and its compiled kernels. Peaks measured on
 * Node 20 after a question to tiny-spatial: 237 to 269 MiB more than the GPU's (lavapipe and SwiftShader; file, q8 and q4).
 */
export const HOST_BASE_BYTES = 256 * 2 ** 20;

/**
 * Chunks of the file on the host: being read, converted, on their way to the GPU or not collected yet. Measured as what peaks of
 * larger models have beyond the base: 56 to 75 MiB for 110 M parameters in f32, f16, q8 and q4.
 */
export const HOST_CHUNK_BYTES = 64 * 2 ** 20;

/** New tokens until every program that an answer keeps has been prepared: more than may be on their way at once. */
const PREPARED_TOKENS = 6;

/**
 * Plans the memory of a load and a question.
 * @throws CheckpointError for a checkpoint that a load would refuse; InputError for a question that cannot be, such as one beyond
 *   the model's context. An adapter's limit is reported as {@link MemoryPlan.problem}.
 */
export async function planMemory(
  checkpoint: Checkpoint,
  architecture: Architecture,
  options: PlanOptions & { readonly device: PlannedDevice },
): Promise<MemoryPlan> {
  checkTensors(checkpoint, architecture, options.dtype);
  const question = plannedQuestion(architecture, options);
  try {
    return await planOn(options.device, { checkpoint, architecture, options, question });
  } catch (error) {
    if (!(error instanceof GpuError && error.reason === "limit")) throw error;
    const plan = await planOn(withoutLimits(options.device), { checkpoint, architecture, options, question });
    return { ...plan, problem: error.message };
  }
}

/** What is planned. */
interface Planned {
  readonly checkpoint: Checkpoint;
  readonly architecture: Architecture;
  readonly options: PlanOptions;
  readonly question: PlannedQuestion;
}

async function planOn(
  planned: PlannedDevice,
  { checkpoint, architecture, options, question }: Planned,
): Promise<MemoryPlan> {
  const { device, count } = countingDevice(planned);
  const isSoftware = planned.isSoftware ?? isSoftwareAdapter(planned.adapterInfo);
  const gpu = new Gpu(device, { isSoftware });
  const parts = Object.fromEntries(PLAN_PARTS.map((part) => [part, 0])) as Record<PlanPart, number>;
  const splits: SplitMatrix[] = [];
  const weights = await allocateWeights(gpu, { checkpoint, architecture, options, parts, splits });
  const loadedBytes = gpu.allocatedBytes;
  const weightLabels = new Set(count.live.keys());
  const { text } = architecture.config;
  const decoder = new SharedDecoder(gpu, text, { weights: weights.llama, ...options });
  const dispatches = await answer(gpu, { weights, decoder, architecture, question, cacheBytes: options.cacheBytes });

  for (const [label, bytes] of count.live) if (!weightLabels.has(label)) parts[partOf(label)] += bytes;
  parts["logits and parameters"] += loadedBytes - sumOf(parts, WEIGHT_PARTS);
  const { dtype } = options;
  const { kvDtype } = decoder;
  const loadPeak = loadedBytes + (dtype !== undefined && isQuantized(dtype) ? chunkBytes(checkpoint) : 0);
  const peakBytes = Math.max(count.peakBytes(), loadPeak);
  const stagingBytes = Math.min(STAGING_BYTES, checkpoint.totalBytes);
  return {
    dtype,
    kvDtype,
    contextLength: question.prompt.inputIds.length + question.maxNewTokens,
    promptLength: question.prompt.inputIds.length,
    numImages: question.prompt.images.length,
    parts,
    loadedBytes,
    answeredBytes: gpu.allocatedBytes,
    peakBytes,
    cacheBytesPerToken: keyValueBytes(text, { capacity: 1, dtype: kvDtype }),
    stagingBytes,
    hostPeakBytes: HOST_BASE_BYTES + Math.min(HOST_CHUNK_BYTES, checkpoint.totalBytes) + (isSoftware ? peakBytes : 0),
    isSoftware,
    splits,
    work: workOf(weights.llama, architecture, dispatches),
    problem: undefined,
  };
}

/** The chunk of the file's rows that is on the GPU while matrices are quantised. */
function chunkBytes(checkpoint: Checkpoint): number {
  const largest = Math.max(...[...checkpoint.tensors.values()].map(({ entry }) => entry.end - entry.start));
  return Math.min(CHUNK_BYTES, largest);
}

const WEIGHT_PARTS = ["vision tower", "projector", "embeddings", "decoder layers", "lm_head"] as const;

function sumOf(parts: Readonly<Record<PlanPart, number>>, names: readonly PlanPart[]): number {
  return names.reduce((sum, name) => sum + parts[name], 0);
}

/** Refuses what a load refuses before it allocates anything. @throws CheckpointError. */
function checkTensors(checkpoint: Checkpoint, architecture: Architecture, dtype: WeightDtype | undefined): void {
  const weights = planWeights(checkpoint, architecture, dtype);
  const { expected, unused } = expectedTensors(weights);
  requireTensors(checkpoint, expected, { unused });
  for (const weight of weights) if (weight.isUsed) checkForm(checkpoint, weight);
}

/** Allocates the weights as a load does, and adds their bytes to the parts. @throws GpuError `limit`. */
async function allocateWeights(
  gpu: Gpu,
  {
    checkpoint,
    architecture,
    options,
    parts,
    splits,
  }: Omit<Planned, "question"> & {
    readonly parts: Record<PlanPart, number>;
    readonly splits: SplitMatrix[];
  },
): Promise<ModelWeights> {
  const createBuffer = async (label: string, byteLength: number) => gpu.createBuffer(label, byteLength, GPU_STORAGE);
  const matrices: Matrix[] = [];
  const vectors: GPUBuffer[] = [];
  for (const weight of planWeights(checkpoint, architecture, options.dtype)) {
    if (!weight.isUsed) continue;
    const before = gpu.allocatedBytes;
    const { columns } = weight;
    if (columns === undefined) vectors.push(await allocateVector(weight, createBuffer));
    else matrices.push(await allocateMatrix(gpu, weight, { columns, createBuffer }));
    parts[weightPart(weight)] += gpu.allocatedBytes - before;
  }
  for (const { name, pieces } of matrices) if (pieces.length > 1) splits.push({ name, numPieces: pieces.length });
  // A declaration asks for its weights in the order of the plan.
  let [nextMatrix, nextVector] = [0, 0];
  return architecture.weights(
    new WeightDeclarer({
      matrix: (spec, columns) => (spec.isUsed ? at(matrices, nextMatrix++) : emptyMatrix(spec, columns)),
      vector: (spec) => (spec.isUsed ? at(vectors, nextVector++) : gpu.unused),
    }),
  );
}

function weightPart({ part, role }: PlannedWeight): PlanPart {
  if (part !== "decoder") return part;
  return role === "token-embedding" ? "embeddings" : "decoder layers";
}

/** The part of a buffer that a question makes. */
function partOf(label: string): PlanPart {
  if (/^layers\.\d+ (keys|values)$/.test(label)) return "keys and values";
  if (label === "imageFeatures") return "image features";
  if (/^(vision|projector) /.test(label)) return "scratch, pictures";
  return label.startsWith("decoder ") ? "scratch, decoder" : "logits and parameters";
}

/** Dispatches of the programs of a question. */
type Dispatches = Pick<PlannedWork, "stepDispatches" | "promptDispatches">;

function workOf({ layers, lmHead }: LlamaWeights, { config }: Architecture, dispatches: Dispatches): PlannedWork {
  const { numHiddenLayers, numAttentionHeads, headDim } = config.text;
  const matrices = layers.flatMap(({ selfAttn, mlp }) =>
    [selfAttn.qkvProj, selfAttn.oProj, mlp.gateUpProj, mlp.downProj].map(({ weight }) => weight),
  );
  const sums = (of: readonly Matrix[], amount: (matrix: Matrix) => number) => {
    const byDtype: Partial<Record<WeightDtype, number>> = {};
    for (const matrix of of) byDtype[matrix.dtype] = (byDtype[matrix.dtype] ?? 0) + amount(matrix);
    return byDtype;
  };
  const bytesOf = ({ pieces }: Matrix) =>
    pieces.reduce((sum, { buffer, scales }) => sum + buffer.size + (scales?.size ?? 0), 0);
  return {
    stepBytes: sums([...matrices, lmHead.weight], bytesOf),
    rowMacs: sums(matrices, ({ shape: [rows, columns] }) => rows * columns),
    attentionMacs: 2 * numHiddenLayers * numAttentionHeads * headDim,
    ...dispatches,
  };
}

/** Runs a greedy answer as `Session` does, and gives the sequence back. */
async function answer(
  gpu: Gpu,
  run: {
    readonly weights: ModelWeights;
    readonly decoder: SharedDecoder;
    readonly architecture: Architecture;
    readonly question: PlannedQuestion;
    readonly cacheBytes: number | undefined;
  },
): Promise<Dispatches> {
  const { weights, decoder, architecture, question } = run;
  const { prompt, maxNewTokens } = question;
  const executor = new CountingExecutor(gpu);
  const budget = new LruBudget(run.cacheBytes ?? DEFAULT_CACHE_BYTES);
  const pool = new SequencePool(decoder, budget);
  const cache = new FeatureCache(gpu, budget);
  const encoder = weights.pictures && new PictureEncoder(gpu, architecture.config.text, weights.pictures);
  const { sequence } = await pool.acquire(prompt, { maxNewTokens, executor });
  const features: GPUBuffer[] = [];
  for (const { pixelValues, grid, featureGrids } of question.images) {
    if (encoder !== undefined) features.push(await encoder.encode(pixelValues, { grid, featureGrids, executor }));
  }
  await sequence.embed(prompt, features, { executor, filler: weights.pictures?.filler });
  for (const [index, buffer] of features.entries()) cache.add({ pixelValues: Float32Array.of(index) }, buffer); // pictures that all differ
  const { length } = prompt.inputIds;
  const before = executor.numDispatches;
  await sequence.prefill([Math.max(0, length - decoder.chunkRows), length], { executor }); // all chunks need the same
  const promptDispatches = (executor.numDispatches - before) * Math.ceil(length / decoder.chunkRows);
  let numTokens = 0;
  let stepDispatches = 0;
  for await (const _ of sequence.greedyChoices(length, { executor, maxNewTokens })) {
    stepDispatches = executor.lastDispatches; // embedding, step and choice are one submit
    if (++numTokens === PREPARED_TOKENS) break;
  }
  pool.release(sequence);
  return { stepDispatches, promptDispatches };
}

/** Prepares programs and runs nothing. */
class CountingExecutor implements Executor {
  readonly maxLookahead = Number.POSITIVE_INFINITY;
  numDispatches = 0;
  /** Those of the last run. */
  lastDispatches = 0;
  private readonly gpu: Gpu;

  constructor(gpu: Gpu) {
    this.gpu = gpu;
  }

  prepare(program: Parameters<Executor["prepare"]>[0]): Promise<PreparedProgram> {
    return PreparedProgram.prepare(this.gpu, program);
  }

  run(programs: readonly StagedProgram[]): undefined {
    this.lastDispatches = programs.reduce((sum, { program }) => sum + program.program.numDispatches, 0);
    this.numDispatches += this.lastDispatches;
  }
}

/** The same device with limits that forbid nothing. */
function withoutLimits(device: PlannedDevice): PlannedDevice {
  const { limits } = device;
  const most = Number.MAX_SAFE_INTEGER;
  const raised = { maxBufferSize: most, maxStorageBufferBindingSize: most, maxComputeWorkgroupsPerDimension: most };
  const get = (name: keyof GPUSupportedLimits) => Reflect.get(raised, name) ?? limits[name];
  // A host's limits have getters on their prototype, which a copy would lose.
  const lifted = new Proxy(limits, { get: (_, name) => get(name as keyof GPUSupportedLimits) });
  return { ...device, features: device.features, adapterInfo: device.adapterInfo, limits: lifted };
}
