// The kernels of linear layers, in the order of preference: each entry says where it runs, on which grid, with which constants.
import matmulWgsl from "../../../shaders/matmul.wgsl";
import matmulOctetWgsl from "../../../shaders/matmul-octet.wgsl";
import matmulQuadWgsl from "../../../shaders/matmul-quad.wgsl";
import matmulTiledWgsl from "../../../shaders/matmul-tiled.wgsl";
import matvecWgsl from "../../../shaders/matvec.wgsl";
import matvecReduceWgsl from "../../../shaders/matvec-reduce.wgsl";
import matvecSubgroupWgsl from "../../../shaders/matvec-subgroup.wgsl";
import activationWgsl from "../../../shaders/shared/activation.wgsl";
import dotsWgsl from "../../../shaders/shared/dots.wgsl";
import inputWgsl from "../../../shaders/shared/input.wgsl";
import linearWgsl from "../../../shaders/shared/linear.wgsl";
import sumsSharedWgsl from "../../../shaders/shared/sums-shared.wgsl";
import sumsSubgroupWgsl from "../../../shaders/shared/sums-subgroup.wgsl";
import type { KernelContext } from "../device.ts";
import { isQuantized, type Matrix, weightStride4 } from "../tensor.ts";
import { chosen, type TunableChoice, type TunableName, type Tunables } from "../tunables.ts";
import type { KernelEntry, Plan } from "./kernel-list.ts";
import { hasOctets, hasQuads, quadRows } from "./quads.ts";
import { byDtype, byDtypeAndWidth, perDtype, perQuantized, perQuantizedInput, perThread } from "./weight-kernels.ts";

/** What a linear layer's kernel is chosen by: one piece of its matrix and the rows that it is applied to. */
export interface LinearShape {
  readonly weight: Pick<Matrix, "dtype" | "columns">;
  readonly numRows: number;
  /** Fours of columns of the output that the piece computes. */
  readonly columns4: number;
  /** Whether a row has to come out the same, to the bit, however many others there are. */
  readonly rowStable: boolean;
  /** Whether the input is what quantize-activations wrote; the weights are quantised then. */
  readonly hasQuantizedInput?: boolean | undefined;
  /** Values of tunable constants instead of the tuning table's. */
  readonly choice: TunableChoice | undefined;
}

/** A linear layer's kernel with the constants that start-up tuning chooses. */
interface LinearEntry extends KernelEntry<LinearShape> {
  /** Candidates, by what is chosen; several entries may be the candidates of one choice. */
  readonly tunables?: Readonly<Partial<Record<TunableName, readonly TunableChoice[]>>>;
}

const LINEAR = [linearWgsl, activationWgsl];
const DOTS = [dotsWgsl, inputWgsl, ...LINEAR];
/** Rows up to which a linear layer runs as matrix × vector on a CPU adapter. */
const MAX_CPU_VECTOR_ROWS = 4;
/** The same on a GPU, where weights are read once for every eight rows: a sweep's whole batch. */
const MAX_GPU_VECTOR_ROWS = 32;
/** Sums of a vec4 that fit the workgroup memory of every WebGPU device, 16 KiB. */
const SHARED_SUMS = 1024;
/** Rows of a workgroup that multiplies integers, with four columns: more spill registers on GPUs without such an instruction. */
const MAX_INT8_ROWS = 4;
/** Number of tiles that keeps a GPU busy: large ones run some hundred workgroups at once. */
const ENOUGH_TILES = 256;

/** Form of matmul-tiled, and what it asks of a device. */
const tiled = (TILE: number, WIDE: boolean, K_STEP: number): TunableChoice => ({ TILE, WIDE, K_STEP });

/** Tiles that every device can run: they fit WebGPU's guaranteed 16 KiB of workgroup memory. */
const MEDIUM_TILES = tiled(64, true, 16);

/** Threads and fours of columns of a workgroup of matvec-subgroup or matvec-reduce. */
const matvecs = (SUBGROUPS: boolean, ...sizes: readonly (readonly [threads: number, columns4: number])[]) =>
  sizes.map(([THREADS, COLUMNS4]): TunableChoice => ({ SUBGROUPS, THREADS, COLUMNS4 }));

// A load holds more quantised weights, so that fewer threads have the same number of loads each.
const FLOAT_SUBGROUPS = matvecs(true, [128, 1], [64, 1], [256, 1], [128, 2]);
const QUANTIZED_SUBGROUPS = matvecs(true, [64, 2], [64, 1], [128, 1], [128, 2]);
const FLOAT_REDUCES = matvecs(false, [128, 1]);
const QUANTIZED_REDUCES = matvecs(false, [64, 1]);

