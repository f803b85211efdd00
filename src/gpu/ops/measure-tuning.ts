// Measures the candidates of every tunable constant on a device: the same layer under each in turn, round after round; the
// shortest time wins, where it is clearly shorter than the default's. A candidate whose numbers differ from the plain
// form's is left out, however fast it is.
import { accepts, InputError, kindOf } from "../../errors.ts";
import { readOptions, required, rule, type Schema, whole as wholeFrom } from "../../options.ts";
import { GPU_STORAGE, type Gpu } from "../device.ts";
import { SubmitExecutor } from "../executor.ts";
import { Program } from "../program.ts";
import { type Matrix, matrixSizes, storedRowBytes, type WeightDtype, whole } from "../tensor.ts";
import { isSameChoice, type TunableChoice, type TunableName, type TuningTable } from "../tunables.ts";
import { linear } from "./linear.ts";
import { TUNABLE_NAMES, tuningKey, usableCandidates } from "./tuning.ts";

/** Sizes of the layers that candidates are measured on. */
export interface TuningSizes {
  /** K, a multiple of 32 */
  readonly inner: number;
  /** N of a product, a multiple of 4 */
  readonly columns: number;
  /** N of a matrix × vector, a multiple of 4: weights beyond any cache, as in decoding. Fewer where a binding is too small. */
  readonly vectorColumns: number;
  /** Rows of the large product; the small one has 32, a matrix × vector 1. */
  readonly rows: number;
  /** Rounds in which each candidate is timed once. */
  readonly rounds: number;
}

/** Layers of LLaMA-7B's hidden size: large enough to fill a GPU. */
const SIZES: TuningSizes = { inner: 4096, columns: 4096, vectorColumns: 14_336, rows: 512, rounds: 5 };

const most = 2 ** 20;
const multipleOf = (factor: number) =>
  required(
    rule(
      `a multiple of ${factor} up to ${most}`,
      (value) =>
        Number.isInteger(Number(value) / factor) &&
        Number(value) > 0 &&
        Number(value) <= most &&
        typeof value === "number",
    ),
  );
const TUNING: Schema<TuningSizes> = {
  inner: multipleOf(32),
  columns: multipleOf(4),
  vectorColumns: multipleOf(4),
  rows: required(wholeFrom(1, most)),
  rounds: required(wholeFrom(1, most)),
};

/** Dispatches timed as one, so that what a submit costs does not hide what they do. */
const DISPATCHES = { product: 2, vector: 16 } as const;

/** How much shorter than the default's a time must be: noise must not choose. */
const CLEARLY = 0.97;

/** Bytes written to a buffer at once, again and again. */
const BLOCK_BYTES = 2 ** 20;

/** How far a candidate's numbers may be from the plain form's, relative to the largest: another order of summation. */
const SAME_WITHIN = 1e-3;

/**
 * Measures which constants are fastest on this device; on a CPU adapter there is nothing to choose.
 * @throws InputError for sizes that cannot be; GpuError when the device is lost or a kernel does not compile.
 */
export async function measureTuning(gpu: Gpu, given: TuningSizes = SIZES): Promise<TuningTable> {
  const sizes = readOptions("measureTuning", given, TUNING);
  if (!accepts(gpu, ({ guard, device }) => typeof guard === "function" && device.limits && device.features.has))
    throw new InputError(`measureTuning: expected model.gpu, got ${kindOf(gpu)}.`);
  const choices: Partial<Record<TunableName, TunableChoice>> = {};
  for (const name of gpu.isSoftware ? [] : TUNABLE_NAMES) {
    const best = await gpu.guard("tuning", () => measure(gpu, name, sizes));
    if (best !== undefined) choices[name] = best;
  }
  return { format: 1, key: tuningKey(gpu.device), choices };
}

async function measure(gpu: Gpu, name: TunableName, sizes: TuningSizes): Promise<TunableChoice | undefined> {
  const candidates = usableCandidates(name, gpu.device);
  const plain = candidates.find(({ SUBGROUPS }) => SUBGROUPS !== true) ?? candidates[0];
  if (plain === undefined || candidates.length < 2) return plain;
  const layer = new TunedLayer(gpu, name, sizes);
  try {
    const expected = await layer.values(plain);
    const right: { readonly choice: TunableChoice; readonly isDefault: boolean; ms: number }[] = [];
    for (const [index, choice] of candidates.entries()) {
      const isRight = isSameChoice(choice, plain) || isClose(await layer.values(choice), expected);
      if (isRight) right.push({ choice, isDefault: index === 0, ms: Number.POSITIVE_INFINITY });
    }
    for (let round = 0; round < sizes.rounds; round++) {
      for (const timed of right) timed.ms = Math.min(timed.ms, await layer.time(timed.choice));
    }
    const costOf = ({ ms, isDefault }: (typeof right)[number]) => (isDefault ? CLEARLY * ms : ms);
    return right.sort((a, b) => costOf(a) - costOf(b))[0]?.choice;
  } finally {
    layer.dispose();
  }
}

