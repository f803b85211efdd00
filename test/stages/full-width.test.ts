// Layers of LLaVA-1.5-7B's full width, with random weights: a decoder layer and a vision layer against their formulas in f64, and an
// answer of the decoder layer in q4.
import { afterEach, expect, test, vi } from "vitest";
import { LLAVA_7B_FULL } from "../../src/bench/model-cases.ts";
import { seededPixels, textIds, withEncoder } from "../../src/bench/models.ts";
import { randomSource } from "../../src/bench/random-source.ts";
import { CLIP_B, TINY_SPATIAL } from "../../src/bench/shapes.ts";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoint/checkpoint.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { SubmitExecutor } from "../../src/gpu/executor.ts";
import type { WeightDtype } from "../../src/gpu/tensor.ts";
import { Places } from "../../src/inspect/places.ts";
import { Llava } from "../../src/llava.ts";
import { readArchitecture } from "../../src/models/registry.ts";
import { layerNorm } from "../reference/layer-norm.ts";
import { rmsNorm } from "../reference/rms-norm.ts";
import { at } from "../reference/rows.ts";
import { widen } from "../reference/weight-formats.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { openTestDevice } from "../setup/device.ts";
import { expectClose } from "../setup/expect-close.ts";

const { decoder, vision } = LLAVA_7B_FULL;
const tokenizer = fileSource("weights/tiny-spatial");
/** A decoder layer, with a small vision tower. */
const decoderSource = () => {
  const spec = {
    ...LLAVA_7B_FULL,
    decoder: { ...decoder, numHiddenLayers: 1, vocabSize: 512 },
    vision: { ...CLIP_B, numHiddenLayers: 2, hiddenSize: 64, intermediateSize: 64, numAttentionHeads: 2 },
  };
  return randomSource(spec, tokenizer);
};
/** Two vision layers, of which the second does not run, with a small decoder. */
const visionSource = () => {
  const small = { ...TINY_SPATIAL, vocabSize: 512 };
  return randomSource({ ...LLAVA_7B_FULL, decoder: small, vision: { ...vision, numHiddenLayers: 2 } }, tokenizer);
};

/** Every f16. */
const NUMBERS = Float64Array.from({ length: 2 ** 16 }, (_, bits) => widen(bits, "f16"));

vi.setConfig({ testTimeout: 600_000 }); // seconds, but of both cores

let checkpoint: Checkpoint;

afterEach(() => checkpoint.close());

async function vectorOf(name: string): Promise<Float64Array> {
  const bytes = await checkpoint.read(name);
  return Float64Array.from(new Uint16Array(bytes.buffer), (bits) => at(NUMBERS, bits));
}

// In functions of their own, which V8 compiles well; indices are within bounds by the loops: `at` would take most of the time of two
// billion products.

/** One row of f16s as f64s. */
function widenRow(row: Float64Array, halves: Uint16Array, start: number): void {
  for (let k = 0; k < row.length; k++) row[k] = NUMBERS[halves[start + k] as number] as number;
}

/** Four sums, so that no addition waits for the one before; the length is a multiple of four. */
function dot(input: Float64Array, start: number, weights: Float64Array): number {
  let [sum0, sum1, sum2, sum3] = [0, 0, 0, 0];
  for (let k = 0, i = start; k < weights.length; k += 4, i += 4) {
    sum0 += (input[i] as number) * (weights[k] as number);
    sum1 += (input[i + 1] as number) * (weights[k + 1] as number);
    sum2 += (input[i + 2] as number) * (weights[k + 2] as number);
    sum3 += (input[i + 3] as number) * (weights[k + 3] as number);
  }
  return sum0 + sum1 + (sum2 + sum3);
}

/** input · weightᵀ (+ bias) in f64, [rows, N] of [rows, K]; the weight [N, K] is read some rows at a time. */
async function linear(name: string, input: Float64Array, { hasBias }: { readonly hasBias: boolean }) {
  const [numOutputs = 0, columns = 0] = checkpoint.tensors.get(`${name}.weight`)?.entry.shape ?? [];
  const bias = hasBias ? await vectorOf(`${name}.bias`) : new Float64Array(numOutputs);
  const numRows = input.length / columns;
  const output = new Float64Array(numRows * numOutputs);
  const weights = new Float64Array(columns);
  const chunkRows = 256;
  for (let first = 0; first < numOutputs; first += chunkRows) {
    const end = Math.min(numOutputs, first + chunkRows);
    const bytes = await checkpoint.read(`${name}.weight`, { start: first * columns * 2, end: end * columns * 2 });
    const halves = new Uint16Array(bytes.buffer);
    for (let out = first; out < end; out++) {
      widenRow(weights, halves, (out - first) * columns);
      for (let row = 0; row < numRows; row++) {
        output[row * numOutputs + out] = at(bias, out) + dot(input, row * columns, weights);
      }
    }
  }
  return output;
}

