/** How a matrix of the checkpoint is stored on the GPU; sums are f32 always. */
export type WeightDtype = "f32" | "f16" | "bf16";

/** Some whole rows of a matrix in one buffer: a matrix larger than one binding is split between rows. */
export interface MatrixPiece {
  readonly buffer: GPUBuffer;
  /** First row of the matrix in this piece; a multiple of 4. */
  readonly rowStart: number;
  readonly numRows: number;
}

/** A weight matrix [rows, columns] as the checkpoint stores it; both are padded with zeros to multiples of 4. */
export interface Matrix {
  readonly name: string;
  readonly dtype: WeightDtype;
  readonly rows: number;
  readonly columns: number;
  readonly pieces: readonly MatrixPiece[];
}

/** A linear layer: weight [N, K] and, where the checkpoint has one, bias [N] in f32. */
export interface Linear {
  readonly weight: Matrix;
  readonly bias: GPUBuffer | undefined;
}

/** The next multiple of 4: the row length that kernels reading vec4s work with. */
export function padTo4(count: number): number {
  return Math.ceil(count / 4) * 4;
}

/** Bytes of one stored weight. */
export function weightBytes(dtype: WeightDtype): number {
  return dtype === "f32" ? 4 : 2;
}
