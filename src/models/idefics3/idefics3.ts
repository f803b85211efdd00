// Idefics3 and SmolVLM: a picture is cut into tiles and shown once more as a whole. Each tile is a run of image positions, with text
// between the runs, and each block of a SigLIP tower's patches becomes one position.
// Source: https://arxiv.org/abs/2408.12637, https://arxiv.org/abs/2504.05299; modeling_idefics3.py, processing_idefics3.py

import type { TileView } from "../../preprocess/anyres.ts";
import { defaultTiling } from "../../preprocess/idefics3-processor.ts";
import { fitToTiles, type TileGrid, type TilingRule, tiledPixelValues, tileGrid } from "../../preprocess/tiles.ts";
import type { ModelFamily, PictureLayout } from "../architecture.ts";
import { type MultimodalConfig, readTextConfig, type TextConfig } from "../config.ts";
import type { ConfigReader } from "../config-reader.ts";
import { llamaWeights } from "../layers/decoder-weights.ts";
import { shuffledTower } from "../layers/pixel-shuffle.ts";
import { visionWeights } from "../layers/vision-encoder.ts";
import { readTransformerConfig } from "../vision/transformer-config.ts";
import type { WeightDeclarer } from "../weight-table.ts";

/** `idefics3` and `smolvlm`. */
export const idefics3: ModelFamily = {
  modelTypes: ["idefics3", "smolvlm"],
  read(reader) {
    const multimodal = readMultimodalConfig(reader);
    const text = readText(reader);
    const modelType = reader.string("model_type", undefined);
    return {
      config: { modelType, text, multimodal },
      pictures: tiledPictures(multimodal),
      weights: (w) => idefics3Weights(w, text, multimodal),
    };
  },
};

/** The config of these families. */
interface Idefics3Config extends MultimodalConfig {
  /** s: patches along a side of each block that becomes one position. */
  readonly scaleFactor: number;
}

function idefics3Weights(w: WeightDeclarer, text: TextConfig, multimodal: Idefics3Config) {
  const { vision, numVisionLayers: numLayers, scaleFactor: scale } = multimodal;
  const { hiddenSize } = text;
  const tower = visionWeights(w, vision, { numLayers, usesPostLayernorm: true });
  const projection = w.part("projector").linear({
    stack: [{ name: "connector.modality_projection.proj", rows: hiddenSize }],
    columns: { count: scale ** 2, size: vision.hiddenSize },
    bias: false,
  });
  const pictures = shuffledTower({ vision, hiddenSize, scale, weights: { vision: tower, projection } });
  return { llama: llamaWeights(w, text), pictures };
}

const VISION_TYPES = ["idefics3_vision", "smolvlm_vision"];

function readMultimodalConfig(config: ConfigReader): Idefics3Config {
  const vision = readVision(config.child("vision_config"));
  const side = Math.sqrt(vision.numPatches);
  const scaleFactor = config.count("scale_factor", 2);
  if (side % scaleFactor !== 0) {
    throw config.error("scale_factor", `a divisor of the ${side} patches along a tile's side`, scaleFactor);
  }
  const { numPatches, numHiddenLayers } = vision;
  const numFeatures = numPatches / scaleFactor ** 2;
  return {
    vision,
    imageTokenId: config.tokenId("image_token_id", 128257, "image_token_index"),
    numVisionLayers: numHiddenLayers,
    scaleFactor,
    pictureForm: "tiles",
    featureSummary: `${numFeatures} positions per tile, each of ${scaleFactor} × ${scaleFactor} patches`,
  };
}

function readVision(config: ConfigReader) {
  // transformers does not look at it; files of the time before there was a name for this tower have others.
  const modelType = config.string("model_type", VISION_TYPES[0]);
  if (![...VISION_TYPES, "idefics3", "smolvlm"].includes(modelType)) {
    throw config.error("model_type", VISION_TYPES.join(" or "), modelType);
  }
  return readTransformerConfig(config, {
    modelType,
    hasClassToken: false,
    patchBias: true,
    hasPreLayernorm: false,
    hasPostLayernorm: true,
    defaultHiddenSize: 1152,
    defaultHeads: 16,
    defaultPatchSize: 32,
    defaultActivation: "gelu_pytorch_tanh",
    defaultNormEps: 1e-6,
  });
}

