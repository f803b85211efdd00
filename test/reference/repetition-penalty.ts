// Twin of shaders/repetition-penalty.wgsl.

/** Each logit whose token was seen: divided by the penalty when positive, else multiplied by it. */
export function repetitionPenalty(logits: ArrayLike<number>, seen: ReadonlySet<number>, penalty: number): Float64Array {
  return Float64Array.from(logits, (logit, token) => {
    if (!seen.has(token)) return logit;
    return logit > 0 ? logit / penalty : logit * penalty;
  });
}
