// The ops of linear layers: plain ones, the gated half of an MLP, and the packing of quantised weights. Letters: R rows, N and
// K columns out and in, I the MLP's inner size.
import gatedActivationWgsl from "../../../shaders/gated-activation.wgsl";
import gatedMatvecWgsl from "../../../shaders/gated-matvec.wgsl";
import gatedMatvecReduceWgsl from "../../../shaders/gated-matvec-reduce.wgsl";
import gatedMatvecSubgroupWgsl from "../../../shaders/gated-matvec-subgroup.wgsl";
import quantizeWgsl from "../../../shaders/quantize.wgsl";
import quantizeActivationsWgsl from "../../../shaders/quantize-activations.wgsl";
import quantizeMinimumWgsl from "../../../shaders/quantize-minimum.wgsl";
import activationWgsl from "../../../shaders/shared/activation.wgsl";
import linearWgsl from "../../../shaders/shared/linear.wgsl";
import roundF16Wgsl from "../../../shaders/shared/round-f16.wgsl";
import { GpuError } from "../../errors.ts";
import type { KernelContext } from "../device.ts";
import { defineKernel } from "../kernel.ts";
import type { Program } from "../program.ts";
import {
  type FloatDtype,
  groupsPerRow,
  type Linear,
  type Matrix,
  type MatrixPiece,
  type QuantizedDtype,
  weightStride4,
} from "../tensor.ts";
import type { TunableChoice } from "../tunables.ts";
import { ACTIVATIONS, type Activation } from "./activations.ts";
import { descriptions } from "./descriptions-loader.ts";
import { fusedEntries } from "./fused-kernels.ts";
import { chooseEntry } from "./kernel-list.ts";
import { LINEAR_KERNELS, type LinearKernelName, type LinearShape } from "./linear-kernels.ts";
import { perFloat, weightBindings } from "./weight-kernels.ts";

/** The kernels here that are the only one of their op. */
export const GATED_ACTIVATION = defineKernel("gated-activation", gatedActivationWgsl, [activationWgsl]);
export const QUANTIZE = perFloat("quantize", quantizeWgsl, [roundF16Wgsl]);
export const QUANTIZE_MINIMUM = perFloat("quantize-minimum", quantizeMinimumWgsl, [roundF16Wgsl]);
export const QUANTIZE_ACTIVATIONS = defineKernel("quantize-activations", quantizeActivationsWgsl);

/** A linear layer's call. */
export interface LinearCall {
  readonly layer: Linear;
  readonly input: GPUBuffer;
  /** The input as {@link quantizeActivations} wrote it, which is read instead; the weight has to be quantised. */
  readonly quantizedInput?: GPUBuffer | undefined;
  readonly output: GPUBuffer;
  readonly numRows: number;
  /** First row of `input`; a quantised input has only the rows of the call. */
  readonly inputRowStart?: number;
  readonly outputColumn?: number;
  readonly outputStride?: number;
  readonly activation?: Activation;
  /** Adds to what output holds: the residual connection. */
  readonly addToOutput?: boolean;
  /** Computes each row the same, to the bit, however many others there are. */
  readonly rowStable?: boolean;
  /** This kernel instead of the one that suits the call. */
  readonly kernel?: LinearKernelName | undefined;
  /** Values of the kernel's tunable constants instead of the tuning table's. */
  readonly choice?: TunableChoice | undefined;
}

