// Kernels at LLaVA-1.5-7B's shapes with every tuning candidate, for a GPU's tuning table and its shares of the roofline. Candidates
// are selected by name, so that CPU adapters run the GPU kernels, too.
import type { Gpu, KernelContext } from "../gpu/device.ts";
import { attentionDecode, attentionPrefill } from "../gpu/ops/attention.ts";
import { gatedMatvec, linear } from "../gpu/ops/linear.ts";
import { qkvRope } from "../gpu/ops/rope.ts";
import { usableCandidates } from "../gpu/ops/tuning.ts";
import type { Program } from "../gpu/program.ts";
import { padTo4, type WeightDtype } from "../gpu/tensor.ts";
import { choiceText, isSameChoice, type TunableChoice, type TunableName } from "../gpu/tunables.ts";
import { decodeAttentionCall, prefillAttentionCall, rotationCall } from "./decoder-calls.ts";
import { headsWithinBudget, SOFTWARE_FLOPS } from "./kernel-cases.ts";
import { matrixBytes, type Operands } from "./operands.ts";
import { CLIP_L, decoderHeads, LLAVA_7B, visionHeads } from "./shapes.ts";

/** What a sweep is about. */
export type SweepGroup = "decode" | "prefill" | "vision" | "attention";

/** One way to run a case. */
export interface SweepVariant {
  /** The kernel and its constants, in words. */
  readonly name: string;
  /** The kernel's name in its op's list. */
  readonly kernel: string;
  /** Values of its tunable constants; undefined for kernels without. */
  readonly choice: TunableChoice | undefined;
}

/** The operands of one run of a case. */
export interface SweepRun {
  readonly output: GPUBuffer;
  /** f32 values of the output. */
  readonly outputLength: number;
  readonly record: (program: Program, variant: SweepVariant) => void;
}

/** One op at one shape. */
export interface SweepCase {
  readonly name: string;
  readonly group: SweepGroup;
  /** Form of the weights; undefined for attention. */
  readonly dtype: WeightDtype | undefined;
  /** The tuning choice that this case decides; undefined if there is none. */
  readonly tunable: TunableName | undefined;
  /** How often a decode step, a prompt or a picture of the whole model runs it; 0 for what is measured for tuning only. */
  readonly uses: number;
  /** Floating-point operations; a multiply-add is two. */
  readonly flops: number;
  /** Bytes that must be read and written at least once. */
  readonly bytes: number;
  /** Bytes of weights or cache that a real run reads once; several copies keep caches from hiding that. */
  readonly coldBytes: number;
  /** Whether `--quick` runs it. */
  readonly isQuick: boolean;
  /** The results of the others are compared with those of the first. */
  readonly variants: readonly SweepVariant[];
  readonly prepare: (operands: Operands) => SweepRun;
}

/** Groups of sweeps, in the order of measuring. */
export const SWEEP_GROUPS: readonly SweepGroup[] = ["decode", "prefill", "vision", "attention"];

/** Linear layers of a token or prompt in one dtype: the cases with `uses`. */
export const NUM_LINEAR_LAYERS = { decode: 5, prefill: 4 } as const;

const DTYPES: readonly WeightDtype[] = ["f16", "q8", "q4"];
const PREFILL_ROWS = 640;
const NUM_KEYS = [640, 2048] as const;

