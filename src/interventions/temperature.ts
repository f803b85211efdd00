// A temperature within the picture: its shape changes, its share of the attention stays. The opposite of constant-add, and so
// the other negative control: multiplying signed scores, as ScalingVis and AdaptVis do, changes both.
import { columnsOf, defineIntervention, imageColumns, rowsOf } from "./intervention.ts";
import { COLUMN_PARAMETERS, factor, PLACE_PARAMETERS } from "./parameters.ts";
import { DEFAULT_FACTOR } from "./scaling.ts";

/** score ← factor · score + c on the chosen columns, with c of each row and head such that their total attention is unchanged. */
export const temperature = defineIntervention({
  name: "temperature",
  title: "Temperature",
  summary: "multiplies the image scores and keeps their share: same attention, another shape",
  source: "negative control; the factor is one over the temperature of the softmax over the columns",
  parameters: {
    factor: factor(DEFAULT_FACTOR, "number that image scores are multiplied by"),
    ...COLUMN_PARAMETERS,
    ...PLACE_PARAMETERS,
  },
  edits: ({ factor: strength, columns, layers, heads, rows }, context) => ({
    scores: [
      {
        operation: "temperature",
        strength,
        layers,
        heads,
        columns: columns === "image" ? imageColumns("temperature", context) : columnsOf(columns, context),
        rows: rowsOf(rows, context),
      },
    ],
    factor: strength,
  }),
});
