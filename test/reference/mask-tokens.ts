// Twin of shaders/mask-tokens.wgsl.

/** Each logit whose token is allowed, and −10⁹ in place of the others. */
export function maskTokens(logits: ArrayLike<number>, allowed: ReadonlySet<number>): Float64Array {
  return Float64Array.from(logits, (logit, token) => (allowed.has(token) ? logit : -1e9));
}
