// ScalingVis: one fixed factor multiplies the image scores of the last prompt row, in every layer and head.
import { defineIntervention, rowsOf } from "./intervention.ts";
import { factor, PLACE_PARAMETERS } from "./parameters.ts";

/** ScalingVis' factor for Controlled_A on LLaVA-1.5-7B. */
export const DEFAULT_FACTOR = 0.8;

/** score ← factor · score on image columns. */
export const scaling = defineIntervention({
  name: "scaling",
  title: "ScalingVis",
  summary: "multiplies the image scores by one fixed factor",
  source: "arXiv 2503.01773, section 4",
  parameters: { factor: factor(DEFAULT_FACTOR, "number that image scores are multiplied by"), ...PLACE_PARAMETERS },
  edits: ({ factor: strength, layers, heads, rows }, context) => ({
    scores: [
      { operation: "multiply", strength, layers, heads, columns: context.imageRuns, rows: rowsOf(rows, context) },
    ],
    factor: strength,
  }),
});
