// A method of your own: adaptvis ask --image photo.jpg --intervention ramp.ts --set factor=0.5 "What is in the picture?"
import { defineIntervention, factor, IMAGE_PARAMETERS, imageColumns, PLACE_PARAMETERS, rowsOf } from "adaptvis";

/** score ← factor · score on image columns in the last layer, and less of the factor the earlier the layer. */
export const ramp = defineIntervention({
  name: "ramp",
  title: "Ramp",
  summary: "multiplies the image scores, the more the later the layer",
  source: "an example",
  parameters: {
    factor: factor(0.5, "number that image scores of the last layer are multiplied by"),
    rows: PLACE_PARAMETERS.rows,
    ...IMAGE_PARAMETERS,
  },
  edits: ({ factor, rows, ...selection }, context) => {
    const { numLayers, numHeads } = context;
    const share = (index: number) => (Math.floor(index / numHeads) + 1) / numLayers;
    const strength = Float32Array.from({ length: numLayers * numHeads }, (_, index) => 1 + share(index) * (factor - 1));
    const columns = imageColumns(selection, context);
    return { scores: [{ operation: "multiply", strength, columns, rows: rowsOf(rows, context) }], factor };
  },
});
