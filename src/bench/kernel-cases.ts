// Every kernel at the shapes of real models: what is recorded, how many operations it takes and which bytes it must move.
import { CACHE_DTYPES, type CacheDtype, cacheSlotBytes } from "../gpu/cache-format.ts";
import type { Activation } from "../gpu/ops/activations.ts";
import { attentionDecode, attentionPrefill } from "../gpu/ops/attention.ts";
import { embedTokens } from "../gpu/ops/embedding.ts";
import { gatedActivation, linear } from "../gpu/ops/linear.ts";
import { layerNorm, rmsNorm } from "../gpu/ops/norm.ts";
import { type HeadLayout, ropeAppend } from "../gpu/ops/rope.ts";
import { chooseToken } from "../gpu/ops/sampling.ts";
import { unfoldPatches } from "../gpu/ops/vision.ts";
import type { Program } from "../gpu/program.ts";
import { padTo4, type WeightDtype } from "../gpu/tensor.ts";
import { decodeAttentionCall, prefillAttentionCall, rotationCall, sequenceStep } from "./decoder-calls.ts";
import { matrixBytes, type Operands } from "./operands.ts";
import {
  CLIP_B,
  CLIP_L,
  type DecoderShape,
  decoderHeads,
  LLAMA_110M,
  LLAVA_7B,
  TINY_SPATIAL,
  type VisionShape,
  visionHeads,
} from "./shapes.ts";

/** Weight formats of the kernel cases. */
export const BENCH_DTYPES: readonly WeightDtype[] = ["f32", "f16", "q8", "q4"];

/** One kernel at one shape. */
export interface KernelCase {
  readonly name: string;
  /** Floating-point operations; a multiply-add is two. */
  readonly flops: number;
  /** Bytes that must be read and written at least once. */
  readonly bytes: number;
  /** Bytes of weights or cache that a real run reads only once a token: several copies keep caches from hiding that. */
  readonly coldBytes: number;
  /** Whether `--quick` runs it. */
  readonly isQuick: boolean;
  /** Makes operands and returns what records one run on them. */
  readonly prepare: (operands: Operands) => (program: Program) => void;
}

/** What the machine allows. */
export interface CaseOptions {
  /** CPU adapters get slices of the largest cases; their names say so. */
  readonly isSoftware: boolean;
  readonly dtypes: readonly WeightDtype[];
}

/** The cases that the bars on shares of the roofline are about, by dtype. */
export const GEMM_CASE = "gemm 512 rows 1024→1024";
export const GEMV_CASE = "gemv 1 row 2048→4096";

/** Operations a CPU adapter can do within the bench's time. */
export const SOFTWARE_FLOPS = 1.2e9;

/** All cases. */
export function kernelCases(options: CaseOptions): readonly KernelCase[] {
  const bars = options.dtypes.flatMap((dtype) => [
    linearCase(options, { name: GEMM_CASE, dtype, numRows: 512, columns: 1024, rows: 1024, isQuick: true }),
    linearCase(options, { name: GEMV_CASE, dtype, numRows: 1, columns: 2048, rows: 4096, isQuick: true }),
  ]);
  return [
    ...bars,
    ...[LLAMA_110M, LLAVA_7B, TINY_SPATIAL].flatMap((shape) => decoderCases(shape, options)),
    ...[CLIP_L, CLIP_B].flatMap((shape) => visionCases(shape, options)),
  ];
}

