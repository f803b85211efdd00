// Runs the decoder: embeds a prompt, prefills in chunks, steps token by token, chooses tokens on the GPU. Programs for
// the decode step are recorded once and replayed; a token costs one submit and one readback of a few bytes.
import { GpuError, throwIfAborted } from "../errors.ts";
import { GPU_STORAGE, type Gpu } from "../gpu/device.ts";
import * as ops from "../gpu/ops.ts";
import { Program } from "../gpu/program.ts";
import { padTo4 } from "../gpu/tensor.ts";
import type { TextConfig } from "../model/config.ts";
import {
  CHOICE_BYTES,
  createLlamaState,
  destroyLlamaState,
  type LlamaState,
  roundStateSize,
  type StateSize,
  TOP_K_OFFSET,
} from "../model/kv-cache.ts";
import { decoderLayers, type LayerCapture, rowLogits } from "../model/llama.ts";
import { type Intervention, packStep } from "../model/step.ts";
import type { LlamaWeights } from "../model/weights.ts";

/** Prompt rows of one submit: short enough for a driver's watchdog, long enough to fill a GPU. */
export const DEFAULT_CHUNK_ROWS = 256;

/** A token with its log-probability in the distribution it was taken from. */
export interface TokenLogProb {
  readonly tokenId: number;
  /** Natural logarithm of the probability. */
  readonly logProb: number;
}

/** What the GPU chose from one row of logits. */
export interface Choice {
  /** Argmax of the logits after the repetition penalty. */
  readonly tokenId: number;
  readonly logProb: number;
  /** Largest probability of the unmodified distribution. */
  readonly confidence: number;
  /** log Σ exp of the logits that `tokenId` was chosen from. */
  readonly logSumExp: number;
  /** The k most probable tokens, most probable first. */
  readonly top: readonly TokenLogProb[];
}

