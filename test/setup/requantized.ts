// A golden checkpoint rewritten on the CPU: its matrices rounded to a dtype and stored as what those numbers mean, in f32.
import { readdir, readFile } from "node:fs/promises";
import { blobSource } from "../../src/checkpoint/blob-source.ts";
import { encodeSafetensors, type TensorToWrite } from "../../src/checkpoint/safetensors-writer.ts";
import type { Source } from "../../src/checkpoint/source.ts";
import { canonicalName } from "../../src/checkpoint/tensor-names.ts";
import { isQuantized, padTo4, type WeightDtype } from "../../src/gpu/tensor.ts";
import { at } from "../reference/rows.ts";
import { storeWeights } from "../reference/weight-formats.ts";
import { GOLDEN, readTensorFile } from "./golden.ts";

/** What a test may change of the checkpoint before it is rounded. */
export interface Rewrite {
  /** undefined leaves the numbers alone. */
  readonly dtype?: WeightDtype;
  /** Whether the embedding table is the lm_head too. */
  readonly isTied?: boolean;
  /** Of the vision tower and of the decoder, where o_proj's columns are padded a head at a time. */
  readonly headDims?: { readonly vision: number; readonly text: number };
  readonly change?: (name: string, values: Float32Array<ArrayBuffer>) => void;
}

/** The checkpoint in `name` of the goldens with f32 weights that are those of `dtype`. */
export async function rewritten(name: string, rewrite: Rewrite = {}): Promise<Source> {
  const folder = `${GOLDEN}/${name}`;
  const files = new Map<string, Blob>();
  const tensors: TensorToWrite[] = [];
  for (const file of await readdir(folder)) {
    if (/^model.*\.safetensors$/.test(file)) {
      for (const [tensor, { shape, data }] of (await readTensorFile(`${name}/${file}`)).tensors) {
        const canonical = canonicalName(tensor);
        rewrite.change?.(canonical, data);
        tensors.push({ name: tensor, dtype: "F32", shape, data: rounded(canonical, { shape, data }, rewrite) });
      }
    } else if (file.endsWith(".json") && !file.endsWith(".index.json")) {
      files.set(file, new Blob([new Uint8Array(await readFile(`${folder}/${file}`))]));
    }
  }
  files.set("model.safetensors", new Blob([encodeSafetensors(tensors)]));
  return blobSource(files, `${name} rewritten`);
}

function rounded(
  name: string,
  tensor: { readonly shape: readonly number[]; readonly data: Float32Array<ArrayBuffer> },
  { dtype, isTied = false, headDims }: Rewrite,
): Float32Array<ArrayBuffer> {
  const { shape, data } = tensor;
  if (dtype === undefined || shape.length < 2) return data;
  const isHead = name.endsWith("lm_head.weight") || (isTied && name.endsWith("embed_tokens.weight"));
  const isLinear = /(_proj|\.fc[12]|\.linear_[12]|lm_head)\.weight$/.test(name);
  if (!isQuantized(dtype)) return Float32Array.from(storeWeights(data, dtype).values);
  if (!isLinear && !isHead) return data;
  const columns = shape[1] ?? 0;
  const headDim = name.startsWith("vision_tower.") ? headDims?.vision : headDims?.text;
  const head = /\.(o_proj|out_proj)\.weight$/.test(name) && headDim !== undefined ? headDim : columns;
  const paddedHead = padTo4(head);
  const paddedColumns = (columns / head) * paddedHead;
  const place = (index: number): number => {
    const [row, column] = [Math.floor(index / columns), index % columns];
    return row * paddedColumns + Math.floor(column / head) * paddedHead + (column % head);
  };
  const padded = new Float32Array((data.length / columns) * paddedColumns);
  data.forEach((value, index) => {
    padded[place(index)] = value;
  });
  const isExact = isHead || /^(vision_tower|multi_modal_projector)\./.test(name);
  const { values } = storeWeights(padded, isExact ? "q8" : dtype, paddedColumns);
  return Float32Array.from({ length: data.length }, (_, index) => at(values, place(index)));
}