/** All sweeps that this device can run. */
export function sweepCases(gpu: Gpu): readonly SweepCase[] {
  const { hiddenSize: d, intermediateSize: inner, vocabSize, numHiddenLayers: layers } = LLAVA_7B;
  const { hiddenSize: v, intermediateSize: visionInner, imageSize, patchSize } = CLIP_L;
  const numVisionRows = (imageSize / patchSize) ** 2 + 1;
  const visionLayers = CLIP_L.numHiddenLayers - 1; // the last is not run
  const decode = (dtype: WeightDtype) => [
    qkvRopeCase(gpu, dtype),
    matvecCase(gpu, { name: "o_proj", columns: d, rows: d, dtype, uses: layers }),
    gatedCase(gpu, dtype),
    matvecCase(gpu, { name: "down_proj", columns: inner, rows: d, dtype, uses: layers }),
    matvecCase(gpu, { name: "lm_head", columns: d, rows: vocabSize, dtype, uses: 1 }),
    // Alone only where gate_proj and up_proj do not fit one binding.
    matvecCase(gpu, { name: "gate_proj", columns: d, rows: inner, dtype, uses: 0 }),
  ];
  const prefill = (dtype: WeightDtype) =>
    [
      { name: "qkv_proj", columns: d, rows: 3 * d },
      { name: "o_proj", columns: d, rows: d },
      { name: "gate_up_proj", columns: d, rows: 2 * inner },
      { name: "down_proj", columns: inner, rows: d },
    ].map((shape) =>
      matmulCase(gpu, { ...shape, group: "prefill", dtype, numRows: PREFILL_ROWS, uses: layers, isSmall: false }),
    );
  const vision = [
    { name: "qkv_proj", columns: v, rows: 3 * v },
    { name: "out_proj", columns: v, rows: v },
    { name: "fc1", columns: v, rows: visionInner },
    { name: "fc2", columns: visionInner, rows: v },
  ].map((shape) =>
    matmulCase(gpu, {
      ...shape,
      group: "vision",
      dtype: "f16",
      numRows: numVisionRows,
      uses: visionLayers,
      isSmall: false,
    }),
  );
  const small = { name: "o_proj", columns: d, rows: d, dtype: "f16", numRows: 64, uses: 0, isSmall: true } as const;
  return [
    ...DTYPES.flatMap(decode),
    matvecCase(gpu, { name: "o_proj", columns: d, rows: d, dtype: "f32", uses: 0 }),
    matvecCase(gpu, { name: "o_proj", columns: d, rows: d, dtype: "q4_1", uses: 0 }),
    ...DTYPES.flatMap(prefill),
    matmulCase(gpu, { ...small, group: "prefill" }),
    ...vision,
    ...NUM_KEYS.map((numKeys) => decodeAttentionCase(gpu, numKeys)),
    ...NUM_KEYS.map((numRows) => prefillAttentionCase(gpu, numRows)),
    visionAttentionCase(gpu, numVisionRows),
  ];
}

interface LinearSizes {
  readonly name: string;
  readonly columns: number;
  readonly rows: number;
  readonly dtype: WeightDtype;
  readonly uses: number;
}

/** Shapes that `--quick` measures: the largest of a layer. */
const QUICK = /^(gate_up_proj|down_proj)$/;

function matvecCase(gpu: Gpu, sizes: LinearSizes): SweepCase {
  const { name, columns, rows, dtype, uses } = sizes;
  const tunable = matvecTunable(dtype);
  const weightBytes = matrixBytes(dtype, rows, columns);
  return {
    name: `decode ${name} ${columns}→${rows} ${dtype}`,
    group: "decode",
    dtype,
    tunable,
    uses,
    flops: 2 * columns * rows,
    bytes: weightBytes + (columns + rows) * 4,
    coldBytes: weightBytes,
    isQuick: QUICK.test(name),
    variants: usableCandidates(tunable, gpu.device).map((choice) => variantOf(matvecKernel("matvec", choice), choice)),
    prepare: (operands) => linearRun(operands, { ...sizes, numRows: 1 }),
  };
}

function matmulCase(
  gpu: Gpu,
  sizes: LinearSizes & { readonly group: SweepGroup; readonly numRows: number; readonly isSmall: boolean },
): SweepCase {
  const { name, group, columns, dtype, numRows, uses, isSmall } = sizes;
  const numSlices = gpu.isSoftware ? Math.ceil((2 * numRows * columns * sizes.rows) / SOFTWARE_FLOPS) : 1;
  const rows = padTo4(Math.ceil(sizes.rows / numSlices));
  const sliced = rows < sizes.rows ? ` (${rows} of ${sizes.rows} columns)` : "";
  const large = usableCandidates("matmul-tiled", gpu.device);
  const smaller = usableCandidates("matmul-tiled small", gpu.device);
  const choices = [...large, ...smaller.filter((choice) => !large.some((each) => isSameChoice(each, choice)))];
  return {
    name: `${group} ${name} ${numRows} rows ${columns}→${sizes.rows} ${dtype}${sliced}`,
    group,
    dtype,
    tunable: isSmall ? "matmul-tiled small" : "matmul-tiled",
    uses,
    flops: 2 * numRows * columns * rows,
    bytes: matrixBytes(dtype, rows, columns) + numRows * (columns + rows) * 4,
    coldBytes: 0,
    isQuick: QUICK.test(name) && dtype !== "q8",
    variants: choices.map((choice) => variantOf("matmul-tiled", choice)),
    prepare: (operands) => linearRun(operands, { dtype, columns, rows, numRows }),
  };
}

