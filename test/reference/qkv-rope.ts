// Twin of shaders/qkv-rope.wgsl: a linear layer, then rope-append.
import type { HeadLayout } from "../../src/gpu/ops/rope.ts";
import { type LinearCall, matmul, type Sums } from "./matmul.ts";
import { type RopeResult, ropeAppend } from "./rope-append.ts";

/** What rope-append gives for the sums of a linear layer, and those sums. */
export interface QkvRopeResult extends RopeResult {
  readonly sums: Sums;
}

/** `call` has (H + 2·Hkv)·headDim columns: queries, keys and values below one another in the weight. */
export function qkvRope(call: LinearCall, heads: HeadLayout, rope: Parameters<typeof ropeAppend>[2]): QkvRopeResult {
  const sums = matmul(call);
  return { sums, ...ropeAppend(sums.values, heads, rope) };
}
