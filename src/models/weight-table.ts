// What weights a model is made of, declared once per kind of layer. A declaration is run by two interpreters: one lists
// the weights (checks, byte counts, errors, random checkpoints; no GPU), the other allocates them (weights.ts).
import type { Checkpoint, ExpectedTensor } from "../checkpoint/checkpoint.ts";
import { type Dtype, floatDtypeOf } from "../checkpoint/dtypes.ts";
import {
  type FloatDtype,
  type Grouping,
  groupsPerRow,
  hasNibbles,
  isQuantized,
  type Linear,
  type Matrix,
  matrixSizes,
  paddedLength,
  type QuantizedDtype,
  scalesPerGroup,
  storedRowBytes,
  type WeightDtype,
  whole,
} from "../gpu/tensor.ts";
import type { Architecture } from "./architecture.ts";

/** What a weight is for, which decides how large random values in its place should be. */
export type WeightRole = "matrix" | "bias" | "norm" | "final-norm" | "token-embedding" | "position";

/** A part of a model, as listings name it. */
export type ModelPart = "vision tower" | "projector" | "decoder" | "lm_head";

/** One tensor of a checkpoint. */
export interface TensorSpec {
  /** Canonical. */
  readonly name: string;
  /** Canonical names that the tensor may have instead, in the order in which they are tried. */
  readonly otherNames: readonly string[];
  readonly shape: readonly number[];
  /** Grouping of the first dimension. */
  readonly rows: Grouping;
}

/** One weight as the GPU holds it: a matrix, or a vector in f32, of one or more tensors stacked by rows. */
export interface WeightSpec {
  readonly tensors: readonly TensorSpec[];
  /** Grouping of a matrix's columns; undefined for a vector. */
  readonly columns: Grouping | undefined;
  readonly role: WeightRole;
  readonly part: ModelPart;
  /** False for a tensor of the architecture that no forward pass reads. */
  readonly isUsed: boolean;
  /** Whether q8, q4_1 and q4 apply; the matrix keeps the file's dtype under them otherwise. */
  readonly isQuantizable: boolean;
  /** Whether a matrix may be split between rows. */
  readonly isSplittable: boolean;
}

/** Layers of one input that become one matrix. */
export interface LinearDeclaration {
  /** Names without `.weight`, first rows first, with the grouping of their rows. */
  readonly stack: readonly { readonly name: string; readonly rows: Grouping | number }[];
  readonly columns: Grouping | number;
  readonly bias: boolean;
  /** Dimensions of the tensor behind the first one; `[columns]` unless given. */
  readonly columnShape?: readonly number[];
  /** True unless given. */
  readonly isQuantizable?: boolean;
}

/** A matrix that rows are looked up in. */
export interface TableDeclaration {
  readonly rows: number;
  readonly columns: number;
  readonly role: "token-embedding" | "position";
  readonly otherNames?: readonly string[];
  readonly isQuantizable: boolean;
  /** True unless given. */
  readonly isSplittable?: boolean;
}

/** What an interpreter makes of one weight. */
export interface WeightStore {
  matrix(spec: WeightSpec, columns: Grouping): Matrix;
  vector(spec: WeightSpec): GPUBuffer;
}

/** Declares weights one after the other; what it returns holds their values after the load. */
export class WeightDeclarer {
  private readonly store: WeightStore;
  private readonly modelPart: ModelPart;
  private readonly isUsed: boolean;

  constructor(store: WeightStore, modelPart: ModelPart = "decoder", isUsed = true) {
    this.store = store;
    this.modelPart = modelPart;
    this.isUsed = isUsed;
  }

  /** The same for weights of another part. */
  part(modelPart: ModelPart): WeightDeclarer {
    return new WeightDeclarer(this.store, modelPart, this.isUsed);
  }

  /** The same for tensors that a checkpoint may hold but no forward pass reads; what it returns must not be used. */
  unused(): WeightDeclarer {
    return new WeightDeclarer(this.store, this.modelPart, false);
  }

  /** Linear layers of one input: weight [Σ rows, columns] and bias [Σ rows]. */
  linear(layer: LinearDeclaration): Linear {
    const columns = grouping(layer.columns);
    const columnShape = layer.columnShape ?? [columns.count * columns.size];
    const tensors = (kind: string, shape: readonly number[]) =>
      layer.stack.map(({ name, rows }) => {
        const group = grouping(rows);
        const shapeOf = [group.count * group.size, ...shape];
        return { name: `${name}.${kind}`, otherNames: [], shape: shapeOf, rows: group };
      });
    const isQuantizable = layer.isQuantizable ?? true;
    const weight = this.store.matrix(
      this.spec({ tensors: tensors("weight", columnShape), columns, role: "matrix", isQuantizable }),
      columns,
    );
    const bias = layer.bias ? this.store.vector(this.spec({ tensors: tensors("bias", []), role: "bias" })) : undefined;
    return { weight, bias };
  }

