// The ops that make a prompt's embeddings: rows of the embedding table, and image features put among them. Letters: R rows, D
// hidden size, V vocabulary.
import addRowsWgsl from "../../../shaders/add-rows.wgsl";
import combineRowsWgsl from "../../../shaders/combine-rows.wgsl";
import embedTokensWgsl from "../../../shaders/embed-tokens.wgsl";
import gatherRowsWgsl from "../../../shaders/gather-rows.wgsl";
import { defineKernel } from "../kernel.ts";
import type { Program } from "../program.ts";
import { type Matrix, weightStride4 } from "../tensor.ts";
import { descriptions } from "./descriptions-loader.ts";
import { perDtype, weightBindings } from "./weight-kernels.ts";

/** The kernel of {@link embedTokens}, by the table's dtype. */
export const EMBED_TOKENS = perDtype("embed-tokens", embedTokensWgsl);
/** The kernel of {@link gatherRows}. */
export const GATHER_ROWS = defineKernel("gather-rows", gatherRowsWgsl);

/** The kernel of {@link addRows}. */
export const ADD_ROWS = defineKernel("add-rows", addRowsWgsl);

/** The kernel of {@link combineRows}. */
export const COMBINE_ROWS = defineKernel("combine-rows", combineRowsWgsl);

/** The call of {@link embedTokens}. */
export interface EmbedCall {
  readonly table: Matrix;
  /** [R] u32 */
  readonly ids: GPUBuffer;
  /** [R, D] f32 */
  readonly output: GPUBuffer;
  readonly numRows: number;
}

/** Rows of the embedding table [V, D] for R token ids (u32). */
export function embedTokens(program: Program, call: EmbedCall): void {
  const { table, numRows } = call;
  const columns4 = table.columns / 4;
  for (const piece of table.pieces) {
    const { rowStart } = piece;
    program.dispatch(EMBED_TOKENS[table.dtype], {
      bindings: { ...weightBindings(piece), ids: call.ids, output: call.output },
      params: {
        columns4,
        weightStride4: weightStride4(table),
        firstToken: rowStart,
        numTokens: piece.numRows,
      },
      grid: [Math.ceil(columns4 / 64), numRows],
      describe: async (read) => (await descriptions()).embedTokens(call, piece, read),
    });
  }
}

/** The call of {@link gatherRows}. */
export interface GatherCall {
  readonly index: GPUBuffer;
  readonly source: GPUBuffer;
  readonly filler: GPUBuffer;
  readonly output: GPUBuffer;
  readonly numRows: number;
  readonly outputRowStart: number;
  /** D; rows are padded to a multiple of 4 */
  readonly columns: number;
}

/** output rows [outputRowStart, +R) = source rows by index (i32), or `filler` where the index is negative. */
export function gatherRows(program: Program, call: GatherCall): void {
  const { numRows, outputRowStart: start, columns } = call;
  const columns4 = Math.ceil(columns / 4);
  program.dispatch(GATHER_ROWS, {
    bindings: { index: call.index, source: call.source, filler: call.filler, output: call.output },
    params: { columns4, outputRowStart: start },
    grid: [Math.ceil(columns4 / 64), numRows],
    describe: async () => (await descriptions()).gatherRows(call),
  });
}

/** The call of {@link addRows}. */
export interface AddRowsCall {
  /** [.., D] f32 */
  readonly values: GPUBuffer;
  /** [.., D] f32 */
  readonly output: GPUBuffer;
  readonly numRows: number;
  readonly valueRowStart: number;
  readonly outputRowStart: number;
  /** D; rows are padded to a multiple of 4 */
  readonly columns: number;
}

/** output rows [outputRowStart, +R) += values rows [valueRowStart, +R). */
export function addRows(program: Program, call: AddRowsCall): void {
  const { valueRowStart, outputRowStart } = call;
  const columns4 = Math.ceil(call.columns / 4);
  program.dispatch(ADD_ROWS, {
    bindings: { values: call.values, output: call.output },
    params: { columns4, valueRowStart, outputRowStart },
    grid: [Math.ceil(columns4 / 64), call.numRows],
    describe: async () => (await descriptions()).addRows(call),
  });
}

/** The call of {@link combineRows}. */
export interface CombineCall {
  /** [n] u32: row of the output that each sum is added to; none twice in one call */
  readonly outputRow: GPUBuffer;
  /** [n, 4] u32: rows of the source */
  readonly index: GPUBuffer;
  /** [n, 4] f32 */
  readonly weights: GPUBuffer;
  /** [.., D] f32 */
  readonly source: GPUBuffer;
  /** [.., D] f32 */
  readonly output: GPUBuffer;
  /** First row of outputRow, index and weights. */
  readonly rowStart: number;
  readonly numRows: number;
  /** D; rows are padded to a multiple of 4 */
  readonly columns: number;
}

/** output[outputRow[r]] += the weighted sum of four source rows, for rows [rowStart, +R) of the lists. */
export function combineRows(program: Program, call: CombineCall): void {
  const { outputRow, index, weights, source, output, rowStart, numRows } = call;
  const columns4 = Math.ceil(call.columns / 4);
  program.dispatch(COMBINE_ROWS, {
    bindings: { outputRow, index, weights, source, output },
    params: { columns4, rowStart },
    grid: [Math.ceil(columns4 / 64), numRows],
    describe: async (read) => (await descriptions()).combineRows(call, read),
  });
}
