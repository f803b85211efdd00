// Runs the decoder: embeds a prompt, prefills in chunks, steps token by token, chooses tokens on the GPU. Programs for
// the decode step are recorded once and replayed; a token costs one submit and one readback of a few bytes.
import { GpuError, InputError, throwIfAborted } from "../errors.ts";
import { GPU_STORAGE, type Gpu } from "../gpu/device.ts";
import * as ops from "../gpu/ops/ops.ts";
import { Program } from "../gpu/program.ts";
import { ProgramCache } from "../gpu/program-cache.ts";
import { padTo4 } from "../gpu/tensor.ts";
import type { TextConfig } from "../models/config.ts";
import { decoderLayers, type LayerCapture, rowLogits } from "../models/layers/decoder.ts";
import {
  createLlamaState,
  destroyLlamaState,
  type LlamaState,
  MAX_LOOKAHEAD,
  roundStateSize,
  type StateSize,
} from "../models/layers/decoder-state.ts";
import { type Intervention, packStep, STEP_BYTES } from "../models/layers/step.ts";
import type { LlamaWeights } from "../models/weights.ts";
import { PrefixCache, type PrefixKey } from "./prefix-cache.ts";
import { type Choice, TokenChooser } from "./token-chooser.ts";

/** An id in no piece of the embedding table, whose row the kernel leaves alone. */
const NO_TOKEN = 0xffffffff;

/** Prompt rows of one submit: short enough for a driver's watchdog, long enough to fill a GPU. */
export const DEFAULT_CHUNK_ROWS = 256;

/** Image features and where they go among the prompt's positions. */
export interface ImageRows {
  /** [numFeatures, D] f32 */
  readonly features: GPUBuffer;
  /** Positions [start, end) */
  readonly span: readonly [start: number, end: number];
  /** Feature row for each position of the span, −1 for the newline row (LLaVA-NeXT). */
  readonly rowIndex: Int32Array<ArrayBuffer>;
  /** [D], LLaVA-NeXT only */
  readonly newline: GPUBuffer | undefined;
}

/** Optional parts of a forward call. */
export interface ForwardOptions {
  readonly intervention: Intervention | undefined;
  readonly capture?: LayerCapture | undefined;
}

/** Rows of a batch: sequences that share a prompt and then each go their own way. */
export interface Batch {
  readonly numRows: number;
  /** Cache slots [0, prefixLength) are shared. */
  readonly prefixLength: number;
  /** Cache slots of each row's own tail. */
  readonly tailLength: number;
}

/** A decoder with its state and its recorded programs; one question at a time. */
export class DecoderRun {
  private readonly gpu: Gpu;
  readonly text: TextConfig;
  readonly weights: LlamaWeights;
  private readonly chunkRows: number;
  private readonly stepWords = new Uint32Array(STEP_BYTES / 4);
  private readonly lookahead: number;
  private readonly programs: ProgramCache;
  private current: LlamaState | undefined;
  /** Chooses tokens from the logits of the last forward call. */
  readonly chooser: TokenChooser;
  /** What may be used again of the last prompt. */
  readonly prefix = new PrefixCache();

  constructor(
    gpu: Gpu,
    text: TextConfig,
    options: {
      readonly weights: LlamaWeights;
      readonly chunkRows?: number | undefined;
      /** Tokens on their way at once; see LoadOptions. */
      readonly lookahead?: number | undefined;
    },
  ) {
    this.gpu = gpu;
    this.text = text;
    this.weights = options.weights;
    this.chunkRows = options.chunkRows ?? DEFAULT_CHUNK_ROWS;
    this.lookahead = lookaheadOf(options.lookahead, gpu);
    this.programs = new ProgramCache(gpu);
    this.chooser = new TokenChooser(gpu, this, this.programs);
  }

  /** The buffers of the run. @throws GpuError when nothing was embedded yet. */
  get state(): LlamaState {
    if (this.current === undefined) throw new GpuError("shader", "The decoder was used before a prompt was embedded.");
    return this.current;
  }

  /**
   * Makes room for a prompt and its answer.
   * @returns positions at its start whose keys, values and embeddings still stand from the prompt before
   * @throws GpuError `limit` or `out-of-memory`.
   */
  async begin(
    key: PrefixKey,
    options: { readonly maxNewTokens: number; readonly batchRows?: number | undefined },
  ): Promise<number> {
    const { batchRows = 1 } = options;
    const numPositions = key.inputIds.length;
    await this.reserve({
      capacity: numPositions + batchRows * options.maxNewTokens,
      numRows: Math.max(this.chunkRows, batchRows),
      promptRows: numPositions,
      batchRows,
    });
    const numReused = this.prefix.reusable(key);
    this.prefix.clear();
    return numReused;
  }

