// --reference-quirks: the places where the authors' published code does something else than the paper, so that its numbers can be
// reproduced.
//
// - Interventions run on a LLaMA class with rms_norm_eps 1e-6, the greedy baseline on transformers' with the checkpoint's 1e-5. So
//   interventions get 1e-6 here, and greedy with 1e-6 is a further arm, which tells the two effects apart.
// - Factors act where the layer's index is below 32: of a model with 40 layers (13B), the last 8 stay as they are.
// - On VSR, AdaptVis compares the largest logit with beta, and pictures are resized to 2300×4096 first.
//
// Source: github.com/shiqichen17/AdaptVis at 3b41399, the final run script at 4b96c54
import type { RgbImage } from "../../preprocess/image.ts";
import { resizeImage } from "../../preprocess/resize-bicubic.ts";
import type { DataSet } from "../datasets/dataset.ts";
import type { Arm } from "./samples.ts";

/** rms_norm_eps of the authors' LLaMA class. */
const REFERENCE_EPS = 1e-6;

/** Layers on which the authors' code applies a factor. */
const REFERENCE_LAYERS = 32;

/** The arm that differs from greedy by the epsilon alone. */
export const EPS_ARM = `greedy:rmsNormEps=${REFERENCE_EPS}`;

/** The arms as the authors' code runs them, with the arm of the epsilon alone. */
export function quirkyArms(
  arms: readonly Arm[],
  { dataSet, numLayers }: { readonly dataSet: DataSet; readonly numLayers: number },
): readonly Arm[] {
  const layers = Array.from({ length: REFERENCE_LAYERS }, (_, layer) => layer);
  const changed = arms.map((arm): Arm => {
    const { method } = arm.options;
    if (method === "greedy" || method === undefined) return arm;
    const isAuthors = method === "scaling" || method === "adaptvis";
    const places = isAuthors && numLayers > REFERENCE_LAYERS ? { layers } : {};
    const gate = method === "adaptvis" && dataSet.referenceQuirks?.gate;
    return {
      ...arm,
      rmsNormEps: arm.rmsNormEps ?? REFERENCE_EPS,
      // What was written for the arm comes first.
      options: { ...places, ...(gate ? { gate } : {}), ...arm.options },
    };
  });
  const hasArm = changed.some(({ options, rmsNormEps }) => options.method === "greedy" && rmsNormEps === REFERENCE_EPS);
  return hasArm ? changed : [...changed, { name: EPS_ARM, options: { method: "greedy" }, rmsNormEps: REFERENCE_EPS }];
}

/** A picture as the authors' code gives it to the image processor. */
export function quirkyPicture(image: RgbImage, { referenceQuirks }: DataSet): RgbImage {
  const size = referenceQuirks?.pictureSize;
  return size === undefined ? image : resizeImage(image, size);
}
