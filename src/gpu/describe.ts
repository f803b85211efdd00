// How a dispatch describes what it binds, for explanations: shapes without padding, and exactly which words it writes.
import type { PackedCacheDtype } from "./cache-format.ts";
import { GROUP_SIZE, isQuantized, type Matrix, padTo4, scalesPerGroup } from "./tensor.ts";

/** Values in a buffer as a tensor; strides and offset are in values of 4 bytes. */
export interface TensorView {
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  readonly offset: number;
  readonly dtype: "f32" | "u32";
  /** For packed keys or values: the last dimension counts the words of a slot, which hold `headDim` values. */
  readonly packed?: { readonly dtype: PackedCacheDtype; readonly headDim: number } | undefined;
  /** Indices of the first dimension that are meant; all of them unless given. */
  readonly rows?: readonly number[] | undefined;
}

/** A part of a buffer that a dispatch writes. */
export interface WrittenPart {
  /** Appended to the buffer's label; empty where the part is all that there is. */
  readonly label: string;
  readonly view: TensorView;
}

/** What a binding holds. */
export interface BoundTensor {
  /** Without padding. */
  readonly shape: readonly number[];
  readonly dtype: string;
  /** Empty for a tensor that is only read. */
  readonly written: readonly WrittenPart[];
  /** True for a tensor that is read before it is written. */
  readonly isUpdated?: boolean;
}

/** What a dispatch does. */
export interface Description {
  /** By binding; bindings that the dispatch does not touch are left out. */
  readonly tensors: Readonly<Record<string, BoundTensor>>;
  /** What comes out, in a few words: where that differs from what `Program.at` said. */
  readonly what?: string;
  /** More about it that depends on the contents of buffers. */
  readonly detail?: string;
  /** Numbers from uniform buffers, shown with the parameters. */
  readonly params?: Readonly<Record<string, number>>;
}

/** Reads a binding's contents as they are before the dispatch. */
export type ReadBinding = (binding: string) => Promise<Uint32Array<ArrayBuffer>>;

/** Describes a dispatch; evaluated only when an answer is explained. */
export type Describe = (read: ReadBinding) => Description | Promise<Description>;

/** A tensor that is only read. */
export function reads(shape: readonly number[], dtype = "f32"): BoundTensor {
  return { shape, dtype, written: [] };
}

/** A tensor of which the view is written, which is all of it where `label` is empty; an empty view is not. */
export function writes(view: TensorView, label = ""): BoundTensor {
  return { shape: view.shape, dtype: view.dtype, written: view.shape.includes(0) ? [] : [{ label, view }] };
}

/** R rows of `columns` real values, each row padded to a multiple of 4. */
export function rowsView(numRows: number, columns: number, rowStart = 0): TensorView {
  const stride = padTo4(columns);
  return { shape: [numRows, columns], strides: [stride, 1], offset: rowStart * stride, dtype: "f32" };
}

/** Rows without padding that follow each other. */
export function denseView(shape: readonly number[], offset = 0, dtype: TensorView["dtype"] = "f32"): TensorView {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, size) => product * size, 1));
  return { shape, strides, offset, dtype };
}

/** The bindings `weight` and, of a quantised matrix, `scales`. */
export function readsMatrix(matrix: Matrix): Readonly<Record<string, BoundTensor>> {
  const { dtype } = matrix;
  const [rows, columns] = [realRows(matrix).total, realColumns(matrix)];
  const weight = reads([rows, columns], dtype);
  if (!isQuantized(dtype)) return { weight };
  const groups = [rows, Math.ceil(columns / GROUP_SIZE)];
  return { weight, scales: reads(scalesPerGroup(dtype) === 1 ? groups : [...groups, scalesPerGroup(dtype)], "f16") };
}

/** Equal groups of a matrix's rows, such as heads, each padded on its own. */
export function realRows({ name, shape: [total], rowGroups }: Matrix): {
  readonly groups: number;
  readonly size: number;
  readonly total: number;
} {
  const [size, ...others] = new Set(rowGroups.map((group) => group.size));
  if (size === undefined || others.length > 0) throw new RangeError(`${name}: stacked tensors have groups of one size`);
  return { groups: total / size, size, total };
}

/** Columns of a matrix without padding. */
export function realColumns({ shape: [, columns] }: Matrix): number {
  return columns;
}
