// A checkpoint of random weights that is made while it is read, so that a model of full size needs no file: every byte depends only
// on the seed, the tensor and the place in it. Tensors of one distribution repeat one block of random values, each from another
// start; the block's length is a prime, so that no two rows of a matrix are the same.
import { layOutSafetensors } from "../checkpoint/safetensors-writer.ts";
import { checkRange, missingFile, type Source, shortFile } from "../checkpoint/source.ts";
import { at } from "../errors.ts";
import {
  type CheckpointSpec,
  configFiles,
  type Distribution,
  type RandomTensor,
  shardsOf,
  toHalves,
} from "./random-checkpoint.ts";

/** Values of a block: a prime. */
const BLOCK_LENGTH = 1_048_573;

/** A file whose bytes are made when they are read. */
interface MadeFile {
  readonly fileBytes: number;
  /** Copies bytes [start, start + target.length) of the file into `target`. */
  fill(target: Uint8Array<ArrayBuffer>, start: number): void;
}

/** Where a tensor is in its file. */
interface PlacedTensor {
  readonly tensor: RandomTensor;
  readonly begin: number;
  readonly end: number;
  /** Byte of the block that the tensor begins with. */
  readonly shift: number;
}

/**
 * A checkpoint of `spec` with random weights in `numShards` weight files; equal specs give equal bytes.
 * @param tokenizer where files are read that a spec has none of, such as the tokenizer's
 */
export function randomSource(spec: CheckpointSpec, tokenizer: Source, numShards = 3): Source {
  const files = new Map<string, MadeFile>();
  for (const { name, content } of configFiles(spec)) {
    files.set(name, storedFile(typeof content === "string" ? new TextEncoder().encode(content) : content));
  }
  const shards = split(shardsOf(spec).flat(), numShards);
  const blocks = new BlockMaker(spec);
  const weightMap: Record<string, string> = {};
  let numTensors = 0;
  for (const [index, tensors] of shards.entries()) {
    const name = `model-${pad(index + 1)}-of-${pad(shards.length)}.safetensors`;
    for (const tensor of tensors) weightMap[tensor.name] = name;
    files.set(name, weightFile(spec, tensors, { blocks, first: numTensors }));
    numTensors += tensors.length;
  }
  const index = JSON.stringify({ metadata: {}, weight_map: weightMap });
  files.set("model.safetensors.index.json", storedFile(new TextEncoder().encode(index)));
  const isWeights = (path: string) => path.endsWith(".safetensors") || path.endsWith(".safetensors.index.json");
  return {
    name: spec.name,
    async size(path, signal) {
      const file = files.get(path);
      if (file !== undefined) return file.fileBytes;
      return isWeights(path) ? undefined : tokenizer.size(path, signal);
    },
    async read(path, start, end, signal) {
      const file = files.get(path);
      if (file === undefined && isWeights(path)) throw missingFile(path, spec.name);
      if (file === undefined) return tokenizer.read(path, start, end, signal);
      checkRange(path, start, end);
      if (end > file.fileBytes) throw shortFile(path, end, file.fileBytes);
      const bytes = new Uint8Array(end - start);
      file.fill(bytes, start);
      return bytes;
    },
    async close() {
      await tokenizer.close?.();
    },
  };
}

/** Tensors in order, in files of about the same size. */
function split(tensors: readonly RandomTensor[], numShards: number): readonly (readonly RandomTensor[])[] {
  const total = tensors.reduce((sum, tensor) => sum + numValues(tensor), 0);
  const shards: RandomTensor[][] = Array.from({ length: numShards }, () => []);
  let before = 0;
  for (const tensor of tensors) {
    at(shards, Math.min(numShards - 1, Math.floor((before * numShards) / total))).push(tensor);
    before += numValues(tensor);
  }
  return shards;
}

function numValues({ shape }: RandomTensor): number {
  return shape.reduce((product, size) => product * size, 1);
}

function storedFile(content: Uint8Array<ArrayBuffer>): MadeFile {
  return {
    fileBytes: content.length,
    fill: (target, start) => target.set(content.subarray(start, start + target.length)),
  };
}

function weightFile(
  spec: CheckpointSpec,
  tensors: readonly RandomTensor[],
  { blocks, first }: { readonly blocks: BlockMaker; readonly first: number },
): MadeFile {
  const { dtype } = spec;
  const elementBytes = dtype === "F32" ? 4 : 2;
  const headers = tensors.map(({ name, shape }) => ({ name, shape, dtype }));
  const { header, positions, fileBytes } = layOutSafetensors(headers, { format: "pt" });
  const placed = tensors
    .map((tensor, index): PlacedTensor => {
      const begin = at(positions, index);
      const shift = (Math.imul(spec.seed + first + index + 1, 0x9e3779b9) >>> 0) % BLOCK_LENGTH;
      return { tensor, begin, end: begin + numValues(tensor) * elementBytes, shift: shift * elementBytes };
    })
    .sort((a, b) => a.begin - b.begin);
  return {
    fileBytes,
    fill(target, start) {
      const end = start + target.length;
      if (start < header.length) target.set(header.subarray(start, end));
      for (const { tensor, begin, end: tensorEnd, shift } of placed) {
        if (tensorEnd <= start || begin >= end) continue;
        const block = blocks.of(tensor.values);
        for (let byte = Math.max(begin, start); byte < Math.min(tensorEnd, end); ) {
          const from = (byte - begin + shift) % block.length;
          const length = Math.min(block.length - from, Math.min(tensorEnd, end) - byte);
          target.set(block.subarray(from, from + length), byte - start);
          byte += length;
        }
      }
    },
  };
}

/** The blocks of random values, made when they are first needed. */
class BlockMaker {
  private readonly spec: CheckpointSpec;
  private readonly blocks = new Map<string, Uint8Array<ArrayBuffer>>();

  constructor(spec: CheckpointSpec) {
    this.spec = spec;
  }

  of({ mean, deviation }: Distribution): Uint8Array<ArrayBuffer> {
    const key = `${mean} ${deviation}`;
    const known = this.blocks.get(key);
    if (known !== undefined) return known;
    const values = new Float32Array(BLOCK_LENGTH);
    const width = deviation * Math.sqrt(12); // of a uniform distribution
    let state = (Math.imul(this.spec.seed + 1, 0x9e3779b9) ^ 0x5bd1e995) >>> 0 || 1; // xorshift32
    for (let i = 0; i < values.length; i++) {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      values[i] = mean + ((state >>> 0) / 2 ** 32 - 0.5) * width;
    }
    const block = new Uint8Array((this.spec.dtype === "F32" ? values : toHalves(values)).buffer);
    this.blocks.set(key, block);
    return block;
  }
}

function pad(index: number): string {
  return String(index).padStart(5, "0");
}
