// What all sequences of one model share: weights, sizes and the scratch buffers of a forward call.
import { InputError } from "../errors.ts";
import type { CacheDtype } from "../gpu/cache-format.ts";
import { GPU_STORAGE, type Gpu } from "../gpu/device.ts";
import type { ActivationDtype } from "../gpu/tensor.ts";
import type { TextConfig } from "../models/config.ts";
import type { Decoder } from "../models/layers/decoder.ts";
import {
  createScratch,
  type DecoderScratch,
  destroyScratch,
  MAX_LOOKAHEAD,
  type ScratchSize,
} from "../models/layers/decoder-state.ts";
import type { LlamaWeights } from "../models/layers/decoder-weights.ts";

/** Prompt rows of one submit: short enough for a driver's watchdog, long enough to fill a GPU. */
export const DEFAULT_CHUNK_ROWS = 256;

/** Allocated sizes are multiples of these, so that slightly longer prompts fit without a new allocation. */
const STEPS: ScratchSize = { numRows: 1, promptRows: 256, batchRows: 1, editBytes: 4096 };

/** The decoder of a model. Its scratch buffers serve one forward call at a time. */
export class SharedDecoder {
  readonly gpu: Gpu;
  readonly text: TextConfig;
  readonly weights: LlamaWeights;
  /** Prompt rows of one submit. */
  readonly chunkRows: number;
  /** How the keys and values of every sequence are stored. */
  readonly kvDtype: CacheDtype;
  /** How a decode step's linear layers with quantised weights read their input. */
  readonly activationDtype: ActivationDtype;
  /** Tokens on their way at once; see LoadOptions. */
  readonly lookahead: number;
  private current: DecoderScratch | undefined;
  private numAllocations = 0;
  private numReleases = 0;

  /** @throws InputError when `lookahead` is not a whole number from 1 to 4. */
  constructor(
    gpu: Gpu,
    text: TextConfig,
    options: {
      readonly weights: LlamaWeights;
      readonly chunkRows?: number | undefined;
      readonly lookahead?: number | undefined;
      readonly kvDtype?: CacheDtype | undefined;
      readonly activationDtype?: ActivationDtype | undefined;
    },
  ) {
    this.gpu = gpu;
    this.text = text;
    this.weights = options.weights;
    this.chunkRows = options.chunkRows ?? DEFAULT_CHUNK_ROWS;
    this.kvDtype = options.kvDtype ?? "f32";
    this.activationDtype = options.activationDtype ?? "f32";
    this.lookahead = lookaheadOf(options.lookahead, gpu);
  }

  /** Changes whenever scratch buffers were replaced: programs recorded before are void then. */
  get version(): number {
    return this.numAllocations;
  }

  /** Changes when the GPU ran out of memory: sequences made before are void then, since they may lack buffers or hold zeros. */
  get generation(): number {
    return this.numReleases;
  }

  /** The decoder as forward passes take it. @throws RangeError before {@link reserve}. */
  get decoder(): Decoder {
    const { text, weights, current: scratch } = this;
    if (scratch === undefined) throw new RangeError("The decoder was used before its scratch buffers were reserved.");
    return { text, weights, scratch };
  }

  /**
   * Makes room for forward calls of these sizes; buffers only grow. Room for edits alone leaves what the others hold, a
   * prompt's embeddings among it.
   * @throws GpuError `limit`.
   */
  reserve(wanted: Partial<ScratchSize>): void {
    const held = this.current?.size ?? { numRows: this.chunkRows, promptRows: 1, batchRows: 1, editBytes: 16 };
    const largest = (key: keyof ScratchSize) => Math.max(held[key], wanted[key] ?? 0);
    const isEnough = (key: keyof ScratchSize) => held[key] >= (wanted[key] ?? 0);
    const rounded = (key: keyof ScratchSize) => Math.ceil(largest(key) / STEPS[key]) * STEPS[key];
    if (this.current !== undefined && (["numRows", "promptRows", "batchRows"] as const).every(isEnough)) {
      if (isEnough("editBytes")) return;
      const editBytes = rounded("editBytes");
      const edits = this.gpu.createBuffer("decoder edits", editBytes, GPU_STORAGE);
      this.gpu.destroyBuffer(this.current.edits);
      this.numAllocations++;
      this.current = { ...this.current, size: { ...held, editBytes }, edits };
      return;
    }
    if (this.current !== undefined) destroyScratch(this.gpu, this.current);
    this.current = undefined;
    this.numAllocations++;
    this.current = createScratch(this.gpu, this.text, {
      numRows: Math.max(rounded("numRows"), rounded("batchRows")),
      promptRows: rounded("promptRows"),
      batchRows: rounded("batchRows"),
      editBytes: rounded("editBytes"),
      activationDtype: this.activationDtype,
    });
  }

  /** Frees the scratch buffers and makes all sequences void, as the GPU ran out of memory; {@link reserve} makes them anew. */
  release(): void {
    if (this.current !== undefined) destroyScratch(this.gpu, this.current);
    this.current = undefined;
    this.numAllocations++;
    this.numReleases++;
  }
}

function lookaheadOf(wanted: number | undefined, gpu: Gpu): number {
  if (wanted === undefined) return gpu.isSoftware ? 1 : MAX_LOOKAHEAD;
  if (Number.isInteger(wanted) && wanted >= 1 && wanted <= MAX_LOOKAHEAD) return wanted;
  throw new InputError(`lookahead must be a whole number from 1 to ${MAX_LOOKAHEAD}, got ${wanted}.`);
}