  /**
   * Writes inputsEmbeds [T, D] for a prompt; without `image`, rows of the image span keep what they hold.
   * @throws GpuError when {@link begin} was not called.
   */
  async embed(key: PrefixKey, image: ImageRows | undefined): Promise<void> {
    const ids = key.inputIds;
    const { state, gpu } = this;
    const lookup = Uint32Array.from(ids);
    lookup.fill(NO_TOKEN, ...key.imageSpan);
    gpu.write(state.promptIds, lookup);
    const program = new Program(gpu, "embed prompt");
    const temporary: GPUBuffer[] = [];
    try {
      ops.embedTokens(program.at("embed_tokens"), {
        table: this.weights.embedTokens,
        ids: state.promptIds,
        output: state.inputsEmbeds,
        numRows: ids.length,
      });
      if (image !== undefined) {
        const index = gpu.createBufferWith("image row index", image.rowIndex, GPU_STORAGE);
        temporary.push(index);
        ops.gatherRows(program.at("image_features"), {
          index,
          source: image.features,
          filler: image.newline ?? gpu.unused,
          output: state.inputsEmbeds,
          numRows: image.rowIndex.length,
          outputRowStart: image.span[0],
          columns: padTo4(this.text.hiddenSize),
        });
      }
      await program.submitOnce();
    } finally {
      for (const buffer of temporary) gpu.destroyBuffer(buffer);
    }
  }

  /**
   * Runs prompt positions [start, end) through all layers in chunks; earlier ones must be in the cache.
   * Afterwards the logits are those of position end − 1.
   * @throws AbortError between chunks.
   */
  async prefill(
    range: readonly [start: number, end: number],
    options: ForwardOptions & { readonly signal?: AbortSignal | undefined },
  ): Promise<void> {
    const [start, end] = range;
    const rowBytes = padTo4(this.text.hiddenSize) * 4;
    const { state } = this;
    for (let first = start; first < end; first += this.chunkRows) {
      throwIfAborted(options.signal, "Prefill");
      const numRows = Math.min(this.chunkRows, end - first);
      const isLast = first + numRows === end;
      this.writeSteps(first, options.intervention);
      const program = new Program(this.gpu, "prefill");
      program.copy(state.inputsEmbeds, state.hiddenStates, {
        size: numRows * rowBytes,
        sourceOffset: first * rowBytes,
      });
      decoderLayers(program, this.gpu, {
        decoder: this,
        numRows,
        isDecode: false,
        scaledLayers: options.intervention?.layers,
        capture: isLast && options.capture ? { ...options.capture, row: numRows - 1 } : undefined,
      });
      if (isLast) rowLogits(program, this.gpu, { decoder: this, row: numRows - 1, numRows: 1 });
      await program.submitOnce();
    }
  }

  /** Runs one prompt position again over the cached prefix, overwriting its own cache slot: AdaptVis' extra step. */
  async repeatPromptRow(position: number, options: ForwardOptions & { readonly batch?: Batch }): Promise<void> {
    const rowBytes = padTo4(this.text.hiddenSize) * 4;
    const { inputsEmbeds, hiddenStates } = this.state;
    const copies = new Program(this.gpu, "repeat");
    for (let row = 0; row < (options.batch?.numRows ?? 1); row++) {
      const place = { size: rowBytes, sourceOffset: position * rowBytes, targetOffset: row * rowBytes };
      copies.copy(inputsEmbeds, hiddenStates, place);
    }
    await this.forward(position, options, copies);
  }

  /**
   * Greedy choices, one after the other, from the logits that stand: `firstPosition` is the first new token's. Steps are
   * submitted up to the lookahead before their choices are read, each reading the token that the GPU chose before it.
   * @throws GpuError when logits are not finite.
   */
  async *greedyChoices(
    firstPosition: number,
    options: ForwardOptions & { readonly maxNewTokens: number },
  ): AsyncGenerator<Choice, void, void> {
    const { chooser } = this;
    const lookahead = this.gpu.replay === undefined ? this.lookahead : 1; // no pass past the answer's end is explained
    const reads: Promise<Choice>[] = [];
    let numRead = 0;
    try {
      while (numRead < options.maxNewTokens) {
        while (reads.length < Math.min(options.maxNewTokens, numRead + lookahead)) {
          const slot = reads.length % lookahead;
          const choose = await chooser.greedyProgram(slot);
          if (reads.length === 0) await choose.submit();
          else await this.stepChosen(firstPosition + reads.length - 1, options, choose);
          const read = chooser.readSlot(slot);
          read.catch(() => undefined); // whoever awaits it is told; one that is cancelled nobody awaits
          reads.push(read);
        }
        const choice = await reads[numRead];
        numRead++;
        if (choice !== undefined) yield choice;
      }
    } finally {
      for (; numRead < reads.length; numRead++) chooser.cancel(numRead % lookahead);
    }
  }