/** How {@link DecoderRun} turns logits into a choice. */
export interface ChooseOptions {
  /** 1 leaves the logits alone. */
  readonly repetitionPenalty: number;
  /** Top entries to report, 0 to 100. */
  readonly topK: number;
}

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
  private readonly programs = new Map<string, Program>();
  private current: LlamaState | undefined;
  private chooseKey = "";

  constructor(
    gpu: Gpu,
    text: TextConfig,
    options: { readonly weights: LlamaWeights; readonly chunkRows?: number | undefined },
  ) {
    this.gpu = gpu;
    this.text = text;
    this.weights = options.weights;
    this.chunkRows = options.chunkRows ?? DEFAULT_CHUNK_ROWS;
  }

  /** The buffers of the run. @throws GpuError when nothing was embedded yet. */
  get state(): LlamaState {
    if (this.current === undefined) throw new GpuError("shader", "The decoder was used before a prompt was embedded.");
    return this.current;
  }

  /**
   * Writes inputsEmbeds [T, D] for a prompt and makes room for `maxNewTokens` more.
   * @param ids token id a position; those of the image span are not looked up
   * @throws GpuError `limit` or `out-of-memory`.
   */
  async embed(
    ids: Int32Array,
    options: {
      readonly maxNewTokens: number;
      readonly image: ImageRows | undefined;
      readonly batchRows?: number | undefined;
    },
  ): Promise<void> {
    const { image, batchRows = 1 } = options;
    await this.reserve({
      capacity: ids.length + batchRows * options.maxNewTokens,
      numRows: Math.max(this.chunkRows, batchRows),
      promptRows: ids.length,
      batchRows,
    });
    const { state, gpu } = this;
    const lookup = Uint32Array.from(ids);
    if (image !== undefined) lookup.fill(0, image.span[0], image.span[1]);
    gpu.write(state.promptIds, lookup);
    const program = new Program(gpu, "embed prompt");
    const temporary: GPUBuffer[] = [];
    try {
      ops.embedTokens(program, {
        table: this.weights.embedTokens,
        ids: state.promptIds,
        output: state.inputsEmbeds,
        numRows: ids.length,
      });
      if (image !== undefined) {
        const index = gpu.createBufferWith("image row index", image.rowIndex, GPU_STORAGE);
        temporary.push(index);
        ops.gatherRows(program, {
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
    await this.forward(position, options, (encoder) => {
      for (let row = 0; row < (options.batch?.numRows ?? 1); row++) {
        encoder.copyBufferToBuffer(inputsEmbeds, position * rowBytes, hiddenStates, row * rowBytes, rowBytes);
      }
    });
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
    const embed = await this.program(`embed ${numRows} tokens`, (program) =>
      ops.embedTokens(program, {
        table: this.weights.embedTokens,
        ids: state.tokenIds,
        output: state.hiddenStates,
        numRows,
      }),
    );
    await this.forward(position, options, (encoder) => embed.encode(encoder));
  }

  /**
   * Chooses a token from the logits of the last forward call; nothing but the choice is read back.
   * @throws GpuError when the logits are not finite.
   */
  async choose(options: ChooseOptions): Promise<Choice> {
    const { repetitionPenalty, topK } = options;
    const isPenalised = repetitionPenalty !== 1;
    const record = (program: Program) => this.recordChoice(program, options);
    let program: Program;
    if (!isPenalised && topK === 0) {
      program = await this.program("choose", record);
    } else {
      // Any number of penalties and k may be asked for: only the last one's program is kept.
      const key = `choose ${repetitionPenalty} ${topK}`;
      if (this.chooseKey !== key) this.forget(this.chooseKey);
      this.chooseKey = key;
      program = await this.program(key, record);
    }
    program.submit();
    const data = await this.readBack();
    return readChoice(data, { isPenalised, topK, vocabSize: this.text.vocabSize });
  }

  /**
   * Chooses the argmax of each batch row of the last forward call.
   * @throws GpuError when logits are not finite.
   */
  async chooseRows(numRows: number): Promise<Choice[]> {
    const { state } = this;
    const { vocabSize } = this.text;
    const view = { logits: state.logits, numRows, vocabSize, stride: padTo4(vocabSize) };
    const program = await this.program(`choose ${numRows} rows`, (recorded) => {
      ops.chooseToken(recorded, view, { choice: state.choice });
      recorded.copy(state.choice, state.readback, { size: numRows * CHOICE_BYTES });
    });
    program.submit();
    const data = await this.readBack();
    return Array.from({ length: numRows }, (_, row) =>
      readChoice(new DataView(data.buffer, row * CHOICE_BYTES), { isPenalised: false, topK: 0, vocabSize }),
    );
  }

  /** The whole row of logits [V]; sampling and option confidence read it, greedy decoding does not. */
  async readLogits(): Promise<Float32Array<ArrayBuffer>> {
    return new Float32Array(await this.gpu.readBuffer(this.state.logits, this.text.vocabSize * 4));
  }

  /** Marks the tokens that the repetition penalty acts on: a set of ids, the prompt's and the generated. */
  writeSeen(ids: ReadonlySet<number>): void {
    const words = new Uint32Array(Math.ceil(this.text.vocabSize / 32));
    for (const id of ids) {
      const word = Math.floor(id / 32);
      words[word] = (words[word] ?? 0) | (1 << (id % 32));
    }
    this.gpu.write(this.state.seen, words);
  }

  /** Frees state and programs; the weights stay. */
  dispose(): void {
    for (const program of this.programs.values()) program.dispose();
    this.programs.clear();
    if (this.current !== undefined) destroyLlamaState(this.gpu, this.current);
    this.current = undefined;
  }

  private recordChoice(program: Program, { repetitionPenalty, topK }: ChooseOptions): void {
    const { state } = this;
    const { vocabSize } = this.text;
    const view = { logits: state.logits, numRows: 1, vocabSize, stride: padTo4(vocabSize) };
    ops.chooseToken(program, view, { choice: state.choice });
    program.copy(state.choice, state.readback, { size: CHOICE_BYTES });
    if (repetitionPenalty !== 1) {
      ops.repetitionPenalty(program, view, { seen: state.seen, penalty: repetitionPenalty });
      ops.chooseToken(program, view, { choice: state.choice });
      program.copy(state.choice, state.readback, { size: CHOICE_BYTES, targetOffset: CHOICE_BYTES });
    }
    if (topK > 0) {
      ops.topK(program, view, { entries: state.topK, k: topK });
      program.copy(state.topK, state.readback, { size: topK * 8, targetOffset: TOP_K_OFFSET });
    }
  }

  private async readBack(): Promise<DataView<ArrayBuffer>> {
    const { readback } = this.state;
    await this.gpu.map(readback);
    const data = new DataView(readback.getMappedRange().slice(0));
    readback.unmap();
    return data;
  }

  private async forward(
    position: number,
    options: ForwardOptions & { readonly batch?: Batch },
    fillHiddenStates: (encoder: GPUCommandEncoder) => void,
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
    const program = isPlain ? await this.program(`step ${numRows} rows`, record) : new Program(this.gpu, "traced step");
    try {
      if (!isPlain) {
        record(program);
        await program.finish();
      }
      program.submit(fillHiddenStates);
    } finally {
      if (!isPlain) program.dispose();
    }
  }

  /** A program recorded at the first use and replayed afterwards. */
  private async program(key: string, record: (program: Program) => void): Promise<Program> {
    const known = this.programs.get(key);
    if (known !== undefined) return known;
    const program = new Program(this.gpu, key);
    record(program);
    await program.finish();
    this.programs.set(key, program);
    return program;
  }

  private forget(key: string): void {
    this.programs.get(key)?.dispose();
    this.programs.delete(key);
  }

  private writeSteps(positionStart: number, intervention: Intervention | undefined, batch?: Batch): void {
    const positions = {
      positionStart,
      isBatch: batch !== undefined,
      prefixLength: batch?.prefixLength ?? 0,
      tailStride: batch?.tailLength ?? 0,
    };
    this.gpu.write(this.state.step, packStep(positions, intervention));
    this.gpu.write(this.state.plainStep, packStep(positions, undefined));
  }

  private async reserve(size: StateSize): Promise<void> {
    const held = this.current?.size;
    const keys = ["capacity", "numRows", "promptRows", "batchRows"] as const;
    if (held !== undefined && keys.every((key) => held[key] >= size[key])) return;
    this.dispose();
    this.current = await this.gpu.guard("allocating the key/value cache", () =>
      createLlamaState(this.gpu, this.text, roundStateSize(size)),
    );
  }
}

function readChoice(
  data: DataView,
  options: { readonly isPenalised: boolean; readonly topK: number; readonly vocabSize: number },
): Choice {
  const plainLogSumExp = data.getFloat32(8, true);
  const confidence = Math.exp(data.getFloat32(4, true) - plainLogSumExp);
  const at = options.isPenalised ? CHOICE_BYTES : 0;
  const tokenId = data.getUint32(at, true);
  const logSumExp = data.getFloat32(at + 8, true);
  const logProb = data.getFloat32(at + 4, true) - logSumExp;
  if (!Number.isFinite(logProb) || !Number.isFinite(plainLogSumExp) || tokenId >= options.vocabSize) {
    throw new GpuError(
      "shader",
      "The logits are not finite numbers, so no token can be chosen; check the checkpoint's weights, or try another adapter with --adapter.",
    );
  }
  const top = Array.from({ length: options.topK }, (_, i) => ({
    tokenId: data.getUint32(TOP_K_OFFSET + i * 8, true),
    logProb: data.getFloat32(TOP_K_OFFSET + i * 8 + 4, true) - logSumExp,
  }));
  return { tokenId, logProb, confidence, logSumExp, top };
}
