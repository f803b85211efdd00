// From logits to tokens on the GPU: argmax, softmax statistics and top-k; what is read back is a few bytes a row.
import { at, GpuError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Executor, ProgramCache } from "../gpu/executor.ts";
import type { PreparedProgram } from "../gpu/prepared-program.ts";
import { padTo4 } from "../gpu/tensor.ts";
import type { TextConfig } from "../models/config.ts";
import { CHOICE_BYTES, MAX_LOOKAHEAD, type SequenceBuffers, TOP_K_OFFSET } from "../models/layers/decoder-state.ts";
import { chooseIntoSlotProgram, chooseProgram, chooseRowsProgram, maskProgram } from "./decoder-programs.ts";

/** A token with its log-probability in the distribution it was taken from. */
export interface TokenLogProb {
  readonly tokenId: number;
  /** Natural logarithm of the probability. */
  readonly logProb: number;
}

/** What the GPU chose from one row of logits. */
export interface TokenChoice {
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

/** How {@link TokenChooser} turns logits into a choice. */
export interface ChooseOptions {
  /** 1 leaves the logits alone. */
  readonly repetitionPenalty: number;
  /** Top entries to report, 0 to 100. */
  readonly topK: number;
}

/** Where the logits are. */
export interface LogitsOwner {
  readonly gpu: Gpu;
  readonly shared: { readonly text: TextConfig };
  readonly buffers: SequenceBuffers;
}

/** Chooses tokens from the logits that stand in a decoder's state. */
export class TokenChooser {
  private readonly owner: LogitsOwner;
  private readonly programs: ProgramCache;
  private rareKey = "";

  constructor(owner: LogitsOwner, programs: ProgramCache) {
    this.owner = owner;
    this.programs = programs;
  }

  /**
   * Chooses a token from the logits of the last forward call; nothing but the choice is read back.
   * @param stage what the choice is called, such as "confidence" or "choose token 3"
   * @throws GpuError when the logits are not finite.
   */
  async choose(executor: Executor, options: ChooseOptions & { readonly stage: string }): Promise<TokenChoice> {
    const { repetitionPenalty, topK, stage } = options;
    const isPenalised = repetitionPenalty !== 1;
    const isRare = isPenalised || topK > 0;
    const key = isRare ? `choose ${repetitionPenalty} ${topK}` : "choose";
    if (isRare) {
      // Any number of penalties and k may be asked for: only the last one's program is kept.
      if (this.rareKey !== key) this.programs.forget(this.rareKey);
      this.rareKey = key;
    }
    const program = await this.programs.get(executor, key, () =>
      chooseProgram(this.owner.buffers, { ...options, vocabSize: this.vocabSize }),
    );
    await executor.run([{ program, stage }]);
    return readChoice(await this.readBack(), { isPenalised, topK });
  }

  /**
   * The program that leaves the argmax of the logits in slot `slot` of the ring, and as the next step's token: the id
   * need not come to the CPU between two steps.
   */
  async greedyProgram(executor: Executor, slot: number): Promise<PreparedProgram> {
    const options = { vocabSize: this.vocabSize, slot: this.slotBuffer(slot) };
    return this.programs.get(executor, `choose into slot ${slot}`, () =>
      chooseIntoSlotProgram(this.owner.buffers, options),
    );
  }

  /** Starts reading a slot after its program was submitted; {@link TokenChooser.cancel} ends it early. */
  async readSlot(slot: number): Promise<TokenChoice> {
    const data = new DataView(await this.owner.gpu.readMapped(this.slotBuffer(slot)));
    return readChoice(data, { isPenalised: false, topK: 0 });
  }

  /** Gives up reading a slot, if it has not been read yet, so that it can be used again. */
  cancel(slot: number): void {
    this.owner.gpu.cancelRead(this.slotBuffer(slot));
  }

  private slotBuffer(slot: number): GPUBuffer {
    const buffer = this.owner.buffers.choiceRing[slot];
    if (buffer === undefined) throw new RangeError(`slot must be below ${MAX_LOOKAHEAD}, got ${slot}`);
    return buffer;
  }

  /**
   * Chooses the argmax of each batch row of the last forward call.
   * @throws GpuError when logits are not finite.
   */
  async chooseRows(
    executor: Executor,
    options: { readonly numRows: number; readonly stage: string },
  ): Promise<TokenChoice[]> {
    const { numRows, stage } = options;
    await executor.run([{ program: await this.rowsProgram(executor, numRows), stage }]);
    const choices = await this.readRows(numRows);
    return choices.map((choice) => choice());
  }

