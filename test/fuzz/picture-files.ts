// Fuzzing of picture files: bytes, chunks and segments of PNG, JPEG, WebP and GIF, and their orientation entries.

import { createHash } from "node:crypto";
import { crc32 as zlibCrc32 } from "node:zlib";
import { decodeImage } from "../../src/preprocess/decode-image.node.ts";
import type { Random } from "../reference/random.ts";
import { defineKind } from "./kind.ts";
import { chance, joined, mutateBytes, mutateText, pick } from "./mutate.ts";
import { PICTURES } from "./pictures.ts";

/** A file in base64. */
interface Picture {
  readonly base64: string;
}

/** Pixels that a file may have; that of the default limit would take 300 MB. */
const MAX_PIXELS = 1e6;

const WHOLE = Object.entries(PICTURES).map(([name, base64]) => ({ name, base64, bytes: fromBase64(base64) }));

export const pictureFiles = defineKind<Picture>({
  name: "pictures",
  make(random) {
    const whole = pick(random, WHOLE);
    const kind = random.integer(8);
    if (kind === 0) {
      const bytes = sameMeaning(whole.name, whole.bytes, random);
      if (bytes !== undefined) return { input: toInput(bytes), sameAs: { base64: whole.base64 } };
    }
    const bytes = kind <= 3 ? mutateBytes(whole.bytes, random) : mutateParts(whole, random);
    return { input: toInput(bytes) };
  },
  async run({ base64 }) {
    const { width, height, data } = await decodeImage(fromBase64(base64), { maxPixels: MAX_PIXELS });
    if (data.length !== width * height * 3) throw new Error(`${width} × ${height} pixels in ${data.length} bytes`);
    return `${width} × ${height} ${createHash("sha1").update(data).digest("hex")}`;
  },
});

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(text, "base64"));
}

function toInput(bytes: Uint8Array): Picture {
  return { base64: Buffer.from(bytes).toString("base64") };
}

type Part = { readonly type: string; readonly data: Uint8Array };

/** Changes the parts that a format has: their lengths, types, order and contents, with the checksums that fit. */
function mutateParts(
  { name, bytes }: { readonly name: string; readonly bytes: Uint8Array<ArrayBuffer> },
  random: Random,
) {
  const format = formatOf(name);
  if (format === undefined) return mutateBytes(bytes, random);
  const parts = format.parts(bytes);
  const index = random.integer(parts.length);
  const part = parts[index];
  if (part === undefined) return mutateBytes(bytes, random);
  const kinds: readonly (() => readonly Part[])[] = [
    () => parts.with(index, { ...part, data: mutateBytes(Uint8Array.from(part.data), random) }),
    () => parts.with(index, { ...part, data: mutateBytes(Uint8Array.from(part.data), random) }),
    () => parts.toSpliced(index, 1),
    () => parts.toSpliced(index, 0, part),
    () => [...parts].reverse(),
    () => parts.toSpliced(index, 0, orientationPart(format, random)),
    () => parts.with(index, { ...part, type: pick(random, format.types) }),
    () => parts.with(index, { ...part, data: part.data.subarray(0, random.integer(part.data.length + 1)) }),
  ];
  return format.whole(pick(random, kinds)());
}

/** The same picture in other bytes: parts that decoders skip. */
function sameMeaning(
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
  random: Random,
): Uint8Array<ArrayBuffer> | undefined {
  const format = formatOf(name);
  if (format === undefined) return undefined;
  const parts = format.parts(bytes);
  const text = new TextEncoder().encode("x".repeat(random.integer(300)));
  return format.whole(parts.toSpliced(format.skippedAt(parts.length, random), 0, { type: format.skipped, data: text }));
}

interface Format {
  parts(bytes: Uint8Array): Part[];
  whole(parts: readonly Part[]): Uint8Array<ArrayBuffer>;
  readonly types: readonly string[];
  /** A type that decoders skip, and where it may be. */
  readonly skipped: string;
  skippedAt(numParts: number, random: Random): number;
  readonly exif: string;
}

const PNG: Format = {
  types: [
    "IHDR",
    "PLTE",
    "IDAT",
    "IEND",
    "tRNS",
    "eXIf",
    "iCCP",
    "gAMA",
    "tEXt",
    "zTXt",
    "iTXt",
    "acTL",
    "fcTL",
    "zzZz",
  ],
  skipped: "zzZz",
  exif: "eXIf",
  skippedAt: (numParts, random) => 1 + random.integer(numParts - 2),
  parts(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const parts: Part[] = [];
    for (let at = 8; at < bytes.length; ) {
      const length = view.getUint32(at);
      const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
      parts.push({ type, data: bytes.subarray(at + 8, at + 8 + length) });
      at += 12 + length;
    }
    return parts;
  },
  whole(parts) {
    const chunks = parts.map(({ type, data }) => {
      const named = joined([new TextEncoder().encode(type), data]);
      return joined([uint32(data.length), named, uint32(crc32(named))]);
    });
    return joined([Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a), ...chunks]);
  },
};

