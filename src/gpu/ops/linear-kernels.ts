// The kernels of linear layers, in the order of preference: each entry says where it runs, on which grid, with which constants.
import matmulWgsl from "../../../shaders/matmul.wgsl";
import matmulQuadWgsl from "../../../shaders/matmul-quad.wgsl";
import matmulTiledWgsl from "../../../shaders/matmul-tiled.wgsl";
import matvecWgsl from "../../../shaders/matvec.wgsl";
import matvecReduceWgsl from "../../../shaders/matvec-reduce.wgsl";
import matvecSubgroupWgsl from "../../../shaders/matvec-subgroup.wgsl";
import activationWgsl from "../../../shaders/shared/activation.wgsl";
import columnsWgsl from "../../../shaders/shared/columns.wgsl";
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
import type { KernelContext } from "../device.ts";
import { isQuantized, type Matrix, type WeightDtype, weightStride4 } from "../tensor.ts";
import { chosen, type TunableChoice, type TunableName, type Tunables } from "../tunables.ts";
import type { KernelEntry, Plan } from "./kernel-list.ts";
import { hasQuads, quadRows } from "./quads.ts";
import { byDtype, perDtype, perQuantized } from "./weight-kernels.ts";

/** What a linear layer's kernel is chosen by: one piece of its matrix and the rows that it is applied to. */
export interface LinearShape {
  readonly weight: Pick<Matrix, "dtype" | "columns">;
  readonly numRows: number;
  /** Fours of columns of the output that the piece computes. */
  readonly columns4: number;
  /** Whether a row has to come out the same, to the bit, however many others there are. */
  readonly rowStable: boolean;
  /** Values of tunable constants instead of the tuning table's. */
  readonly choice: TunableChoice | undefined;
}

/** A linear layer's kernel with the constants that start-up tuning chooses. */
interface LinearEntry extends KernelEntry<LinearShape> {
  /** Candidates, by what is chosen; several entries may be the candidates of one choice. */
  readonly tunables?: Readonly<Partial<Record<TunableName, readonly TunableChoice[]>>>;
}

const LINEAR = [linearWgsl, activationWgsl];
const SUMS = [matvecSumsWgsl, ...LINEAR];

/** Texts that load 16 bytes of weights at a time (`loadPacked`, `unpackPart`). */
const WIDE: Record<WeightDtype, string> = {
  f32: wideF32Wgsl + wideLoadWgsl,
  f16: wideF16Wgsl + wideLoadWgsl,
  bf16: wideBf16Wgsl + wideLoadWgsl,
  q8: wideQ8Wgsl + wideLoadScaledWgsl,
  q4: wideQ4Wgsl + wideLoadScaledWgsl,
};

/** Vec4s of weights in a load of shared/wide-*. */
const LOAD_WIDTH: Record<WeightDtype, number> = { f32: 1, f16: 2, bf16: 2, q8: 4, q4: 8 };

/** Rows up to which a linear layer runs as matrix × vector on a CPU adapter. */
const MAX_CPU_VECTOR_ROWS = 4;
/** The same on a GPU, where weights are read once for every eight rows: a sweep's whole batch. */
const MAX_GPU_VECTOR_ROWS = 32;
/** Tiles below which smaller ones are taken: large GPUs run some hundred workgroups at once. */
const FEW_TILES = 256;

/** Variants that load 16 bytes at a time, and narrow ones for rows that are not a whole number of such loads. */
function byDtypeAndWidth(name: string, source: string) {
  const wide = perDtype(name, source, SUMS, WIDE);
  const narrow = perDtype(name, source, [wideNarrowWgsl, ...SUMS]);
  return {
    variants: [...Object.values(wide), ...Object.values(narrow)],
    kernel: ({ weight }: LinearShape) =>
      (weightStride4(weight) % LOAD_WIDTH[weight.dtype] === 0 ? wide : narrow)[weight.dtype],
  };
}

/** Form of matmul-tiled, and what it asks of a device. */
const tiled = (TILE: number, WIDE: boolean, K_STEP: number): TunableChoice => ({ TILE, WIDE, K_STEP });

