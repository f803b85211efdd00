// From hidden states to the vocabulary outside of a forward call: logits of any hidden states, the direction in which a token's
// logit grows, and what each attention head adds to the residual stream. All products run on the GPU, with the weights as stored.
import { at, InputError, kindOf, shown } from "../errors.ts";
import { GPU_STORAGE } from "../gpu/device.ts";
import { runOnce, SubmitExecutor } from "../gpu/executor.ts";
import { embedTokens } from "../gpu/ops/embedding.ts";
import { linear } from "../gpu/ops/linear.ts";
import { Program } from "../gpu/program.ts";
import { padTo4 } from "../gpu/tensor.ts";
import { flag, readOptions, type Schema } from "../options.ts";
import { earlyLogitsProgram, earlyRows } from "./early-exits.ts";
import type { SharedDecoder } from "./shared-decoder.ts";

/** The parts of a decoder that are needed. */
export type Unembedder = Pick<SharedDecoder, "gpu" | "text" | "weights">;

/** How logits of hidden states are computed. */
export interface HeadLogitsOptions {
  /** Whether the final norm is applied before lm_head; true unless given. */
  readonly isNormalized?: boolean | undefined;
}

const OPTIONS: Schema<HeadLogitsOptions> = { isNormalized: flag };

/** Rows of one product, so that its buffers stay small beside the weights. */
const BATCH_ROWS = 32;

/**
 * Logits [n, V] that hidden states [n, D] give through the final norm and lm_head.
 * @throws InputError for values that are not whole rows; GpuError.
 */
export async function headLogits(
  decoder: Unembedder,
  hiddenStates: Float32Array,
  options: HeadLogitsOptions = {},
): Promise<Float32Array<ArrayBuffer>> {
  const { isNormalized = true } = readOptions("logits", options, OPTIONS);
  const { gpu, text } = decoder;
  const { hiddenSize, vocabSize } = text;
  const numRows = numRowsOf(hiddenStates, hiddenSize);
  const logits = new Float32Array(numRows * vocabSize);
  if (numRows === 0) return logits;
  const rows = earlyRows(gpu, text, { numRows: Math.min(numRows, BATCH_ROWS), isNormalised: isNormalized });
  try {
    for (let first = 0; first < numRows; first += BATCH_ROWS) {
      const count = Math.min(BATCH_ROWS, numRows - first);
      const batch = hiddenStates.subarray(first * hiddenSize, (first + count) * hiddenSize);
      gpu.write(rows.hiddenStates, withStride(batch, hiddenSize, padTo4(hiddenSize)));
      const program = earlyLogitsProgram(decoder, gpu, { ...rows, numRows: count });
      await runOnce(new SubmitExecutor(gpu), program, "logits of hidden states");
      const padded = new Float32Array(await gpu.readBuffer(rows.logits, count * padTo4(vocabSize) * 4));
      logits.set(withStride(padded, padTo4(vocabSize), vocabSize), first * vocabSize);
    }
  } finally {
    for (const buffer of [rows.hiddenStates, rows.normed, rows.logits])
      if (buffer !== undefined) gpu.destroyBuffer(buffer);
  }
  return logits;
}

/**
 * The direction of each token in the residual stream, [n, D]: its row of lm_head times the final norm's weight. The logit of a
 * token is the dot product with the hidden state that the final norm's scale has divided.
 * @throws InputError for an id outside of the vocabulary; GpuError.
 */
