// The image processors, by preprocessor_config.json's image_processor_type.
import { CheckpointError } from "../errors.ts";
import { clip, llava } from "./clip-processor.ts";
import { idefics3 } from "./idefics3-processor.ts";
import type { ImageProcessorConfig } from "./image-processor.ts";
import { asObject, type Values, wrongValue } from "./image-processor-config.ts";
import { llavaOnevision } from "./llava-onevision-processor.ts";
import { qwen2Vl } from "./qwen2-vl-processor.ts";
import { siglip } from "./siglip-processor.ts";

/** A kind of image processor. */
export interface ImageProcessorKind {
  /** Values of image_processor_type, without their endings Fast and Pil. */
  readonly types: readonly string[];
  /** @throws CheckpointError when a value has the wrong type or asks for something that is not implemented. */
  read(values: Values, file: string): ImageProcessorConfig;
}

const PROCESSORS: readonly ImageProcessorKind[] = [clip, llava, llavaOnevision, siglip, idefics3, qwen2Vl];

/**
 * Reads preprocessor_config.json, or a processor_config.json that nests it under image_processor; without a type it is CLIP's.
 * @param json the parsed file
 * @param file its name, for messages
 * @throws CheckpointError for an unknown type, or when a value has the wrong type or is not implemented.
 */
export function readImageProcessorConfig(json: unknown, file = "preprocessor_config.json"): ImageProcessorConfig {
  const outer = asObject(json, "the file", file);
  const nested = outer.image_processor ?? undefined;
  const values = nested === undefined ? outer : asObject(nested, "image_processor", file);
  const type = values.image_processor_type ?? values.feature_extractor_type ?? undefined;
  if (type === undefined && !["size", "crop_size", "image_mean", "do_resize"].some((key) => key in values)) {
    const message = `${file}: expected an image processor's settings (size, image_mean, …), found none of them.`;
    throw new CheckpointError(message, { file });
  }
  const plainType = typeof type === "string" ? type.replace(/(Fast|Pil)$/, "") : "";
  const kind = type === undefined ? clip : PROCESSORS.find(({ types }) => types.includes(plainType));
  if (kind !== undefined) return kind.read(values, file);
  const expected = `one of ${PROCESSORS.flatMap(({ types }) => types).join(", ")}`;
  throw wrongValue(values, { key: "image_processor_type", expected, file });
}