  /** One step from the token that the GPU chose, and the next choice, in one submit. */
  private async stepChosen(position: number, options: ForwardOptions, choose: Program): Promise<void> {
    const embed = await this.embedProgram(1);
    await this.forward(position, options, embed, choose);
  }

  /** Runs one generated token a batch row at `position`. */
  async step(
    tokenIds: readonly number[],
    position: number,
    options: ForwardOptions & { readonly batch?: Batch },
  ): Promise<void> {
    const { state } = this;
    const numRows = tokenIds.length;
    this.gpu.write(state.tokenIds, Uint32Array.from(tokenIds));
    const embed = await this.embedProgram(numRows);
    await this.forward(position, options, embed);
  }

  private embedProgram(numRows: number): Promise<Program> {
    const { state } = this;
    return this.programs.get(`embed ${numRows} tokens`, (program) =>
      ops.embedTokens(program.at("embed_tokens"), {
        table: this.weights.embedTokens,
        ids: state.tokenIds,
        output: state.hiddenStates,
        numRows,
      }),
    );
  }

  /** Frees state and programs; the weights stay. */
  dispose(): void {
    this.programs.dispose();
    this.prefix.clear();
    if (this.current !== undefined) destroyLlamaState(this.gpu, this.current);
    this.current = undefined;
  }

  private async forward(
    position: number,
    options: ForwardOptions & { readonly batch?: Batch },
    fillHiddenStates: Program,
    choose?: Program,
  ): Promise<void> {
    this.writeSteps(position, options.intervention, options.batch);
    const numRows = options.batch?.numRows ?? 1;
    const record = (program: Program) => {
      decoderLayers(program, this.gpu, {
        decoder: this,
        numRows,
        isDecode: true,
        scaledLayers: options.intervention?.layers,
        capture: options.capture,
      });
      rowLogits(program, this.gpu, { decoder: this, row: 0, numRows });
    };
    const isPlain = options.capture === undefined && options.intervention?.layers === undefined;
    const program = isPlain
      ? await this.programs.get(`step ${numRows} rows`, record)
      : new Program(this.gpu, "traced step");
    try {
      if (!isPlain) {
        record(program);
        await program.finish();
      }
      if (choose === undefined) await program.submit([fillHiddenStates]);
      else await choose.submit([fillHiddenStates, program]);
    } finally {
      if (!isPlain) program.dispose();
    }
  }

  private writeSteps(positionStart: number, intervention: Intervention | undefined, batch?: Batch): void {
    const positions = {
      positionStart,
      isBatch: batch !== undefined,
      prefixLength: batch?.prefixLength ?? 0,
      tailStride: batch?.tailLength ?? 0,
    };
    const { step, plainStep } = this.state;
    this.gpu.write(step, packStep(positions, intervention, this.stepWords));
    // Only layers that the intervention leaves out read the other one.
    if (intervention?.layers !== undefined) this.gpu.write(plainStep, packStep(positions, undefined, this.stepWords));
  }

  private async reserve(size: StateSize): Promise<void> {
    const held = this.current?.size;
    const keys = ["capacity", "numRows", "promptRows", "batchRows"] as const;
    if (held !== undefined && keys.every((key) => held[key] >= size[key])) return;
    this.dispose();
    // It only grows: long questions and wide sweeps in turn do not allocate each time.
    const larger = (key: keyof StateSize) => Math.max(size[key], held?.[key] ?? 0);
    const wanted = roundStateSize({
      capacity: larger("capacity"),
      numRows: larger("numRows"),
      promptRows: larger("promptRows"),
      batchRows: larger("batchRows"),
    });
    this.current = await this.gpu.guard("allocating the key/value cache", () =>
      createLlamaState(this.gpu, this.text, wanted),
    );
  }
}

/** @throws InputError when it is no whole number from 1 to 4. */
function lookaheadOf(wanted: number | undefined, gpu: Gpu): number {
  if (wanted === undefined) return gpu.isSoftware ? 1 : MAX_LOOKAHEAD;
  if (Number.isInteger(wanted) && wanted >= 1 && wanted <= MAX_LOOKAHEAD) return wanted;
  throw new InputError(`lookahead: expected a whole number from 1 to ${MAX_LOOKAHEAD}, got ${wanted}.`);
}
