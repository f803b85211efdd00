// Attention knock-out: chosen rows cannot attend to chosen columns. Their scores become −∞, unlike under a factor of 0, which makes
// them 0.
import { InputError } from "../errors.ts";
import { columnsOf, defineIntervention, rowsOf } from "./intervention.ts";
import { COLUMN_PARAMETERS, PLACE_PARAMETERS } from "./parameters.ts";

/** score ← −∞ on the chosen columns. */
export const knockOut = defineIntervention({
  name: "knock-out",
  title: "Knock-out",
  summary: "cuts the attention of the chosen rows to the chosen columns",
  source: "arXiv 2304.14767, section 4 (attention knockout)",
  parameters: { ...COLUMN_PARAMETERS, ...PLACE_PARAMETERS },
  edits: ({ columns, layers, heads, rows }, context) => {
    const runs = columnsOf(columns, context);
    const [first] = rowsOf(rows, context);
    const numCut = runs.reduce((sum, [start, end]) => sum + Math.max(0, Math.min(end, first + 1) - start), 0);
    if (numCut > first) {
      throw new InputError(`columns: all ${first + 1} positions that row ${first} sees are cut: leave one of them.`);
    }
    return {
      scores: [{ operation: "knock-out", strength: 1, layers, heads, columns: runs, rows: rowsOf(rows, context) }],
      factor: 1,
    };
  },
});