function linearRun(
  operands: Operands,
  sizes: Pick<LinearSizes, "columns" | "rows" | "dtype"> & { readonly numRows: number },
): SweepRun {
  const { columns, rows, dtype, numRows } = sizes;
  const layer = operands.linear(dtype, { rows, columns, bias: false });
  const input = operands.numbers(numRows * columns);
  const outputLength = numRows * rows;
  const output = operands.empty(outputLength);
  return {
    output,
    outputLength,
    record: (program, { kernel, choice }) => {
      const call = { layer, input, output, numRows, rowStable: numRows > 1, choice };
      linear(program, operands.gpu, { ...call, kernel: kernel as LinearKernel });
    },
  };
}

/** Query, key and value projections of a token with rotation and append, in one dispatch. */
function qkvRopeCase(gpu: Gpu, dtype: WeightDtype): SweepCase {
  const { hiddenSize: columns, numHiddenLayers } = LLAVA_7B;
  const heads = decoderHeads(LLAVA_7B);
  const rows = 3 * columns;
  const weightBytes = matrixBytes(dtype, rows, columns);
  return {
    name: `decode fused q, k, v with rotation ${columns}→${rows} ${dtype}`,
    group: "decode",
    dtype,
    tunable: undefined,
    uses: numHiddenLayers,
    flops: 2 * columns * rows,
    bytes: weightBytes + (columns + rows) * 4,
    coldBytes: weightBytes,
    isQuick: false,
    variants: fusedVariants(gpu, "qkv-rope", dtype),
    prepare: (operands) => {
      const layer = operands.linear(dtype, { rows, columns, bias: false });
      const call = { ...rotationCall(operands, heads, 1), layer, input: operands.numbers(columns) };
      return {
        output: call.qkv,
        outputLength: columns, // the queries; keys and values go to the cache
        record: (program, { kernel, choice }) =>
          qkvRope(program, tunedTo(gpu, dtype, choice), { ...call, kernel: kernel as QkvKernel }),
      };
    },
  };
}

/** The gated half of a token's MLP, in one dispatch. */
function gatedCase(gpu: Gpu, dtype: WeightDtype): SweepCase {
  const { hiddenSize: columns, intermediateSize: inner, numHiddenLayers } = LLAVA_7B;
  const weightBytes = matrixBytes(dtype, 2 * inner, columns);
  return {
    name: `decode fused gate and up with SiLU ${columns}→2 · ${inner} ${dtype}`,
    group: "decode",
    dtype,
    tunable: undefined,
    uses: numHiddenLayers,
    flops: 4 * columns * inner,
    bytes: weightBytes + (columns + inner) * 4,
    coldBytes: weightBytes,
    isQuick: true,
    variants: fusedVariants(gpu, "gated-matvec", dtype),
    prepare: (operands) => {
      const layer = operands.linear(dtype, { rows: 2 * inner, columns, bias: false });
      const input = operands.numbers(columns);
      const output = operands.empty(inner);
      return {
        output,
        outputLength: inner,
        record: (program, { kernel, choice }) => {
          const call = { layer, input, output, numRows: 1, activation: "silu" } as const;
          gatedMatvec(program, tunedTo(gpu, dtype, choice), { ...call, kernel: kernel as GatedKernel });
        },
      };
    },
  };
}

function decodeAttentionCase(gpu: Gpu, numKeys: number): SweepCase {
  const heads = decoderHeads(LLAVA_7B);
  const { numHeads, numKeyValueHeads, headDim } = heads;
  const cacheBytes = 2 * numKeyValueHeads * numKeys * headDim * 4;
  return {
    ...attentionOf("decode attention", numKeys, LLAVA_7B.numHiddenLayers),
    flops: 4 * numHeads * headDim * numKeys,
    bytes: cacheBytes + 2 * numHeads * headDim * 4,
    coldBytes: cacheBytes,
    variants: ["attention-decode-split-tiled", "attention-decode-split"].map((kernel) => variantOf(kernel, undefined)),
    prepare: (operands) => {
      const call = decodeAttentionCall(operands, { heads, numKeys });
      return {
        output: call.output,
        outputLength: numHeads * headDim,
        record: (program, { kernel }) => attentionDecode(program, gpu, { ...call, kernel: kernel as DecodeKernel }),
      };
    },
  };
}