/** The kernels of a linear layer. */
export const LINEAR_KERNELS = [
  {
    name: "matvec-subgroup-int8",
    ...byDtype(perQuantizedInput("matvec-subgroup", matvecSubgroupWgsl, [sumsSubgroupWgsl, ...LINEAR])),
    supports: (gpu, shape) => shape.hasQuantizedInput === true && !gpu.isSoftware && usesSubgroups(gpu, shape),
    plan: planWideMatvec,
  },
  {
    name: "matvec-reduce-int8",
    ...byDtype(perQuantizedInput("matvec-reduce", matvecReduceWgsl, [sumsSharedWgsl, ...LINEAR])),
    supports: (_, { hasQuantizedInput }) => hasQuantizedInput === true,
    plan: planWideMatvec,
  },
  {
    name: "matmul-octet",
    ...byDtype(perDtype("matmul-octet", matmulOctetWgsl, DOTS)),
    supports: (gpu, { numRows, rowStable }) => hasOctets(gpu) && (rowStable || numRows > 1),
    plan: ({ numRows, columns4 }) => {
      const rows = quadRows(numRows);
      return { constants: { ROWS: rows }, grid: [Math.ceil(numRows / (8 * rows)), Math.ceil(columns4 / 6)] };
    },
  },
  {
    name: "matmul-quad",
    ...byDtype(perDtype("matmul-quad", matmulQuadWgsl, DOTS)),
    supports: (gpu, { numRows, rowStable }) => hasQuads(gpu) && (rowStable || numRows > 1),
    plan: ({ numRows, columns4 }) => {
      const rows = quadRows(numRows);
      return { constants: { ROWS: rows }, grid: [Math.ceil(numRows / (8 * rows)), Math.ceil(columns4 / 4)] };
    },
  },
  {
    name: "matvec-quad",
    ...byDtype(perQuantized("matvec", matvecWgsl, LINEAR)),
    supports: (gpu, { weight }) => hasQuads(gpu) && isQuantized(weight.dtype),
    plan: planMatvec,
  },
  {
    name: "matmul-tiled",
    ...byDtype(perDtype("matmul-tiled", matmulTiledWgsl, [inputWgsl, ...LINEAR])),
    tunables: {
      "matmul-tiled": [tiled(128, true, 16), MEDIUM_TILES, tiled(64, false, 32)],
      "matmul-tiled small": [tiled(32, false, 32), tiled(64, false, 32)],
    },
    supports: (gpu, { numRows, rowStable }) => !gpu.isSoftware && (rowStable || numRows > MAX_GPU_VECTOR_ROWS),
    plan: ({ numRows, columns4, choice }, gpu) => {
      const constants = choice ?? tiledChoice(gpu, numRows, columns4);
      const tile = Number(constants.TILE);
      return { constants, grid: [Math.ceil((columns4 * 4) / tile), Math.ceil(numRows / tile)] };
    },
  },
  {
    name: "matvec-subgroup",
    ...byDtypeAndWidth("matvec-subgroup", matvecSubgroupWgsl, [sumsSubgroupWgsl, ...LINEAR]),
    tunables: {
      "matvec f32": FLOAT_SUBGROUPS,
      "matvec f16": FLOAT_SUBGROUPS,
      "matvec q8": QUANTIZED_SUBGROUPS,
      "matvec q4_1": QUANTIZED_SUBGROUPS,
      "matvec q4": QUANTIZED_SUBGROUPS,
    },
    supports: (gpu, shape) => !gpu.isSoftware && usesSubgroups(gpu, shape),
    plan: planWideMatvec,
  },
  {
    name: "matvec-reduce",
    ...byDtypeAndWidth("matvec-reduce", matvecReduceWgsl, [sumsSharedWgsl, ...LINEAR]),
    tunables: {
      "matvec f32": FLOAT_REDUCES,
      "matvec f16": FLOAT_REDUCES,
      "matvec q8": QUANTIZED_REDUCES,
      "matvec q4_1": QUANTIZED_REDUCES,
      "matvec q4": QUANTIZED_REDUCES,
    },
    supports: (gpu) => !gpu.isSoftware,
    plan: planWideMatvec,
  },
  {
    name: "matvec",
    ...perThread("matvec", matvecWgsl, LINEAR),
    supports: (_, { numRows, rowStable }) => !rowStable && numRows <= MAX_CPU_VECTOR_ROWS,
    plan: planMatvec,
  },
  {
    name: "matmul",
    ...byDtype(perDtype("matmul", matmulWgsl, DOTS)),
    supports: () => true,
    plan: ({ numRows, columns4 }) => ({
      constants: {},
      grid: [Math.ceil(columns4 / 8), Math.ceil(numRows / 32)],
    }),
  },
] as const satisfies readonly LinearEntry[];

