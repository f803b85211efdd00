// `trace --inputs`: the tensors of a Hugging Face processor, out of a safetensors file.
import { basename, dirname } from "node:path";
import { fileSource } from "../checkpoint/file-source.node.ts";
import { readSafetensorsHeader, type SafetensorsHeader, type TensorEntry } from "../checkpoint/safetensors.ts";
import type { Source } from "../checkpoint/source.ts";
import { InputError } from "../errors.ts";
import type { VisionConfig } from "../models/config.ts";
import type { ProcessedTensors } from "../preprocess/processor.ts";

interface OpenFile {
  readonly path: string;
  readonly source: Source;
  readonly header: SafetensorsHeader;
  readonly signal: AbortSignal;
}

/**
 * Reads input_ids ([T] or [1, T], I64 or I32), pixel_values (F32: [3, S, S], [N, 3, S, S] or [1, N, 3, S, S]) and, for
 * LLaVA-NeXT, image_sizes ([1, 2] or [2], I64 or I32). Other tensors of the file are left alone.
 * @throws InputError naming the tensor when one is missing or of another dtype or shape; CheckpointError for a damaged file.
 */
export async function readProcessedTensors(
  path: string,
  options: { readonly vision: VisionConfig | undefined; readonly signal: AbortSignal },
): Promise<ProcessedTensors> {
  const source = fileSource(dirname(path));
  try {
    const header = await readSafetensorsHeader(source, basename(path), options.signal);
    const file = { path, source, header, signal: options.signal };
    const ids = header.tensors.get("input_ids");
    if (ids === undefined) throw new InputError(`${path} has no tensor input_ids: write the processor's ids into it.`);
    const inputIds = await readIntegers(file, ids, { shapes: "[T] or [1, T]", rank: (shape) => isRow(shape) });
    const pixels = header.tensors.get("pixel_values");
    const sizes = header.tensors.get("image_sizes");
    const [height, width] =
      sizes === undefined ? [] : await readIntegers(file, sizes, { shapes: "[2] or [1, 2]", rank: isPair });
    return {
      inputIds,
      pixelValues: pixels === undefined ? undefined : await readPixels(file, pixels, options.vision),
      imageSize: height === undefined || width === undefined ? undefined : [height, width],
    };
  } finally {
    await source.close?.();
  }
}

function isRow(shape: readonly number[]): boolean {
  return shape.length === 1 || (shape.length === 2 && shape[0] === 1);
}

function isPair(shape: readonly number[]): boolean {
  return isRow(shape) && shape.at(-1) === 2;
}

async function readIntegers(
  file: OpenFile,
  entry: TensorEntry,
  expected: { readonly shapes: string; readonly rank: (shape: readonly number[]) => boolean },
): Promise<readonly number[]> {
  const { dtype, shape } = entry;
  if ((dtype !== "I64" && dtype !== "I32") || !expected.rank(shape)) {
    throw wrong(file, entry, `I64 or I32 of shape ${expected.shapes}`);
  }
  const bytes = await readTensor(file, entry);
  if (dtype === "I32") return [...new Int32Array(bytes.buffer)];
  return Array.from(new BigInt64Array(bytes.buffer), Number);
}

async function readPixels(
  file: OpenFile,
  entry: TensorEntry,
  vision: VisionConfig | undefined,
): Promise<Float32Array<ArrayBuffer>> {
  const { dtype, shape } = entry;
  const side = vision?.imageSize ?? shape.at(-1);
  const channels = vision?.numChannels ?? 3;
  const [channelCount, height, width] = shape.slice(-3);
  const isBatchOfOne = shape.length <= 4 || (shape.length === 5 && shape[0] === 1);
  const fits = shape.length >= 3 && isBatchOfOne && channelCount === channels && height === side && width === side;
  if (dtype !== "F32" || !fits) {
    const tile = `${channels}, ${side ?? "S"}, ${side ?? "S"}]`;
    throw wrong(file, entry, `F32 of shape [1, ${tile}, [N, ${tile} or [1, N, ${tile}`);
  }
  return new Float32Array((await readTensor(file, entry)).buffer);
}

/** The tensor's bytes in a buffer of their own, which typed arrays can stand on. */
async function readTensor(file: OpenFile, entry: TensorEntry): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = await file.source.read(basename(file.path), entry.start, entry.end, file.signal);
  return bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice();
}

function wrong(file: OpenFile, entry: TensorEntry, expected: string): InputError {
  const got = `${entry.dtype} of shape [${entry.shape.join(", ")}]`;
  return new InputError(`${file.path}: ${entry.name} must be ${expected}, got ${got}.`);
}