/** One linear layer with its buffers. */
class TunedLayer {
  private readonly gpu: Gpu;
  private readonly numRows: number;
  private readonly weight: Matrix;
  private readonly input: GPUBuffer;
  private readonly output: GPUBuffer;
  private readonly buffers: GPUBuffer[] = [];

  constructor(gpu: Gpu, name: TunableName, sizes: TuningSizes) {
    this.gpu = gpu;
    const { inner } = sizes;
    this.numRows = name === "matmul-tiled" ? sizes.rows : name === "matmul-tiled small" ? 32 : 1;
    const dtype = dtypeOf(name);
    const row = storedRowBytes({ dtype, columns: inner });
    const mostColumns = Math.floor(gpu.device.limits.maxStorageBufferBindingSize / row.weights / 4) * 4;
    const columns = Math.min(this.numRows > 1 ? sizes.columns : sizes.vectorColumns, mostColumns);
    // f16 1.0 is 0x3c00; bytes and halves of any value are whole numbers, and scales are small.
    const buffer = this.filled(columns * row.weights, dtype === "f32" ? floats : halves);
    const scales = row.scales > 0 ? this.filled(columns * row.scales, halves) : undefined;
    const piece = { buffer, rowStart: 0, numRows: columns };
    const pieces = [scales === undefined ? piece : { ...piece, scales }];
    this.weight = { name: "tuning", dtype, ...matrixSizes([whole(columns)], whole(inner)), pieces };
    this.input = this.filled(this.numRows * inner * 4, floats);
    this.output = this.filled(this.numRows * columns * 4, () => 0);
  }

  /** What comes out under a choice: all rows. */
  async values(choice: TunableChoice): Promise<Float32Array> {
    await this.submit(choice, 1);
    const length = this.numRows * this.weight.rows;
    return new Float32Array(await this.gpu.readBuffer(this.output, length * 4));
  }

  /** Time of some dispatches under a choice, ms. */
  async time(choice: TunableChoice): Promise<number> {
    return this.submit(choice, this.numRows > 1 ? DISPATCHES.product : DISPATCHES.vector);
  }

  private async submit(choice: TunableChoice, numDispatches: number): Promise<number> {
    const program = new Program("tuning");
    for (let i = 0; i < numDispatches; i++) {
      linear(program, this.gpu, {
        layer: { weight: this.weight, bias: undefined },
        input: this.input,
        output: this.output,
        numRows: this.numRows,
        rowStable: this.numRows > 1,
        choice,
      });
    }
    const executor = new SubmitExecutor(this.gpu);
    const prepared = await executor.prepare(program);
    try {
      await this.gpu.device.queue.onSubmittedWorkDone();
      const startMs = performance.now();
      executor.run([{ program: prepared, stage: "tuning" }]);
      await this.gpu.device.queue.onSubmittedWorkDone();
      return performance.now() - startMs;
    } finally {
      prepared.dispose();
    }
  }

  dispose(): void {
    for (const buffer of this.buffers) this.gpu.destroyBuffer(buffer);
  }

  private filled(byteLength: number, word: (index: number) => number): GPUBuffer {
    const buffer = this.gpu.createBuffer("tuning", byteLength, GPU_STORAGE);
    const block = Uint32Array.from({ length: Math.min(byteLength, BLOCK_BYTES) / 4 }, (_, index) => word(index));
    for (let at = 0; at < byteLength; at += block.byteLength) {
      this.gpu.write(buffer, block.subarray(0, Math.min(block.byteLength, byteLength - at) / 4), at);
    }
    this.buffers.push(buffer);
    return buffer;
  }
}

function dtypeOf(name: TunableName): WeightDtype {
  switch (name) {
    case "matvec f32":
      return "f32";
    case "matvec q8":
      return "q8";
    case "matvec q4":
      return "q4";
    default:
      return "f16";
  }
}

/** Bits of an f32 in [0.5, 1) that differs from its neighbours. */
function floats(index: number): number {
  return (0x3f000000 | (Math.imul(index, 0x9e3779b1) >>> 9)) >>> 0;
}

/** Bits of two f16 in [0.5, 1). */
function halves(index: number): number {
  return (0x38003800 | (Math.imul(index, 0x9e3779b1) & 0x03ff03ff)) >>> 0;
}

function isClose(values: Float32Array, expected: Float32Array): boolean {
  const allowed = SAME_WITHIN * expected.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  return values.every((value, index) => Math.abs(value - Number(expected[index])) <= allowed);
}
