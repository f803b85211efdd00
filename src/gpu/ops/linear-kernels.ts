// The kernels that compute linear layers on GPUs, and the choice of a linear layer's kernel, constants and grid.
import matmulTiledWgsl from "../../../shaders/matmul-tiled.wgsl";
import matvecReduceWgsl from "../../../shaders/matvec-reduce.wgsl";
import matvecSubgroupWgsl from "../../../shaders/matvec-subgroup.wgsl";
import activationWgsl from "../../../shaders/shared/activation.wgsl";
import linearWgsl from "../../../shaders/shared/linear.wgsl";
import matvecSumsWgsl from "../../../shaders/shared/matvec-sums.wgsl";
import wideBf16Wgsl from "../../../shaders/shared/wide-bf16.wgsl";
import wideF16Wgsl from "../../../shaders/shared/wide-f16.wgsl";
import wideF32Wgsl from "../../../shaders/shared/wide-f32.wgsl";
import wideLoadWgsl from "../../../shaders/shared/wide-load.wgsl";
import wideLoadScaledWgsl from "../../../shaders/shared/wide-load-scaled.wgsl";
import wideNarrowWgsl from "../../../shaders/shared/wide-narrow.wgsl";
import wideQ4Wgsl from "../../../shaders/shared/wide-q4.wgsl";
import wideQ8Wgsl from "../../../shaders/shared/wide-q8.wgsl";
import type { Gpu } from "../device.ts";
import type { Constant } from "../kernel.ts";
import { isQuantized, type Matrix, type WeightDtype, weightStride4 } from "../tensor.ts";
import { hasQuads, quadRows } from "./quads.ts";
import { type Choice, chosen, type TunableName } from "./tunables.ts";
import { perDtype } from "./weight-kernels.ts";

/** Which of the linear kernels a caller wants. */
export type LinearKernel =
  /** Chosen by the number of rows and the class of adapter. */
  | "auto"
  /** Chosen so that a row comes out the same, to the bit, however many others there are. */
  | "rows"
  | LinearKernelName;

/** The linear kernels by their key in `KERNELS` of ops.ts. */
export type LinearKernelName =
  | "matmul"
  | "matmulQuad"
  | "matmulTiled"
  | "matvec"
  | "matvecQuad"
  | "matvecReduce"
  | "matvecSubgroup"
  | "matvecReduceNarrow"
  | "matvecSubgroupNarrow";

/** How one dispatch of a linear layer runs. */
export interface LinearPlan {
  readonly kernel: LinearKernelName;
  /** Values of the kernel's own overrides. */
  readonly constants: Readonly<Record<string, Constant>>;
  readonly grid: readonly [number, number, number];
}

/** Texts that load 16 bytes of weights at a time (`loadPacked`, `unpackPart`). */
const WIDE: Record<WeightDtype, string> = {
  f32: wideF32Wgsl + wideLoadWgsl,
  f16: wideF16Wgsl + wideLoadWgsl,
  bf16: wideBf16Wgsl + wideLoadWgsl,
  q8: wideQ8Wgsl + wideLoadScaledWgsl,
  q4: wideQ4Wgsl + wideLoadScaledWgsl,
};
const LINEAR = [linearWgsl, activationWgsl];
const SUMS = [matvecSumsWgsl, ...LINEAR];
const NARROW_SUMS = [wideNarrowWgsl, ...SUMS];

/** The linear kernels for GPUs, one variant a dtype; narrow ones for rows that are no whole loads of 16 bytes. */
export const GPU_LINEAR_KERNELS = {
  matmulTiled: perDtype("matmul-tiled", matmulTiledWgsl, LINEAR),
  matvecReduce: perDtype("matvec-reduce", matvecReduceWgsl, SUMS, WIDE),
  matvecSubgroup: perDtype("matvec-subgroup", matvecSubgroupWgsl, SUMS, WIDE),
  matvecReduceNarrow: perDtype("matvec-reduce", matvecReduceWgsl, NARROW_SUMS),
  matvecSubgroupNarrow: perDtype("matvec-subgroup", matvecSubgroupWgsl, NARROW_SUMS),
} as const;

/** Vec4s of weights in a load of shared/wide-*. */
const LOAD_WIDTH: Record<WeightDtype, number> = { f32: 1, f16: 2, bf16: 2, q8: 4, q4: 8 };

/** Rows up to which a linear layer runs as matrix × vector on a CPU adapter. */
const MAX_CPU_VECTOR_ROWS = 4;
/** The same on a GPU, where weights are read once for every eight rows: a sweep's whole batch. */
const MAX_GPU_VECTOR_ROWS = 32;
/** Tiles below which smaller ones are taken: large GPUs run some hundred workgroups at once. */
const FEW_TILES = 256;

