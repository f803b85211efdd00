// Constant add: more attention on the image in the same shape, the negative control of AdaptVis' paper.
import { columnsOf, defineIntervention, rowsOf } from "./intervention.ts";
import { COLUMN_PARAMETERS, number, PLACE_PARAMETERS } from "./parameters.ts";

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
  },
  edits: ({ constant, columns, layers, heads, rows }, context) => ({
    scores: [
      {
        operation: "add",
        strength: constant,
        layers,
        heads,
        columns: columnsOf(columns, context),
        rows: rowsOf(rows, context),
      },
    ],
    factor: 1,
  }),
});
