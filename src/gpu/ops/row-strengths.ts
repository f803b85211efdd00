// The ops before the attention of a layer whose score edits depend on the rows' own scores. Letters: R rows, H query heads, Hkv
// key/value heads, D hidden size.
import rowStrengthsWgsl from "../../../shaders/row-strengths.wgsl";
import editsWgsl from "../../../shaders/shared/edits.wgsl";
import scoreEditWgsl from "../../../shaders/shared/score-edit.wgsl";
import stepWgsl from "../../../shaders/shared/step.wgsl";
import windowWgsl from "../../../shaders/shared/window.wgsl";
import sinkActivationsWgsl from "../../../shaders/sink-activations.wgsl";
import { cacheSlotLength } from "../cache-format.ts";
import type { KernelContext } from "../device.ts";
import { defineKernel } from "../kernel.ts";
import type { Program } from "../program.ts";
import type { AttentionCall, AttentionEdits } from "./attention.ts";
import { perCacheDtype } from "./cache-kernels.ts";
import { descriptions } from "./descriptions-loader.ts";

/** The kernel of {@link rowStrengths}, by the storage format of keys and values. */
export const ROW_STRENGTHS = perCacheDtype("row-strengths", rowStrengthsWgsl, [stepWgsl, windowWgsl, scoreEditWgsl]);
/** The kernel of {@link sinkActivations}. */
export const SINK_ACTIVATIONS = defineKernel("sink-activations", sinkActivationsWgsl, [stepWgsl, editsWgsl]);

/** The call of {@link rowStrengths}: of the attention that follows it. */
export interface RowStrengthsCall
  extends Pick<
    AttentionCall,
    "heads" | "queries" | "queryRowStride" | "keys" | "values" | "cacheDtype" | "step" | "numRows" | "window"
  > {
  /** The packed edits, with room for [R, H, 2] row strengths behind them. */
  readonly edits: Pick<AttentionEdits, "words" | "layer" | "describe">;
  /** [layers, capacity] f32; read for redistributions only */
  readonly sinkActivations: GPUBuffer | undefined;
  /** Cache slots per key/value head. */
  readonly capacity: number;
  /** Rows [start, end) of the call that edits with row strengths act on; all of them unless given. */
  readonly rows?: readonly [start: number, end: number] | undefined;
}

/** Writes the row strengths of R rows' edits, and the marks of their sinks, into the packed edits. */
export function rowStrengths(program: Program, gpu: KernelContext, call: RowStrengthsCall): void {
  const {
    heads,
    rows: [rowStart, rowEnd] = [0, call.numRows],
    edits,
    capacity,
    cacheDtype = "f32",
    window,
    queries,
    keys,
    values,
    step,
  } = call;
  const { numHeads, numKeyValueHeads, headDim, paddedHeadDim } = heads;
  if (rowStart >= rowEnd) return;
  program.dispatch(ROW_STRENGTHS.kernel(call), {
    constants: { EDIT: true, WINDOWED: window !== undefined },
    bindings: {
      queries,
      keys,
      values,
      sinkActivations: call.sinkActivations ?? gpu.unused,
      step,
      edits: edits.words,
    },
    params: {
      headDim4: paddedHeadDim / 4,
      queryRowStride4: call.queryRowStride / 4,
      headStride4: (capacity * cacheSlotLength(paddedHeadDim, cacheDtype)) / 4,
      numHeads,
      group: numHeads / numKeyValueHeads,
      layer: edits.layer,
      capacity,
      scale: 1 / Math.sqrt(headDim),
      window: window ?? 0,
      rowStart,
    },
    grid: [rowEnd - rowStart, numHeads],
    describe: async (read) => (await descriptions()).rowStrengths(call, read),
  });
}

/** The call of {@link sinkActivations}. */
export interface SinkActivationsCall {
  /** [R, D] f32 */
  readonly input: GPUBuffer;
  /** [layers, capacity] f32 */
  readonly output: GPUBuffer;
  /** `struct Step` of shaders/shared/step.wgsl */
  readonly step: GPUBuffer;
  /** Packed edits, u32 */
  readonly edits: GPUBuffer;
  readonly numRows: number;
  readonly columns: number;
  readonly layer: number;
  readonly capacity: number;
  /** Word of the first dimension in the edits. */
  readonly dimensionsStart: number;
  readonly numDimensions: number;
}

/** Writes how strongly each of R rows' hidden states is that of an attention sink. */
export function sinkActivations(program: Program, call: SinkActivationsCall): void {
  const { input, output, step, edits, numRows, columns, layer, capacity, dimensionsStart, numDimensions } = call;
  program.dispatch(SINK_ACTIVATIONS, {
    bindings: { input, output, step, edits },
    params: { columns4: Math.ceil(columns / 4), columns, layer, capacity, dimensionsStart, numDimensions },
    grid: [numRows],
    describe: async (read) => (await descriptions()).sinkActivations(call, read),
  });
}
