// Twin of shaders/choose-token.wgsl.
import { at } from "./rows.ts";

/** The largest logit's token (the smallest of equals), that logit, and log Σ exp(logits). */
export function chooseToken(logits: ArrayLike<number>): {
  readonly token: number;
  readonly logit: number;
  readonly logSumExp: number;
} {
  let token = 0;
  for (let v = 1; v < logits.length; v++) if (at(logits, v) > at(logits, token)) token = v;
  const logit = at(logits, token);
  let sum = 0;
  for (let v = 0; v < logits.length; v++) sum += Math.exp(at(logits, v) - logit);
  return { token, logit, logSumExp: logit + Math.log(sum) };
}