export async function tokenDirections(
  { gpu, text, weights }: Unembedder,
  tokenIds: readonly number[],
): Promise<Float32Array<ArrayBuffer>> {
  const { hiddenSize, vocabSize } = text;
  if (!Array.isArray(tokenIds)) throw new InputError(`Token ids must be a list of numbers, got ${kindOf(tokenIds)}.`);
  const bad = tokenIds.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabSize);
  if (bad !== undefined || tokenIds.length === 0) {
    throw new InputError(
      `Token ids must be whole numbers from 0 to ${vocabSize - 1}, at least one, got ${shown(bad)}.`,
    );
  }
  const stride = padTo4(hiddenSize);
  const numBytes = tokenIds.length * stride * 4;
  const ids = gpu.createBufferWith("token ids", Uint32Array.from(tokenIds), GPU_STORAGE);
  const output = gpu.createBuffer("rows of lm_head", numBytes, GPU_STORAGE);
  try {
    const program = new Program("rows of lm_head");
    embedTokens(program.at("lm_head", "its rows for some tokens"), {
      table: weights.lmHead.weight,
      ids,
      output,
      numRows: tokenIds.length,
    });
    await runOnce(new SubmitExecutor(gpu), program, "rows of lm_head");
    const rows = withStride(new Float32Array(await gpu.readBuffer(output, numBytes)), stride, hiddenSize);
    const norm = new Float32Array(await gpu.readBuffer(weights.norm, hiddenSize * 4));
    return rows.map((value, index) => value * at(norm, index % hiddenSize));
  } finally {
    for (const buffer of [ids, output]) gpu.destroyBuffer(buffer);
  }
}

/**
 * What each head adds to the residual stream, [n, H, D]: its columns of o_proj times its output, without o_proj's bias.
 * @param heads [n, H, headDim], the heads' outputs before o_proj
 */
export async function headOutputs(
  { gpu, text, weights }: Unembedder,
  layer: number,
  heads: Float32Array,
): Promise<Float32Array<ArrayBuffer>> {
  const { numAttentionHeads: numHeads, headDim, hiddenSize } = text;
  const { weight } = at(weights.layers, layer).selfAttn.oProj;
  const numRows = numRowsOf(heads, numHeads * headDim) * numHeads;
  const outputs = new Float32Array(numRows * hiddenSize);
  if (numRows === 0) return outputs;
  const [inner, stride] = [padTo4(headDim), padTo4(hiddenSize)];
  const batchRows = Math.min(numRows, BATCH_ROWS);
  const input = gpu.createBuffer("single heads", batchRows * numHeads * inner * 4, GPU_STORAGE);
  const output = gpu.createBuffer("outputs of single heads", batchRows * stride * 4, GPU_STORAGE);
  try {
    for (let first = 0; first < numRows; first += BATCH_ROWS) {
      const count = Math.min(BATCH_ROWS, numRows - first);
      // One row per head, in which the others are zero.
      const single = new Float32Array(count * numHeads * inner);
      for (let row = 0; row < count; row++) {
        const head = (first + row) % numHeads;
        const values = heads.subarray((first + row) * headDim, (first + row + 1) * headDim);
        single.set(values, (row * numHeads + head) * inner);
      }
      gpu.write(input, single);
      const program = new Program("heads through o_proj");
      const call = { layer: { weight, bias: undefined }, input, output, numRows: count };
      linear(program.at(`layers.${layer}.self_attn.o_proj`, "what single heads add to the hidden states"), gpu, call);
      await runOnce(new SubmitExecutor(gpu), program, "heads through o_proj");
      const padded = new Float32Array(await gpu.readBuffer(output, count * stride * 4));
      outputs.set(withStride(padded, stride, hiddenSize), first * hiddenSize);
    }
  } finally {
    for (const buffer of [input, output]) gpu.destroyBuffer(buffer);
  }
  return outputs;
}

function numRowsOf(values: Float32Array, columns: number): number {
  if (values instanceof Float32Array && values.length % columns === 0) return values.length / columns;
  throw new InputError(
    `Hidden states must be a Float32Array of rows of ${columns} numbers, got ${values?.length} numbers.`,
  );
}

/** Rows of one stride with another: cut, or followed by zeros. */
function withStride(rows: Float32Array, from: number, to: number): Float32Array<ArrayBuffer> {
  const numRows = rows.length / from;
  const result = new Float32Array(numRows * to);
  for (let row = 0; row < numRows; row++) {
    result.set(rows.subarray(row * from, row * from + Math.min(from, to)), row * to);
  }
  return result;
}
