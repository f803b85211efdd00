// Which damage of a PNG's chunks matters, as for Pillow: a wrong checksum of a chunk before the picture's data does; of the data itself,
// where zlib's own checksum counts, and of what follows it, it does not. Decoders differ, so files that they refuse are written anew.
//
// Source: PNG, 5.3 to 5.5 and annex D; Pillow 13, src/PIL/PngImagePlugin.py (ChunkStream.crc, PngImageFile._open and load_read).

import { InputError } from "../errors.ts";

const SIGNATURE_BYTES = 8;
const [IHDR, PLTE, IDAT, IEND] = [0x49484452, 0x504c5445, 0x49444154, 0x49454e44];

/** A chunk's place in the file. */
interface Chunk {
  readonly type: number;
  /** Its length field. */
  readonly start: number;
  /** Behind its data, where its checksum is; the end of a file that is cut short. */
  readonly end: number;
}

/** @throws InputError when a chunk before the picture's data does not have its checksum. */
export function checkPngChunks(bytes: Uint8Array, name: string): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const { type, start, end } of chunksOf(view)) {
    if (type === IDAT || end + 4 > bytes.length) return; // what is cut short is the decoder's to tell
    if (view.getUint32(end) === crcOf(bytes, start + 4, end)) continue;
    const kind = String.fromCharCode(...bytes.subarray(start + 4, start + 8));
    throw new InputError(
      `${name} is a damaged PNG picture: its ${kind} chunk does not have the checksum that it states.`,
    );
  }
}

/** The file with right checksums of its picture's data, without critical chunks that no decoder knows, and with its end. */
export function rewrittenPng(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts: Uint8Array<ArrayBuffer>[] = [Uint8Array.from(bytes.subarray(0, SIGNATURE_BYTES))];
  for (const { type, start, end } of chunksOf(view)) {
    const isCritical = (type & 0x2000_0000) === 0;
    if (isCritical && type !== IHDR && type !== PLTE && type !== IDAT) continue;
    parts.push(chunk(type, bytes.subarray(start + 8, end)));
  }
  parts.push(chunk(IEND, new Uint8Array()));
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function* chunksOf(view: DataView): Generator<Chunk> {
  for (let start = SIGNATURE_BYTES; start + 8 <= view.byteLength; ) {
    const end = Math.min(start + 8 + view.getUint32(start), view.byteLength);
    const type = view.getUint32(start + 4);
    if (type === IEND) return;
    yield { type, start, end };
    start = end + 4;
  }
}

function chunk(type: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(data.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  view.setUint32(4, type);
  bytes.set(data, 8);
  view.setUint32(data.length + 8, crcOf(bytes, 4, data.length + 8));
  return bytes;
}

/** CRC-32 of the bytes of each value. */
const TABLE = /* @__PURE__ */ Uint32Array.from({ length: 256 }, (_, value) => {
  let crc = value;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  return crc;
});

function crcOf(bytes: Uint8Array, start: number, end: number): number {
  let crc = 0xffffffff;
  // Indices are in range: the bytes are [start, end), and a byte has an entry.
  for (let at = start; at < end; at++) crc = (TABLE[(crc ^ (bytes[at] as number)) & 255] as number) ^ (crc >>> 8);
  return ~crc >>> 0;
}
