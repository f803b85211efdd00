// The files of test/golden/preprocess/files and what PIL makes of them, for the decoders of Node and the browser.

import { readGolden, readGoldenBytes, type Versioned, versionsOf } from "./golden.ts";

/**
 * How far decoded JPEG and lossy WebP may be from PIL's. Decoders may differ in the rounding of the inverse DCT and of colour
 * conversion and in the upsampling of chroma; 2 of 255 is what the engine promises. Measured: sharp 0.35.5 (libvips 8.18.7,
 * mozjpeg, libwebp 1.6.0) against Pillow 13.0.0 (libjpeg-turbo 3.2.0, libwebp 1.6.0): max 0, mean 0 on all of these files.
 */
export const JPEG_AND_WEBP_BOUND = { max: 2, mean: 0.25 } as const;

/** A file that PIL opens, and its RGB bytes. */
export interface DecodedCase {
  readonly file: string;
  readonly mode: string;
  readonly size: readonly [number, number];
  /** Before the orientation is applied. */
  readonly storedSize: readonly [number, number];
  readonly pixels: Uint8Array;
}

interface DecodeGolden extends Versioned {
  readonly cases: readonly (Omit<DecodedCase, "pixels"> | RefusedCase)[];
}

interface RefusedCase {
  readonly file: string;
  readonly error: string;
}

const golden = readGolden<DecodeGolden>("decode.json");

/** The files that PIL opens, and the versions for the tests' titles. */
export function decodedCases(): { cases: readonly DecodedCase[]; title: string } {
  const bytes = readGoldenBytes("decode.bin.gz");
  let offset = 0;
  const cases = golden.cases.flatMap((one) => {
    if ("error" in one) return [];
    const start = offset;
    offset += one.size[0] * one.size[1] * 3;
    return [{ ...one, pixels: bytes.subarray(start, offset) }];
  });
  return { cases, title: versionsOf(golden, "pillow", "libjpeg-turbo", "webp") };
}

/** The files that PIL refuses. */
export function refusedCases(): readonly RefusedCase[] {
  return golden.cases.filter((one) => "error" in one);
}
