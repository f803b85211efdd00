// Runs the decoder: embeds a prompt, prefills in chunks, steps token by token, chooses tokens on the GPU. Programs for
// the decode step are recorded once and replayed; a token costs one submit and one readback of a few bytes.
import { GpuError, InputError, throwIfAborted } from "../errors.ts";
import { GPU_STORAGE, type Gpu } from "../gpu/device.ts";
import { type Executor, runOnce, type StagedProgram, SubmitExecutor } from "../gpu/executor.ts";
import type { PreparedProgram } from "../gpu/prepared-program.ts";
import { ProgramCache } from "../gpu/program-cache.ts";
import type { TextConfig } from "../models/config.ts";
import type { LayerCapture } from "../models/layers/decoder.ts";
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
import {
  embedPromptProgram,
  embedTokensProgram,
  prefillProgram,
  repeatRowProgram,
  stepProgram,
} from "./decoder-programs.ts";
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
  private promptLength = 0;
  /** Runs all programs; explain puts another one here for the time of an answer. */
  executor: Executor;
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
    this.programs = new ProgramCache();
    this.executor = new SubmitExecutor(gpu);
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
    this.promptLength = numPositions;
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
    if (image === undefined) {
      await runOnce(this.executor, embedPromptProgram(this, ids.length, undefined), "embed prompt");
      return;
    }
    const index = gpu.createBufferWith("image row index", image.rowIndex, GPU_STORAGE);
    try {
      const rows = {
        features: image.features,
        index,
        filler: image.newline ?? gpu.unused,
        start: image.span[0],
        numRows: image.rowIndex.length,
      };
      await runOnce(this.executor, embedPromptProgram(this, ids.length, rows), "embed prompt");
    } finally {
      gpu.destroyBuffer(index);
    }
  }

  /**
   * Runs prompt positions [start, end) through all layers in chunks; earlier ones must be in the cache.
   * Afterwards the logits are those of position end − 1.
   * @param options.stage "prefill" unless given; of several chunks, each one's positions are told behind it
   * @throws AbortError between chunks.
   */
  async prefill(
    range: readonly [start: number, end: number],
    options: ForwardOptions & { readonly signal?: AbortSignal | undefined; readonly stage?: string },
  ): Promise<void> {
    const [start, end] = range;
    const { stage = "prefill", capture, intervention } = options;
    for (let first = start; first < end; first += this.chunkRows) {
      throwIfAborted(options.signal, "Prefill");
      const numRows = Math.min(this.chunkRows, end - first);
      const hasLogits = first + numRows === end;
      this.writeSteps(first, intervention);
      const program = prefillProgram(this, this.gpu, {
        start: first,
        numRows,
        hasLogits,
        scaledLayers: intervention?.layers,
        capture: hasLogits && capture ? { ...capture, row: numRows - 1 } : undefined,
      });
      const isWhole = numRows === end - start;
      await runOnce(this.executor, program, isWhole ? stage : `${stage}, positions ${first} to ${first + numRows - 1}`);
    }
  }

  /** Runs one prompt position again over the cached prefix, overwriting its own cache slot: AdaptVis' extra step. */
  async repeatPromptRow(
    position: number,
    options: ForwardOptions & { readonly batch?: Batch; readonly stage: string },
  ): Promise<void> {
    const program = await this.executor.prepare(repeatRowProgram(this, position, options.batch?.numRows ?? 1));
    try {
      await this.forward(position, options, [{ program, stage: options.stage }]);
    } finally {
      program.dispose();
    }
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
    const lookahead = Math.min(this.lookahead, this.executor.maxLookahead);
    const reads: Promise<Choice>[] = [];
    let numRead = 0;
    try {
      while (numRead < options.maxNewTokens) {
        while (reads.length < Math.min(options.maxNewTokens, numRead + lookahead)) {
          const slot = reads.length % lookahead;
          const choose = { program: await chooser.greedyProgram(slot), stage: `choose token ${reads.length}` };
          if (reads.length === 0) await this.executor.run([choose]);
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
  private async stepChosen(position: number, options: ForwardOptions, choose: StagedProgram): Promise<void> {
    const stage = this.stepStage(position);
    const program = await this.embedProgram(1);
    await this.forward(position, { ...options, stage }, [{ program, stage }], choose);
  }

  /** Runs one generated token a batch row at `position`. */
  async step(
    tokenIds: readonly number[],
    position: number,
    options: ForwardOptions & { readonly batch?: Batch },
  ): Promise<void> {
    this.gpu.write(this.state.tokenIds, Uint32Array.from(tokenIds));
    const stage = this.stepStage(position);
    const program = await this.embedProgram(tokenIds.length);
    await this.forward(position, { ...options, stage }, [{ program, stage }]);
  }

  private stepStage(position: number): string {
    return `decode step ${position - this.promptLength + 1}`;
  }

  private embedProgram(numRows: number): Promise<PreparedProgram> {
    return this.programs.get(this.executor, `embed ${numRows} tokens`, () => embedTokensProgram(this, numRows));
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
    options: ForwardOptions & { readonly batch?: Batch | undefined; readonly stage: string },
    before: readonly StagedProgram[],
    after?: StagedProgram,
  ): Promise<void> {
    this.writeSteps(position, options.intervention, options.batch);
    const { executor } = this;
    const { capture, stage } = options;
    const numRows = options.batch?.numRows ?? 1;
    const scaledLayers = options.intervention?.layers;
    const isPlain = capture === undefined && scaledLayers === undefined;
    const label = isPlain ? `step ${numRows} rows` : "traced step";
    const record = () => stepProgram(this, this.gpu, { label, numRows, scaledLayers, capture });
    const program = isPlain ? await this.programs.get(executor, label, record) : await executor.prepare(record());
    try {
      const step = [...before, { program, stage }];
      await executor.run(after === undefined ? step : [...step, after]);
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