/** The kernels of a linear layer by name. */
export type LinearKernelName = (typeof LINEAR_KERNELS)[number]["name"];

/** Kernels with tunable constants. */
const TUNED: readonly LinearEntry[] = LINEAR_KERNELS;

/** Candidates of every choice, from the entries; the first that a device can run is its default. */
export const TUNABLES: Tunables = {
  "matmul-tiled": candidates("matmul-tiled"),
  "matmul-tiled small": candidates("matmul-tiled small"),
  "matvec f32": candidates("matvec f32"),
  "matvec f16": candidates("matvec f16"),
  "matvec q8": candidates("matvec q8"),
  "matvec q4_1": candidates("matvec q4_1"),
  "matvec q4": candidates("matvec q4"),
};

/** Texts of all kernels that have tunable constants. */
export function tunedTexts(): readonly string[] {
  return TUNED.flatMap(({ tunables, variants }) => (tunables === undefined ? [] : variants.map(({ code }) => code)));
}

function candidates(name: TunableName): readonly TunableChoice[] {
  return TUNED.flatMap(({ tunables }) => tunables?.[name] ?? []);
}

function planMatvec({ numRows, columns4 }: LinearShape): Plan {
  return { constants: {}, grid: [Math.ceil(columns4 / 8), numRows] };
}

function planWideMatvec(shape: LinearShape, gpu: KernelContext): Plan {
  const { numRows, columns4 } = shape;
  const { constants, batch } = wideMatvec(shape, gpu);
  const numGroups = Math.ceil(columns4 / constants.COLUMNS4);
  const width = Math.min(numGroups, gpu.device.limits.maxComputeWorkgroupsPerDimension);
  return { constants, grid: [width, Math.ceil(numGroups / width), Math.ceil(numRows / batch)] };
}

/** The part of a {@link LinearShape} that determines the constants of shared/matvec-sums. */
export type MatvecShape = Pick<LinearShape, "weight" | "numRows" | "hasQuantizedInput"> &
  Partial<Pick<LinearShape, "choice">>;

/**
 * Constants of shared/matvec-sums for one call, and the rows that a workgroup computes.
 * @param columns4 fours of columns that a workgroup computes; as tuning chose unless given
 */
export function wideMatvec(shape: MatvecShape, gpu: KernelContext, columns4?: number) {
  const { weight, numRows, hasQuantizedInput = false } = shape;
  const choice = matvecChoice(gpu, shape);
  const THREADS = Number(choice.THREADS);
  const isIntegerBatch = hasQuantizedInput && numRows > 1;
  const COLUMNS4 = columns4 ?? (isIntegerBatch ? 1 : Number(choice.COLUMNS4));
  // Without subgroups, the sums of all threads have to fit workgroup memory.
  const fitting = choice.SUBGROUPS === true ? 8 : SHARED_SUMS / (THREADS * COLUMNS4);
  const batch = Math.min(batchRows(numRows), fitting, isIntegerBatch ? MAX_INT8_ROWS : 8);
  const isPadded = weightStride4(weight) * 4 !== weight.columns;
  return { constants: { THREADS, COLUMNS4, BATCH: batch, IS_PADDED: isPadded }, batch };
}

/** Whether such a call runs a kernel with subgroups. */
export function usesSubgroups(gpu: KernelContext, shape: MatvecShape): boolean {
  return matvecChoice(gpu, shape).SUBGROUPS === true;
}

function matvecChoice(gpu: KernelContext, { weight: { dtype }, choice }: MatvecShape): TunableChoice {
  return choice ?? chosen(gpu, TUNABLES, `matvec ${dtype === "bf16" ? "f16" : dtype}`);
}

/**
 * The largest tiles that keep the GPU busy: the tuned, the medium or the small ones. All give the same bits, so that a row does not
 * depend on this choice.
 */
function tiledChoice(gpu: KernelContext, numRows: number, columns4: number): TunableChoice {
  const hasEnough = ({ TILE }: TunableChoice) => {
    const tile = Number(TILE);
    return numRows > tile / 2 && Math.ceil(numRows / tile) * Math.ceil((columns4 * 4) / tile) >= ENOUGH_TILES;
  };
  const large = [chosen(gpu, TUNABLES, "matmul-tiled"), MEDIUM_TILES];
  return large.find(hasEnough) ?? chosen(gpu, TUNABLES, "matmul-tiled small");
}

/** Rows that a workgroup of a matrix × vector kernel computes: more would only repeat the last row. */
function batchRows(numRows: number): number {
  if (numRows <= 2) return numRows;
  return numRows <= 4 ? 4 : 8;
}
