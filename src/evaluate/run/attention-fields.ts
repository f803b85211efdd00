// What a line of results keeps of an answer's attention on its picture: share and entropy per layer, overlap with boxes per
// layer and head, and the map of one layer.
import type { AnswerAttention, AttentionMap } from "../../inspect/attention-map.ts";
import type { ImageProcessorConfig } from "../../preprocess/image-processor.ts";
import { processorTransform } from "../../preprocess/processor-transform.ts";
import type { Size } from "../../preprocess/resize-bicubic.ts";
import { type BoxSettings, boxMask, type ObjectBox, usedBoxes } from "../metrics/boxes.ts";
import { headOverlaps } from "../metrics/head-overlap.ts";

/** Overlap of the attention with the boxes of a question's objects, by layer and head. */
export interface BoxOverlapFields {
  /** Boxes used, after `maxBoxes`. */
  readonly num_boxes: number;
  /** Share of the grid that the boxes cover: the mass that an even map would have. */
  readonly coverage: number;
  /** [layer][head] Σ map · mask / Σ map, 0 to 1, to 6 significant digits; null for a head without attention on the picture. */
  readonly mass: readonly (readonly (number | null)[])[];
  /** [layer][head] Σ map · mask / (‖map‖ · ‖mask‖), with null as in `mass`. */
  readonly cosine: readonly (readonly (number | null)[])[];
  /** [layer] mass of the layer's map, which is the mean over its heads. */
  readonly layer_mass: readonly (number | null)[];
  /** [layer] cosine of the layer's map. */
  readonly layer_cosine: readonly (number | null)[];
}

/** The map of one layer, the mean over its heads: attention of the last prompt row on each patch. */
export interface ImageMapFields {
  readonly layer: number;
  readonly rows: number;
  readonly columns: number;
  /** Base64 of one byte per patch, row-major: round(255 · attention / peak). */
  readonly weights: string;
  /** Attention on the patch with the most, as a share of all attention. */
  readonly peak: number;
}

/** Attention of the last prompt row on the picture, the first of several; all null without one. */
export interface AttentionFields {
  /** By layer, the mean over heads: attention on the picture, as a share of all. */
  readonly image_share: readonly number[] | null;
  /** By layer, the mean over heads: entropy of that attention within the picture, bits. */
  readonly image_entropy: readonly number[] | null;
  /** Null where the question has no boxes, or none that the model sees. */
  readonly box_overlap: BoxOverlapFields | null;
  readonly image_map: ImageMapFields | null;
  /** The same of the unmodified pass, where there was one and its map differs. */
  readonly unmodified_map: ImageMapFields | null;
}

/** Boxes of a question, with what is needed to bring them onto the grid of patches. */
export interface QuestionBoxes {
  /** In pixels of the original picture. */
  readonly boxes: readonly ObjectBox[];
  readonly settings: BoxSettings;
  /** Size of the original picture. */
  readonly picture: Size;
  readonly processor: ImageProcessorConfig;
  /** Side of a patch in pixels of the vision tower's input. */
  readonly patchSize: number;
  /** Whether the model sees all of the picture at any shape: maps then cover it, and neither processor nor patch size matters. */
  readonly seesAll: boolean;
}

const NONE: AttentionFields = {
  image_share: null,
  image_entropy: null,
  box_overlap: null,
  image_map: null,
  unmodified_map: null,
};

/**
 * Reads an answer's attention.
 * @param boxes undefined where the run has none
 * @throws InputError when there is no such layer.
 */
export function attentionFields(
  attention: AnswerAttention | undefined,
  { mapLayer, boxes }: { readonly mapLayer: number; readonly boxes: QuestionBoxes | undefined },
): AttentionFields {
  if (attention === undefined) return NONE;
  const layers = Array.from({ length: attention.numLayers }, (_, layer) => attention.used({ layer }));
  const map = attention.used({ layer: mapLayer });
  const unmodified = attention.unmodified({ layer: mapLayer });
  const isChanged = unmodified?.values.some((value, patch) => value !== map.values[patch]) === true;
  return {
    image_share: layers.map(({ share }) => share),
    image_entropy: layers.map(({ entropy }) => entropy),
    box_overlap: boxes === undefined ? null : overlapFields(attention, map, boxes),
    image_map: mapFields(map),
    unmodified_map: unmodified !== undefined && isChanged ? mapFields(unmodified) : null,
  };
}

function overlapFields(
  attention: AnswerAttention,
  { width, height }: AttentionMap,
  { boxes, settings, picture, processor, patchSize, seesAll }: QuestionBoxes,
): BoxOverlapFields | null {
  const used = usedBoxes(boxes, picture, settings);
  const whole = { scaleX: width / picture.width, scaleY: height / picture.height, offsetX: 0, offsetY: 0 };
  const mask = seesAll
    ? boxMask(used, { transform: whole, grid: { width, height, patchSize: 1 } })
    : boxMask(used, { transform: processorTransform(picture, processor), grid: { width, height, patchSize } });
  const { numLayers, numHeads } = attention;
  const layers = Array.from({ length: numLayers }, (_, layer) => attention.usedByHead({ layer }));
  const overlaps = headOverlaps(layers, mask, { numHeads });
  if (overlaps === undefined) return null;
  const { mass, cosine, layerMass: layer_mass, layerCosine: layer_cosine } = overlaps;
  const coverage = mask.reduce((sum, share) => sum + share, 0) / mask.length;
  return { num_boxes: used.length, coverage, mass, cosine, layer_mass, layer_cosine };
}

function mapFields({ layer, width, height, values }: AttentionMap): ImageMapFields {
  const peak = values.reduce((most, value) => Math.max(most, value), 0);
  const bytes = Array.from(values, (value) => (peak === 0 ? 0 : Math.round((255 * value) / peak)));
  return { layer, rows: height, columns: width, weights: btoa(String.fromCharCode(...bytes)), peak };
}