  /** A table [rows, columns]. */
  table(name: string, table: TableDeclaration): Matrix {
    const { rows, otherNames = [], role, isQuantizable, isSplittable } = table;
    const columns = whole(table.columns);
    const tensors = [{ name, otherNames, shape: [rows, table.columns], rows: whole(rows) }];
    return this.store.matrix(this.spec({ tensors, columns, role, isQuantizable, isSplittable }), columns);
  }

  /** A vector [size]. */
  vector(name: string, size: number, role: WeightRole): GPUBuffer {
    const tensors = [{ name, otherNames: [], shape: [size], rows: whole(size) }];
    return this.store.vector(this.spec({ tensors, role }));
  }

  private spec(spec: {
    readonly tensors: readonly TensorSpec[];
    readonly columns?: Grouping;
    readonly role: WeightRole;
    readonly isQuantizable?: boolean;
    readonly isSplittable?: boolean | undefined;
  }): WeightSpec {
    const { tensors, columns, role, isQuantizable = false, isSplittable = true } = spec;
    return { tensors, columns, role, isQuantizable, isSplittable, part: this.modelPart, isUsed: this.isUsed };
  }
}

function grouping(dimension: Grouping | number): Grouping {
  return typeof dimension === "number" ? whole(dimension) : dimension;
}

/** Runs a declaration without a GPU. @returns its weights in the order of declaration, unused ones included. */
export function listWeights(declare: (w: WeightDeclarer) => unknown): readonly WeightSpec[] {
  const specs: WeightSpec[] = [];
  declare(
    new WeightDeclarer({
      matrix(spec, columns) {
        specs.push(spec);
        return emptyMatrix(spec, columns);
      },
      vector(spec) {
        specs.push(spec);
        return {} as GPUBuffer; // never touched: the declaration's result is thrown away
      },
    }),
  );
  return specs;
}

/** A matrix without its weights. */
export function emptyMatrix(spec: WeightSpec, columns: Grouping): Matrix {
  const rowGroups = spec.tensors.map(({ rows }) => rows);
  return { name: labelOf(spec), ...matrixSizes(rowGroups, columns), dtype: "f32", pieces: [] };
}

/** What messages and buffers call a weight: its tensors' names. */
export function labelOf(weight: { readonly tensors: readonly { readonly name: string }[] }): string {
  return weight.tensors.map(({ name }) => name).join(" + ");
}

/** A tensor of a {@link PlannedWeight}, under the name that the checkpoint has it by. */
export interface PlannedTensor extends TensorSpec {
  /** Undefined when the checkpoint lacks the tensor or weights cannot have its dtype. */
  readonly fileDtype: FloatDtype | undefined;
  /** The form that `adaptvis quantize` stored the tensor in, as two tensors: {@link codesName} and {@link scalesName}. */
  readonly packed: QuantizedDtype | undefined;
}

/** A weight of one checkpoint, loaded in one dtype. */
export interface PlannedWeight extends WeightSpec {
  readonly tensors: readonly PlannedTensor[];
  /** How it is stored on the GPU: vectors as f32, matrices stacked of several dtypes too unless another is wanted. */
  readonly dtype: WeightDtype;
}

/** The tensor of a quantised matrix's integers: I8 in q8, U8 in q4 and q4_1. */
export function codesName(name: string): string {
  return `${name}.codes`;
}

/** The tensor of a quantised matrix's scales, F16; that of q4_1 has a third dimension for scale and minimum. */
export function scalesName(name: string): string {
  return `${name}.scales`;
}

/**
 * How a model that is loaded in `wanted` stores a matrix; undefined where that is as in the file. Under q4 and q4_1 some are in q8.
 * The lm_head, as in llama.cpp's files: its errors are those of the logits. The vision tower and the projector: with 4 bits, the image
 * features of tiny-spatial are 8.4 % off (√ of the mean squared error over the mean square), with q8 0.6 %, with only one of the two
 * in q8 still 5 to 6 %; and they are 5 % of LLaVA-1.5-7B's weights. Within the decoder, down_proj or o_proj in q8 alone gained too little for their size.
 */
export function matrixDtype(
  { role, part, isQuantizable }: Pick<WeightSpec, "role" | "part" | "isQuantizable">,
  wanted: WeightDtype | undefined,
): WeightDtype | undefined {
  if (wanted === undefined || !isQuantized(wanted)) return wanted;
  if (!isQuantizable) return undefined;
  return role === "token-embedding" || part !== "decoder" ? "q8" : wanted;
}

