// The goldens of test/golden/preprocess, made by tools/goldens/preprocess.py.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import sharp from "sharp";
import type { RgbImage } from "../../src/preprocess/image.ts";
import { resizeImage } from "../../src/preprocess/resize-bicubic.ts";

const folder = new URL("../golden/preprocess/", import.meta.url);

/** The path of a golden file. */
export function goldenPath(name: string): string {
  return fileURLToPath(new URL(name, folder));
}

/** The libraries' versions that every golden JSON file of ours carries. */
export interface Versioned {
  readonly versions: Readonly<Record<string, string>>;
}

/** A golden JSON file, whose shape the caller knows from its generator. */
export function readGolden<T>(name: string): T {
  return JSON.parse(readFileSync(goldenPath(name), "utf8"));
}

/** The bytes beside a golden JSON file. */
export function readGoldenBytes(name: string): Uint8Array {
  return new Uint8Array(gunzipSync(readFileSync(goldenPath(name))));
}

/** "pillow 13.0.0, numpy 2.4.6", for test titles. */
export function versionsOf({ versions }: Versioned, ...names: readonly string[]): string {
  return names.map((name) => `${name} ${versions[name]}`).join(", ");
}

/** One of the committed photographs: RGB PNGs without alpha or profile, which every PNG decoder reads alike. */
export async function readPicture(name: string): Promise<RgbImage> {
  const input = sharp(goldenPath(`pictures/${name}.png`)).toColourspace("srgb");
  const { data, info } = await input.raw().toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, data: new Uint8Array(data) };
}

/** The part of a picture that begins at (left, top). */
export function cropped(image: RgbImage, [left = 0, top = 0, width = 0, height = 0]: readonly number[]): RgbImage {
  return resizeImage(image, image, { window: { left, top, width, height } });
}

/** SHA-256 of an array's bytes. */
export function sha256(data: Uint8Array | Float32Array | Int32Array): string {
  return createHash("sha256")
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest("hex");
}

/** The largest difference of two byte arrays, and the mean of all. */
export function differences(actual: Uint8Array, expected: Uint8Array): { max: number; mean: number } {
  let max = 0;
  let sum = 0;
  expected.forEach((byte, index) => {
    const difference = Math.abs(byte - (actual[index] ?? Number.NaN));
    max = Math.max(max, difference);
    sum += difference;
  });
  return { max, mean: sum / expected.length };
}