  /** The program that leaves the argmax of each batch row's logits for {@link TokenChooser.readRows}. */
  rowsProgram(executor: Executor, numRows: number): Promise<PreparedProgram> {
    return this.programs.get(executor, `choose ${numRows} rows`, () =>
      chooseRowsProgram(this.owner.buffers, { numRows, vocabSize: this.vocabSize }),
    );
  }

  /** Reads the choice of each batch row. @returns functions that throw GpuError where the row's logits are not finite */
  async readRows(numRows: number): Promise<(() => TokenChoice)[]> {
    const { buffer } = await this.readBack();
    const choice = (row: number) =>
      readChoice(new DataView(buffer, row * CHOICE_BYTES), { isPenalised: false, topK: 0 });
    return Array.from({ length: numRows }, (_, row) => () => choice(row));
  }

  /** The whole row of logits [V]; sampling and option confidence read it, greedy decoding does not. */
  async readLogits(): Promise<Float32Array<ArrayBuffer>> {
    return new Float32Array(await this.owner.gpu.readBuffer(this.owner.buffers.logits, this.vocabSize * 4));
  }

  /** The logits of the first batch rows, [V] each. */
  async readLogitsRows(numRows: number): Promise<Float32Array<ArrayBuffer>[]> {
    const stride = padTo4(this.vocabSize);
    const all = await this.owner.gpu.readBuffer(this.owner.buffers.logits, numRows * stride * 4);
    return Array.from({ length: numRows }, (_, row) => new Float32Array(all, row * stride * 4, this.vocabSize));
  }

  /**
   * Rules out, in the logits of the last forward call, every token whose bit is not set in `allowed`, [ceil(V / 32)]. The bits share
   * the buffer of {@link TokenChooser.writeSeen}, which has to be called after it.
   */
  async mask(executor: Executor, allowed: Uint32Array<ArrayBuffer>, stage: string): Promise<void> {
    const { gpu, buffers } = this.owner;
    gpu.write(buffers.seen, allowed);
    const program = await this.programs.get(executor, "mask", () =>
      maskProgram(buffers, { vocabSize: this.vocabSize, row: 0 }),
    );
    await executor.run([{ program, stage }]);
  }

  /** Marks the tokens that the repetition penalty acts on: a set of ids, the prompt's and the generated. */
  writeSeen(ids: ReadonlySet<number>): void {
    const words = new Uint32Array(Math.ceil(this.vocabSize / 32));
    for (const id of ids) {
      const word = Math.floor(id / 32);
      words[word] = at(words, word) | (1 << (id % 32));
    }
    this.owner.gpu.write(this.owner.buffers.seen, words);
  }

  private get vocabSize(): number {
    return this.owner.shared.text.vocabSize;
  }

  private async readBack(): Promise<DataView<ArrayBuffer>> {
    return new DataView(await this.owner.gpu.readMapped(this.owner.buffers.readback));
  }
}

/**
 * Reads what choose-token wrote.
 * @throws GpuError when the logits are not finite.
 * @internal
 */
export function readChoice(
  data: DataView,
  options: { readonly isPenalised: boolean; readonly topK: number },
): TokenChoice {
  const plainLogSumExp = data.getFloat32(8, true);
  // A shader's logarithm of 1 may be a little below 0.
  const confidence = Math.min(1, Math.exp(data.getFloat32(4, true) - plainLogSumExp));
  const at = options.isPenalised ? CHOICE_BYTES : 0;
  const tokenId = data.getUint32(at, true);
  const logSumExp = data.getFloat32(at + 8, true);
  const logProb = data.getFloat32(at + 4, true) - logSumExp;
  const numBad = data.getUint32(12, true) + (options.isPenalised ? data.getUint32(at + 12, true) : 0);
  if (numBad > 0 || !Number.isFinite(logProb) || !Number.isFinite(plainLogSumExp)) {
    throw new GpuError(
      "shader",
      "The logits are not finite numbers, so no token can be chosen; check the checkpoint's weights and the factor, or try another adapter.",
    );
  }
  const top = Array.from({ length: options.topK }, (_, i) => ({
    tokenId: data.getUint32(TOP_K_OFFSET + i * 8, true),
    logProb: data.getFloat32(TOP_K_OFFSET + i * 8 + 4, true) - logSumExp,
  }));
  return { tokenId, logProb, confidence, logSumExp, top };
}
