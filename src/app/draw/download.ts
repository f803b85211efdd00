// Downloads: files, answers as JSON, pictures as PNG.

import type { RgbImage } from "../../preprocess/image.ts";
import type { AnswerView, ModelView } from "../protocol.ts";
import type { Asked } from "../state.ts";
import { putPicture } from "./attention-view.ts";

/** Downloads a file. */
export function save(file: Blob, name: string): void {
  const url = URL.createObjectURL(file);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // Delayed, because the browser reads it after the click.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** A picture as a PNG file. @throws when the browser lacks the memory. */
export async function pngOf(picture: RgbImage): Promise<Blob> {
  const canvas = document.createElement("canvas");
  putPicture(canvas, picture);
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
  if (blob === null) throw new Error(`A PNG of ${picture.width} × ${picture.height} pixels could not be made.`);
  return blob;
}

/** Question and answers as JSON, each answer as `AnswerJson`; the attention of single patches is in the trace. */
export function answersJson({ question, answers }: Asked, model: ModelView, tried: Iterable<AnswerView>): string {
  const plain = ({ json, elapsedMs, attention }: AnswerView) => ({
    ...json,
    elapsedMs,
    imageShares: attention && {
      numLayers: attention.numLayers,
      numHeads: attention.numHeads,
      values: [...attention.shares],
    },
  });
  const { picture, greedy, adaptvis } = answers;
  const { name, adapter, dtype } = model;
  const content = {
    model: { name, adapter, dtype },
    question,
    picture: picture && { width: picture.width, height: picture.height },
    greedy: plain(greedy),
    adaptvis: plain(adaptvis),
    factors: [...tried].map(plain),
  };
  return `${JSON.stringify(content, undefined, 2)}\n`;
}
