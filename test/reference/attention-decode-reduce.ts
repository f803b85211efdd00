// Twin of shaders/attention-decode-reduce.wgsl: splits merged into one softmax.
import type { SplitResult } from "./attention-decode-split.ts";

/** output = Σ_i o_i · exp(m_i − M) / Σ_i l_i · exp(m_i − M), M the largest m_i; empty splits (l = 0) do not count. */
export function attentionDecodeReduce(splits: readonly SplitResult[]): readonly number[] {
  const present = splits.filter(({ total }) => total > 0);
  const largest = Math.max(...present.map((split) => split.largest));
  const weights = present.map((split) => Math.exp(split.largest - largest));
  const total = present.reduce((sum, split, index) => sum + split.total * Number(weights[index]), 0);
  const headDim = present[0]?.partial.length ?? 0;
  return Array.from(
    { length: headDim },
    (_, d) => present.reduce((sum, split, index) => sum + Number(split.partial[d]) * Number(weights[index]), 0) / total,
  );
}