/** Threads and fours of columns of a workgroup of matvec-subgroup or matvec-reduce. */
const matvecs = (SUBGROUPS: boolean, ...sizes: readonly (readonly [threads: number, columns4: number])[]) =>
  sizes.map(([THREADS, COLUMNS4]): TunableChoice => ({ SUBGROUPS, THREADS, COLUMNS4 }));

// A load holds more quantised weights, so that fewer threads have the same number of loads each.
const FLOAT_SUBGROUPS = matvecs(true, [128, 1], [64, 1], [256, 1], [128, 2]);
const QUANTIZED_SUBGROUPS = matvecs(true, [64, 1], [64, 2], [128, 1], [128, 2]);
const FLOAT_REDUCES = matvecs(false, [128, 1]);
const QUANTIZED_REDUCES = matvecs(false, [64, 1]);

/** The kernels of a linear layer. */
export const LINEAR_KERNELS = [
  {
    name: "matmul-quad",
    ...byDtype(perDtype("matmul-quad", matmulQuadWgsl, LINEAR)),
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
    ...byDtype(perDtype("matmul-tiled", matmulTiledWgsl, LINEAR)),
    tunables: {
      "matmul-tiled": [tiled(64, true, 16), tiled(64, false, 32), tiled(128, true, 16), tiled(64, true, 32)],
      "matmul-tiled small": [tiled(32, false, 16), tiled(32, false, 32), tiled(64, false, 16)],
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
    ...byDtypeAndWidth("matvec-subgroup", matvecSubgroupWgsl),
    tunables: {
      "matvec f32": FLOAT_SUBGROUPS,
      "matvec f16": FLOAT_SUBGROUPS,
      "matvec q8": QUANTIZED_SUBGROUPS,
      "matvec q4": QUANTIZED_SUBGROUPS,
    },
    supports: (gpu, shape) => !gpu.isSoftware && matvecChoice(gpu, shape).SUBGROUPS === true,
    plan: planWideMatvec,
  },
  {
    name: "matvec-reduce",
    ...byDtypeAndWidth("matvec-reduce", matvecReduceWgsl),
    tunables: {
      "matvec f32": FLOAT_REDUCES,
      "matvec f16": FLOAT_REDUCES,
      "matvec q8": QUANTIZED_REDUCES,
      "matvec q4": QUANTIZED_REDUCES,
    },
    supports: (gpu) => !gpu.isSoftware,
    plan: planWideMatvec,
  },
  {
    name: "matvec",
    ...byDtype(perDtype("matvec", matvecWgsl, [columnsWgsl, ...LINEAR])),
    supports: (_, { numRows, rowStable }) => !rowStable && numRows <= MAX_CPU_VECTOR_ROWS,
    plan: planMatvec,
  },
  {
    name: "matmul",
    ...byDtype(perDtype("matmul", matmulWgsl, LINEAR)),
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
  const { SUBGROUPS: _, ...constants } = matvecChoice(gpu, shape);
  const batch = batchRows(numRows);
  const numGroups = Math.ceil(columns4 / Number(constants.COLUMNS4));
  const width = Math.min(numGroups, gpu.device.limits.maxComputeWorkgroupsPerDimension);
  return {
    constants: { ...constants, BATCH: batch },
    grid: [width, Math.ceil(numGroups / width), Math.ceil(numRows / batch)],
  };
}

function matvecChoice(gpu: KernelContext, { weight: { dtype }, choice }: LinearShape): TunableChoice {
  return choice ?? chosen(gpu, TUNABLES, `matvec ${dtype === "bf16" ? "f16" : dtype}`);
}

/** Every choice gives the same numbers, so a row's value does not depend on this one. */
function tiledChoice(gpu: KernelContext, numRows: number, columns4: number): TunableChoice {
  const large = chosen(gpu, TUNABLES, "matmul-tiled");
  const tile = Number(large.TILE);
  const numTiles = Math.ceil(numRows / tile) * Math.ceil((columns4 * 4) / tile);
  return numRows <= 32 || numTiles < FEW_TILES ? chosen(gpu, TUNABLES, "matmul-tiled small") : large;
}

/** Rows that a workgroup of a matrix × vector kernel computes: more would only repeat the last row. */
function batchRows(numRows: number): number {
  if (numRows <= 2) return numRows;
  return numRows <= 4 ? 4 : 8;
}
