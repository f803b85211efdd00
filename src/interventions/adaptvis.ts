// AdaptVis: the confidence of the first generated token in an unmodified pass chooses the factor of the image scores.
import { type ConfidenceMeasure, defineIntervention, readConfidence, rowsOf } from "./intervention.ts";
import { choice, factor, number, PLACE_PARAMETERS } from "./parameters.ts";

/** AdaptVis' three numbers: below `beta` the factor is `alpha1` (< 1), else `alpha2` (> 1). */
export interface AdaptVisSettings {
  readonly alpha1: number;
  readonly alpha2: number;
  readonly beta: number;
}

/** The settings of the paper's final run for Controlled_A on LLaVA-1.5-7B. */
export const DEFAULT_ADAPTVIS: AdaptVisSettings = { alpha1: 0.5, alpha2: 1.5, beta: 0.4 };

/** The factor for this confidence: alpha1 if the model is unsure, else alpha2. A high entropy, unlike the others, is unsure. */
export function chooseFactor(confidence: number, settings: AdaptVisSettings, gate?: ConfidenceMeasure): number {
  const isUnsure = gate === "entropy" ? confidence > settings.beta : confidence < settings.beta;
  return isUnsure ? settings.alpha1 : settings.alpha2;
}

/** score ← alpha1 or alpha2 · score on image columns. */
export const adaptvis = defineIntervention({
  name: "adaptvis",
  title: "AdaptVis",
  summary:
    "multiplies the image scores by alpha1 (below 1) when the model is unsure and by alpha2 (above 1) when it is sure",
  source: "arXiv 2503.01773, section 5",
  parameters: {
    alpha1: factor(DEFAULT_ADAPTVIS.alpha1, "factor of the image scores when the model is unsure"),
    alpha2: factor(DEFAULT_ADAPTVIS.alpha2, "factor of the image scores when the model is sure"),
    beta: number({
      default: DEFAULT_ADAPTVIS.beta,
      minimum: 0,
      maximum: 1,
      meaning: "threshold of the gate",
    }),
    gate: choice({
      choices: ["probability", "margin", "entropy", "logit"],
      meaning:
        "number that meets beta: the first token's largest probability, its margin over the second largest, the entropy as a share of the largest possible, or the largest logit",
    }),
    ...PLACE_PARAMETERS,
  },
  reads: ({ gate }) => gate,
  edits: ({ gate, layers, heads, rows, ...settings }, context, readings) => {
    const strength = chooseFactor(readConfidence(readings), settings, gate);
    return {
      scores: [
        { operation: "multiply", strength, layers, heads, columns: context.imageRuns, rows: rowsOf(rows, context) },
      ],
      factor: strength,
    };
  },
});
