// A temperature within the picture: its shape changes, its share of the attention stays. The opposite of constant-add, and so
// the other negative control: multiplying signed scores, as ScalingVis and AdaptVis do, changes both.
import { chosenColumns } from "./image-columns.ts";
import { defineIntervention, requirePicture } from "./intervention.ts";
import { COLUMN_PARAMETERS, factor, HEAD_PARAMETERS, IMAGE_PARAMETERS, PLACE_PARAMETERS } from "./parameters.ts";
import { placed } from "./placement.ts";
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
    ...HEAD_PARAMETERS,
    ...IMAGE_PARAMETERS,
  },
  edits: ({ factor: strength, columns: selection, patches, box, ...place }, context) => {
    if (selection === "image") requirePicture("temperature", context);
    const columns = chosenColumns({ columns: selection, patches, box }, context);
    return { scores: [placed({ operation: "temperature", strength, columns }, place, context)], factor: strength };
  },
});