function decoderCases(shape: DecoderShape, options: CaseOptions): readonly KernelCase[] {
  const { name, hiddenSize: d, intermediateSize: inner, vocabSize } = shape;
  const isQuick = shape === LLAMA_110M;
  const linears = (numRows: number) =>
    options.dtypes.flatMap((dtype) => {
      const common = { dtype, numRows, isQuick };
      const phase = numRows === 1 ? "decode" : "prefill";
      const layers = [
        linearCase(options, { ...common, name: `${name} ${phase} q_proj`, columns: d, rows: d }),
        linearCase(options, { ...common, name: `${name} ${phase} gate_proj`, columns: d, rows: inner }),
        linearCase(options, { ...common, name: `${name} ${phase} down_proj`, columns: inner, rows: d }),
      ];
      // Only the last prompt row's logits are computed: there is no prefill of lm_head.
      if (numRows > 1) return layers;
      return [
        ...layers,
        linearCase(options, { ...common, name: `${name} decode lm_head`, columns: d, rows: vocabSize }),
      ];
    });
  return [
    ...linears(1),
    ...shape.prefillRows.flatMap(linears),
    ...CACHE_DTYPES.map((cacheDtype) => attentionDecodeCase(shape, { isQuick, cacheDtype })),
    ...shape.prefillRows.map((numRows) => attentionPrefillCase(shape, { numRows, isQuick, options })),
    ...[1, ...shape.prefillRows].flatMap((numRows) => smallDecoderCases(shape, numRows, isQuick)),
    chooseTokenCase(shape, isQuick),
  ];
}

function visionCases(shape: VisionShape, options: CaseOptions): readonly KernelCase[] {
  const { name, hiddenSize: d, intermediateSize: inner, imageSize, patchSize } = shape;
  const isQuick = shape === CLIP_B;
  const numPatches = (imageSize / patchSize) ** 2;
  const numRows = numPatches + 1;
  const linears = options.dtypes.flatMap((dtype) => {
    const common = { dtype, numRows, isQuick, bias: true };
    return [
      linearCase(options, { ...common, name: `${name} q_proj`, columns: d, rows: d }),
      linearCase(options, { ...common, name: `${name} fc1`, columns: d, rows: inner, activation: "quick_gelu" }),
      linearCase(options, { ...common, name: `${name} fc2`, columns: inner, rows: d }),
    ];
  });
  return [
    ...linears,
    visionAttentionCase(shape, { numRows, isQuick, options }),
    layerNormCase(shape, numRows),
    unfoldCase(shape),
  ];
}

interface LinearShape {
  readonly name: string;
  readonly dtype: WeightDtype;
  readonly numRows: number;
  readonly columns: number;
  readonly rows: number;
  readonly isQuick: boolean;
  readonly bias?: boolean;
  readonly activation?: Activation;
}

function linearCase(options: CaseOptions, shape: LinearShape): KernelCase {
  const { dtype, numRows, columns, bias = false, activation = "none" } = shape;
  const wholeFlops = 2 * numRows * columns * shape.rows;
  const numSlices = options.isSoftware && numRows > 1 ? Math.ceil(wholeFlops / SOFTWARE_FLOPS) : 1;
  const rows = padTo4(Math.ceil(shape.rows / numSlices));
  const sliced = rows < shape.rows ? ` (${rows} of ${shape.rows} columns)` : "";
  const hasShape = shape.name.includes("→");
  const size = hasShape ? "" : ` ${numRows === 1 ? "1 row" : `${numRows} rows`} ${columns}→${shape.rows}`;
  const weightBytes = matrixBytes(dtype, rows, columns);
  return {
    name: `${shape.name}${size} ${dtype}${sliced}`,
    flops: 2 * numRows * columns * rows,
    bytes: weightBytes + numRows * (columns + rows) * 4,
    coldBytes: numRows === 1 ? weightBytes : 0,
    isQuick: shape.isQuick,
    prepare: (operands) => {
      const layer = operands.linear(dtype, { rows, columns, bias });
      const input = operands.numbers(numRows * columns);
      const output = operands.empty(numRows * rows);
      return (program) => linear(program, operands.gpu, { layer, input, output, numRows, activation });
    },
  };
}

