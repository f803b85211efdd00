// The adaptive plausibility constraint of contrastive decoding: a token that is improbable without the contrast is ruled out,
// because the contrast says little about it.
import { RULED_OUT } from "./intervention.ts";
import { number } from "./parameters.ts";

/** The setting that methods with the constraint share: beta in VCD's paper, alpha in DoLa's, with the default of both. */
export const PLAUSIBILITY_PARAMETERS = {
  plausibility: number({
    default: 0.1,
    minimum: 0,
    maximum: 1,
    meaning: "share of the largest probability below which tokens are ruled out before the contrast",
  }),
} as const;

/**
 * Changes the logits [V] of plausible tokens, those with p ≥ plausibility · max p, in place, and rules the others out.
 * @param contrasted a plausible token's new logit, given its own
 * Source: arXiv 2210.15097, section 3 (adaptive plausibility constraint); the logits' form of the cut is that of VCD's code
 */
export function contrastPlausible(
  logits: Float32Array,
  plausibility: number,
  contrasted: (logit: number, id: number) => number,
): void {
  const least = largestOf(logits) + Math.log(plausibility);
  for (let id = 0; id < logits.length; id++) {
    const logit = logits[id] ?? 0;
    logits[id] = logit < least ? RULED_OUT : contrasted(logit, id);
  }
}

/** The largest of at least one number. */
export function largestOf(values: Float32Array): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (const value of values) largest = Math.max(largest, value);
  return largest;
}
