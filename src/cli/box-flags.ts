// The options of an evaluation that concern object boxes and the maps that its lines keep.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { ALL_BOXES } from "../evaluate/metrics/boxes.ts";
import { BOX_OBJECTS, type BoxObjects, type RunBoxSettings } from "../evaluate/metrics/question-boxes.ts";
import { BOXES_FILE, type BoxSource, readBoxSource } from "../evaluate/run/box-source.node.ts";
import { middleLayer } from "../inspect/attention-map.ts";
import type { ModelConfig } from "../models/config.ts";
import { numberFrom, someText, wholeFrom } from "./checks.ts";
import { type Session, UsageError } from "./session.ts";

/** Parsed options. */
export interface BoxFlags {
  /** False for --no-boxes. */
  readonly boxes?: string | false;
  readonly boxScale?: number;
  readonly maxBoxes?: number;
  readonly boxObjects?: BoxObjects;
  readonly mapLayer?: number;
}

/** A run's boxes and how it uses them. */
export interface FoundBoxes {
  readonly source: BoxSource;
  readonly settings: RunBoxSettings;
}

/** Adds the options. */
export function addBoxOptions(command: Command): Command {
  return command
    .option(
      "--boxes <path>",
      `object boxes, for the overlap of attention with them: COCO's annotations, plain JSON, or a folder of YOLO's text files (default: ${BOXES_FILE} in the data folder, where it is there)`,
      someText,
    )
    .option("--no-boxes", "leave the data folder's own boxes out")
    .option(
      "--box-scale <factor>",
      "enlarge every box about its centre (default: 1; forks of the authors' code use 1.2, with --max-boxes 2)",
      numberFrom({ above: 0 }),
    )
    .option("--max-boxes <number>", "most boxes per question, those of highest confidence (default: all)", wholeFrom(1))
    .addOption(
      new Option(
        "--box-objects <which>",
        "boxes of the objects that the question names, where boxes have labels, or all boxes of the picture (default: named)",
      ).choices(BOX_OBJECTS),
    )
    .option("--map-layer <index>", "layer of the maps that are kept (default: the middle layer)", wholeFrom(0));
}

/**
 * Reads the boxes that the options select.
 * @param pictures the data set's names of the pictures that are asked about
 * @throws UsageError for settings of boxes without boxes; InputError as `readBoxSource`.
 */
export async function boxesOfFlags(
  session: Session,
  { boxes, boxScale, maxBoxes, boxObjects }: BoxFlags,
  { folder, pictures }: { readonly folder: string; readonly pictures: readonly string[] },
): Promise<FoundBoxes | undefined> {
  const own = join(folder, BOXES_FILE);
  const path = boxes === undefined ? (existsSync(own) ? own : undefined) : boxes;
  if (path === undefined || path === false) {
    const [option] = Object.entries({ "--box-scale": boxScale, "--max-boxes": maxBoxes, "--box-objects": boxObjects })
      .filter(([, value]) => value !== undefined)
      .map(([name]) => name);
    if (option === undefined) return undefined;
    throw new UsageError(`${option} needs boxes: give --boxes, or put ${BOXES_FILE} into the data folder.`);
  }
  const source = await readBoxSource(path, pictures);
  const numAll = new Set(pictures).size;
  if (source.numPictures < numAll) {
    session.note(
      `adaptvis: ${source.path} has boxes of ${source.numPictures} of ${numAll} pictures; the others have no overlap.`,
    );
  }
  const { scale, maxBoxes: most } = ALL_BOXES;
  return {
    source,
    settings: { scale: boxScale ?? scale, maxBoxes: maxBoxes ?? most, objects: boxObjects ?? "named" },
  };
}

/** The layer whose map is kept. @throws UsageError when the model has no such layer. */
export function mapLayerOf({ mapLayer }: BoxFlags, { text }: Pick<ModelConfig, "text">): number {
  const layer = mapLayer ?? middleLayer(text.numHiddenLayers);
  if (layer < text.numHiddenLayers) return layer;
  throw new UsageError(
    `--map-layer must be a whole number from 0 to ${text.numHiddenLayers - 1} for this model, got ${layer}.`,
  );
}
