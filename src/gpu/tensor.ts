/** Floating-point storage, as in a checkpoint's file. */
export type FloatDtype = "f32" | "f16" | "bf16";

/**
 * Whole numbers of 8 or 4 bits in groups of 32 along a row, each group with an f16 scale; in q4_1 with an f16 minimum too, to which
 * they are added.
 */
export type QuantizedDtype = "q8" | "q4_1" | "q4";

/** How a matrix of the checkpoint is stored on the GPU; sums are f32 always. */
export type WeightDtype = FloatDtype | QuantizedDtype;

/** How the linear layers of a decode step read their input: as it is, or in integers of 8 bits with an f32 scale per group of 32. */
export type ActivationDtype = "f32" | "q8";

/** Every {@link ActivationDtype}. */
export const ACTIVATION_DTYPES: readonly ActivationDtype[] = ["f32", "q8"];

/** Every {@link QuantizedDtype}, the most exact first. */
export const QUANTIZED_DTYPES: readonly QuantizedDtype[] = ["q8", "q4_1", "q4"];

/** Every {@link WeightDtype}, the most exact first. */
export const WEIGHT_DTYPES: readonly WeightDtype[] = ["f32", "f16", "bf16", ...QUANTIZED_DTYPES];

/** Weights that share one scale in a quantised matrix. */
export const GROUP_SIZE = 32;

/** A dimension made of `count` groups (heads) of `size`, each padded to a multiple of 4. */
export interface Grouping {
  readonly count: number;
  readonly size: number;
}

/** A dimension that is one group. */
export function whole(size: number): Grouping {
  return { count: 1, size };
}

/** Length of a dimension after each of its groups is padded. */
export function paddedLength(group: Grouping): number {
  return group.count * padTo4(group.size);
}

/** Some whole rows of a matrix in one buffer: a matrix larger than one binding is split between rows. */
export interface MatrixPiece {
  readonly buffer: GPUBuffer;
  /** First row of the matrix in this piece; a multiple of 4. */
  readonly rowStart: number;
  readonly numRows: number;
  /** Of a quantised matrix: f16 [numRows, groups of a row], in q4_1 [numRows, groups of a row, 2] scales and minima; two to a u32. */
  readonly scales?: GPUBuffer;
}

/**
 * A weight matrix [rows, columns]; both are padded with zeros to multiples of 4. Rows of a quantised matrix are stored
 * padded further, to whole groups of 32.
 */
export interface Matrix {
  readonly name: string;
  readonly dtype: WeightDtype;
  /** Padded. */
  readonly rows: number;
  /** Padded. */
  readonly columns: number;
  /** Real rows and columns, without padding. */
  readonly shape: readonly [rows: number, columns: number];
  /** Groups of the rows from the first on, one entry per stacked tensor: where the padding is. */
  readonly rowGroups: readonly Grouping[];
  /** Groups of the columns. */
  readonly columnGroup: Grouping;
  readonly pieces: readonly MatrixPiece[];
}

/** Real and padded sizes of a matrix of stacked tensors. */
export function matrixSizes(
  rowGroups: readonly Grouping[],
  columnGroup: Grouping,
): Pick<Matrix, "rows" | "columns" | "shape" | "rowGroups" | "columnGroup"> {
  const numRows = rowGroups.reduce((sum, { count, size }) => sum + count * size, 0);
  return {
    rows: rowGroups.reduce((sum, group) => sum + paddedLength(group), 0),
    columns: paddedLength(columnGroup),
    shape: [numRows, columnGroup.count * columnGroup.size],
    rowGroups,
    columnGroup,
  };
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

/** Bytes of one weight in floating-point storage. */
export function floatBytes(dtype: FloatDtype): number {
  return dtype === "f32" ? 4 : 2;
}

/** Whether weights of `dtype` are whole numbers with scales. */
export function isQuantized(dtype: WeightDtype): dtype is QuantizedDtype {
  return dtype === "q8" || hasNibbles(dtype);
}

/** Whether weights of `dtype` are whole numbers of 4 bits. */
export function hasNibbles(dtype: WeightDtype): dtype is "q4_1" | "q4" {
  return dtype === "q4_1" || dtype === "q4";
}

/** Numbers of an f16 that a group has: its scale, and in q4_1 its minimum. */
export function scalesPerGroup(dtype: QuantizedDtype): number {
  return dtype === "q4_1" ? 2 : 1;
}

/** Groups of 32 weights in a row of `columns`, the last one padded with zeros. */
export function groupsPerRow(columns: number): number {
  return Math.ceil(columns / GROUP_SIZE);
}

/** Vec4s from the start of a stored row to the next one's, for `columns` padded to a multiple of 4. */
export function weightStride4(matrix: Pick<Matrix, "dtype" | "columns">): number {
  return isQuantized(matrix.dtype) ? (groupsPerRow(matrix.columns) * GROUP_SIZE) / 4 : matrix.columns / 4;
}

/** Bytes of a stored row of a piece's `buffer` and of its `scales`. */
export function storedRowBytes(matrix: Pick<Matrix, "dtype" | "columns">): {
  readonly weights: number;
  readonly scales: number;
} {
  const { dtype, columns } = matrix;
  if (!isQuantized(dtype)) return { weights: columns * floatBytes(dtype), scales: 0 };
  const groups = groupsPerRow(columns);
  return {
    weights: groups * (hasNibbles(dtype) ? GROUP_SIZE / 2 : GROUP_SIZE),
    scales: groups * scalesPerGroup(dtype) * 2,
  };
}
