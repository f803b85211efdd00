// Overlap of the attention of every layer and head with a picture's boxes, in the two definitions of boxes.ts.
//
// A model of 7 billion parameters has 1,024 heads and 576 patches, per question and method: the mask of the boxes is computed
// once, and the rest is one pass over the maps.
import { at } from "../../errors.ts";

/** The attention maps of a layer: [numHeads, numPatches], non-negative. */
export interface LayerMaps {
  readonly values: ArrayLike<number> & { readonly [index: number]: number };
}

/** Overlaps by layer and head; null where the attention on the picture is 0. */
export interface HeadOverlaps {
  /** Σ map · mask / Σ map of each layer and head, 0 to 1, to 6 significant digits. */
  readonly mass: readonly (readonly (number | null)[])[];
  /** Σ map · mask / (‖map‖ · ‖mask‖) of each layer and head; null where the mass is. */
  readonly cosine: readonly (readonly (number | null)[])[];
  /** Mass of each layer's map, the mean over its heads. */
  readonly layerMass: readonly (number | null)[];
  /** Cosine of each layer's map, the mean over its heads. */
  readonly layerCosine: readonly (number | null)[];
}

/**
 * Overlap of every layer's and head's map with the mask of some boxes.
 * @param layers maps of each layer, over the same patches as the mask
 * @param mask [numPatches] share of every patch that the boxes cover, as of `boxMask`
 * @returns undefined where the mask is 0 everywhere: the boxes are outside of what the model sees
 */
export function headOverlaps(
  layers: readonly LayerMaps[],
  mask: Float64Array,
  { numHeads }: { readonly numHeads: number },
): HeadOverlaps | undefined {
  const maskNorm = Math.hypot(...mask);
  if (maskNorm === 0) return undefined;
  const numPatches = mask.length;
  const overlap = (values: LayerMaps["values"], offset: number) => {
    let [total, inside, squares] = [0, 0, 0];
    for (let patch = 0; patch < numPatches; patch++) {
      const value = at(values, offset + patch);
      total += value;
      inside += value * at(mask, patch);
      squares += value * value;
    }
    if (total === 0) return { mass: null, cosine: null };
    return { mass: shortened(inside / total), cosine: shortened(inside / (Math.sqrt(squares) * maskNorm)) };
  };
  const byHead = layers.map(({ values }) =>
    Array.from({ length: numHeads }, (_, head) => overlap(values, head * numPatches)),
  );
  const byLayer = layers.map(({ values }) => {
    const sum = new Float64Array(numPatches);
    for (let head = 0; head < numHeads; head++) {
      for (let patch = 0; patch < numPatches; patch++) {
        sum[patch] = at(sum, patch) + at(values, head * numPatches + patch);
      }
    }
    return overlap(sum, 0); // as of the mean: a factor changes neither
  });
  return {
    mass: byHead.map((heads) => heads.map(({ mass }) => mass)),
    cosine: byHead.map((heads) => heads.map(({ cosine }) => cosine)),
    layerMass: byLayer.map(({ mass }) => mass),
    layerCosine: byLayer.map(({ cosine }) => cosine),
  };
}

/** 6 significant digits, about the accuracy of attention in f32; 2,048 numbers per line are a third shorter. */
function shortened(value: number): number {
  return Number(value.toPrecision(6));
}