function attentionDecodeCase(
  shape: DecoderShape,
  { isQuick, cacheDtype }: { readonly isQuick: boolean; readonly cacheDtype: CacheDtype },
): KernelCase {
  const heads = decoderHeads(shape);
  const { numKeys } = shape;
  const { numHeads, numKeyValueHeads, headDim } = heads;
  const slotBytes = cacheSlotBytes(headDim, cacheDtype);
  const cacheBytes = 2 * numKeyValueHeads * numKeys * slotBytes;
  return {
    name: `${shape.name} decode attention ${numKeys} keys${cacheDtype === "f32" ? "" : ` in ${cacheDtype}`}`,
    flops: 4 * numHeads * headDim * numKeys,
    bytes: cacheBytes + 2 * numHeads * headDim * 4,
    coldBytes: cacheBytes,
    isQuick,
    prepare: (operands) => {
      const call = decodeAttentionCall(operands, { heads, numKeys, cacheDtype });
      return (program) => attentionDecode(program, operands.gpu, call);
    },
  };
}

interface RowsOptions {
  readonly numRows: number;
  readonly isQuick: boolean;
  readonly options: CaseOptions;
}

function attentionPrefillCase(shape: DecoderShape, { numRows, isQuick, options }: RowsOptions): KernelCase {
  const flopsOf = (numHeads: number) => 2 * numHeads * shape.headDim * numRows * (numRows + 1);
  const { heads, sliced } = headsWithinBudget(decoderHeads(shape), flopsOf, options);
  const { numHeads, numKeyValueHeads, headDim } = heads;
  return {
    name: `${shape.name} prefill attention ${numRows} rows${sliced}`,
    flops: flopsOf(numHeads),
    bytes: 2 * (numHeads + numKeyValueHeads) * numRows * headDim * 4,
    coldBytes: 0,
    isQuick,
    prepare: (operands) => {
      const call = prefillAttentionCall(operands, heads, numRows);
      return (program) => attentionPrefill(program, operands.gpu, call);
    },
  };
}

function visionAttentionCase(shape: VisionShape, { numRows, isQuick, options }: RowsOptions): KernelCase {
  const whole = visionHeads(shape);
  const flopsOf = (numHeads: number) => 4 * numHeads * whole.headDim * numRows * numRows;
  const { heads, sliced } = headsWithinBudget(whole, flopsOf, options);
  const { numHeads, headDim } = heads;
  const width = numHeads * headDim;
  return {
    name: `${shape.name} attention ${numRows} rows${sliced}`,
    flops: flopsOf(numHeads),
    bytes: 4 * numRows * width * 4,
    coldBytes: 0,
    isQuick,
    prepare: (operands) => {
      const { gpu } = operands;
      const keys = operands.numbers(numRows * 3 * width);
      const call = {
        heads,
        queries: keys,
        queryRowStride: 3 * width,
        keys,
        values: keys,
        output: operands.empty(numRows * width),
        step: operands.uniform(sequenceStep(0)),
        numRows,
        causal: false,
        numKeys: numRows,
        keyOffset: width,
        valueOffset: 2 * width,
        positionStride: 3 * width,
        headStride: headDim,
      };
      return (program) => attentionPrefill(program, gpu, call);
    },
  };
}

/** On a CPU adapter as many heads as fit the time; heads are independent, so that rates stay comparable. */
export function headsWithinBudget(
  heads: HeadLayout,
  flopsOf: (numHeads: number) => number,
  options: Pick<CaseOptions, "isSoftware">,
) {
  if (!options.isSoftware || flopsOf(heads.numHeads) <= SOFTWARE_FLOPS) return { heads, sliced: "" };
  const group = heads.numHeads / heads.numKeyValueHeads;
  const numKeyValueHeads = Math.max(1, Math.floor(SOFTWARE_FLOPS / flopsOf(group)));
  const numHeads = numKeyValueHeads * group;
  return { heads: { ...heads, numHeads, numKeyValueHeads }, sliced: ` (${numHeads} of ${heads.numHeads} heads)` };
}

