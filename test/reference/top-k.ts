// Twin of shaders/top-k.wgsl.

/** The k largest logits with their tokens, larger logits first, of equals the smaller token first. */
export function topK(
  logits: ArrayLike<number>,
  k: number,
): readonly { readonly token: number; readonly logit: number }[] {
  return Array.from(logits, (logit, token) => ({ token, logit }))
    .sort((a, b) => b.logit - a.logit || a.token - b.token)
    .slice(0, k);
}
