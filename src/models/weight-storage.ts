// How each tensor of a checkpoint is stored on the GPU: which dtype, how padded, and so how many bytes.
import { type FloatDtype, isQuantized, type Matrix, storedRowBytes, type WeightDtype } from "../gpu/tensor.ts";
import type { ModelConfig } from "./config.ts";
import { type Grouping, paddedLength } from "./upload.ts";

/** A tensor as its file names and shapes it. */
export interface StoredTensor {
  readonly name: string;
  readonly shape: readonly number[];
}

/**
 * The dtype that a matrix is stored in when the model is wanted in `wanted`. Quantised are the linear layers; the tables
 * that rows are looked up in and the patch embedding keep the file's dtype, but a table that is the lm_head too does not.
 */
export function storedDtype(
  name: string,
  model: { readonly wanted: WeightDtype | undefined; readonly file: FloatDtype; readonly isTied: boolean },
): WeightDtype {
  const { wanted, file, isTied } = model;
  if (wanted === undefined) return file;
  if (!isQuantized(wanted)) return wanted;
  if (/\.(patch_embedding|position_embedding)\.weight$/.test(name)) return file;
  return /\.embed_tokens\.weight$/.test(name) && !isTied ? file : wanted;
}

/** How the two dimensions of a matrix are padded: those made of heads each head on its own. */
export function groupingsOf(
  { name, shape }: StoredTensor,
  config: ModelConfig,
): { readonly rows: Grouping; readonly columns: Grouping } {
  const numRows = shape[0] ?? 0;
  const numColumns = shape.slice(1).reduce((product, size) => product * size, 1);
  const headDim = name.startsWith("vision_tower.") ? config.multimodal?.vision.headDim : config.text.headDim;
  const heads = (length: number): Grouping =>
    headDim === undefined ? { count: 1, size: length } : { count: length / headDim, size: headDim };
  const whole = (length: number): Grouping => ({ count: 1, size: length });
  return {
    rows: /\.self_attn\.[qkv]_proj\.(weight|bias)$/.test(name) ? heads(numRows) : whole(numRows),
    columns: /\.self_attn\.(o_proj|out_proj)\.weight$/.test(name) ? heads(numColumns) : whole(numColumns),
  };
}

/** Bytes of a tensor on the GPU, the scales of a quantised one included; vectors are f32. */
export function storedBytes(tensor: StoredTensor, config: ModelConfig, dtype: WeightDtype): number {
  const groupings = groupingsOf(tensor, config);
  const rows = paddedLength(groupings.rows);
  if (tensor.shape.length < 2) return bufferBytes(rows * 4);
  const matrix: Pick<Matrix, "dtype" | "columns"> = { dtype, columns: paddedLength(groupings.columns) };
  const row = storedRowBytes(matrix);
  return bufferBytes(rows * row.weights) + (row.scales === 0 ? 0 : bufferBytes(rows * row.scales));
}

/** What a buffer for so many bytes takes. */
function bufferBytes(byteLength: number): number {
  return Math.max(16, byteLength);
}
