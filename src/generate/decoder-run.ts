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
} from "../model/kv-cache.ts";
import { decoderLayers, type LayerCapture, lastRowLogits } from "../model/llama.ts";
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

/** A decoder with its state and its recorded programs; one question at a time. */
export class DecoderRun {
  private readonly gpu: Gpu;
  readonly text: TextConfig;
  readonly weights: LlamaWeights;
  private readonly chunkRows: number;
  private readonly programs = new Map<string, Program>();
  private current: LlamaState | undefined;

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
    options: { readonly maxNewTokens: number; readonly image: ImageRows | undefined },
  ): Promise<void> {
    const { image } = options;
    await this.reserve({
      capacity: ids.length + options.maxNewTokens,
      numRows: this.chunkRows,
      promptRows: ids.length,
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
      if (isLast) lastRowLogits(program, this.gpu, { decoder: this, row: numRows - 1 });
      await program.submitOnce();
    }
  }

  /** Runs one prompt position again over the cached prefix, overwriting its own cache slot: AdaptVis' extra step. */
  async repeatPromptRow(position: number, options: ForwardOptions): Promise<void> {
    const rowBytes = padTo4(this.text.hiddenSize) * 4;
    const { inputsEmbeds, hiddenStates } = this.state;
    await this.forward(position, options, (encoder) => {
      encoder.copyBufferToBuffer(inputsEmbeds, position * rowBytes, hiddenStates, 0, rowBytes);
    });
  }

  /** Runs one generated token at `position`. */
  async step(tokenId: number, position: number, options: ForwardOptions): Promise<void> {
    const { state } = this;
    this.gpu.write(state.tokenIds, Uint32Array.of(tokenId));
    const embed = await this.program("embed token", (program) =>
      ops.embedTokens(program, {
        table: this.weights.embedTokens,
        ids: state.tokenIds,
        output: state.hiddenStates,
        numRows: 1,
      }),
    );
    await this.forward(position, options, (encoder) => embed.encode(encoder));
  }

  /**
   * Chooses a token from the logits of the last forward call; nothing but the choice is read back.
   * @throws GpuError when the logits are not finite.
   */
  async choose(options: ChooseOptions): Promise<Choice> {
    const { gpu, state } = this;
    const { repetitionPenalty, topK } = options;
    const isPenalised = repetitionPenalty !== 1;
    const view = {
      logits: state.logits,
      numRows: 1,
      vocabSize: this.text.vocabSize,
      stride: padTo4(this.text.vocabSize),
    };
    const program = await this.program(`choose ${repetitionPenalty} ${topK}`, (recorded) => {
      ops.chooseToken(recorded, view, { choice: state.choice });
      if (isPenalised) {
        recorded.copy(state.choice, state.readback, { size: 16 });
        ops.repetitionPenalty(recorded, view, { seen: state.seen, penalty: repetitionPenalty });
        ops.chooseToken(recorded, view, { choice: state.choice });
      }
      recorded.copy(state.choice, state.readback, { size: 16, targetOffset: isPenalised ? 16 : 0 });
      if (topK > 0) {
        ops.topK(recorded, view, { entries: state.topK, k: topK });
        recorded.copy(state.topK, state.readback, { size: topK * 8, targetOffset: CHOICE_BYTES });
      }
    });
    program.submit();
    await gpu.map(state.readback);
    const data = new DataView(state.readback.getMappedRange().slice(0));
    state.readback.unmap();
    return readChoice(data, { isPenalised, topK, vocabSize: this.text.vocabSize });
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

  private async forward(
    position: number,
    options: ForwardOptions,
    fillHiddenStates: (encoder: GPUCommandEncoder) => void,
  ): Promise<void> {
    this.writeSteps(position, options.intervention);
    const record = (program: Program) => {
      decoderLayers(program, this.gpu, {
        decoder: this,
        numRows: 1,
        isDecode: true,
        scaledLayers: options.intervention?.layers,
        capture: options.capture,
      });
      lastRowLogits(program, this.gpu, { decoder: this, row: 0 });
    };
    const isPlain = options.capture === undefined && options.intervention?.layers === undefined;
    const program = isPlain ? await this.program("step", record) : new Program(this.gpu, "traced step");
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

  private writeSteps(positionStart: number, intervention: Intervention | undefined): void {
    const positions = { positionStart, isBatch: false, prefixLength: 0, tailStride: 0 };
    this.gpu.write(this.state.step, packStep(positions, intervention));
    this.gpu.write(this.state.plainStep, packStep(positions, undefined));
  }

  private async reserve(size: StateSize): Promise<void> {
    const held = this.current?.size;
    if (held !== undefined && held.capacity >= size.capacity && held.promptRows >= size.promptRows) return;
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
  const at = options.isPenalised ? 16 : 0;
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
    tokenId: data.getUint32(CHOICE_BYTES + i * 8, true),
    logProb: data.getFloat32(CHOICE_BYTES + i * 8 + 4, true) - logSumExp,
  }));
  return { tokenId, logProb, confidence, logSumExp, top };
}