function plus(left: Float64Array, right: Float64Array): Float64Array {
  return left.map((value, index) => value + at(right, index));
}

/** Softmax attention of row `query` [H · size] over the first `numKeys` rows of keys and values [rows, H · size]. */
function attend(
  query: Float64Array,
  { keys, values, numKeys }: { readonly keys: Float64Array; readonly values: Float64Array; readonly numKeys: number },
  size: number,
): Float64Array {
  const width = query.length;
  const output = new Float64Array(width);
  for (let start = 0; start < width; start += size) {
    const scores = Array.from({ length: numKeys }, (_, key) => {
      let sum = 0;
      for (let i = start; i < start + size; i++) sum += at(query, i) * at(keys, key * width + i);
      return sum / Math.sqrt(size);
    });
    const most = Math.max(...scores);
    const powers = scores.map((score) => Math.exp(score - most));
    const total = powers.reduce((sum, power) => sum + power, 0);
    for (const [key, power] of powers.entries()) {
      for (let i = start; i < start + size; i++) {
        output[i] = at(output, i) + (power / total) * at(values, key * width + i);
      }
    }
  }
  return output;
}

/** Rotates each head of each row by its position; as modeling_llama.py apply_rotary_pos_emb, theta 10,000. */
function rotated(rows: Float64Array, width: number, size: number): Float64Array {
  return rows.map((value, index) => {
    const [position, i] = [Math.floor(index / width), index % size];
    const angle = position * 10_000 ** ((-2 * (i % (size / 2))) / size);
    const other = i < size / 2 ? -at(rows, index + size / 2) : at(rows, index - size / 2);
    return value * Math.cos(angle) + other * Math.sin(angle);
  });
}

function rowsOf(values: Float64Array, width: number, rows: readonly number[]): Float64Array {
  return Float64Array.from(rows.flatMap((row) => [...values.subarray(row * width, (row + 1) * width)]));
}

/** Compares rows of hidden states; errors are relative to the root mean square of the row. */
function expectRows(actual: ArrayLike<number>, expected: Float64Array, width: number): void {
  const magnitudes = new Float64Array(expected.length);
  for (let start = 0; start < expected.length; start += width) {
    magnitudes.fill(Math.hypot(...expected.subarray(start, start + width)) / Math.sqrt(width), start, start + width);
  }
  expectClose(actual, expected, BOUNDS.fullWidthLayer, { shape: [expected.length / width, width], magnitudes });
}

const POSITIONS = [0, 1, 2];

/** Answers a prompt of three tokens, and hands over hidden states before and after the layer. */
async function answerOf(dtype: WeightDtype | undefined) {
  const { device, isSoftware } = await openTestDevice();
  const model = await Llava.load(decoderSource(), { device, adapterClass: isSoftware ? "cpu" : "gpu", dtype });
  try {
    const places = ["inputs_embeds", "layers.0.hidden_states"];
    const inputs = model.processor.fromTensors({ inputIds: textIds(POSITIONS.length, 1), pixelValues: undefined });
    const read = places.map((place) => ({ place, positions: POSITIONS }));
    const answer = await model.answer(inputs, { maxNewTokens: 3, ignoreEos: true, read });
    const [embeds, after] = answer.reads.map(({ data }) => Float64Array.from(data));
    if (embeds === undefined || after === undefined) throw new Error("a read is missing");
    return { answer, embeds, after };
  } finally {
    model.dispose();
  }
}

