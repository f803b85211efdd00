// Attention knock-out: chosen rows cannot attend to chosen columns. Their scores become −∞, unlike under a factor of 0, which makes
// them 0.
import { InputError } from "../errors.ts";
import { chosenColumns } from "./image-columns.ts";
import { defineIntervention, rowsOf } from "./intervention.ts";
import { COLUMN_PARAMETERS, IMAGE_PARAMETERS, PLACE_PARAMETERS, RANDOM_HEAD_PARAMETERS } from "./parameters.ts";
import { placed } from "./placement.ts";

/** score ← −∞ on the chosen columns. */
export const knockOut = defineIntervention({
  name: "knock-out",
  title: "Knock-out",
  summary: "cuts the attention of the chosen rows to the chosen columns",
  source: "arXiv 2304.14767, section 4 (attention knockout)",
  parameters: { ...COLUMN_PARAMETERS, ...PLACE_PARAMETERS, ...RANDOM_HEAD_PARAMETERS, ...IMAGE_PARAMETERS },
  edits: ({ columns, patches, box, ...place }, context) => {
    const runs = chosenColumns({ columns, patches, box }, context);
    const [first] = rowsOf(place.rows, context);
    const numCut = runs.reduce((sum, [start, end]) => sum + Math.max(0, Math.min(end, first + 1) - start), 0);
    if (numCut > first) {
      throw new InputError(`columns: all ${first + 1} positions that row ${first} sees are cut: leave one of them.`);
    }
    return { scores: [placed({ operation: "knock-out", strength: 1, columns: runs }, place, context)], factor: 1 };
  },
});
