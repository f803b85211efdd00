// Reading goldens, in any host that has files.
import { fileURLToPath } from "node:url";
import type { Trace } from "../../src/answer.ts";
import { toF32 } from "../../src/checkpoint/dtypes.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { readSafetensorsHeader } from "../../src/checkpoint/safetensors.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";

/** Folder of the goldens. */
export const GOLDEN = fileURLToPath(new URL("../golden", import.meta.url));

/** Tensors of a safetensors file as numbers, with shapes. */
export class TensorFile {
  readonly tensors: ReadonlyMap<
    string,
    { readonly shape: readonly number[]; readonly data: Float32Array<ArrayBuffer> }
  >;
  readonly metadata: Readonly<Record<string, string>>;

  constructor(tensors: TensorFile["tensors"], metadata: TensorFile["metadata"]) {
    this.tensors = tensors;
    this.metadata = metadata;
  }

  has(name: string): boolean {
    return this.tensors.has(name);
  }

  get(name: string): { readonly shape: readonly number[]; readonly data: Float32Array<ArrayBuffer> } {
    const tensor = this.tensors.get(name);
    if (tensor === undefined) throw new Error(`The golden has no tensor ${name}.`);
    return tensor;
  }

  ids(name: string): number[] {
    return Array.from(this.get(name).data);
  }
}

/** Reads a whole small safetensors file of the goldens; integers become numbers. */
export async function readTensorFile(path: string, folder = GOLDEN): Promise<TensorFile> {
  const source = fileSource(folder);
  const header = await readSafetensorsHeader(source, path);
  const tensors = new Map<string, { shape: readonly number[]; data: Float32Array<ArrayBuffer> }>();
  for (const [name, { dtype, shape, start, end }] of header.tensors) {
    const bytes = await source.read(path, start, end);
    let data: Float32Array<ArrayBuffer>;
    if (dtype === "I64") data = Float32Array.from(new BigInt64Array(bytes.slice().buffer), Number);
    else if (dtype === "I32") data = Float32Array.from(new Int32Array(bytes.slice().buffer));
    else if (dtype === "F32" || dtype === "F16" || dtype === "BF16") data = toF32(bytes, dtype);
    else throw new Error(`${path}: ${name} is ${dtype}`);
    tensors.set(name, { shape, data });
  }
  await source.close?.();
  return new TensorFile(tensors, header.metadata);
}

/** The inputs that a golden was made with. */
export function goldenInputs(model: Llava, golden: TensorFile, prefix = ""): ModelInputs {
  const pixels = golden.has(`${prefix}pixel_values`) ? golden.get(`${prefix}pixel_values`).data : undefined;
  const [height, width] = golden.has("image_sizes") ? golden.ids("image_sizes") : [];
  return model.processor.fromTensors({
    inputIds: golden.ids(`${prefix}input_ids`),
    pixelValues: pixels,
    imageSizes: height !== undefined && width !== undefined ? [[height, width]] : undefined,
  });
}

/** Largest |actual − expected|. */
export function largestError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) throw new Error(`expected ${expected.length} values, got ${actual.length}`);
  let largest = 0;
  for (let i = 0; i < actual.length; i++) {
    const error = Math.abs(Number(actual[i]) - Number(expected[i]));
    if (!(error <= largest)) largest = error;
  }
  return largest;
}

/** √ of the mean squared difference, over the standard deviation of the expected values. */
export function relativeRms(actual: Float32Array, expected: Float32Array): number {
  const mean = expected.reduce((sum, value) => sum + value, 0) / expected.length;
  const squares = (of: (value: number, index: number) => number) =>
    expected.reduce((sum, value, index) => sum + of(value, index) ** 2, 0);
  const errors = squares((value, index) => (actual[index] ?? Number.NaN) - value);
  return Math.sqrt(errors / squares((value) => value - mean));
}

/** The logits of a trace, [V]. */
export function logitsOf({ tensors }: Pick<Trace, "tensors">): Float32Array {
  const data = tensors.find(({ name }) => name === "logits")?.data;
  if (!(data instanceof Float32Array)) throw new Error("the trace has no logits");
  return data;
}
