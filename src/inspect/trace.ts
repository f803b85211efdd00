// Named trace points, captured by the fast kernels themselves; off by default and then free.
import { GPU_STORAGE, type Gpu } from "../gpu/device.ts";
import { padTo4 } from "../gpu/tensor.ts";
import type { ModelConfig } from "../models/config.ts";
import type { LayerCapture } from "../models/layers/decoder.ts";
import type { VisionCapture } from "../models/layers/picture-encoder.ts";

/** A captured tensor: row-major values with the shape that the README's table of trace points gives. */
export interface TraceTensor {
  readonly name: string;
  readonly dtype: "F32" | "I32";
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;
}

/** Attention of the last prompt row in one layer. */
export interface AttentionRow {
  readonly layer: number;
  /** [H, S] before the factor and before softmax */
  readonly scores: Float32Array<ArrayBuffer>;
  /** [H, S] as used, after the factor */
  readonly probs: Float32Array<ArrayBuffer>;
}

/** Buffers that one run's trace points are copied to. */
export class TraceRecorder {
  private readonly gpu: Gpu;
  private readonly config: ModelConfig;
  private readonly numKeys: number;
  private readonly visionBuffers: { readonly layer: number; readonly tile: number; readonly buffer: GPUBuffer }[] = [];
  private readonly withVision: boolean;
  /** Where the decoder leaves the last prompt row's attention and hidden states. */
  readonly layers: LayerCapture;

  /** @param numKeys positions that the last prompt row sees: the prompt's length */
  constructor(gpu: Gpu, config: ModelConfig, options: { readonly numKeys: number; readonly withVision: boolean }) {
    this.gpu = gpu;
    this.config = config;
    this.numKeys = options.numKeys;
    this.withVision = options.withVision;
    const { numHiddenLayers, numAttentionHeads, hiddenSize } = config.text;
    const perLayer = (label: string, count: number) =>
      Array.from({ length: numHiddenLayers }, (_, layer) =>
        gpu.createBuffer(`trace layers.${layer} ${label}`, count * 4, GPU_STORAGE),
      );
    this.layers = {
      row: 0,
      stride: options.numKeys,
      scores: perLayer("scores", numAttentionHeads * options.numKeys),
      probs: perLayer("probs", numAttentionHeads * options.numKeys),
      hiddenStates: perLayer("hidden", padTo4(hiddenSize)),
    };
  }

  /** Copies the vision tower's hidden states as they come; undefined when they are not wanted. */
  get visionCapture(): VisionCapture | undefined {
    if (!this.withVision) return undefined;
    return (program, { tile, layer, state }) => {
      const { size } = state.hiddenStates;
      const buffer = this.gpu.createBuffer(`trace vision.hidden_states.${layer}`, size, GPU_STORAGE);
      this.visionBuffers.push({ layer, tile, buffer });
      program.copy(state.hiddenStates, buffer, { size });
    };
  }

  /** The last prompt row's attention, layer by layer. */
  async attention(): Promise<AttentionRow[]> {
    const { scores, probs } = this.layers;
    const rows: AttentionRow[] = [];
    for (const [layer, buffer] of scores.entries()) {
      const probsBuffer = probs[layer];
      if (probsBuffer === undefined) continue;
      rows.push({ layer, scores: await this.readHeads(buffer), probs: await this.readHeads(probsBuffer) });
    }
    return rows;
  }

  /** vision.hidden_states.{i}: [P + 1, Dv], or [N, P + 1, Dv] for several tiles. */
  async visionTensors(): Promise<TraceTensor[]> {
    const vision = this.config.multimodal?.vision;
    if (vision === undefined) return [];
    const numTiles = Math.max(0, ...this.visionBuffers.map(({ tile }) => tile + 1));
    const rows = vision.numPatches + 1;
    const { hiddenSize } = vision;
    const tensors: TraceTensor[] = [];
    const layers = [...new Set(this.visionBuffers.map(({ layer }) => layer))].sort((a, b) => a - b);
    for (const layer of layers) {
      const data = new Float32Array(numTiles * rows * hiddenSize);
      for (const { tile, buffer } of this.visionBuffers.filter((entry) => entry.layer === layer)) {
        data.set(await readRows(this.gpu, buffer, { numRows: rows, columns: hiddenSize }), tile * rows * hiddenSize);
      }
      const shape = numTiles === 1 ? [rows, hiddenSize] : [numTiles, rows, hiddenSize];
      tensors.push({ name: `vision.hidden_states.${layer}`, dtype: "F32", shape, data });
    }
    return tensors;
  }

  /** layers.{i}.attention_scores, layers.{i}.attention_probs and layers.{i}.hidden_states. */
  async layerTensors(): Promise<TraceTensor[]> {
    const { hiddenSize, numAttentionHeads } = this.config.text;
    const shape = [numAttentionHeads, this.numKeys];
    const tensors: TraceTensor[] = [];
    for (const { layer, scores, probs } of await this.attention()) {
      const name = `layers.${layer}`;
      tensors.push({ name: `${name}.attention_scores`, dtype: "F32", shape, data: scores });
      tensors.push({ name: `${name}.attention_probs`, dtype: "F32", shape, data: probs });
      const hidden = this.layers.hiddenStates[layer];
      if (hidden === undefined) continue;
      const data = await readRows(this.gpu, hidden, { numRows: 1, columns: hiddenSize });
      tensors.push({ name: `${name}.hidden_states`, dtype: "F32", shape: [hiddenSize], data });
    }
    return tensors;
  }

  /** Frees the buffers. */
  dispose(): void {
    const { scores, probs, hiddenStates } = this.layers;
    for (const buffer of [...scores, ...probs, ...hiddenStates]) this.gpu.destroyBuffer(buffer);
    for (const { buffer } of this.visionBuffers) this.gpu.destroyBuffer(buffer);
  }

  private async readHeads(buffer: GPUBuffer): Promise<Float32Array<ArrayBuffer>> {
    return new Float32Array(await this.gpu.readBuffer(buffer, this.config.text.numAttentionHeads * this.numKeys * 4));
  }
}

/** Reads rows of `columns` real values from a buffer whose rows are padded to a multiple of 4. */
export async function readRows(
  gpu: Gpu,
  buffer: GPUBuffer,
  shape: { readonly numRows: number; readonly columns: number },
): Promise<Float32Array<ArrayBuffer>> {
  const { numRows, columns } = shape;
  const stride = padTo4(columns);
  const padded = new Float32Array(await gpu.readBuffer(buffer, numRows * stride * 4));
  if (stride === columns) return padded;
  const data = new Float32Array(numRows * columns);
  for (let row = 0; row < numRows; row++)
    data.set(padded.subarray(row * stride, row * stride + columns), row * columns);
  return data;
}
