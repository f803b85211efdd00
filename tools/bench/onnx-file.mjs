// Writes an ONNX model: a graph of nodes, small constants inside the file, weights in one file beside it ("external data").
// The protobuf encoding is written out here: it is thirty lines, and so the exporters and their tests need no package.
// Source: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; https://protobuf.dev/programming-guides/encoding/

import { closeSync, openSync, writeFileSync, writeSync } from "node:fs";
import { basename } from "node:path";

/** TensorProto.DataType of the element types used here. */
export const elementTypes = { f32: 1, u8: 2, i32: 6, i64: 7, f16: 10 };

const operatorSet = 20;
const irVersion = 9;
const microsoft = "com.microsoft";
const microsoftOperators = new Set([
  "GroupQueryAttention",
  "MatMulNBits",
  "MultiHeadAttention",
  "FastGelu",
  "QuickGelu",
  "SkipLayerNormalization",
  "SkipSimplifiedLayerNormalization",
]);
/** Mapped weights start at a page, so that a reader may map them one by one. */
const alignment = 4096;

/** The weights of one or several models, in one file; tensors are appended and stay where they are. */
export class WeightFile {
  #file;
  #length = 0;

  constructor(path) {
    this.path = path;
    this.#file = openSync(path, "w");
  }

  /** Appends `data` (a typed array). Returns the place as the entries of TensorProto.external_data. */
  append(data) {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const offset = Math.ceil(this.#length / alignment) * alignment;
    for (let written = 0; written < bytes.length; ) {
      written += writeSync(this.#file, bytes, written, bytes.length - written, offset + written);
    }
    this.#length = offset + bytes.length;
    return { location: basename(this.path), offset: String(offset), length: String(bytes.length) };
  }

  close() {
    closeSync(this.#file);
  }
}

/** A graph under construction. Names of results are made up; {@link OnnxGraph#node} returns them. */
export class OnnxGraph {
  #nodes = [];
  #initializers = new Map();
  #inputs = [];
  #outputs = [];

  constructor(name) {
    this.name = name;
  }

  /** Declares an input; sizes are numbers or, where they vary, names. Returns its name. */
  input(name, type, shape) {
    this.#inputs.push(valueInfo(name, type, shape));
    return name;
  }

  /** Declares that the value `name` is an output. */
  output(name, type, shape) {
    this.#outputs.push(valueInfo(name, type, shape));
  }

  /** A weight that was appended to a {@link WeightFile}; `place` is what that returned. Returns its name. */
  weight(name, type, { shape, place }) {
    const entries = Object.entries(place).map(([key, value]) =>
      bytesField(13, [stringField(1, key), stringField(2, value)]),
    );
    const external = 1; // DataLocation.EXTERNAL
    const tensor = [shape.map((size) => intField(1, size)), intField(2, elementTypes[type]), stringField(8, name)];
    this.#initializers.set(name, [...tensor, ...entries, intField(14, external)]);
    return name;
  }

  /** A constant inside the model file, a typed array with its shape. Returns its name. */
  constant(name, type, { shape, data }) {
    const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    this.#initializers.set(name, [
      shape.map((size) => intField(1, size)),
      intField(2, elementTypes[type]),
      stringField(8, name),
      bytesField(9, raw),
    ]);
    return name;
  }

  /**
   * Appends a node. `inputs` are names, "" for one left out; attributes are integers as `BigInt` or whole numbers wrapped as
   * `{ int }`, floats as `{ float }`, lists of integers as `{ ints }`. Returns the name of the first result, or of all when
   * `outputs` lists them ("" for one that nobody reads).
   */
  node(type, inputs, { name, attributes = {}, outputs } = {}) {
    const nodeName = name ?? `${type}_${this.#nodes.length}`;
    const results = outputs ?? [`${nodeName}.out`];
    this.#nodes.push([
      inputs.map((input) => stringField(1, input)),
      results.map((result) => stringField(2, result)),
      stringField(3, nodeName),
      stringField(4, type),
      Object.entries(attributes).map(([key, value]) => bytesField(5, attribute(key, value))),
      stringField(7, microsoftOperators.has(type) ? microsoft : ""),
    ]);
    return outputs === undefined ? results[0] : results;
  }

  /** The model as bytes of an .onnx file. */
  encode() {
    const graph = [
      this.#nodes.map((node) => bytesField(1, node)),
      stringField(2, this.name),
      [...this.#initializers.values()].map((tensor) => bytesField(5, tensor)),
      this.#inputs.map((input) => bytesField(11, input)),
      this.#outputs.map((output) => bytesField(12, output)),
    ];
    const operatorSets = [
      ["", operatorSet],
      [microsoft, 1],
    ].map(([domain, version]) => bytesField(8, [stringField(1, domain), intField(2, version)]));
    return concat([intField(1, irVersion), stringField(2, "adaptvis bench"), bytesField(7, graph), ...operatorSets]);
  }

  /** Writes the model file. */
  write(path) {
    writeFileSync(path, this.encode());
  }
}

function valueInfo(name, type, shape) {
  const dimensions = shape.map((size) =>
    bytesField(1, typeof size === "number" ? intField(1, size) : stringField(2, size)),
  );
  const tensorType = [intField(1, elementTypes[type]), bytesField(2, dimensions)];
  return [stringField(1, name), bytesField(2, bytesField(1, tensorType))];
}

function attribute(name, value) {
  if ("float" in value) return [stringField(1, name), floatField(2, value.float), intField(20, 1)];
  if ("ints" in value) return [stringField(1, name), value.ints.map((item) => intField(8, item)), intField(20, 7)];
  return [stringField(1, name), intField(3, value.int), intField(20, 2)];
}

function intField(number, value) {
  return concat([varint(number << 3), varint(value)]);
}

function floatField(number, value) {
  return concat([varint((number << 3) | 5), new Uint8Array(Float32Array.of(value).buffer)]);
}

function stringField(number, text) {
  return bytesField(number, new TextEncoder().encode(text));
}

/** A field with a length: bytes, or the fields of a message. */
function bytesField(number, content) {
  const bytes = concat([content]);
  return concat([varint((number << 3) | 2), varint(bytes.length), bytes]);
}

/** Little-endian groups of seven bits; a negative number as 64-bit two's complement. */
function varint(value) {
  const bytes = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  return Uint8Array.from([...bytes, Number(rest)]);
}

function concat(parts) {
  const flat = parts.flat(Number.POSITIVE_INFINITY);
  if (flat.length === 1) return flat[0];
  const bytes = new Uint8Array(flat.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of flat) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}
