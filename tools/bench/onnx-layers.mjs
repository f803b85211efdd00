// What the ONNX decoder and vision tower share: a model's graphs over one weight file, linear layers, activations.

import { join } from "node:path";
import { OnnxGraph, WeightFile } from "./onnx-file.mjs";
import { groupSize, packMatMulNBits, roundedToSteps, weightBits } from "./quantized-blocks.mjs";

/**
 * MatMulNBits may round activations to 8 bits, as llama.cpp does. On a CPU (2 cores of a shared Xeon, AVX-512) the provider decoded
 * 24 tokens of a 110 M model a second in q8 with it and 2.3 without; q4's prefill took three quarters of the time. WebAssembly
 * computes in f32 either way.
 */
const ACCURACY_LEVEL = 4;

/** Activations' element type and weights' form, by dtype. Of q8 and q4 only the linear layers' matrices are quantised. */
export const forms = {
  f32: { activations: "f32", weights: "f32" },
  f16: { activations: "f16", weights: "f16" },
  q8: { activations: "f32", weights: "q8" },
  q8f16: { activations: "f16", weights: "q8" },
  q4: { activations: "f32", weights: "q4" },
  q4f16: { activations: "f16", weights: "q4" },
};

/** The dtype for a CPU, which computes in f32, where one with f16 activations is wanted. */
export function onCpu(dtype) {
  return dtype === "f16" ? "f32" : dtype.replace(/f16$/, "");
}

/**
 * Forms of attention. "fused" lets the WebGPU provider take its flash attention for 32 rows or more, which is right only where a
 * subgroup has as many invocations as its shader takes keys at a time; "exact" is built so that it takes its other path.
 */
export const attentionForms = ["fused", "exact"];

/** Graphs that share weights: each weight is read from the checkpoint and written to one file, `weights.bin` unless named, once. */
export class OnnxExport {
  #places = new Map();

  constructor(folder, { weights, dtype, weightFile = "weights.bin" }) {
    this.folder = folder;
    this.weights = weights;
    this.form = forms[dtype];
    /** Bits of a quantised weight, undefined otherwise. */
    this.bits = weightBits[this.form.weights];
    this.file = new WeightFile(join(folder, weightFile));
  }

  graph(name) {
    return new GraphWriter(new OnnxGraph(name), this);
  }

  /** Appends what `make()` returns under `name` once; returns its place and shape. */
  async place(name, make) {
    const known = this.#places.get(name);
    if (known !== undefined) return known;
    const { data, shape } = await make();
    const placed = { place: this.file.append(data), shape };
    this.#places.set(name, placed);
    return placed;
  }

  close() {
    this.file.close();
  }
}

class GraphWriter {
  constructor(graph, owner) {
    this.graph = graph;
    this.owner = owner;
    /** Element type of activations. */
    this.type = owner.form.activations;
  }

  /** `data` (f32) as the activations' type. */
  cast(data) {
    return this.type === "f16" ? this.owner.weights.toF16(data) : data;
  }

  /** A tensor of the checkpoint as it is, in the activations' type; `shape` reshapes it. */
  async tensor(name, shape) {
    const placed = await this.owner.place(name, async () => {
      const tensor = await this.owner.weights.read(name);
      return { data: this.cast(tensor.data), shape: tensor.shape };
    });
    return this.graph.weight(name, this.type, { shape: shape ?? placed.shape, place: placed.place });
  }

  /** The table of embeddings: where it is the lm_head too, with the values that are left of it there. */
  async table(name, { isTied }) {
    const { bits } = this.owner;
    if (!isTied || bits === undefined) return this.tensor(name);
    const label = `${name}.rounded`;
    const { place, shape } = await this.owner.place(label, async () => {
      const tensor = await this.owner.weights.read(name);
      return { data: this.cast(roundedToSteps(tensor.data, tensor.shape, bits)), shape: tensor.shape };
    });
    return this.graph.weight(label, this.type, { shape, place });
  }

  /** A small f32 constant in the activations' type. */
  constant(name, { shape, data }) {
    return this.graph.constant(name, this.type, { shape, data: this.cast(data) });
  }

  integers(name, values, shape = [values.length]) {
    return this.graph.constant(name, "i64", { shape, data: BigInt64Array.from(values, BigInt) });
  }

  node(type, inputs, options) {
    return this.graph.node(type, inputs, options);
  }

  /**
   * A linear layer: the rows of the matrices `names` (each [N, K] in the checkpoint) one below the other, times `input` [.., K].
   * Biases are added where the checkpoint has them and `bias` is not false.
   */
  async linear(input, names, { bias = true } = {}) {
    const label = names.length === 1 ? names[0] : `${names[0]}+${names.length - 1}`;
    const product =
      this.owner.bits !== undefined
        ? await this.#matMulNBits(input, names, label)
        : await this.#matMul(input, names, label);
    const biases = names.map((name) => name.replace(/weight$/, "bias")).filter((name) => this.owner.weights.has(name));
    if (!bias || biases.length === 0) return product;
    return this.node("Add", [product, await this.vectors(biases)], { name: `${label}.add` });
  }