function prefillAttentionCase(gpu: Gpu, numRows: number): SweepCase {
  const flopsOf = (numHeads: number) => 2 * numHeads * LLAVA_7B.headDim * numRows * (numRows + 1);
  const { heads, sliced } = headsWithinBudget(decoderHeads(LLAVA_7B), flopsOf, gpu);
  const { numHeads, numKeyValueHeads, headDim } = heads;
  return {
    ...attentionOf(`prefill attention${sliced}`, numRows, LLAVA_7B.numHiddenLayers),
    flops: flopsOf(numHeads),
    bytes: 2 * (numHeads + numKeyValueHeads) * numRows * headDim * 4,
    coldBytes: 0,
    variants: prefillKernels(),
    prepare: (operands) => {
      const call = prefillAttentionCall(operands, heads, numRows);
      return {
        output: call.output,
        outputLength: numRows * numHeads * headDim,
        record: (program, { kernel }) => attentionPrefill(program, gpu, { ...call, kernel: kernel as PrefillKernel }),
      };
    },
  };
}

function visionAttentionCase(gpu: Gpu, numRows: number): SweepCase {
  const whole = visionHeads(CLIP_L);
  const flopsOf = (numHeads: number) => 4 * numHeads * whole.headDim * numRows * numRows;
  const { heads, sliced } = headsWithinBudget(whole, flopsOf, gpu);
  const { numHeads, headDim } = heads;
  return {
    ...attentionOf(`vision attention${sliced}`, numRows, CLIP_L.numHiddenLayers - 1),
    flops: flopsOf(numHeads),
    bytes: 4 * numRows * numHeads * headDim * 4,
    coldBytes: 0,
    variants: prefillKernels(),
    prepare: (operands) => {
      const call = { ...prefillAttentionCall(operands, heads, numRows), causal: false, numKeys: numRows };
      return {
        output: call.output,
        outputLength: numRows * numHeads * headDim,
        record: (program, { kernel }) => attentionPrefill(program, gpu, { ...call, kernel: kernel as PrefillKernel }),
      };
    },
  };
}

/** What attention's cases share. */
function attentionOf(name: string, numKeys: number, uses: number) {
  const shared = { group: "attention", dtype: undefined, tunable: undefined } as const;
  return { ...shared, name: `${name} ${numKeys} keys`, uses, isQuick: numKeys === NUM_KEYS[0] };
}

function prefillKernels(): readonly SweepVariant[] {
  return ["attention-prefill-tiled", "attention-prefill"].map((kernel) => variantOf(kernel, undefined));
}

/** A fused kernel takes the threads that tuning chose for the matrix × vector kernel; its own columns are fixed. */
function fusedVariants(gpu: Gpu, name: string, dtype: WeightDtype): readonly SweepVariant[] {
  const choices = usableCandidates(matvecTunable(dtype), gpu.device);
  const isFirst = (choice: TunableChoice, index: number) =>
    choices.findIndex((each) => each.THREADS === choice.THREADS && each.SUBGROUPS === choice.SUBGROUPS) === index;
  return choices.filter(isFirst).map((choice) => variantOf(matvecKernel(name, choice), choice));
}

/** What ops choose kernels by, with a tuning table of this one choice. */
function tunedTo(gpu: Gpu, dtype: WeightDtype, choice: TunableChoice | undefined): KernelContext {
  const { device, isSoftware, unused, unusedOutputs } = gpu;
  const choices = choice === undefined ? {} : { [matvecTunable(dtype)]: choice };
  return { device, isSoftware, unused, unusedOutputs, tuning: { format: 1, key: "", choices } };
}

function matvecTunable(dtype: WeightDtype): TunableName {
  return `matvec ${dtype === "bf16" ? "f16" : dtype}`;
}

function matvecKernel(name: string, { SUBGROUPS }: TunableChoice): string {
  return `${name}-${SUBGROUPS === true ? "subgroup" : "reduce"}`;
}

function variantOf(kernel: string, choice: TunableChoice | undefined): SweepVariant {
  return { name: choice === undefined ? kernel : `${kernel}, ${choiceText(choice)}`, kernel, choice };
}

// The names are those of the ops' lists; an unknown one is refused when it is recorded.
type LinearKernel = Parameters<typeof linear>[2]["kernel"];
type QkvKernel = Parameters<typeof qkvRope>[2]["kernel"];
type GatedKernel = Parameters<typeof gatedMatvec>[2]["kernel"];
type DecodeKernel = Parameters<typeof attentionDecode>[2]["kernel"];
type PrefillKernel = Parameters<typeof attentionPrefill>[2]["kernel"];
