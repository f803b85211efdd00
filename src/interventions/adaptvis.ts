// AdaptVis: the confidence of the first generated token in an unmodified pass chooses the factor of the image scores.
import { imageColumns } from "./image-columns.ts";
import { type ConfidenceMeasure, defineIntervention, readConfidence } from "./intervention.ts";
import { choice, factor, HEAD_PARAMETERS, IMAGE_PARAMETERS, number, PLACE_PARAMETERS } from "./parameters.ts";
import { placed } from "./placement.ts";

/** The most that a confidence can differ from beta: logits have no bounds, but reach some tens. */
const MAX_GATE_WIDTH = 100;

/** AdaptVis' three numbers: below `beta` the factor is `alpha1` (< 1), else `alpha2` (> 1). */
export interface AdaptVisSettings {
  readonly alpha1: number;
  readonly alpha2: number;
  readonly beta: number;
}

/** The settings of the paper's final run for Controlled_A on LLaVA-1.5-7B. */
export const DEFAULT_ADAPTVIS: AdaptVisSettings = { alpha1: 0.5, alpha2: 1.5, beta: 0.4 };

/**
 * The factor for this confidence: alpha1 if the model is unsure, else alpha2. A high entropy, unlike the others, is unsure.
 *
 * With a `gateWidth` w above 0 the gate is continuous: the factor is alpha1 + t · (alpha2 − alpha1), t rising from 0 at a confidence of
 * beta − w/2 to 1 at beta + w/2. With an entropy it falls instead.
 */
export function chooseFactor(
  confidence: number,
  settings: AdaptVisSettings & { readonly gateWidth?: number },
  gate?: ConfidenceMeasure,
): number {
  const { alpha1, alpha2, beta, gateWidth = 0 } = settings;
  const lead = gate === "entropy" ? beta - confidence : confidence - beta;
  if (gateWidth === 0) return lead < 0 ? alpha1 : alpha2;
  const share = Math.min(Math.max(lead / gateWidth + 0.5, 0), 1);
  return alpha1 + share * (alpha2 - alpha1);
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
      meaning:
        "threshold of the gate; it and the alphas are the paper's for LLaVA-1.5, so for another family find them with eval tune",
    }),
    gate: choice({
      choices: ["probability", "margin", "entropy", "logit"],
      meaning:
        "number that meets beta: the first token's largest probability, its margin over the second largest, the entropy as a share of the largest possible, or the largest logit",
    }),
    gateWidth: number({
      default: 0,
      minimum: 0,
      maximum: MAX_GATE_WIDTH,
      meaning:
        "range of the gate's number, around beta, over which the factor goes from alpha1 to alpha2 in proportion; 0: at once",
    }),
    ...PLACE_PARAMETERS,
    ...HEAD_PARAMETERS,
    ...IMAGE_PARAMETERS,
  },
  reads: ({ gate }) => gate,
  edits: ({ gate, patches, box, ...settings }, context, readings) => {
    const strength = chooseFactor(readConfidence(readings), settings, gate);
    const columns = imageColumns({ patches, box }, context);
    return { scores: [placed({ operation: "multiply", strength, columns }, settings, context)], factor: strength };
  },
});