/** Gives a declared weight its names and dtypes in a checkpoint; matrices in `wanted`, or as in the file. */
export function planWeight(checkpoint: Checkpoint, spec: WeightSpec, wanted: WeightDtype | undefined): PlannedWeight {
  const isMatrix = spec.columns !== undefined;
  const entryOf = (name: string) => checkpoint.tensors.get(name)?.entry;
  const codesOf = (name: string) => (isMatrix ? entryOf(codesName(name)) : undefined);
  const tensors = spec.tensors.map((tensor) => {
    const name = [tensor.name, ...tensor.otherNames].find((each) => entryOf(each) ?? codesOf(each)) ?? tensor.name;
    const packed = packedDtypeOf(codesOf(name)?.dtype, entryOf(scalesName(name))?.shape);
    return { ...tensor, name, packed, fileDtype: floatDtypeOf(entryOf(name)?.dtype) };
  });
  if (!isMatrix) return { ...spec, tensors, dtype: "f32" };
  const dtypes = new Set(tensors.map(({ packed, fileDtype }) => packed ?? fileDtype));
  const [only] = dtypes;
  const asInFile = dtypes.size === 1 && only !== undefined ? only : "f32";
  // A file that was quantised to `wanted` by an earlier choice keeps its form.
  const isAsWanted = only === wanted && dtypes.size === 1 && tensors.every(({ packed }) => packed !== undefined);
  return { ...spec, tensors, dtype: (isAsWanted ? only : matrixDtype(spec, wanted)) ?? asInFile };
}

function packedDtypeOf(codes: Dtype | undefined, scales: readonly number[] | undefined): QuantizedDtype | undefined {
  if (codes === "I8") return "q8";
  if (codes !== "U8") return undefined;
  return scales?.length === 3 ? "q4_1" : "q4";
}

/** The first tensor that is stored in another quantised form than its matrix shall have; undefined where there is none. */
export function otherForm(weight: PlannedWeight): PlannedTensor | undefined {
  return weight.tensors.find(({ packed }) => weight.isUsed && packed !== undefined && packed !== weight.dtype);
}

/** The weights of a model as a checkpoint holds them when its matrices are stored in `dtype`, or as in the file. */
export function planWeights(
  checkpoint: Checkpoint,
  architecture: Architecture,
  dtype: WeightDtype | undefined,
): readonly PlannedWeight[] {
  return listWeights((w) => architecture.weights(w)).map((spec) => planWeight(checkpoint, spec, dtype));
}

/** Bytes that the weights of a checkpoint take on the GPU when its matrices are stored in `dtype`, or as in the file. */
export function weightMemory(checkpoint: Checkpoint, architecture: Architecture, dtype?: WeightDtype): number {
  const used = planWeights(checkpoint, architecture, dtype).filter(({ isUsed }) => isUsed);
  return used.reduce((sum, weight) => sum + storedBytes(weight), 0);
}

/** Bytes of a weight on the GPU, the scales of a quantised one included, in buffers that are not split. */
function storedBytes({ tensors, columns, dtype }: PlannedWeight): number {
  const rows = tensors.reduce((sum, tensor) => sum + paddedLength(tensor.rows), 0);
  if (columns === undefined) return bufferBytes(rows * 4);
  const row = storedRowBytes({ dtype, columns: paddedLength(columns) });
  return bufferBytes(rows * row.weights) + (row.scales === 0 ? 0 : bufferBytes(rows * row.scales));
}

/** What a buffer for so many bytes takes. */
function bufferBytes(byteLength: number): number {
  return Math.max(16, byteLength);
}

/** The tensors that a checkpoint must hold, and those that it may hold and that are not read, by name. */
export function expectedTensors(weights: readonly PlannedWeight[]): {
  readonly expected: readonly ExpectedTensor[];
  readonly unused: ReadonlySet<string>;
} {
  const inUse = weights.filter(({ isUsed }) => isUsed);
  const used = inUse.flatMap(({ tensors }) => tensors);
  const names = new Set(used.map(({ name }) => name));
  const unused = weights.flatMap(({ isUsed, tensors }) =>
    tensors.flatMap(({ name, otherNames }) => (isUsed ? otherNames : [name, ...otherNames])),
  );
  const expected = inUse.flatMap(({ tensors, columns }) =>
    tensors.flatMap((tensor) => (columns === undefined ? tensor : storedTensors(tensor, columns))),
  );
  return { expected, unused: new Set(unused.filter((name) => !names.has(name))) };
}

/** The tensors that a matrix's tensor is in a file. */
export function storedTensors(
  tensor: Pick<PlannedTensor, "name" | "shape" | "rows" | "packed">,
  columnGroup: Grouping,
): readonly ExpectedTensor[] {
  const { name, rows, packed } = tensor;
  if (packed === undefined) return [tensor];
  const numRows = rows.count * rows.size;
  const columns = paddedLength(columnGroup);
  const { weights } = storedRowBytes({ dtype: packed, columns });
  const groups = [numRows, groupsPerRow(columns)];
  const numbers = scalesPerGroup(packed);
  return [
    { name: codesName(name), shape: [numRows, weights], dtype: hasNibbles(packed) ? "U8" : "I8" },
    { name: scalesName(name), shape: numbers === 1 ? groups : [...groups, numbers], dtype: "F16" },
  ];
}