/**
 * Chooses for `numRows` rows and one piece of `columns4` fours of columns.
 * @param call.choice values of tunable constants instead of the tuning table's
 */
export function planLinear(
  gpu: Gpu,
  call: {
    readonly kernel: LinearKernel;
    readonly weight: Pick<Matrix, "dtype" | "columns">;
    readonly numRows: number;
    readonly columns4: number;
    readonly choice?: Choice | undefined;
  },
): LinearPlan {
  const { numRows, columns4 } = call;
  const kernel = chooseKernel(gpu, call);
  switch (kernel) {
    case "matmul":
      return { kernel, constants: {}, grid: [Math.ceil(columns4 / 8), Math.ceil(numRows / 32), 1] };
    case "matvec":
    case "matvecQuad":
      return { kernel, constants: {}, grid: [Math.ceil(columns4 / 8), numRows, 1] };
    case "matmulQuad": {
      const rows = quadRows(numRows);
      const grid = [Math.ceil(numRows / (8 * rows)), Math.ceil(columns4 / 4), 1] as const;
      return { kernel, constants: { ROWS: rows }, grid };
    }
    case "matmulTiled": {
      const constants = call.choice ?? tiledChoice(gpu, numRows, columns4);
      const tile = Number(constants.TILE);
      return { kernel, constants, grid: [Math.ceil((columns4 * 4) / tile), Math.ceil(numRows / tile), 1] };
    }
    default: {
      const { SUBGROUPS: _, ...constants } = call.choice ?? matvecChoice(gpu, call.weight.dtype);
      const batch = batchRows(numRows);
      const numGroups = Math.ceil(columns4 / Number(constants.COLUMNS4));
      const width = Math.min(numGroups, gpu.device.limits.maxComputeWorkgroupsPerDimension);
      return {
        kernel,
        constants: { ...constants, BATCH: batch },
        grid: [width, Math.ceil(numGroups / width), Math.ceil(numRows / batch)],
      };
    }
  }
}

function chooseKernel(
  gpu: Gpu,
  call: {
    readonly kernel: LinearKernel;
    readonly weight: Pick<Matrix, "dtype" | "columns">;
    readonly numRows: number;
    readonly choice?: Choice | undefined;
  },
): LinearKernelName {
  const { kernel, weight, numRows } = call;
  if (kernel !== "auto" && kernel !== "rows") return isVector(kernel) ? fitting(kernel, weight) : kernel;
  if (gpu.isSoftware) {
    if (hasQuads(gpu) && (kernel === "rows" || numRows > 1)) return "matmulQuad";
    if (hasQuads(gpu)) return isQuantized(weight.dtype) ? "matvecQuad" : "matvec";
    return kernel === "rows" || numRows > MAX_CPU_VECTOR_ROWS ? "matmul" : "matvec";
  }
  if (kernel === "rows" || numRows > MAX_GPU_VECTOR_ROWS) return "matmulTiled";
  const hasSubgroups = (call.choice ?? matvecChoice(gpu, weight.dtype)).SUBGROUPS === true;
  return fitting(hasSubgroups ? "matvecSubgroup" : "matvecReduce", weight);
}

function isVector(kernel: LinearKernelName): kernel is "matvecReduce" | "matvecSubgroup" {
  return kernel === "matvecReduce" || kernel === "matvecSubgroup";
}

/** The kernel with loads of 16 bytes where a row is a whole number of them. */
function fitting(
  kernel: "matvecReduce" | "matvecSubgroup",
  weight: Pick<Matrix, "dtype" | "columns">,
): LinearKernelName {
  return weightStride4(weight) % LOAD_WIDTH[weight.dtype] === 0 ? kernel : (`${kernel}Narrow` as const);
}

function matvecChoice(gpu: Gpu, dtype: WeightDtype): Choice {
  const name: TunableName = `matvec ${dtype === "bf16" ? "f16" : dtype}`;
  return chosen(gpu, name);
}

/** Every choice gives the same numbers, so a row's value does not depend on this one. */
function tiledChoice(gpu: Gpu, numRows: number, columns4: number): Choice {
  const large = chosen(gpu, "matmul-tiled");
  const tile = Number(large.TILE);
  const numTiles = Math.ceil(numRows / tile) * Math.ceil((columns4 * 4) / tile);
  return numRows <= 32 || numTiles < FEW_TILES ? chosen(gpu, "matmul-tiled small") : large;
}

/** Rows that a workgroup of a matrix × vector kernel computes: more would only repeat the last row. */
function batchRows(numRows: number): number {
  if (numRows <= 2) return numRows;
  return numRows <= 4 ? 4 : 8;
}
