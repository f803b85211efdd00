// Visual Attention Redistribution: what rows behind the picture give to attention sinks goes to the picture's other positions, in
// the heads that look at these.
//
// Confirmed by the paper and by the authors' code: sinks are the positions whose hidden state, at the layer's input and normalised
// to a root mean square of 1, exceeds tau in one of a few dimensions of the base language model (LLaMA-2-7B: 1415 and 2533; 13B:
// 2100 and 4743, of the code); the budget is that of all sinks, those of the text (such as the first token) too; it goes to the
// image columns that are no sinks, in proportion to their attention; heads that give the picture less than 0.2 are left alone, and
// so is the last layer. Rows are the prompt's behind the picture and every generated one, whose keys are no sinks themselves.
//
// Paper and code differ in two numbers, and the paper's meaning is taken here. Its p is the share of the sinks' attention that is
// moved; the code multiplies the sinks by p, so that `moved` 0.4 is the code with p = 0.6. Its rho is the least share of the
// columns that are no sinks; the code bounds the sinks' share by rho, so that `rho` 0.2 is the code with rho = 0.8. Of the code
// alone: the first two layers are left alone, and a head does nothing where no column is a sink. The paper takes rho 0.8 for
// general tasks, 0.5 for hallucination and 0.9 for vision-centric ones. Where the code adds 1e-6 to every image column before it
// divides, nothing is added here.
import { InputError } from "../errors.ts";
import { defineIntervention, type EditContext, requirePicture } from "./intervention.ts";
import { HEAD_PARAMETERS, indices, number, PLACE_PARAMETERS, withDefault } from "./parameters.ts";
import { placed } from "./placement.ts";

/** The first layer that the authors' code acts on. */
const FIRST_LAYER = 2;

/** Sink dimensions of base language models, which their fine-tuned descendants keep, recognised by their sizes. */
const KNOWN_DIMENSIONS = [
  { numLayers: 32, hiddenSize: 4096, intermediateSize: 11_008, numKeyValueHeads: 32, dimensions: [1415, 2533] },
  { numLayers: 40, hiddenSize: 5120, intermediateSize: 13_824, numKeyValueHeads: 40, dimensions: [2100, 4743] },
] as const;

/** Image columns that are no sinks ← + moved · attention of the sinks, in proportion to theirs; sinks ← · (1 − moved). */
export const visualSinks = defineIntervention({
  name: "visual-sinks",
  title: "Visual Attention Redistribution",
  summary: "moves attention from attention sinks to the rest of the picture",
  source: "arXiv 2503.03321, section 5",
  parameters: {
    dimensions: indices(
      "dimensions",
      "dimensions of the hidden states that sinks stand out in (default: those of LLaMA-2-7B and 13B; no others are known)",
    ),
    tau: number({ default: 20, minimum: 0, maximum: 1e6, meaning: "value in these dimensions that makes a sink" }),
    rho: number({
      default: 0.5,
      minimum: 0,
      maximum: 1,
      meaning: "least share of a head's attention on the picture that is on other positions than sinks",
    }),
    moved: number({ default: 0.6, minimum: 0, maximum: 1, meaning: "share of the sinks' attention that is moved (p)" }),
    minimumImageShare: number({
      default: 0.2,
      minimum: 0,
      maximum: 1,
      meaning: "least share of a head's attention that is on the picture",
    }),
    layers: {
      ...PLACE_PARAMETERS.layers,
      meaning: "decoder layers that it acts on (default for visual-sinks: 2 and above, but for the last)",
    },
    heads: PLACE_PARAMETERS.heads,
    rows: withDefault(PLACE_PARAMETERS.rows, "after-image"),
    ...HEAD_PARAMETERS,
  },
  edits: ({ dimensions, tau, rho, moved, minimumImageShare, layers, ...place }, context) => {
    requirePicture("visual-sinks", context);
    const middle = Array.from({ length: context.numLayers - 1 }, (_, layer) => layer).slice(FIRST_LAYER);
    const edit = { operation: "redistribute", strength: moved, columns: context.imageRuns } as const;
    const sinks = { dimensions: dimensions ?? knownDimensions(context), tau, rho, minimumShare: minimumImageShare };
    return { scores: [{ ...placed(edit, { ...place, layers: layers ?? middle }, context), sinks }], factor: 1 };
  },
});

function knownDimensions(context: EditContext): readonly number[] {
  const known = KNOWN_DIMENSIONS.find(
    ({ numLayers, hiddenSize, intermediateSize, numKeyValueHeads }) =>
      numLayers === context.numLayers &&
      hiddenSize === context.hiddenSize &&
      intermediateSize === context.intermediateSize &&
      numKeyValueHeads === context.numKeyValueHeads,
  );
  if (known !== undefined) return known.dimensions;
  throw new InputError(
    "dimensions: the sink dimensions of this model are not known, only those of LLaMA-2-7B and 13B: give them.",
  );
}
