// Writes safetensors files: traces, goldens, quantised weights. The counterpart of safetensors.ts.

import { at, InputError } from "../errors.ts";
import { listOf, objectOf, oneOf, read, recordOf, required, rule, text } from "../options.ts";
import { DTYPES, type Dtype, tensorSize } from "./dtypes.ts";
import { MAX_HEADER_BYTES } from "./safetensors.ts";
import { quote } from "./source.ts";

/** A tensor's entry in the header of a file to write. */
export interface TensorHeader {
  readonly name: string;
  readonly dtype: Dtype;
  /** Row-major, outermost first; `[]` is a scalar. */
  readonly shape: readonly number[];
}

/** A tensor to write. */
export interface TensorToWrite extends TensorHeader {
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

const TENSORS = listOf(
  objectOf<TensorToWrite>("{ name, dtype, shape, data }", {
    name: required(text),
    dtype: required(oneOf(DTYPES)),
    shape: required(
      listOf(
        rule("a number", (value) => typeof value === "number"),
        "a list of sizes",
      ),
    ),
    data: required(rule("a typed array", (value) => ArrayBuffer.isView(value) && !(value instanceof DataView))),
  }),
  "a list of { name, dtype, shape, data }",
);

/**
 * The bytes of a safetensors file that holds `tensors` and `metadata`: the same input gives the same bytes.
 * Tensors are sorted by decreasing alignment, then by name, and the data begins at a multiple of 8 bytes, as in the
 * reference.
 * @throws InputError when a tensor's array does not hold its dtype, a name appears twice, is `__metadata__` or not valid Unicode, or a size does not fit its shape and dtype.
 */
export function encodeSafetensors(
  given: readonly TensorToWrite[],
  givenMetadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  const tensors = read("tensors", given, TENSORS) as readonly TensorToWrite[]; // checked by the rule
  const metadata = read("metadata", givenMetadata, recordOf("an object of texts", text)) as typeof givenMetadata; // as above
  checkHeaders(tensors);
  checkTensors(tensors);
  const { header, positions, fileBytes } = layOutSafetensors(tensors, metadata);
  const file = new Uint8Array(fileBytes);
  file.set(header);
  for (const [index, { data }] of tensors.entries()) {
    file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at(positions, index));
  }
  return file;
}

/** Where everything goes in a file whose tensors are written one by one. */
export interface SafetensorsLayout {
  /** The file's first bytes: the length and the JSON. */
  readonly header: Uint8Array<ArrayBuffer>;
  /** First byte of each tensor, in the order of the arguments. */
  readonly positions: readonly number[];
  readonly fileBytes: number;
}

/**
 * The layout of a safetensors file that holds `tensors` and `metadata`, as {@link encodeSafetensors} writes it.
 * @throws InputError as that.
 */
export function layOutSafetensors(
  tensors: readonly TensorHeader[],
  metadata: Readonly<Record<string, string>> = {},
): SafetensorsLayout {
  checkHeaders(tensors);
  const sorted = [...tensors].sort((a, b) => {
    return DTYPES.indexOf(b.dtype) - DTYPES.indexOf(a.dtype) || compareNames(a.name, b.name);
  });
  // Joined by hand, because an object would sort names that look like numbers first.
  const fields = Object.keys(metadata).length > 0 ? [`"__metadata__":${JSON.stringify(metadata)}`] : [];
  const begins = new Map<string, number>();
  let dataBytes = 0;
  for (const { name, dtype, shape } of sorted) {
    const begin = dataBytes;
    dataBytes += sizeOf({ name, dtype, shape });
    fields.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [begin, dataBytes] })}`);
    begins.set(name, begin);
  }
  const json = new TextEncoder().encode(`{${fields.join(",")}}`);
  const jsonBytes = Math.ceil(json.length / 8) * 8;
  if (jsonBytes > MAX_HEADER_BYTES) {
    throw new InputError(`tensors: the header takes ${jsonBytes} bytes, expected at most ${MAX_HEADER_BYTES}.`);
  }
  for (const text of Object.entries(metadata).flat()) checkUnicode(text, "metadata");
  const header = new Uint8Array(8 + jsonBytes).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(jsonBytes), true);
  header.set(json, 8);
  const positions = tensors.map(({ name }) => header.length + (begins.get(name) ?? Number.NaN));
  return { header, positions, fileBytes: header.length + dataBytes };
}

function checkHeaders(tensors: readonly TensorHeader[]): void {
  const names = new Set<string>();
  for (const tensor of tensors) {
    const { name, shape } = tensor;
    checkUnicode(name, "name");
    if (name === "__metadata__") throw new InputError('name: "__metadata__" is not a tensor\'s name in this format.');
    if (names.has(name)) throw new InputError(`name: ${quote(name)} appears twice.`);
    names.add(name);
    if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) {
      throw new InputError(`${quote(name)}: expected a shape of whole numbers, got [${shape.join(", ")}].`);
    }
  }
}

/** @throws InputError for a shape that has no size in bytes. */
function sizeOf({ name, dtype, shape }: TensorHeader): number {
  const size = tensorSize(shape, dtype);
  if (typeof size === "number") return size;
  throw new InputError(`${quote(name)}: shape [${shape.join(", ")}] in ${dtype} has no size in bytes (${size}).`);
}

function checkTensors(tensors: readonly TensorToWrite[]): void {
  for (const { name, dtype, shape, data } of tensors) {
    const array = ARRAY_OF_DTYPE[dtype];
    if (!(data instanceof Uint8Array) && data.constructor !== array) {
      const expected = array === undefined ? "Uint8Array" : `${array.name} or Uint8Array`;
      throw new InputError(`${quote(name)}: expected ${expected} for ${dtype}, got ${data.constructor.name}.`);
    }
    const expectedBytes = tensorSize(shape, dtype);
    if (expectedBytes !== data.byteLength) {
      const shapeText = `shape [${shape.join(", ")}] in ${dtype}`;
      throw new InputError(`${quote(name)}: expected ${expectedBytes} bytes for ${shapeText}, got ${data.byteLength}.`);
    }
  }
}

function checkUnicode(text: string, parameter: string): void {
  if (/\p{Surrogate}/u.test(text)) throw new InputError(`${parameter}: ${quote(text)} is not valid Unicode.`);
}

/** Different names by UTF-16 code units, independently of the locale. */
function compareNames(a: string, b: string): number {
  return a < b ? -1 : 1;
}