const JPEG: Format = {
  types: ["c0", "c1", "c2", "c4", "db", "dd", "e0", "e1", "e2", "ee", "fe", "da", "d9", "01", "d0"],
  skipped: "fe",
  exif: "e1",
  skippedAt: (numParts, random) => random.integer(numParts - 1),
  /** Segments; the last one is the scan with all that follows it. */
  parts(bytes) {
    const parts: Part[] = [];
    let at = 2;
    while (bytes[at + 1] !== 0xda) {
      const length = ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0);
      parts.push({ type: (bytes[at + 1] ?? 0).toString(16), data: bytes.subarray(at + 4, at + 2 + length) });
      at += 2 + length;
    }
    parts.push({ type: "scan", data: bytes.subarray(at) });
    return parts;
  },
  whole(parts) {
    const segments = parts.map(({ type, data }) => {
      if (type === "scan") return data;
      const length = (data.length + 2) & 0xffff;
      return joined([Uint8Array.of(0xff, Number.parseInt(type, 16), length >> 8, length & 0xff), data]);
    });
    return joined([Uint8Array.of(0xff, 0xd8), ...segments]);
  },
};

const WEBP: Format = {
  types: ["VP8 ", "VP8L", "VP8X", "ANIM", "ANMF", "ALPH", "EXIF", "XMP ", "ICCP", "zzzz"],
  skipped: "zzzz",
  exif: "EXIF",
  skippedAt: (numParts) => numParts,
  parts(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const parts: Part[] = [];
    for (let at = 12; at < bytes.length; ) {
      const length = view.getUint32(at + 4, true);
      parts.push({
        type: String.fromCharCode(...bytes.subarray(at, at + 4)),
        data: bytes.subarray(at + 8, at + 8 + length),
      });
      at += 8 + length + (length % 2);
    }
    return parts;
  },
  whole(parts) {
    const chunks = parts.map(({ type, data }) => {
      return joined([
        new TextEncoder().encode(type),
        uint32(data.length).reverse(),
        data,
        new Uint8Array(data.length % 2),
      ]);
    });
    const body = joined([new TextEncoder().encode("WEBP"), ...chunks]);
    return joined([new TextEncoder().encode("RIFF"), uint32(body.length).reverse(), body]);
  },
};

function formatOf(name: string): Format | undefined {
  return { png: PNG, jpeg: JPEG, webp: WEBP }[name.split("-")[0] ?? ""];
}

/** An orientation entry, right or wrong. */
function orientationPart(format: Format, random: Random): Part {
  const isLittle = chance(random, 1, 2);
  const tiff = new Uint8Array(26);
  const view = new DataView(tiff.buffer);
  view.setUint16(0, isLittle ? 0x4949 : 0x4d4d);
  view.setUint16(2, 42, isLittle);
  view.setUint32(4, pick(random, [8, 8, 8, 0, 4, 0xffffffff, 25]), isLittle);
  view.setUint16(8, pick(random, [1, 1, 0, 2, 0xffff]), isLittle);
  view.setUint16(10, 0x0112, isLittle);
  view.setUint16(12, random.integer(16), isLittle);
  view.setUint32(14, pick(random, [1, 0, 0xffffffff]), isLittle);
  view.setUint16(18, random.integer(12), isLittle);
  const prefix = new TextEncoder().encode(format === JPEG || chance(random, 1, 4) ? "Exif\0\0" : "");
  if (chance(random, 2, 3)) return { type: format.exif, data: joined([prefix, tiff]) };
  const xmp = mutateText(`XML:com.adobe.xmp\0\0\0\0\0<tiff:Orientation>${random.integer(10)}`, random);
  const bytes = new TextEncoder().encode(format === PNG ? xmp : `http://ns.adobe.com/xap/1.0/\0${xmp}`);
  return {
    type: format === PNG ? pick(random, ["tEXt", "zTXt", "iTXt"]) : format === WEBP ? "XMP " : "e1",
    data: bytes,
  };
}

function uint32(value: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

const crc32 = zlibCrc32;
