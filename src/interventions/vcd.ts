// VCD ("Visual Contrastive Decoding"): logits move away from those that the same prompt gives about a picture lost in noise.
import { at } from "../errors.ts";
import { defineIntervention, NO_EDITS } from "./intervention.ts";
import { NUM_NOISE_STEPS, noised } from "./noise.ts";
import { number, whole } from "./parameters.ts";
import { contrastPlausible, PLAUSIBILITY_PARAMETERS } from "./plausibility.ts";

/**
 * logits ← (1 + amplification) · logits − amplification · logits about the noised picture, of plausible tokens. As in the
 * authors' code (DAMO-NLP-SG/VCD at 039af55), noise is added to the pixel values that the processor made. The defaults are those
 * of its evaluation of LLaVA-1.5 (experiments/eval/object_hallucination_vqa_llava.py), which samples at temperature 1; here
 * answers are greedy unless sampling is asked for. Its noise has no seed of its own; here picture i has the seed noiseSeed + i.
 */
export const vcd = defineIntervention({
  name: "vcd",
  title: "VCD",
  summary: "contrasts the answer with one about the picture under noise",
  source: "arXiv 2311.16922, section 3",
  parameters: {
    amplification: number({
      default: 1,
      minimum: 0,
      maximum: 100,
      meaning: "how far logits move away from those about the noised picture",
    }),
    ...PLAUSIBILITY_PARAMETERS,
    noiseStep: whole({
      default: 500,
      minimum: 0,
      maximum: NUM_NOISE_STEPS - 1,
      meaning: "step of the diffusion process that the picture is noised to, of 1000",
    }),
    noiseSeed: whole({ default: 0, minimum: 0, maximum: 2 ** 32 - 1, meaning: "seed of the noise" }),
  },
  edits: () => NO_EDITS,
  contrast: ({ amplification, plausibility, noiseStep, noiseSeed }) => ({
    against: "changed-picture",
    changed: (pixelValues, index) => noised(pixelValues, { step: noiseStep, seed: noiseSeed + index }),
    combine: (logits, other) => {
      contrastPlausible(logits, plausibility, (logit, id) => logit + amplification * (logit - at(other, id)));
    },
  }),
});
