// M3ID ("Multi-Modal Mutual Information Decoding"): logits move away from those without the picture, the further the longer the
// answer has become, unless the model is sure of the next token.
import { at } from "../errors.ts";
import { defineIntervention, NO_EDITS } from "./intervention.ts";
import { number } from "./parameters.ts";
import { largestOf } from "./plausibility.ts";

/** Largest weight: far beyond it, only the difference of the logits counts, and their product would leave f32. */
const MAX_WEIGHT = 1e6;

/**
 * logits ← logits + (exp(forgetting · t) − 1) · (logits − logits without the picture) where the largest probability is below
 * `certainty`, t being 1 for the first token: the paper's (1 − γ) / γ with γ = exp(−λt). The paper's formula is one of
 * log-probabilities, which differ from logits by one number per token, so that the distribution is the same.
 *
 * The authors published no code. The defaults, λ 0.02 and α 0.3, are those that reimplementations state as the paper's.
 */
export const m3id = defineIntervention({
  name: "m3id",
  title: "M3ID",
  summary: "contrasts the answer with one without the picture, more with every token",
  source: "arXiv 2403.14003, section 4.1",
  parameters: {
    forgetting: number({
      default: 0.02,
      minimum: 0,
      maximum: 10,
      meaning: "how fast the picture is forgotten (λ): token t, from 1, has the weight exp(forgetting · t) − 1",
    }),
    certainty: number({
      default: 0.3,
      minimum: 0,
      maximum: 1,
      meaning: "largest probability (α) from which on a token is chosen without the contrast",
    }),
  },
  edits: () => NO_EDITS,
  contrast: ({ forgetting, certainty }) => {
    if (forgetting === 0) return undefined;
    return {
      against: "no-picture",
      combine: (logits, other, index) => {
        if (largestProbability(logits) >= certainty) return;
        const weight = Math.min(Math.expm1(forgetting * (index + 1)), MAX_WEIGHT);
        for (const [id, logit] of logits.entries()) logits[id] = logit + weight * (logit - at(other, id));
      },
    };
  },
});

function largestProbability(logits: Float32Array): number {
  const largest = largestOf(logits);
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  return 1 / sum;
}
