// Constant add: more attention on the image in the same shape, the negative control of AdaptVis' paper.
import { chosenColumns } from "./image-columns.ts";
import { defineIntervention } from "./intervention.ts";
import { COLUMN_PARAMETERS, HEAD_PARAMETERS, IMAGE_PARAMETERS, number, PLACE_PARAMETERS } from "./parameters.ts";
import { placed } from "./placement.ts";

/** score ← score + constant. */
export const constantAdd = defineIntervention({
  name: "constant-add",
  title: "Constant add",
  summary: "adds one number to the image scores: more attention, same shape",
  source: "arXiv 2503.01773, the paper's negative control",
  parameters: {
    constant: number({ default: 1, minimum: -1000, maximum: 1000, meaning: "number that is added to the scores" }),
    ...COLUMN_PARAMETERS,
    ...PLACE_PARAMETERS,
    ...HEAD_PARAMETERS,
    ...IMAGE_PARAMETERS,
  },
  edits: ({ constant, columns, patches, box, ...place }, context) => {
    const chosen = chosenColumns({ columns, patches, box }, context);
    return { scores: [placed({ operation: "add", strength: constant, columns: chosen }, place, context)], factor: 1 };
  },
});
