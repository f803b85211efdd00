// PAI ("Paying More Attention to Image"): the attention part. In the later layers, image scores grow by a share of their own
// magnitude in the last prompt row and every generated one, so that negative scores rise too.
import { defineIntervention, rowsOf } from "./intervention.ts";
import { number, PLACE_PARAMETERS, withDefault } from "./parameters.ts";

/** The first layer that the paper's setting for LLaVA-1.5-7B acts on. */
const FIRST_LAYER = 2;

/** score ← score + alpha · |score| on image columns. */
export const pai = defineIntervention({
  name: "pai",
  title: "PAI",
  summary: "raises the image scores by a share of their magnitude, in the last row of every step",
  source: "arXiv 2407.21771, equation 5; without its contrast with a text-only input",
  parameters: {
    alpha: number({ default: 0.2, minimum: 0, maximum: 100, meaning: "share of its magnitude that a score grows by" }),
    layers: { ...PLACE_PARAMETERS.layers, meaning: "decoder layers that it acts on (default for PAI: 2 and above)" },
    heads: PLACE_PARAMETERS.heads,
    rows: withDefault(PLACE_PARAMETERS.rows, "generated"),
  },
  edits: ({ alpha, layers, heads, rows }, context) => {
    const later = Array.from({ length: context.numLayers }, (_, layer) => layer).filter(
      (layer) => layer >= FIRST_LAYER,
    );
    return {
      scores: [
        {
          operation: "add-magnitude",
          strength: alpha,
          layers: layers ?? later,
          heads,
          columns: context.imageRuns,
          rows: rowsOf(rows, context),
        },
      ],
      factor: 1,
    };
  },
});