/** A linear layer over R rows: output [R, outputStride] at `outputColumn` = activation(input [R, K] · weightᵀ + bias). */
export function linear(program: Program, gpu: KernelContext, call: LinearCall): void {
  const { weight, bias } = call.layer;
  const { numRows, rowStable = false, choice, quantizedInput } = call;
  const hasQuantizedInput = quantizedInput !== undefined;
  for (const piece of weight.pieces) {
    const columns4 = piece.numRows / 4;
    const shape: LinearShape = { weight, numRows, columns4, rowStable, hasQuantizedInput, choice };
    const entry = chooseEntry<LinearShape>(LINEAR_KERNELS, gpu, { shape, name: call.kernel });
    const { constants, grid } = entry.plan(shape, gpu);
    program.dispatch(entry.kernel(shape), {
      constants: {
        HAS_BIAS: bias !== undefined,
        ADD_TO_OUTPUT: call.addToOutput ?? false,
        ACTIVATION: ACTIVATIONS[call.activation ?? "none"],
        ...constants,
      },
      bindings: {
        ...weightBindings(piece),
        input: quantizedInput ?? call.input,
        bias: bias ?? gpu.unused,
        output: call.output,
      },
      params: {
        numRows,
        inputRowStart: call.inputRowStart ?? 0,
        inner4: weight.columns / 4,
        weightStride4: weightStride4(weight),
        columns4,
        outputColumn4: ((call.outputColumn ?? 0) + piece.rowStart) / 4,
        outputStride4: (call.outputStride ?? weight.rows) / 4,
        biasColumn4: piece.rowStart / 4,
      },
      grid,
      describe: async () => (await descriptions()).linear(call, piece),
    });
  }
}

/** What the kernel of {@link gatedMatvec} is chosen by. */
interface GatedShape {
  readonly weight: Matrix;
  readonly numRows: number;
  readonly hasQuantizedInput: boolean;
}

/** Fours of columns of the gated half's output. */
const gatedColumns4 = ({ weight }: GatedShape) => weight.rows / 8;

/** The kernels of {@link gatedMatvec}. */
export const GATED_MATVEC_KERNELS = fusedEntries<GatedShape, "gated-matvec">(
  "gated-matvec",
  {
    threads: gatedMatvecWgsl,
    subgroup: gatedMatvecSubgroupWgsl,
    reduce: gatedMatvecReduceWgsl,
    helpers: [linearWgsl, activationWgsl],
  },
  {
    threads: (shape) => ({ constants: {}, grid: [Math.ceil(gatedColumns4(shape) / 8), shape.numRows] }),
    wide: (shape, batches) => {
      const columns4 = gatedColumns4(shape);
      const width = Math.min(columns4, 65_535);
      return [width, Math.ceil(columns4 / width), batches];
    },
  },
);

/** The kernels of {@link gatedMatvec} by name. */
export type GatedMatvecKernelName = (typeof GATED_MATVEC_KERNELS)[number]["name"];

/** The call of {@link gatedMatvec}. */
export interface GatedCall {
  readonly layer: Linear;
  readonly input: GPUBuffer;
  /** As {@link LinearCall.quantizedInput}. */
  readonly quantizedInput?: GPUBuffer | undefined;
  readonly output: GPUBuffer;
  readonly numRows: number;
  readonly activation: Activation;
  /** This kernel instead of the one that suits the adapter. */
  readonly kernel?: GatedMatvecKernelName | undefined;
}

/**
 * The gated half of an MLP for the few rows of a decode step: output [R, I] = activation(gate) · up, where gate_proj and
 * up_proj [2·I, K] are one matrix in one piece.
 * @throws GpuError `limit` when the matrix is split; {@link isWhole} tells before.
 */
export function gatedMatvec(program: Program, gpu: KernelContext, call: GatedCall): void {
  const { numRows, quantizedInput, output } = call;
  const { weight, bias } = call.layer;
  const piece = wholePiece(weight);
  const shape = { weight, numRows, hasQuantizedInput: quantizedInput !== undefined };
  const columns4 = gatedColumns4(shape);
  const entry = chooseEntry<GatedShape>(GATED_MATVEC_KERNELS, gpu, { shape, name: call.kernel });
  const { grid, constants } = entry.plan(shape, gpu);
  program.dispatch(entry.kernel(shape), {
    constants: {
      HAS_BIAS: bias !== undefined,
      ADD_TO_OUTPUT: false,
      ACTIVATION: ACTIVATIONS[call.activation],
      ...constants,
    },
    bindings: { ...weightBindings(piece), input: quantizedInput ?? call.input, bias: bias ?? gpu.unused, output },
    params: {
      numRows,
      inputRowStart: 0,
      inner4: weight.columns / 4,
      weightStride4: weightStride4(weight),
      columns4,
      outputColumn4: 0,
      outputStride4: columns4,
      biasColumn4: 0,
    },
    grid,
    describe: async () => (await descriptions()).gatedMatvec(call),
  });
}

