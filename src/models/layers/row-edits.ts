// What a forward call dispatches more where its score edits have row strengths: loaded only for these.
import type { Gpu } from "../../gpu/device.ts";
import { GPU_STORAGE } from "../../gpu/device.ts";
import { type RowStrengthsCall, rowStrengths, sinkActivations } from "../../gpu/ops/row-strengths.ts";
import type { Program } from "../../gpu/program.ts";
import type { TextConfig } from "../config.ts";
import type { RowStrengthNeeds } from "./score-edits.ts";

/** The rows that enter a layer. */
export interface LayerInput {
  /** [R, D] f32 */
  readonly hiddenStates: GPUBuffer;
  readonly step: GPUBuffer;
  /** Packed edits, u32 */
  readonly edits: GPUBuffer;
  readonly numRows: number;
  readonly layer: number;
}

/** The attention of a layer's rows. */
export interface AttentionRows extends Omit<RowStrengthsCall, "sinkActivations" | "rows"> {
  readonly firstSlot: number | undefined;
}

/** Records what a layer's attention needs before it. */
export class RowEdits {
  private readonly sinks: (NonNullable<RowStrengthNeeds["sinks"]> & { readonly held: HeldActivations }) | undefined;
  private readonly text: TextConfig;
  private readonly rows: readonly [start: number, end: number];

  constructor(text: TextConfig, { sinks, rows }: RowStrengthNeeds, held: HeldActivations | undefined) {
    this.text = text;
    this.rows = rows;
    this.sinks = sinks && held && { ...sinks, held };
  }

  /** Whether some edits redistribute what attention sinks get. */
  get hasSinks(): boolean {
    return this.sinks !== undefined;
  }

  /** Records how strongly the rows that enter a layer are sinks; only for prompt rows, because no generated one counts as a sink. */
  layerInput(program: Program, { hiddenStates, ...input }: LayerInput): void {
    if (this.sinks === undefined) return;
    const { dimensionsStart, dimensions, held } = this.sinks;
    const place = program.at(`layers.${input.layer}.sinks`, "how strongly each position is an attention sink");
    sinkActivations(place, {
      ...input,
      input: hiddenStates,
      output: held.buffer,
      columns: this.text.hiddenSize,
      capacity: held.capacity,
      dimensionsStart,
      numDimensions: dimensions.length,
    });
  }

  /**
   * Records the strengths of the edits for each row of the attention that follows.
   * @param call.firstSlot of rows of one sequence: those outside of the edits' rows are left out
   */
  attention(program: Program, gpu: Gpu, { firstSlot, ...call }: AttentionRows): void {
    const what = "strengths of the score edits, from the row's own scores";
    const place = program.at(`layers.${call.edits.layer}.self_attn.row_strengths`, what);
    const within = (slot: number) => Math.min(Math.max(slot - (firstSlot ?? 0), 0), call.numRows);
    const rows = firstSlot === undefined ? undefined : ([within(this.rows[0]), within(this.rows[1])] as const);
    rowStrengths(place, gpu, { ...call, rows, sinkActivations: this.sinks?.held.buffer });
  }
}

type HeldActivations = Pick<SinkActivations, "buffer" | "capacity">;

/** Row edits whose programs are recorded for their pipelines alone, with `buffer` in place of what they bind beside the decoder's. */
export function placeholderRowEdits(text: TextConfig, hasSinks: boolean, buffer: GPUBuffer): RowEdits {
  const sinks = hasSinks ? { dimensionsStart: 0, dimensions: Uint32Array.of(0) } : undefined;
  return new RowEdits(text, { wordsPerRow: 0, rows: [0, 1], sinks }, sinks && { buffer, capacity: 1 });
}

/** How strongly the positions of one sequence are attention sinks, in some dimensions of the hidden states. */
export class SinkActivations {
  /** [layers, capacity] f32 */
  readonly buffer: GPUBuffer;
  readonly capacity: number;
  readonly dimensions: Uint32Array;
  /** Number of first positions whose activations are those of the keys and values in the cache. */
  numPositions = 0;

  /** @throws GpuError `limit`. */
  constructor(gpu: Gpu, text: TextConfig, size: Pick<SinkActivations, "capacity" | "dimensions">) {
    this.capacity = size.capacity;
    this.dimensions = size.dimensions;
    this.buffer = gpu.createBuffer("sink activations", text.numHiddenLayers * size.capacity * 4, GPU_STORAGE);
  }

  /** Whether they are those of these dimensions in a cache of this capacity. */
  fits({ capacity, dimensions }: Pick<SinkActivations, "capacity" | "dimensions">): boolean {
    return capacity === this.capacity && dimensions.join() === this.dimensions.join();
  }
}
