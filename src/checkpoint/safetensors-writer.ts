// Writes safetensors files: traces, goldens, quantised weights. The counterpart of safetensors.ts.

import { DTYPES, type Dtype, tensorSize } from "./dtypes.ts";
import { MAX_HEADER_BYTES } from "./safetensors.ts";
import { quote } from "./source.ts";

/** A tensor to write. */
export interface TensorToWrite {
  readonly name: string;
  readonly dtype: Dtype;
  /** Row-major, outermost first; `[]` is a scalar. */
  readonly shape: readonly number[];
  /** The elements, little-endian in memory (F16 and BF16 as Uint16Array of their bits), or their bytes as Uint8Array. */
  readonly data: Float32Array | Float64Array | Int32Array | BigInt64Array | Uint16Array | Uint8Array;
}

/** The typed arrays that hold a dtype's elements; Uint8Array holds the bytes of any. */
const ARRAY_OF_DTYPE: Readonly<Partial<Record<Dtype, { readonly name: string }>>> = {
  F32: Float32Array,
  F64: Float64Array,
  I32: Int32Array,
  I64: BigInt64Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  U16: Uint16Array,
};

/**
 * The bytes of a safetensors file that holds `tensors` and `metadata`: the same input gives the same bytes.
 * Tensors are sorted by decreasing alignment, then by name, and the data begins at a multiple of 8 bytes, as in the
 * reference.
 * @throws TypeError when a tensor's array does not hold its dtype.
 * @throws RangeError when a name appears twice, is `__metadata__` or not valid Unicode, or a size does not fit its shape and dtype.
 */
export function encodeSafetensors(
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  checkTensors(tensors);
  const sorted = [...tensors].sort((a, b) => {
    return DTYPES.indexOf(b.dtype) - DTYPES.indexOf(a.dtype) || compareNames(a.name, b.name);
  });
  const header = encodeHeader(sorted, metadata);
  const dataBytes = sorted.reduce((sum, tensor) => sum + tensor.data.byteLength, 0);
  const file = new Uint8Array(8 + header.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true);
  file.set(header, 8);
  let at = 8 + header.length;
  for (const { data } of sorted) {
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return file;
}

function encodeHeader(tensors: readonly TensorToWrite[], metadata: Readonly<Record<string, string>>): Uint8Array {
  // Joined by hand, because an object would sort names that look like numbers first.
  const fields = Object.keys(metadata).length > 0 ? [`"__metadata__":${JSON.stringify(metadata)}`] : [];
  let begin = 0;
  for (const { name, dtype, shape, data } of tensors) {
    const end = begin + data.byteLength;
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, end] })}`);
    begin = end;
  }
  const json = new TextEncoder().encode(`{${fields.join(",")}}`);
  const padded = new Uint8Array(Math.ceil(json.length / 8) * 8).fill(0x20);
  padded.set(json);
  if (padded.length > MAX_HEADER_BYTES) {
    throw new RangeError(`tensors: the header takes ${padded.length} bytes, expected at most ${MAX_HEADER_BYTES}.`);
  }
  for (const text of Object.entries(metadata).flat()) checkUnicode(text, "metadata");
  return padded;
}

function checkTensors(tensors: readonly TensorToWrite[]): void {
  const names = new Set<string>();
  for (const { name, dtype, shape, data } of tensors) {
    checkUnicode(name, "name");
    if (name === "__metadata__") throw new RangeError('name: "__metadata__" is not a tensor\'s name in this format.');
    if (names.has(name)) throw new RangeError(`name: ${quote(name)} appears twice.`);
    names.add(name);
    const array = ARRAY_OF_DTYPE[dtype];
    if (!(data instanceof Uint8Array) && data.constructor !== array) {
      const expected = array === undefined ? "Uint8Array" : `${array.name} or Uint8Array`;
      throw new TypeError(`${quote(name)}: expected ${expected} for ${dtype}, got ${data.constructor.name}.`);
    }
    if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) {
      throw new RangeError(`${quote(name)}: expected a shape of whole numbers, got [${shape.join(", ")}].`);
    }
    const expectedBytes = tensorSize(shape, dtype);
    if (expectedBytes !== data.byteLength) {
      const shapeText = `shape [${shape.join(", ")}] in ${dtype}`;
      throw new RangeError(`${quote(name)}: expected ${expectedBytes} bytes for ${shapeText}, got ${data.byteLength}.`);
    }
  }
}

function checkUnicode(text: string, parameter: string): void {
  if (/\p{Surrogate}/u.test(text)) throw new RangeError(`${parameter}: ${quote(text)} is not valid Unicode.`);
}

/** Different names by UTF-16 code units, independently of the locale. */
function compareNames(a: string, b: string): number {
  return a < b ? -1 : 1;
}