function smallDecoderCases(shape: DecoderShape, numRows: number, isQuick: boolean): readonly KernelCase[] {
  const { hiddenSize: d, intermediateSize: inner, vocabSize } = shape;
  const heads = decoderHeads(shape);
  const { numHeads, numKeyValueHeads, headDim } = heads;
  const width = (numHeads + 2 * numKeyValueHeads) * headDim;
  const rotated = (numHeads + numKeyValueHeads) * headDim;
  const rows = `${numRows} ${numRows === 1 ? "row" : "rows"}`;
  const name = (op: string) => `${shape.name} ${numRows === 1 ? "decode" : "prefill"} ${op} ${rows}`;
  const common = { coldBytes: 0, isQuick };
  return [
    {
      ...common,
      name: name("rms-norm"),
      flops: 4 * numRows * d,
      bytes: (2 * numRows + 1) * d * 4,
      prepare: (operands) => {
        const call = {
          input: operands.numbers(numRows * d),
          weight: operands.numbers(d),
          output: operands.empty(numRows * d),
          numRows,
          columns: d,
          eps: 1e-5,
        };
        return (program) => rmsNorm(program, call);
      },
    },
    {
      ...common,
      name: name("rope-append"),
      flops: 3 * numRows * rotated,
      bytes: numRows * (rotated + width + headDim) * 4,
      prepare: (operands) => {
        const call = rotationCall(operands, heads, numRows);
        return (program) => ropeAppend(program, call);
      },
    },
    {
      ...common,
      name: name("gated-activation"),
      flops: 6 * numRows * inner,
      bytes: 3 * numRows * inner * 4,
      prepare: (operands) => {
        const call = {
          gateUp: operands.numbers(numRows * 2 * inner),
          output: operands.empty(numRows * inner),
          numRows,
          columns: inner,
          activation: "silu",
        } as const;
        return (program) => gatedActivation(program, call);
      },
    },
    {
      ...common,
      name: `${name("embed-tokens")} f16`,
      flops: 0,
      bytes: numRows * (d * 2 + d * 4 + 4),
      prepare: (operands) => {
        const call = {
          table: operands.matrix("f16", padTo4(vocabSize), d),
          ids: operands.upload(Uint32Array.from({ length: numRows }, (_, row) => (row * 7919) % vocabSize)),
          output: operands.empty(numRows * d),
          numRows,
        };
        return (program) => embedTokens(program, call);
      },
    },
  ];
}

function chooseTokenCase(shape: DecoderShape, isQuick: boolean): KernelCase {
  const { vocabSize } = shape;
  const stride = padTo4(vocabSize);
  return {
    name: `${shape.name} decode choose-token ${vocabSize} logits`,
    flops: 3 * vocabSize,
    bytes: vocabSize * 4,
    coldBytes: 0,
    isQuick,
    prepare: (operands) => {
      const view = { logits: operands.numbers(stride), numRows: 1, vocabSize, stride };
      const choice = operands.empty(4);
      return (program) => chooseToken(program, view, { choice });
    },
  };
}

function layerNormCase(shape: VisionShape, numRows: number): KernelCase {
  const d = shape.hiddenSize;
  return {
    name: `${shape.name} layer-norm ${numRows} rows`,
    flops: 7 * numRows * d,
    bytes: (2 * numRows + 2) * d * 4,
    coldBytes: 0,
    isQuick: shape === CLIP_B,
    prepare: (operands) => {
      const call = {
        input: operands.numbers(numRows * d),
        weight: operands.numbers(d),
        bias: operands.numbers(d),
        output: operands.empty(numRows * d),
        numRows,
        columns: d,
        eps: 1e-5,
      };
      return (program) => layerNorm(program, call);
    },
  };
}

function unfoldCase(shape: VisionShape): KernelCase {
  const { imageSize, patchSize } = shape;
  const numPixels = 3 * imageSize * imageSize;
  return {
    name: `${shape.name} unfold-patches ${imageSize} pixels`,
    flops: 0,
    bytes: 2 * numPixels * 4,
    coldBytes: 0,
    isQuick: shape === CLIP_B,
    prepare: (operands) => {
      const numPatches = (imageSize / patchSize) ** 2;
      const call = {
        pixels: operands.numbers(numPixels),
        output: operands.empty(numPatches * padTo4(3 * patchSize * patchSize)),
        imageIndex: 0,
        imageSize,
        patchSize,
        numChannels: 3,
      };
      return (program) => unfoldPatches(program, call);
    },
  };
}
