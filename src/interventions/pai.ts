// PAI ("Paying More Attention to Image"). In the later layers, image scores grow by a share of their own magnitude in the last
// prompt row and every generated one, so that negative scores rise too; and logits move away from those without the picture.
import { at } from "../errors.ts";
import { imageColumns } from "./image-columns.ts";
import { defineIntervention } from "./intervention.ts";
import { HEAD_PARAMETERS, IMAGE_PARAMETERS, number, PLACE_PARAMETERS, withDefault } from "./parameters.ts";
import { placed } from "./placement.ts";
import { contrastPlausible, PLAUSIBILITY_PARAMETERS } from "./plausibility.ts";

/** The first layer that the paper's setting for LLaVA-1.5-7B acts on. */
const FIRST_LAYER = 2;

/**
 * score ← score + alpha · |score| on image columns, and logits ← gamma · logits − (gamma − 1) · logits without the picture, of
 * plausible tokens. The second stream reads the prompt without its image tokens, unedited; with a gamma of 1 none runs.
 *
 * As in the authors' code (LALBJ/PAI, CFG.py and attention.py), which contrasts log-probabilities: these differ from logits by one
 * number per token, so that the distribution is the same. The plausibility constraint, of 0.1, is the code's. Its commands use alpha
 * 0.2, gamma 1.1 and layers 2 to 31 for greedy answers too, while its README recommends the contrast for nucleus sampling.
 */
export const pai = defineIntervention({
  name: "pai",
  title: "PAI",
  summary:
    "raises the image scores by a share of their magnitude, and contrasts the answer with one without the picture",
  source: "arXiv 2407.21771, equation 5 and the contrast with a text-only input",
  parameters: {
    alpha: number({ default: 0.2, minimum: 0, maximum: 100, meaning: "share of its magnitude that a score grows by" }),
    gamma: number({
      default: 1.1,
      minimum: 0,
      maximum: 100,
      meaning:
        "how far logits move away from those without the picture: gamma · logits − (gamma − 1) · those; 1: not at all",
    }),
    ...PLAUSIBILITY_PARAMETERS,
    layers: { ...PLACE_PARAMETERS.layers, meaning: "decoder layers that it acts on (default for PAI: 2 and above)" },
    heads: PLACE_PARAMETERS.heads,
    rows: withDefault(PLACE_PARAMETERS.rows, "generated"),
    ...HEAD_PARAMETERS,
    ...IMAGE_PARAMETERS,
  },
  edits: ({ alpha, patches, box, ...place }, context) => {
    const later = Array.from({ length: context.numLayers }, (_, layer) => layer).filter(
      (layer) => layer >= FIRST_LAYER,
    );
    const columns = imageColumns({ patches, box }, context);
    const edit = { operation: "add-magnitude", strength: alpha, columns } as const;
    return { scores: [placed(edit, { ...place, layers: place.layers ?? later }, context)], factor: 1 };
  },
  contrast: ({ gamma, plausibility }) => {
    if (gamma === 1) return undefined;
    return {
      against: "no-picture",
      combine: (logits, other) => {
        contrastPlausible(logits, plausibility, (logit, id) => gamma * logit - (gamma - 1) * at(other, id));
      },
    };
  },
});