/** The call of {@link gatedActivation}. */
export interface GatedActivationCall {
  readonly gateUp: GPUBuffer;
  readonly output: GPUBuffer;
  readonly numRows: number;
  /** I */
  readonly columns: number;
  readonly activation: Activation;
}

/** output [R, I] = activation(gate) · up of gateUp [R, 2·I], the gate's columns first, each half padded to a multiple of 4. */
export function gatedActivation(program: Program, call: GatedActivationCall): void {
  const { numRows, columns } = call;
  const columns4 = Math.ceil(columns / 4);
  program.dispatch(GATED_ACTIVATION, {
    constants: { ACTIVATION: ACTIVATIONS[call.activation] },
    bindings: { gateUp: call.gateUp, output: call.output },
    params: { columns4 },
    grid: [Math.ceil(columns4 / 64), numRows],
    describe: async () => (await descriptions()).gatedActivation(call),
  });
}

/**
 * Packs R rows of `source` [R, columns], columns a multiple of 4, into a quantised piece from `rowStart` of it on, a
 * multiple of 4. `problem` (u32) becomes 1 where a weight is not finite or needs a scale or minimum beyond f16.
 */
export function quantize(
  program: Program,
  call: {
    readonly source: GPUBuffer;
    readonly sourceDtype: FloatDtype;
    readonly numRows: number;
    readonly columns: number;
    readonly dtype: QuantizedDtype;
    readonly target: { readonly steps: GPUBuffer; readonly scales: GPUBuffer };
    readonly rowStart: number;
    readonly problem: GPUBuffer;
  },
): void {
  const groups = groupsPerRow(call.columns);
  const numGroups = call.numRows * groups;
  const hasMinimum = call.dtype === "q4_1";
  program.dispatch((hasMinimum ? QUANTIZE_MINIMUM : QUANTIZE)[call.sourceDtype], {
    constants: hasMinimum ? {} : { BITS: call.dtype === "q8" ? 8 : 4 },
    bindings: { weight: call.source, ...call.target, problem: call.problem },
    params: {
      numGroups,
      groupsPerRow: groups,
      inner4: call.columns / 4,
      groupStart: call.rowStart * groups,
    },
    grid: [Math.ceil(numGroups / (hasMinimum ? 64 : 128))],
  });
}

/** The call of {@link quantizeActivations}. */
export interface QuantizeActivationsCall {
  /** [R, columns] f32 */
  readonly input: GPUBuffer;
  /** {@link quantizedRowBytes} per row. */
  readonly output: GPUBuffer;
  readonly numRows: number;
  /** K, a multiple of 4 */
  readonly columns: number;
  readonly inputRowStart?: number;
}

/** Bytes of a row of K activations in integers of 8 bits: 48 per group of 32. */
export function quantizedRowBytes(columns: number): number {
  return groupsPerRow(columns) * 48;
}

/** Quantises R rows of activations to 8 bits, for the linear layers of a decode step that multiply integers. */
export function quantizeActivations(program: Program, call: QuantizeActivationsCall): void {
  const { input, output, numRows, columns, inputRowStart = 0 } = call;
  const groups = groupsPerRow(columns);
  program.dispatch(QUANTIZE_ACTIVATIONS, {
    bindings: { input, output },
    params: { inputRowStart, inner4: columns / 4, groups },
    grid: [Math.ceil(groups / 8), numRows],
    describe: async () => (await descriptions()).quantizeActivations(call),
  });
}

/** Whether a matrix is in one piece, as the fused decode kernels need it. */
export function isWhole(matrix: Matrix): boolean {
  return matrix.pieces.length === 1;
}

/** The only piece of a matrix. @throws GpuError `limit` when it is split. */
export function wholePiece(matrix: Matrix): MatrixPiece {
  const [piece] = matrix.pieces;
  if (piece !== undefined && isWhole(matrix)) return piece;
  throw new GpuError("limit", `Matrix ${matrix.name} must be one piece, got ${matrix.pieces.length}.`);
}
