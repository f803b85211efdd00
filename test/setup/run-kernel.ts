// Runs ops on the GPU for a test: buffers from plain arrays, one Program inside error scopes, results read back.
import { GPU_STORAGE, GPU_UNIFORM, Gpu } from "../../src/gpu/device.ts";
import { runOnce, SubmitExecutor } from "../../src/gpu/executor.ts";
import { Program } from "../../src/gpu/program.ts";
import { type Matrix, matrixSizes, type WeightDtype, whole } from "../../src/gpu/tensor.ts";
import { storedRows, storeWeights } from "../reference/weight-formats.ts";
import { openTestDevice, withErrorScopes } from "./device.ts";

/** What a recording needs. */
export interface Recording {
  readonly gpu: Gpu;
  readonly program: Program;
  /** A buffer that holds `data`. */
  upload(data: ArrayBufferView<ArrayBuffer>): GPUBuffer;
  /** A uniform buffer that holds `data`. */
  uniform(data: ArrayBufferView<ArrayBuffer>): GPUBuffer;
  /** A buffer of `length` f32 filled with {@link POISON}, or with the given values, to be read back. */
  output(lengthOrValues: number | Float32Array<ArrayBuffer>): GPUBuffer;
  /** A matrix [rows, columns] (multiples of 4) in `dtype`, split before the rows in `splits`. */
  matrix(values: ArrayLike<number>, shape: readonly [number, number], options?: MatrixOptions): Matrix;
}

/** How a test's matrix is stored. */
export interface MatrixOptions {
  readonly dtype?: WeightDtype;
  readonly splits?: readonly number[];
}

/** What outputs hold before a kernel writes them: whatever is still there was not written. */
export const POISON = -987_654.25;

/** f32 values behind every output that no kernel may touch. */
const GUARD_LENGTH = 64;

let opened: Promise<Gpu> | undefined;

/** The Gpu that the tests of one file share. */
export function openTestGpu(): Promise<Gpu> {
  opened ??= openTestDevice().then(({ device, isSoftware }) => new Gpu(device, { isSoftware }));
  return opened;
}

/**
 * Records with `record`, runs, and reads back the outputs that it returns by name.
 * @throws Error when the GPU reports an error or something was written behind an output's end.
 */
export async function runKernel<Name extends string>(
  record: (recording: Recording) => Readonly<Record<Name, GPUBuffer>>,
  gpuOfTest?: Gpu,
): Promise<Record<Name, Float32Array<ArrayBuffer>>> {
  const gpu = gpuOfTest ?? (await openTestGpu());
  const buffers: GPUBuffer[] = [];
  const lengths = new Map<GPUBuffer, number>();
  const program = new Program("test");
  const keep = (buffer: GPUBuffer): GPUBuffer => {
    buffers.push(buffer);
    return buffer;
  };
  const upload = (data: ArrayBufferView<ArrayBuffer>) => keep(gpu.createBufferWith("input", data, GPU_STORAGE));
  const output = (lengthOrValues: number | Float32Array<ArrayBuffer>): GPUBuffer => {
    const values = typeof lengthOrValues === "number" ? filled(lengthOrValues, POISON) : lengthOrValues;
    const guarded = filled(values.length + GUARD_LENGTH, POISON);
    guarded.set(values);
    const buffer = upload(guarded);
    lengths.set(buffer, values.length);
    return buffer;
  };
  const matrix = (
    values: ArrayLike<number>,
    [rows, columns]: readonly [number, number],
    { dtype = "f32", splits = [] }: MatrixOptions = {},
  ): Matrix => {
    const weights = storeWeights(values, dtype, columns);
    const ends = [...splits, rows];
    const pieces = ends.map((end, index) => {
      const rowStart = ends[index - 1] ?? 0;
      const { stored, scales } = storedRows(weights, columns, [rowStart, end]);
      const piece = { buffer: upload(stored), rowStart, numRows: end - rowStart };
      return scales === undefined ? piece : { ...piece, scales: upload(scales) };
    });
    return { name: "test", dtype, ...matrixSizes([whole(rows)], whole(columns)), rows, pieces };
  };
  const uniform = (data: ArrayBufferView<ArrayBuffer>) => keep(gpu.createBufferWith("uniform", data, GPU_UNIFORM));
  try {
    return await withErrorScopes(gpu.device, async () => {
      const outputs = record({ gpu, program, upload, uniform, output, matrix });
      await runOnce(new SubmitExecutor(gpu), program, "test");
      const results: Partial<Record<Name, Float32Array<ArrayBuffer>>> = {};
      for (const name in outputs) results[name] = await readGuarded(gpu, outputs[name], lengths);
      return results as Record<Name, Float32Array<ArrayBuffer>>; // every name of outputs was set
    });
  } finally {
    for (const buffer of buffers) gpu.destroyBuffer(buffer);
  }
}

async function readGuarded(
  gpu: Gpu,
  buffer: GPUBuffer,
  lengths: ReadonlyMap<GPUBuffer, number>,
): Promise<Float32Array<ArrayBuffer>> {
  const length = lengths.get(buffer) ?? buffer.size / 4;
  const values = new Float32Array(await gpu.readBuffer(buffer, buffer.size));
  const touched = values.findIndex((value, index) => index >= length && value !== POISON);
  if (touched >= 0) throw new Error(`Index ${touched} behind an output of ${length} values was written.`);
  return values.slice(0, length);
}

function filled(length: number, value: number): Float32Array<ArrayBuffer> {
  return new Float32Array(length).fill(value);
}