  /** Vectors of the checkpoint one after the other, as one. */
  async vectors(names) {
    const label = names.length === 1 ? names[0] : `${names[0]}+${names.length - 1}`;
    const { place, shape } = await this.owner.place(label, async () => {
      const { data } = await this.#stacked(names);
      return { data: this.cast(data), shape: [data.length] };
    });
    return this.graph.weight(label, this.type, { shape, place });
  }

  async #stacked(names) {
    const tensors = [];
    for (const name of names) tensors.push(await this.owner.weights.read(name));
    if (tensors.length === 1) return tensors[0];
    const data = new Float32Array(tensors.reduce((sum, tensor) => sum + tensor.data.length, 0));
    let offset = 0;
    for (const tensor of tensors) {
      data.set(tensor.data, offset);
      offset += tensor.data.length;
    }
    const numRows = tensors.reduce((sum, { shape }) => sum + shape[0], 0);
    return { data, shape: [numRows, ...tensors[0].shape.slice(1)] };
  }

  async #matMul(input, names, label) {
    const transposed = `${label}.transposed`;
    const { place, shape } = await this.owner.place(transposed, async () => {
      const { data, shape } = await this.#stacked(names);
      const columns = data.length / shape[0];
      return { data: this.cast(transpose(data, shape[0], columns)), shape: [columns, shape[0]] };
    });
    const matrix = this.graph.weight(transposed, this.type, { shape, place });
    return this.node("MatMul", [input, matrix], { name: `${label}.matmul` });
  }

  async #matMulNBits(input, names, label) {
    const { bits } = this.owner;
    let quantized;
    const pack = async () => {
      if (quantized === undefined) {
        const { data, shape } = await this.#stacked(names);
        const columns = data.length / shape[0];
        quantized = { rows: shape[0], columns, ...packMatMulNBits(data, [shape[0], columns], bits) };
      }
      return quantized;
    };
    const codes = await this.owner.place(`${label}.q${bits}`, async () => {
      const { packed, rows, columns, groups } = await pack();
      return { data: packed, shape: [rows, groups, (groupSize * bits) / 8, columns] };
    });
    const [rows, groups, groupBytes, columns] = codes.shape;
    const scales = await this.owner.place(`${label}.scales`, async () => {
      return { data: this.cast((await pack()).scales), shape: [rows * groups] };
    });
    const inputs = [
      input,
      this.graph.weight(`${label}.q${bits}`, "u8", { shape: [rows, groups, groupBytes], place: codes.place }),
      this.graph.weight(`${label}.scales`, this.type, { shape: scales.shape, place: scales.place }),
    ];
    const attributes = {
      K: { int: columns },
      N: { int: rows },
      bits: { int: bits },
      block_size: { int: groupSize },
      accuracy_level: { int: ACCURACY_LEVEL },
    };
    return this.node("MatMulNBits", inputs, { name: `${label}.matmul`, attributes });
  }

  /** An activation by the name that the engine's config gives it. */
  activation(name, input, label) {
    switch (name) {
      case "silu":
        return this.node("Mul", [input, this.node("Sigmoid", [input], { name: `${label}.sigmoid` })], {
          name: `${label}.silu`,
        });
      case "quick_gelu":
        return this.node("QuickGelu", [input], {
          name: `${label}.quick_gelu`,
          attributes: { alpha: { float: 1.702 } },
        });
      case "gelu":
        return this.node("Gelu", [input], { name: `${label}.gelu` });
      case "gelu_pytorch_tanh":
        return this.node("FastGelu", [input], { name: `${label}.fast_gelu` });
      case "relu":
        return this.node("Relu", [input], { name: `${label}.relu` });
      default:
        throw new Error(`No ONNX form is written for the activation ${name}.`);
    }
  }

  write(path) {
    this.graph.write(path);
  }
}

function transpose(data, rows, columns) {
  const result = new Float32Array(data.length);
  const tile = 32; // both sides stay in the cache
  for (let rowStart = 0; rowStart < rows; rowStart += tile) {
    const rowEnd = Math.min(rowStart + tile, rows);
    for (let columnStart = 0; columnStart < columns; columnStart += tile) {
      const columnEnd = Math.min(columnStart + tile, columns);
      for (let row = rowStart; row < rowEnd; row++) {
        for (let column = columnStart; column < columnEnd; column++) {
          result[column * rows + row] = data[row * columns + column];
        }
      }
    }
  }
  return result;
}
