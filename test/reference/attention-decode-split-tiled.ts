// Twin of shaders/attention-decode-split-tiled.wgsl: splits of a multiple of 16 keys.
import { attentionDecodeSplit, type SplitResult } from "./attention-decode-split.ts";

/** As attentionDecodeSplit, with ceil(keys / numSplits) rounded up to a multiple of 16. */
export function attentionDecodeSplitTiled(
  scaledScores: readonly number[],
  values: readonly (readonly number[])[],
  numSplits: number,
): readonly SplitResult[] {
  return attentionDecodeSplit(scaledScores, values, { numSplits, multiple: 16 });
}
