// The unmodified model.
import { defineIntervention, NO_EDITS } from "./intervention.ts";

/** No intervention. */
export const greedy = defineIntervention({
  name: "greedy",
  title: "Greedy",
  summary: "leaves the model unmodified",
  source: "",
  parameters: {},
  edits: () => NO_EDITS,
});
