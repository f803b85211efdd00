// Attention of the rows of a batch, which are all at one position: of every row, layer and head, as a decode step uses it.
import { GPU_STORAGE, type Gpu } from "../gpu/device.ts";
import type { AttentionCapture } from "../gpu/ops/attention.ts";
import type { TextConfig } from "../models/config.ts";
import type { PlaceRequests, PlaceVisitor } from "../models/layers/places.ts";
import type { AttentionProbs } from "./attention-map.ts";

/** Captures the attention of one batched decode step; to be disposed of. */
export class RowAttention implements PlaceRequests {
  private readonly gpu: Gpu;
  private readonly text: TextConfig;
  private readonly size: { readonly numRows: number; readonly numKeys: number };
  /** By layer, [rows, H, S] f32 each. */
  private readonly layers = new Map<number, { readonly scores: GPUBuffer; readonly probs: GPUBuffer }>();

  /** @param size rows of the batch, keys that each of them sees, and the layers to capture: all unless given */
  constructor(
    gpu: Gpu,
    text: TextConfig,
    size: { readonly numRows: number; readonly numKeys: number; readonly layers?: readonly number[] | undefined },
  ) {
    this.gpu = gpu;
    this.text = text;
    this.size = size;
    const bytes = size.numRows * text.numAttentionHeads * size.numKeys * 4;
    for (const layer of size.layers ?? Array.from({ length: text.numHiddenLayers }, (_, each) => each)) {
      const buffer = (kind: string) => gpu.createBuffer(`rows of layers.${layer} ${kind}`, bytes, GPU_STORAGE);
      this.layers.set(layer, { scores: buffer("scores"), probs: buffer("probs") });
    }
  }

  /** A step is never divided. */
  chunkEnd(_first: number, end: number): number {
    return end;
  }

  /** Captures every row. */
  visitor(): PlaceVisitor {
    return { visit: () => {}, attention: (layer) => this.capture(layer) };
  }

  /** For each row, its attention in every layer. */
  async read(): Promise<readonly (readonly AttentionProbs[])[]> {
    const { numRows, numKeys } = this.size;
    const rowLength = this.text.numAttentionHeads * numKeys;
    const numBytes = numRows * rowLength * 4;
    const all = await Promise.all(
      [...this.layers].map(async ([layer, { scores, probs }]) => ({
        layer,
        scores: await this.gpu.readBuffer(scores, numBytes),
        probs: await this.gpu.readBuffer(probs, numBytes),
      })),
    );
    return Array.from({ length: numRows }, (_, row) => {
      const part = (bytes: ArrayBuffer) => new Float32Array(bytes, row * rowLength * 4, rowLength);
      return all.map(({ layer, scores, probs }) => ({ layer, scores: part(scores), probs: part(probs) }));
    });
  }

  /** Frees the buffers. */
  dispose(): void {
    for (const { scores, probs } of this.layers.values()) {
      for (const buffer of [scores, probs]) this.gpu.destroyBuffer(buffer);
    }
    this.layers.clear();
  }

  private capture(layer: number): AttentionCapture | undefined {
    const buffers = this.layers.get(layer);
    return buffers && { ...buffers, rows: [0, this.size.numRows], stride: this.size.numKeys };
  }
}
