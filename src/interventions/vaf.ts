// VAF ("Visual Amplification Fusion", of ClearSight): in the middle layers, where text takes in the picture, the rows after the
// picture see larger image scores and smaller ones of what is before the picture.
import { InputError } from "../errors.ts";
import type { Run } from "../models/inputs.ts";
import { imageColumns } from "./image-columns.ts";
import { defineIntervention, type EditContext, NO_EDITS } from "./intervention.ts";
import { factor, HEAD_PARAMETERS, IMAGE_PARAMETERS, PLACE_PARAMETERS, withDefault } from "./parameters.ts";
import { placed } from "./placement.ts";

/** The layers that the authors' code acts on in every model, [first, last]. */
const LAYERS = [9, 14] as const;

/**
 * score ← enhancement · score on image columns and suppression · score on the columns before the first picture (the system prompt),
 * for the rows after the last picture and every generated one.
 *
 * As in the authors' code (ustc-hyin/ClearSight at 5466c94, visaug/inference/AttnAdapter.py and infer_pope.sh: 1.15 and 0.95, layers
 * 9 to 14, all heads), whose fixed 35 columns are all those before the picture under its prompt. The paper also
 * restricts the change to heads that attend to the picture, which the code does not.
 */
export const vaf = defineIntervention({
  name: "vaf",
  title: "VAF",
  summary:
    "enlarges the image scores and shrinks the system prompt's, in the middle layers, for all rows after the picture",
  source: "arXiv 2503.13107, section 4 (ClearSight)",
  parameters: {
    enhancement: factor(1.15, "number that image scores are multiplied by"),
    suppression: factor(0.95, "number that the scores of all columns before the first picture are multiplied by"),
    layers: { ...PLACE_PARAMETERS.layers, meaning: "decoder layers that it acts on (default for VAF: 9 to 14)" },
    heads: PLACE_PARAMETERS.heads,
    rows: withDefault(PLACE_PARAMETERS.rows, "after-image"),
    ...HEAD_PARAMETERS,
    ...IMAGE_PARAMETERS,
  },
  edits: ({ enhancement, suppression, patches, box, ...place }, context) => {
    const [firstRun] = context.imageRuns;
    if (firstRun === undefined) return NO_EDITS;
    const columns = imageColumns({ patches, box }, context);
    const before: readonly Run[] = [[0, firstRun[0]]];
    const layers = place.layers ?? middleLayers(context);
    const multiplied = (strength: number, of: readonly Run[]) =>
      placed({ operation: "multiply", strength, columns: of }, { ...place, layers }, context);
    return { scores: [multiplied(enhancement, columns), multiplied(suppression, before)], factor: enhancement };
  },
});

/** Those of the authors' layers that the model has. @throws InputError where it has none of them. */
function middleLayers({ numLayers }: EditContext): readonly number[] {
  const [first, last] = LAYERS;
  const layers = Array.from({ length: last - first + 1 }, (_, index) => first + index).filter(
    (layer) => layer < numLayers,
  );
  if (layers.length > 0) return layers;
  throw new InputError(
    `layers: VAF acts on layers ${first} to ${last} unless layers are given, and this model has only layers 0 to ${numLayers - 1}: give its middle layers.`,
  );
}
