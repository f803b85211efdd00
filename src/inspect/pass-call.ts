// One call of a kernel, and how what its bindings hold is described. Shapes are the real ones: what only pads a row to a
// multiple of 4 is left out.
import type { Constant, Kernel } from "../gpu/kernel.ts";
import { GROUP_SIZE, isQuantized, padTo4 } from "../gpu/tensor.ts";
import type { ModelConfig } from "../models/config.ts";
import { weightDtypeOf } from "./kernel-text.ts";
import type { TensorView } from "./pass-values.ts";

/** One call of a kernel with what has to be known of it. */
export interface PassCall {
  readonly kernel: Kernel;
  readonly constants: Readonly<Record<string, Constant>>;
  readonly params: Readonly<Record<string, number>>;
  readonly grid: readonly [number, number, number];
  /** As given to `Program.at`. */
  readonly place: string;
  /** The content of the binding that {@link neededBinding} names; empty where it names none. */
  readonly words: Uint32Array<ArrayBuffer>;
}

/** A part of a buffer that a call writes. */
export interface WrittenPart {
  /** Behind the buffer's label; empty for all that there is. */
  readonly label: string;
  readonly view: TensorView;
}

/** What a binding holds. */
export interface BoundTensor {
  readonly shape: readonly number[];
  readonly dtype: string;
  /** Empty for one that is only read. */
  readonly written: readonly WrittenPart[];
  /** True for one that is read and written. */
  readonly isUpdated?: boolean;
}

/** Bindings by name. */
export type BoundTensors = Readonly<Record<string, BoundTensor>>;

/** The binding whose content decides where a kernel writes; it has to be read back before. */
export function neededBinding(kernel: string, constants: PassCall["constants"]): "step" | "ids" | "seen" | undefined {
  if (kernel === "embed-tokens") return "ids";
  if (kernel === "repetition-penalty") return "seen";
  const isPlaced = /^(rope-append|qkv-rope|attention-decode)/.test(kernel) || constants.CAUSAL === true;
  return isPlaced ? "step" : undefined;
}

/** A call's numbers under short names. */
export class CallReader {
  readonly call: PassCall;
  readonly config: ModelConfig;
  /** Sizes of the tower that the call belongs to. */
  readonly sizes: {
    readonly hiddenSize: number;
    readonly intermediateSize: number;
    readonly numAttentionHeads: number;
    readonly numKeyValueHeads: number;
    readonly headDim: number;
  };
  readonly paddedHeadDim: number;
  /** The last part of the place, such as "down_proj". */
  readonly part: string;

  constructor(call: PassCall, config: ModelConfig) {
    this.call = call;
    this.config = config;
    const vision = call.place.startsWith("vision.") ? config.multimodal?.vision : undefined;
    this.sizes = vision === undefined ? config.text : { ...vision, numKeyValueHeads: vision.numAttentionHeads };
    this.paddedHeadDim = padTo4(this.sizes.headDim);
    this.part = call.place.slice(call.place.lastIndexOf(".") + 1);
  }

  /** A member of `struct Params`. */
  param(name: string): number {
    return this.call.params[name] ?? 0;
  }

  /** Position of the first row. */
  get positionStart(): number {
    return this.call.words[0] ?? 0;
  }

  /** Query, key and value heads. */
  get allHeads(): number {
    return this.sizes.numAttentionHeads + 2 * this.sizes.numKeyValueHeads;
  }

  /** A matrix and, of a quantised one, its scales. */
  weight(rows: number, columns: number): BoundTensors {
    const dtype = weightDtypeOf(this.call.kernel) ?? "f32";
    const weight = read([rows, columns], dtype);
    return isQuantized(dtype) ? { weight, scales: read([rows, Math.ceil(columns / GROUP_SIZE)], "f16") } : { weight };
  }
}

/** A binding that is only read. */
export function read(shape: readonly number[], dtype = "f32"): BoundTensor {
  return { shape, dtype, written: [] };
}

/** A binding of which all that there is to it is written. */
export function written(view: TensorView, label = ""): BoundTensor {
  return { shape: view.shape, dtype: view.dtype, written: [{ label, view }] };
}

/** R rows of `columns` real values, padded to a multiple of 4. */
export function rowsView(numRows: number, columns: number, rowStart = 0): TensorView {
  const stride = padTo4(columns);
  return { shape: [numRows, columns], strides: [stride, 1], offset: rowStart * stride, dtype: "f32" };
}
