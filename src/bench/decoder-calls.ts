// Calls of a decoder's attention and rotation on seeded operands, for kernel cases and sweeps.
import { type CacheDtype, cacheSlotBytes } from "../gpu/cache-format.ts";
import { type DecodeCall, NUM_DECODE_SPLITS, type PrefillCall } from "../gpu/ops/attention.ts";
import type { HeadLayout, RotationCall } from "../gpu/ops/rope.ts";
import { rotaryRows, rotationOf } from "../models/layers/rope.ts";
import { packStep, STEP_BYTES } from "../models/layers/step.ts";
import type { Operands } from "./operands.ts";

/** Two f16 numbers of about 0.01; read as bytes, they are small integers. */
const SMALL_HALVES = 0x211f211f;

/** One query per head against `numKeys` cached keys. */
export function decodeAttentionCall(
  operands: Operands,
  shape: { readonly heads: HeadLayout; readonly numKeys: number; readonly cacheDtype?: CacheDtype },
): DecodeCall {
  const { heads, numKeys, cacheDtype = "f32" } = shape;
  const { numHeads, numKeyValueHeads, headDim } = heads;
  const capacity = capacityFor(numKeys);
  const cacheWords = (numKeyValueHeads * capacity * cacheSlotBytes(headDim, cacheDtype)) / 4;
  const cache = () =>
    cacheDtype === "f32"
      ? operands.numbers(cacheWords)
      : operands.upload(new Uint32Array(cacheWords).fill(SMALL_HALVES));
  const queryRowStride = (numHeads + 2 * numKeyValueHeads) * headDim;
  return {
    heads,
    queries: operands.numbers(queryRowStride),
    queryRowStride,
    keys: cache(),
    values: cache(),
    cacheDtype,
    output: operands.empty(numHeads * headDim),
    partials: operands.empty(numHeads * NUM_DECODE_SPLITS * headDim),
    stats: operands.empty(numHeads * NUM_DECODE_SPLITS * 2),
    step: operands.uniform(sequenceStep(numKeys - 1)),
    numRows: 1,
    capacity,
  };
}

/** A prompt of `numRows` rows, each with the keys up to it. */
export function prefillAttentionCall(operands: Operands, heads: HeadLayout, numRows: number): PrefillCall {
  const { numHeads, numKeyValueHeads, headDim } = heads;
  const queryRowStride = (numHeads + 2 * numKeyValueHeads) * headDim;
  const capacity = capacityFor(numRows);
  return {
    heads,
    queries: operands.numbers(numRows * queryRowStride),
    queryRowStride,
    keys: operands.numbers(numKeyValueHeads * capacity * headDim),
    values: operands.numbers(numKeyValueHeads * capacity * headDim),
    output: operands.empty(numRows * numHeads * headDim),
    step: operands.uniform(sequenceStep(0)),
    numRows,
    causal: true,
    numKeys: 0,
    keyOffset: 0,
    valueOffset: 0,
    positionStride: headDim,
    headStride: capacity * headDim,
  };
}

/** The rotation of `numRows` rows from position 0 on, into an empty cache. */
export function rotationCall(operands: Operands, heads: HeadLayout, numRows: number): RotationCall {
  const { numHeads, numKeyValueHeads, headDim } = heads;
  const capacity = capacityFor(numRows);
  const positions = Array.from({ length: numRows }, (_, row) => row);
  return {
    heads,
    qkv: operands.numbers(numRows * (numHeads + 2 * numKeyValueHeads) * headDim),
    rotary: operands.upload(rotaryRows(positions, rotationOf(ROPE, { headDim }))),
    keys: operands.empty(numKeyValueHeads * capacity * headDim),
    values: operands.empty(numKeyValueHeads * capacity * headDim),
    step: operands.uniform(sequenceStep(0)),
    numRows,
    capacity,
  };
}

const ROPE = { type: "default", theta: 10_000 } as const;

/** `struct Step` of one sequence whose call begins at this slot of the cache. */
export function sequenceStep(slotStart: number): Uint32Array<ArrayBuffer> {
  return packStep({ slotStart }, new Uint32Array(STEP_BYTES / 4));
}

/** Slots of a cache: a multiple of 256. */
function capacityFor(numPositions: number): number {
  return Math.ceil(numPositions / 256) * 256;
}