/** Keys of the decoder in Idefics3's own code that transformers does not compute. */
const REFUSED_TEXT_KEYS = ["qk_layer_norms", "rope_interleaved", "use_resampler"];

function readText(config: ConfigReader): TextConfig {
  const text = config.child("text_config", { rms_norm_eps: 1e-5 });
  for (const key of REFUSED_TEXT_KEYS) {
    if (text.boolean(key, false)) throw text.error(key, "false (it is not implemented)", true);
  }
  return readTextConfig(text, config.optionalBoolean("tie_word_embeddings"));
}

function tiledPictures(multimodal: Idefics3Config): PictureLayout {
  const { vision, imageTokenId, scaleFactor } = multimodal;
  const { numChannels, imageSize: tileSize, patchSize, numPatches } = vision;
  const patchGrid = Math.sqrt(numPatches);
  const grid = patchGrid / scaleFactor;
  const perTile = grid * grid;
  const fallback = defaultTiling(tileSize);
  const covered = (patchGrid * patchSize) / tileSize;
  return {
    imageTokenId,
    tileShape: [numChannels, tileSize, tileSize],
    isTiledByProcessor: true,
    sizes: [[tileSize, tileSize]],
    pixelValues: (image, { processor }) => tiledPixelValues(image, processor, processor.tiling ?? fallback),
    seen: (image, processor) => fitToTiles(image, processor, processor.tiling ?? fallback),
    part: () => ({ left: 0, top: 0, right: covered, bottom: covered }),
    positions(imageSize, { processor }) {
      const size = { grid: { width: grid, height: grid } };
      // Without its size, a picture is known by its runs only; each tile counts as a picture then, which computes the same.
      if (imageSize === undefined) return { ...tileRows(1, perTile), ...size };
      const rule: TilingRule = processor?.tiling ?? fallback;
      const [height, width] = imageSize;
      const cut = tileGrid({ width, height }, rule, tileSize);
      const rows = tileRows(cut.rows * cut.columns + 1, perTile);
      const imageToken = "<image>".repeat(perTile);
      const text = pictureText(cut, imageToken);
      if (cut.rows === 0) return { ...rows, ...size, text };
      const tiles = { imageSize, patchGrid: grid, views: tileViews(cut, covered) };
      return { ...rows, grid: undefined, tiles, text };
    },
  };
}

function tileRows(numTiles: number, perTile: number) {
  return {
    numTiles,
    runLengths: Array.from({ length: numTiles }, () => perTile),
    rowIndex: Int32Array.from({ length: numTiles * perTile }, (_, row) => row),
  };
}

/** The text of a picture in the prompt: markers around every tile's positions, and lines of tiles. */
function pictureText({ rows, columns }: TileGrid, tile: string): string {
  const around = "<fake_token_around_image>";
  const whole = `${around}<global-img>${tile}${around}`;
  if (rows === 0) return whole;
  const line = (row: number) =>
    Array.from({ length: columns }, (_, column) => `${around}<row_${row + 1}_col_${column + 1}>${tile}`).join("");
  return `${Array.from({ length: rows }, (_, row) => `${line(row)}\n`).join("")}\n${whole}`;
}

/** The part of the picture that each tile's patches show, and the whole picture's tile after them. */
function tileViews({ rows, columns }: TileGrid, covered: number): readonly TileView[] {
  const views: TileView[] = [];
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const left = column / columns;
      const top = row / rows;
      views.push({ left, top, right: left + covered / columns, bottom: top + covered / rows });
    }
  }
  return [...views, { left: 0, top: 0, right: covered, bottom: covered }];
}