test("a decoder layer of 4096 and 11008, 32 heads of 128; and in q4, which differs by q4's error", async () => {
  checkpoint = await openCheckpoint(decoderSource());
  const { embeds, after: hidden } = await answerOf(undefined);
  const { hiddenSize: width, headDim } = decoder;
  const name = "language_model.model.layers.0";
  const plain = { hasBias: false };
  const norm = async (input: Float64Array, which: string) =>
    rmsNorm(input, await vectorOf(`${name}.${which}.weight`), { eps: 1e-5 });
  const normed = await norm(embeds, "input_layernorm");
  const projection = (which: string) => linear(`${name}.self_attn.${which}`, normed, plain);
  const queries = rotated(await projection("q_proj"), width, headDim);
  const keys = rotated(await projection("k_proj"), width, headDim);
  const values = await projection("v_proj");
  const attention = POSITIONS.flatMap((row) => {
    return [...attend(rowsOf(queries, width, [row]), { keys, values, numKeys: row + 1 }, headDim)];
  });
  const after = plus(embeds, await linear(`${name}.self_attn.o_proj`, Float64Array.from(attention), plain));
  const inner = await norm(after, "post_attention_layernorm");
  const gate = await linear(`${name}.mlp.gate_proj`, inner, plain);
  const up = await linear(`${name}.mlp.up_proj`, inner, plain);
  const gated = gate.map((x, index) => (x / (1 + Math.exp(-x))) * at(up, index));
  expectRows(hidden, plus(after, await linear(`${name}.mlp.down_proj`, gated, plain)), width);

  const quantized = await answerOf("q4");
  expect(quantized.embeds).toEqual(embeds); // the table is as in the file
  expect(quantized.answer.tokens).toHaveLength(3);
  for (const { logProb } of quantized.answer.tokens) expect(logProb).toBeLessThan(0);
  // A weight's error is uniform within half a step, an eighth of the largest of its group, which is near √3 σ: 0.06 σ. Some seven
  // products follow one another.
  const difference = quantized.after.map((value, index) => value - at(hidden, index));
  const error = Math.hypot(...difference) / Math.hypot(...hidden);
  expect(error).toBeGreaterThan(0.02);
  expect(error).toBeLessThan(0.3);
});

test("a vision layer of 1024 and 4096, 16 heads of 64, over 577 positions", async () => {
  checkpoint = await openCheckpoint(visionSource());
  const { device, isSoftware } = await openTestDevice();
  const { text } = readArchitecture(checkpoint.config).config;
  const names = ["vision.hidden_states.0", "vision.hidden_states.1"] as const;
  const run = { device, isSoftware, open: visionSource };
  const [before, after] = await withEncoder(run, async (gpu, { encoder, numPixels }) => {
    const places = new Places(gpu, text, {
      reads: names.map((place) => ({ place })),
      promptLength: 1,
      maxPositions: 1,
    });
    const visitor = () => places.visionVisitor(0);
    const features = await encoder.encode(seededPixels(numPixels), { executor: new SubmitExecutor(gpu), visitor });
    gpu.destroyBuffer(features);
    const read = async (place: string) => Float64Array.from((await places.values({ place })).data);
    const both = [await read(names[0]), await read(names[1])] as const;
    places.dispose();
    return both;
  });
  const width = vision.hiddenSize;
  expect([before.length, after.length]).toEqual([577 * width, 577 * width]);
  const name = "vision_tower.vision_model.encoder.layers.0";
  const biased = { hasBias: true };
  const norm = async (input: Float64Array, which: string) => {
    const bias = await vectorOf(`${name}.${which}.bias`);
    return Float64Array.from(layerNorm(input, await vectorOf(`${name}.${which}.weight`), { bias, eps: 1e-5 }).values);
  };
  const rows = [0, 288, 576];
  const normed = await norm(before, "layer_norm1");
  const keys = await linear(`${name}.self_attn.k_proj`, normed, biased);
  const values = await linear(`${name}.self_attn.v_proj`, normed, biased);
  const queries = await linear(`${name}.self_attn.q_proj`, rowsOf(normed, width, rows), biased);
  const attention = rows.flatMap((_, index) => {
    return [...attend(rowsOf(queries, width, [index]), { keys, values, numKeys: 577 }, 64)];
  });
  const attended = await linear(`${name}.self_attn.out_proj`, Float64Array.from(attention), biased);
  const middle = plus(rowsOf(before, width, rows), attended);
  const inner = await linear(`${name}.mlp.fc1`, await norm(middle, "layer_norm2"), biased);
  const activated = inner.map((x) => x / (1 + Math.exp(-1.702 * x))); // quick_gelu
  expectRows(rowsOf(after, width, rows), plus(middle, await linear(`${name}.mlp.fc2`, activated, biased)), width);
});
