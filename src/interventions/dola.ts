// DoLa ("Decoding by Contrasting Layers"): the log-probabilities of the last layer minus those that an earlier layer gives
// through the same head; the layer is chosen anew for every token, as the one whose distribution differs most from the last.
import { at } from "../errors.ts";
import { defineIntervention, type EditContext, NO_EDITS } from "./intervention.ts";
import { choice, indices } from "./parameters.ts";
import { contrastPlausible, largestOf, PLAUSIBILITY_PARAMETERS } from "./plausibility.ts";

/** Half of the candidate layers' range in models of more than 40 layers. */
const MOST_CANDIDATES_RANGE = 20;

/**
 * logits ← log p(last layer) − log p(early layer), of plausible tokens. The authors also set a repetition penalty of 1.2
 * (`sampling.repetitionPenalty`), which is off unless asked for.
 *
 * Paper and code differ, and `variant` chooses. The paper's formulas apply one vocabulary head to all layers, read here as final
 * norm and lm_head, and choose by the Jensen–Shannon divergence. The authors' code (voidism/DoLa, and transformers up to 4.52 after
 * it) gives the hidden states of early layers to lm_head without the norm, and its two Kullback–Leibler divergences go from the
 * mean to the distributions instead of to the mean. Published DoLa baselines were made with the code.
 */
export const dola = defineIntervention({
  name: "dola",
  title: "DoLa",
  summary: "contrasts the last layer's distribution with an earlier layer's",
  source: "arXiv 2309.03883, section 2",
  parameters: {
    candidates: choice({
      choices: ["high", "low"],
      meaning: "early layers to choose from: every second one of the upper half (for short answers) or the lower",
    }),
    earlyLayers: indices(
      "layers",
      "early layers to choose from instead: 0 for the embeddings, N for the output of the N-th layer",
    ),
    ...PLAUSIBILITY_PARAMETERS,
    variant: choice({
      choices: ["paper", "code"],
      meaning: "the paper's formulas, or those of the authors' code: no final norm of early layers, another divergence",
    }),
  },
  edits: () => NO_EDITS,
  contrast: ({ candidates, earlyLayers, plausibility, variant }, context) => ({
    against: "early-layers",
    layers: earlyLayers === undefined ? candidateLayers(candidates, context) : [...new Set(earlyLayers)],
    isNormalised: variant === "paper",
    combine: (logits, early) => {
      const last = distributionOf(logits);
      const all = early.map(distributionOf);
      const divergences = all.map((other) => divergence(last, other, variant));
      const farthest = divergences.reduce((best, value, index) => (value > at(divergences, best) ? index : best), 0);
      const other = at(all, farthest);
      const shift = other.logSumExp - last.logSumExp;
      contrastPlausible(logits, plausibility, (logit, id) => logit - at(other.logits, id) + shift);
    },
  }),
});

/**
 * The early layers to choose from, as the authors and transformers take them: every second one of half of the layers, or of
 * the first or last 20 where there are more than 40. Where embeddings and lm_head are one table, the first is layer 2, since
 * the embeddings would only give back the token that was read.
 */
export function candidateLayers(
  half: "low" | "high",
  { numLayers, tieWordEmbeddings }: Pick<EditContext, "numLayers" | "tieWordEmbeddings">,
): readonly number[] {
  const isDeep = numLayers > 2 * MOST_CANDIDATES_RANGE;
  const middle = Math.floor(numLayers / 2);
  if (half === "high") return everySecond(isDeep ? numLayers - MOST_CANDIDATES_RANGE : middle, numLayers);
  const first = tieWordEmbeddings ? Math.min(2, numLayers - 1) : 0;
  const layers = everySecond(first, isDeep ? MOST_CANDIDATES_RANGE : middle);
  return layers.length > 0 ? layers : [first];
}

function everySecond(start: number, end: number): readonly number[] {
  return Array.from({ length: Math.max(0, Math.ceil((end - start) / 2)) }, (_, index) => start + 2 * index);
}

/** A distribution over the vocabulary; loops over it are plain ones, because there are a few hundred thousand numbers per token. */
interface Distribution {
  /** [V] */
  readonly logits: Float32Array;
  /** log Σ exp of the logits. */
  readonly logSumExp: number;
  /** [V] */
  readonly probs: Float64Array;
}

function distributionOf(logits: Float32Array): Distribution {
  const largest = largestOf(logits);
  const probs = new Float64Array(logits.length);
  let sum = 0;
  for (let id = 0; id < probs.length; id++) {
    const weight = Math.exp((logits[id] ?? 0) - largest);
    probs[id] = weight;
    sum += weight;
  }
  for (let id = 0; id < probs.length; id++) probs[id] = (probs[id] ?? 0) / sum;
  return { logits, logSumExp: largest + Math.log(sum), probs };
}

/**
 * Twice the Jensen–Shannon divergence KL(p ‖ m) + KL(q ‖ m), m being the mean of p and q; in the code's variant
 * KL(m ‖ p) + KL(m ‖ q).
 */
function divergence(p: Distribution, q: Distribution, variant: "paper" | "code"): number {
  let sum = 0;
  for (let id = 0; id < p.probs.length; id++) {
    const [first, second] = [p.probs[id] ?? 0, q.probs[id] ?? 0];
    const mean = (first + second) / 2;
    if (mean === 0) continue;
    const logMean = Math.log(mean);
    const overFirst = (p.logits[id] ?? 0) - p.logSumExp - logMean; // log p / m
    const overSecond = (q.logits[id] ?? 0) - q.logSumExp - logMean;
    sum += variant === "paper" ? first * overFirst + second * overSecond : -mean * (overFirst + overSecond);
  }
  return sum;
}
