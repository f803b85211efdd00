// ScalingVis: one fixed factor multiplies the image scores of the last prompt row, in every layer and head.
import { imageColumns } from "./image-columns.ts";
import { defineIntervention } from "./intervention.ts";
import { factor, HEAD_PARAMETERS, IMAGE_PARAMETERS, PLACE_PARAMETERS } from "./parameters.ts";
import { placed } from "./placement.ts";

/** ScalingVis' factor for Controlled_A on LLaVA-1.5-7B. */
export const DEFAULT_FACTOR = 0.8;

/** score ← factor · score on image columns. */
export const scaling = defineIntervention({
  name: "scaling",
  title: "ScalingVis",
  summary: "multiplies the image scores by one fixed factor",
  source: "arXiv 2503.01773, section 4",
  parameters: {
    factor: factor(DEFAULT_FACTOR, "number that image scores are multiplied by"),
    ...PLACE_PARAMETERS,
    ...HEAD_PARAMETERS,
    ...IMAGE_PARAMETERS,
  },
  edits: ({ factor: strength, patches, box, ...place }, context) => {
    const columns = imageColumns({ patches, box }, context);
    return { scores: [placed({ operation: "multiply", strength, columns }, place, context)], factor: strength };
  },
});
