// Twin of shaders/qkv-rope.wgsl: a linear layer, then rope-append.
import type { HeadLayout } from "../../src/gpu/ops/ops.ts";
import { type LinearCall, matmul, type Sums } from "./matmul.ts";
import { type RopeResult, ropeAppend } from "./rope-append.ts";
import type { Step } from "./step.ts";

/** What rope-append gives for the sums of a linear layer, and those sums. */
export interface QkvRopeResult extends RopeResult {
  readonly sums: Sums;
}

/** `call` has (H + 2·Hkv)·headDim columns: queries, keys and values below one another in the weight. */
export function qkvRope(
  call: LinearCall,
  heads: HeadLayout,
  rope: { readonly step: Step; readonly capacity: number; readonly theta: number; readonly filler: number },
): QkvRopeResult {
  const sums = matmul(call);
  return { sums, ...ropeAppend(sums.values, heads, { ...rope, numRows: call.numRows }) };
}
