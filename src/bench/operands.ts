// Buffers and weight matrices for kernel cases: seeded numbers of realistic size, freed together.
import { GPU_STORAGE, GPU_UNIFORM, type Gpu } from "../gpu/device.ts";
import {
  type Linear,
  type Matrix,
  type MatrixPiece,
  matrixSizes,
  type QuantizedDtype,
  storedRowBytes,
  type WeightDtype,
  whole,
} from "../gpu/tensor.ts";
import { rowsPerPiece } from "../models/upload.ts";

/** How the bench makes matrices of one dtype. */
interface MatrixFormat {
  /** Bytes that a kernel reads for a row of `columns` weights. */
  readonly rowBytes: (columns: number) => number;
  /** Numbers that are repeated until the buffer is full; realistic as weights. */
  readonly block: () => ArrayBufferView<ArrayBuffer>;
}

/** Numbers of one block: 1 MiB of f32. */
const BLOCK_LENGTH = 2 ** 18;

/** The weight formats that kernels are measured with, by name. */
const MATRIX_FORMATS: Readonly<Record<WeightDtype, MatrixFormat>> = {
  f32: { rowBytes: (columns) => columns * 4, block: () => seededNumbers(BLOCK_LENGTH, 1 / 64) },
  f16: { rowBytes: (columns) => columns * 2, block: () => seededHalves(10, 5) },
  bf16: { rowBytes: (columns) => columns * 2, block: () => seededHalves(7, 117) },
  q8: { rowBytes: (columns) => quantizedBytes("q8", columns), block: () => seededNumbers(BLOCK_LENGTH, 1) },
  q4_1: { rowBytes: (columns) => quantizedBytes("q4_1", columns), block: () => seededNumbers(BLOCK_LENGTH, 1) },
  q4: { rowBytes: (columns) => quantizedBytes("q4", columns), block: () => seededNumbers(BLOCK_LENGTH, 1) },
};

/** Any bits are valid integers of a quantised matrix; its scales are stored separately and read as well. */
function quantizedBytes(dtype: QuantizedDtype, columns: number): number {
  const { weights, scales } = storedRowBytes({ dtype, columns });
  return weights + scales;
}

/** Bytes that a kernel reads of a [rows, columns] matrix. */
export function matrixBytes(dtype: WeightDtype, rows: number, columns: number): number {
  return rows * MATRIX_FORMATS[dtype].rowBytes(columns);
}

/** Operands of one case. */
export class Operands {
  readonly gpu: Gpu;
  private readonly buffers: GPUBuffer[] = [];

  constructor(gpu: Gpu) {
    this.gpu = gpu;
  }

  /** A buffer of `length` seeded f32 around 0. */
  numbers(length: number, scale = 1): GPUBuffer {
    const buffer = this.empty(length);
    fill(this.gpu, buffer, seededNumbers(Math.min(length, BLOCK_LENGTH), scale), length * 4);
    return buffer;
  }

  /** A zeroed buffer of `length` 32-bit numbers. */
  empty(length: number): GPUBuffer {
    return this.keep(this.gpu.createBuffer("bench", length * 4, GPU_STORAGE));
  }

  /** A buffer that holds `data`. */
  upload(data: ArrayBufferView<ArrayBuffer>): GPUBuffer {
    return this.keep(this.gpu.createBufferWith("bench", data, GPU_STORAGE));
  }

  /** A uniform buffer that holds `data`. */
  uniform(data: ArrayBufferView<ArrayBuffer>): GPUBuffer {
    return this.keep(this.gpu.createBufferWith("bench", data, GPU_UNIFORM));
  }

  /** A weight matrix [rows, columns], both multiples of 4, split as a loaded one would be. */
  matrix(dtype: WeightDtype, rows: number, columns: number): Matrix {
    const format = MATRIX_FORMATS[dtype];
    const { weights: rowBytes, scales: scaleBytes } = storedRowBytes({ dtype, columns });
    const maxRows = rowsPerPiece(this.gpu, "bench", { numRows: rows, rowBytes, splittable: true });
    const block = format.block();
    const pieces: MatrixPiece[] = [];
    for (let rowStart = 0; rowStart < rows; rowStart += maxRows) {
      const numRows = Math.min(maxRows, rows - rowStart);
      const buffer = this.keep(this.gpu.createBuffer("bench weight", numRows * rowBytes, GPU_STORAGE));
      fill(this.gpu, buffer, block, numRows * rowBytes);
      if (scaleBytes === 0) {
        pieces.push({ buffer, rowStart, numRows });
        continue;
      }
      const scales = this.keep(this.gpu.createBuffer("bench scales", numRows * scaleBytes, GPU_STORAGE));
      fill(this.gpu, scales, seededHalves(10, 5), numRows * scaleBytes);
      pieces.push({ buffer, rowStart, numRows, scales });
    }
    return { name: "bench", dtype, ...matrixSizes([whole(rows)], whole(columns)), pieces };
  }

  /** A linear layer with such a matrix. */
  linear(
    dtype: WeightDtype,
    shape: { readonly rows: number; readonly columns: number; readonly bias: boolean },
  ): Linear {
    return {
      weight: this.matrix(dtype, shape.rows, shape.columns),
      bias: shape.bias ? this.numbers(shape.rows) : undefined,
    };
  }

  /** Frees all of them. */
  dispose(): void {
    for (const buffer of this.buffers.splice(0)) this.gpu.destroyBuffer(buffer);
  }

  private keep(buffer: GPUBuffer): GPUBuffer {
    this.buffers.push(buffer);
    return buffer;
  }
}

function fill(gpu: Gpu, buffer: GPUBuffer, block: ArrayBufferView<ArrayBuffer>, byteLength: number): void {
  for (let at = 0; at < byteLength; at += block.byteLength) {
    const size = Math.min(block.byteLength, byteLength - at);
    gpu.write(buffer, new Uint8Array(block.buffer, block.byteOffset, size), at);
  }
}

/** A linear congruential generator, chosen for speed rather than quality. */
function* seededWords(): Generator<number, never> {
  let state = 12_345;
  for (;;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state;
  }
}

function seededNumbers(length: number, scale: number): Float32Array<ArrayBuffer> {
  const words = seededWords();
  return Float32Array.from({ length }, () => (words.next().value / 2 ** 31 - 1) * scale);
}

/** Half-size floats with random sign and fraction and an exponent field of `exponent` to `exponent` + 3: tiny numbers. */
function seededHalves(fractionBits: number, exponent: number): Uint16Array<ArrayBuffer> {
  const words = seededWords();
  return Uint16Array.from({ length: BLOCK_LENGTH * 2 }, () => {
    const word = words.next().value;
    const sign = (word >>> 31) << 15;
    const fraction = (word >>> 8) & (2 ** fractionBits - 1);
    return sign | ((exponent + ((word >>> 29) & 3)) << fractionBits) | fraction;
  });
}
