// One sequence of tokens in a decoder: its keys and values, its logits and its recorded programs. Embeds a prompt, prefills in
// chunks, steps token by token; a token costs one submit and one readback of a few bytes.
import { at, GpuError, throwIfAborted } from "../errors.ts";
import { GPU_STORAGE, type Gpu } from "../gpu/device.ts";
import { type Executor, ProgramCache, runOnce, type StagedProgram } from "../gpu/executor.ts";
import type { PreparedProgram } from "../gpu/prepared-program.ts";
import { Program } from "../gpu/program.ts";
import { padTo4 } from "../gpu/tensor.ts";
import type { Run } from "../models/inputs.ts";
import {
  createKeyValueCache,
  createSequenceBuffers,
  destroyKeyValueCache,
  destroySequenceBuffers,
  type KeyValueCache,
  keyValueBytes,
  type SequenceBuffers,
} from "../models/layers/decoder-state.ts";
import type { PlaceRequests } from "../models/layers/places.ts";
import type { RowEdits, SinkActivations } from "../models/layers/row-edits.ts";
import { rowStrengthNeeds } from "../models/layers/score-edits.ts";
import { packStep, type StepSlots } from "../models/layers/step.ts";
import { copyKeyValues } from "./copy-key-values.ts";
import {
  type DecoderRun,
  embedPromptProgram,
  embedTokensProgram,
  type GatheredRows,
  prefillProgram,
  repeatRowProgram,
  stepProgram,
} from "./decoder-programs.ts";
import { copyPrompt, type HeldPrompt, type Prompt, reusablePositions } from "./prompt.ts";
import { RotaryPositions } from "./rotary-positions.ts";
import type { SharedDecoder } from "./shared-decoder.ts";
import { type TokenChoice, TokenChooser } from "./token-chooser.ts";

/** Sentinel id; embed-tokens skips this row. */
const NO_TOKEN = 0xffffffff;

/** Cache slots are allocated in multiples of this. */
export const CAPACITY_STEP = 256;

/** What a forward call runs with. */
export interface ForwardOptions {
  readonly executor: Executor;
  /** Score edits of each batch row as packScoreEdits packs them; none unless given. */
  readonly edits?: Uint32Array<ArrayBuffer> | undefined;
  /** What is read or written on the way; nothing unless given. */
  readonly places?: PlaceRequests | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What a prefill runs with. */
export interface PrefillOptions extends ForwardOptions {
  /** What the chunks are called; "prefill" unless given. */
  readonly stage?: string | undefined;
}

/** Rows of a batch: sequences that share a prompt and then each go their own way. */
export interface Batch {
  readonly numRows: number;
  /** Cache slots [0, prefixLength) are shared. */
  readonly prefixLength: number;
  /** Cache slots of each row's own tail. */
  readonly tailLength: number;
}

/** A sequence with its cache; one forward call at a time, and only one of all the sequences of a model. */
export class Sequence {
  readonly shared: SharedDecoder;
  /** Chooses tokens from the logits of the last forward call. */
  readonly chooser: TokenChooser;
  private readonly programs = new ProgramCache();
  private readonly generation: number;
  private positions: RotaryPositions | undefined;
  private promptLength = 0;
  /** Positions of the prompt's pictures. */
  private imageRuns: readonly Run[] = [];
  private cache: KeyValueCache | undefined;
  private own: SequenceBuffers | undefined;
  private sharedVersion = -1;
  private held: HeldPrompt | undefined;
  /** What the rows of the held prompt were rotated for; see {@link rotatedLength}. */
  private heldLength = 0;
  /** Number of first positions that were computed by prefill alone, so that their bits do not depend on earlier questions. */
  private numPrefilled = 0;
  private isPrefilled = true;
  /** [T, D]: the prompt's embeddings, where other sequences may run before all of the prompt has. */
  private keptEmbeds: GPUBuffer | undefined;
  /** Of the positions in the cache; made by the first edits that redistribute what sinks get. */
  private sinks: SinkActivations | undefined;

  constructor(shared: SharedDecoder) {
    this.shared = shared;
    this.generation = shared.generation;
    this.chooser = new TokenChooser(this, this.programs);
  }

  /** Device of the decoder. */
  get gpu(): Gpu {
    return this.shared.gpu;
  }

  /** Bytes of the keys and values. */
  get numBytes(): number {
    return this.cache === undefined ? 0 : keyValueBytes(this.shared.text, this.cache);
  }

  /** Whether the GPU ran out of memory since the sequence was made; it must not be used any more. */
  get isVoid(): boolean {
    return this.generation !== this.shared.generation;
  }

  /** @throws GpuError `out-of-memory` where {@link Sequence.isVoid}. */
  throwIfVoid(): void {
    if (this.isVoid) throw new GpuError("out-of-memory", "The GPU ran out of memory meanwhile; ask again.");
  }

  /** Logits and choices. @throws RangeError before {@link Sequence.begin}. */
  get buffers(): SequenceBuffers {
    if (this.own === undefined) throw new RangeError("The sequence was used before a prompt was begun.");
    return this.own;
  }

  /** Number of first positions of a prompt whose keys and values are in the cache. */
  reusable(prompt: Prompt): number {
    return reusablePositions(this.heldFor(prompt), prompt);
  }

  /** The part of {@link reusable} that another sequence may take over: positions that were prefilled. */
  sharable(prompt: Prompt): number {
    const numReusable = this.reusable(prompt);
    if (numReusable <= this.numPrefilled) return numReusable;
    // Cut as a shorter hold would be, so that no picture is left in part.
    const held = this.heldFor(prompt);
    return held === undefined ? 0 : reusablePositions({ ...held, numPositions: this.numPrefilled }, prompt);
  }

  /** Number of first positions of {@link reusable} whose sinks in these dimensions are known. */
  numWithSinks(dimensions: readonly number[]): number {
    return this.sinks?.dimensions.join() === dimensions.join() ? this.sinks.numPositions : 0;
  }

  /** Positions whose keys and values are held for reuse. */
  get numHeld(): number {
    return this.held?.numPositions ?? 0;
  }

  /**
   * Makes room for a prompt and its answer.
   * @param options.keep positions at the start whose keys and values have to survive
   * @throws GpuError `limit` or `out-of-memory`.
   */
  async begin(
    prompt: Prompt,
    options: {
      readonly maxNewTokens: number;
      readonly keep: number;
      readonly executor: Executor;
      readonly batchRows?: number | undefined;
    },
  ): Promise<void> {
    const { shared } = this;
    const { batchRows = 1, keep } = options;
    this.forgetEmbeddings();
    const promptRows = prompt.inputIds.length;
    await this.gpu.guard("allocating the key/value cache", async () => {
      shared.reserve({ promptRows, batchRows });
      await this.reserveCache(promptRows + batchRows * options.maxNewTokens, keep, options.executor);
      this.reserveOwn(batchRows);
      this.dropStalePrograms();
    });
    this.positions = new RotaryPositions(this.shared.text, prompt);
    this.promptLength = promptRows;
    this.imageRuns = prompt.images.flatMap(({ runs }) => runs);
    this.held = undefined;
    this.isPrefilled = keep <= this.numPrefilled;
    this.numPrefilled = Math.min(this.numPrefilled, keep);
    if (this.sinks !== undefined) this.sinks.numPositions = Math.min(this.sinks.numPositions, keep);
  }

  /** Copies the first positions' keys and values of another sequence over; {@link Sequence.begin} must have made room. */
  async copyFrom(other: Sequence, numPositions: number, executor: Executor): Promise<void> {
    await copyKeyValues(this.shared.text, { from: other.keyValues, to: this.keyValues }, { numPositions, executor });
    this.numPrefilled = numPositions;
  }

  /**
   * Notes what the cache holds unmodified, for a later prompt that begins alike.
   * @param generatedIds ids behind the prompt that were run unmodified
   */
  hold(prompt: Prompt, numPositions: number, generatedIds: readonly number[] = []): void {
    this.numPrefilled = this.isPrefilled ? numPositions : Math.min(this.numPrefilled, numPositions);
    const length = numPositions + generatedIds.length;
    this.held = { prompt: copyPrompt(prompt, generatedIds), numPositions: length };
    this.heldLength = new RotaryPositions(this.shared.text, prompt).promptRotatedLength;
  }

  /** Forgets what the cache holds. */
  forget(): void {
    this.held = undefined;
    this.numPrefilled = 0;
  }

  /**
   * Forgets rows that decode steps have written, and those after them. Their last bits differ from a prefill's, and the results
   * of another sequence must not depend on earlier questions.
   */
  forgetGenerated(): void {
    if (this.held === undefined) return;
    const { prompt, numPositions } = this.held;
    this.held = { prompt, numPositions: Math.min(numPositions, this.numPrefilled) };
  }

  /**
   * Writes inputsEmbeds [T, D] for a prompt, and what is added behind the first layers of a decoder that takes features there.
   * @param features of each picture, [1 + deepstack layers, N·P, D] f32; rows of a picture without keep what they hold
   * @param filler [D] f32, for feature rows of −1
   */
  async embed(
    prompt: Prompt,
    features: readonly (GPUBuffer | undefined)[],
    options: { readonly executor: Executor; readonly filler: GPUBuffer | undefined },
  ): Promise<void> {
    const { gpu, shared } = this;
    const { scratch } = shared.decoder;
    const lookup = Uint32Array.from(prompt.inputIds);
    for (const { runs } of prompt.images) for (const run of runs) lookup.fill(NO_TOKEN, ...run);
    gpu.write(scratch.promptIds, lookup);
    const gathered: GatheredRows[] = [];
    const temporary: GPUBuffer[] = [];
    try {
      for (const [index, { runs, rowIndex }] of prompt.images.entries()) {
        const source = features[index];
        if (source === undefined) continue;
        const numLevels = 1 + shared.text.numDeepstackLayers;
        const levelRows = source.size / (numLevels * padTo4(shared.text.hiddenSize) * 4);
        for (let level = 0; level < numLevels; level++) {
          const ofLevel = rowIndex.map((row) => (row < 0 ? row : row + level * levelRows));
          let first = 0;
          for (const [position, end] of runs) {
            const numRows = end - position;
            const index = gpu.createBufferWith("image row index", ofLevel.slice(first, first + numRows), GPU_STORAGE);
            temporary.push(index);
            const start = level * scratch.size.promptRows + position;
            gathered.push({ features: source, index, filler: options.filler ?? gpu.unused, start, numRows });
            first += numRows;
          }
        }
      }
      const program = embedPromptProgram(shared.decoder, lookup.length, gathered);
      await runOnce(options.executor, program, "embed prompt");
    } finally {
      for (const buffer of temporary) gpu.destroyBuffer(buffer);
    }
  }

  /**
   * Runs prompt positions [start, end) through all layers in chunks; earlier ones must be in the cache.
   * Afterwards the logits are those of position end − 1.
   * @throws AbortError between chunks.
   */
  async prefill(range: readonly [start: number, end: number], options: PrefillOptions): Promise<void> {
    const chunks = this.prefillChunks(range, options);
    while ((await chunks.next()).done !== true);
  }

  /**
   * As {@link Sequence.prefill}, pausing between two chunks. Other sequences may run there only after
   * {@link Sequence.keepEmbeddings}.
   */
  async *prefillChunks(
    range: readonly [start: number, end: number],
    options: PrefillOptions,
  ): AsyncGenerator<void, void, void> {
    const [start, end] = range;
    const { executor, places, stage = "prefill" } = options;
    for (let first = start; first < end; ) {
      throwIfAborted(options.signal, "Prefill");
      const most = Math.min(end, first + this.shared.chunkRows);
      const chunkEnd = places?.chunkEnd(first, most) ?? most;
      this.shared.reserve({ editBytes: this.editBytes(options.edits, chunkEnd - first) });
      const rowEdits = await this.rowEdits(options.edits);
      if (this.sinks !== undefined && rowEdits?.hasSinks === true && first > this.sinks.numPositions) {
        throw new RangeError(`The sinks are known up to position ${this.sinks.numPositions}, not up to ${first}.`);
      }
      this.writeInputs({ slotStart: first, numRows: chunkEnd - first }, options);
      const isWhole = first === start && chunkEnd === end;
      const name = isWhole ? stage : `${stage}, positions ${first} to ${chunkEnd - 1}`;
      const numRows = chunkEnd - first;
      const program = prefillProgram(this.run, this.gpu, {
        start: first,
        numRows,
        hasLogits: chunkEnd === end,
        isEdited: options.edits !== undefined,
        rowEdits,
        places: places?.visitor(first, numRows),
        imageRuns: this.imageRuns,
      });
      await runOnce(executor, program, name);
      if (rowEdits?.hasSinks === true && this.sinks !== undefined) this.sinks.numPositions = chunkEnd;
      first = chunkEnd;
      if (first < end) yield;
    }
  }

  /** Keeps the embeddings of the prompt, so that other sequences may run before all of it has. */
  async keepEmbeddings(executor: Executor): Promise<void> {
    if (this.keptEmbeds !== undefined) return;
    const { gpu, shared, promptLength } = this;
    const { inputsEmbeds, size: scratchSize } = shared.decoder.scratch;
    const { hiddenSize, numDeepstackLayers } = shared.text;
    const rowBytes = padTo4(hiddenSize) * 4;
    const size = promptLength * rowBytes;
    const kept = gpu.createBuffer("kept inputsEmbeds", (1 + numDeepstackLayers) * size, GPU_STORAGE);
    this.keptEmbeds = kept;
    const program = new Program("keep embeddings");
    for (let level = 0; level <= numDeepstackLayers; level++) {
      const sourceOffset = level * scratchSize.promptRows * rowBytes;
      program.copy(inputsEmbeds, kept, { size, sourceOffset, targetOffset: level * size });
    }
    await runOnce(executor, program, "keep embeddings");
  }

  /** Frees the embeddings that {@link Sequence.keepEmbeddings} kept. */
  forgetEmbeddings(): void {
    if (this.keptEmbeds !== undefined) this.gpu.destroyBuffer(this.keptEmbeds);
    this.keptEmbeds = undefined;
  }

  /** Runs one prompt position again over the cached prefix, overwriting its own cache slot: AdaptVis' extra step. */
  async repeatPromptRow(
    position: number,
    options: ForwardOptions & { readonly batch?: Batch; readonly stage: string },
  ): Promise<void> {
    const { executor } = options;
    const numRows = options.batch?.numRows ?? 1;
    this.refresh(options);
    const prepared = await executor.prepare(repeatRowProgram(this.run, position, numRows));
    try {
      await this.forward(position, options, [{ program: prepared, stage: options.stage }]);
    } finally {
      prepared.dispose();
    }
  }

  /**
   * Yields greedy choices, beginning with the current logits; `firstPosition` is the position of the first new token. Steps are
   * submitted up to the lookahead before their choices are read, each reading the token that the GPU chose before it.
   * @throws GpuError when logits are not finite.
   */
  async *greedyChoices(
    firstPosition: number,
    options: ForwardOptions & { readonly maxNewTokens: number },
  ): AsyncGenerator<TokenChoice, void, void> {
    const { chooser } = this;
    const { executor } = options;
    const lookahead = Math.min(this.shared.lookahead, executor.maxLookahead);
    const reads: Promise<TokenChoice>[] = [];
    let numRead = 0;
    try {
      while (numRead < options.maxNewTokens) {
        while (reads.length < Math.min(options.maxNewTokens, numRead + lookahead)) {
          this.refresh(options);
          const index = reads.length;
          const slot = index % lookahead;
          const choose = { program: await chooser.greedyProgram(executor, slot), stage: `choose token ${index}` };
          if (index === 0) {
            await executor.run([choose]);
          } else {
            const stage = `decode step ${index}`;
            const embed = { program: await this.embedding(executor, 1), stage };
            await this.forward(firstPosition + index - 1, { ...options, stage }, [embed], choose);
          }
          const read = chooser.readSlot(slot);
          read.catch(() => undefined); // reported to the caller that awaits it; a cancelled read has none
          reads.push(read);
        }
        const choice = await at(reads, numRead);
        numRead++;
        yield choice;
      }
    } finally {
      for (; numRead < reads.length; numRead++) chooser.cancel(numRead % lookahead);
    }
  }

  /** Runs one generated token per batch row at `position`. */
  async step(
    tokenIds: readonly number[],
    position: number,
    options: ForwardOptions & { readonly batch?: Batch; readonly stage: string },
  ): Promise<void> {
    this.refresh(options);
    this.gpu.write(this.buffers.tokenIds, Uint32Array.from(tokenIds));
    const program = await this.embedding(options.executor, tokenIds.length);
    await this.forward(position, options, [{ program, stage: options.stage }]);
  }

  /** Frees cache, buffers and programs. */
  dispose(): void {
    this.programs.dispose();
    this.held = undefined;
    this.positions = undefined;
    if (this.cache !== undefined) destroyKeyValueCache(this.gpu, this.cache);
    if (this.own !== undefined) destroySequenceBuffers(this.gpu, this.own);
    this.forgetSinks();
    this.forgetEmbeddings();
    this.cache = undefined;
    this.own = undefined;
  }

  private forgetSinks(): void {
    if (this.sinks !== undefined) this.gpu.destroyBuffer(this.sinks.buffer);
    this.sinks = undefined;
  }

  /** What rows at any slots are rotated by. @throws RangeError before {@link Sequence.begin}. */
  get rotary(): RotaryPositions {
    if (this.positions === undefined) throw new RangeError("The sequence was used before a prompt was begun.");
    return this.positions;
  }

  private get run(): DecoderRun {
    const kept = this.keptEmbeds && { inputsEmbeds: this.keptEmbeds, promptRows: this.promptLength };
    return { decoder: this.shared.decoder, cache: this.keyValues, own: this.buffers, kept };
  }

  /** Keys and values of all positions that have run. @throws RangeError before {@link Sequence.begin}. */
  get keyValues(): KeyValueCache {
    if (this.cache === undefined) throw new RangeError("The sequence was used before a prompt was begun.");
    return this.cache;
  }

  private embedding(executor: Executor, numRows: number): Promise<PreparedProgram> {
    return this.programs.get(executor, `embed ${numRows} tokens`, () => embedTokensProgram(this.run, numRows));
  }

  private async forward(
    position: number,
    options: ForwardOptions & { readonly batch?: Batch; readonly stage: string },
    before: readonly StagedProgram[],
    choose?: StagedProgram,
  ): Promise<void> {
    const { executor, edits, places, batch, stage } = options;
    const numRows = batch?.numRows ?? 1;
    const visitor = places?.visitor(position, numRows);
    const isEdited = edits !== undefined;
    const label = `step ${numRows} rows`;
    const rowEdits = await this.rowEdits(edits);
    const record = () => stepProgram(this.run, this.gpu, { label, numRows, isEdited, rowEdits, places: visitor });
    // Only programs that read and write nothing on the way, or always the same, are the same at every position.
    const isPlain = visitor === undefined;
    const kept = isPlain ? this.programs : visitor.programs;
    const key = [label, isEdited, rowEdits !== undefined, rowEdits?.hasSinks].join();
    const program = await (kept === undefined
      ? executor.prepare(record())
      : kept.get(executor, isPlain ? key : `${key}, buffers ${this.sharedVersion}`, record));
    try {
      this.writeInputs({ slotStart: position, numRows, batch }, options);
      await executor.run([...before, { program, stage }, ...(choose === undefined ? [] : [choose])]);
    } finally {
      if (kept === undefined) program.dispose();
    }
  }

  /** Bytes of edits, and of the row strengths that a call of so many rows puts behind them. */
  private editBytes(edits: ForwardOptions["edits"], numRows: number): number {
    if (edits === undefined) return 0;
    const { numAttentionHeads } = this.shared.text;
    return edits.byteLength + numRows * 4 * (rowStrengthNeeds(edits, numAttentionHeads)?.wordsPerRow ?? 0);
  }

  /** What records the row strengths of edits; undefined where they have none. */
  private async rowEdits(edits: ForwardOptions["edits"]): Promise<RowEdits | undefined> {
    const { text } = this.shared;
    const needs = edits && rowStrengthNeeds(edits, text.numAttentionHeads);
    if (needs === undefined) return undefined;
    const { RowEdits, SinkActivations } = await import("../models/layers/row-edits.ts"); // a chunk of its own for bundlers
    if (needs.sinks === undefined) return new RowEdits(text, needs, undefined);
    const size = { capacity: this.keyValues.capacity, dimensions: needs.sinks.dimensions };
    if (this.sinks?.fits(size) !== true) {
      this.programs.dispose();
      this.forgetSinks();
      this.sinks = new SinkActivations(this.gpu, text, size);
    }
    return new RowEdits(text, needs, this.sinks);
  }

  /** Writes what one forward call reads beside its rows: slots, rotations and score edits. */
  private writeInputs(
    rows: { readonly slotStart: number; readonly numRows: number; readonly batch?: Batch | undefined },
    { edits }: Pick<ForwardOptions, "edits">,
  ): void {
    const { slotStart, numRows, batch } = rows;
    const slots: StepSlots = batch === undefined ? { slotStart } : batchSlots(slotStart, batch);
    const { scratch } = this.shared.decoder;
    this.gpu.write(scratch.step, packStep(slots));
    // Rows of a batch are at one slot: all are rotated alike.
    const rotary = this.rotary.rowsFrom(slotStart, batch === undefined ? numRows : 1);
    this.gpu.write(scratch.rotary, batch === undefined ? rotary : repeated(rotary, numRows));
    if (edits !== undefined) this.gpu.write(scratch.edits, edits);
  }

  /**
   * What the cache holds, unless its prompt's rows were rotated for another length than this prompt's. Generated rows that were
   * rotated for their own length lie behind every position that two prompts of one length can share.
   */
  private heldFor(prompt: Prompt): HeldPrompt | undefined {
    const { promptRotatedLength } = new RotaryPositions(this.shared.text, prompt);
    return promptRotatedLength === this.heldLength ? this.held : undefined;
  }

  /** Before the programs of a step are taken: makes room, also where another sequence has run in between. */
  private refresh({ edits, batch }: Pick<ForwardOptions, "edits"> & { readonly batch?: Batch | undefined }): void {
    const numRows = batch?.numRows ?? 1;
    this.shared.reserve({ batchRows: numRows, editBytes: this.editBytes(edits, numRows) });
    this.dropStalePrograms();
  }

  /** Programs name scratch buffers, which a longer prompt or more edits replace. */
  private dropStalePrograms(): void {
    if (this.sharedVersion === this.shared.version) return;
    this.programs.dispose();
    this.sharedVersion = this.shared.version;
  }

  private async reserveCache(capacity: number, keep: number, executor: Executor): Promise<void> {
    const before = this.cache;
    if (before !== undefined && before.capacity >= capacity) return;
    const rounded = Math.ceil(capacity / CAPACITY_STEP) * CAPACITY_STEP;
    this.programs.dispose();
    this.forgetSinks();
    if (before !== undefined && keep === 0) {
      this.cache = undefined; // frees before it allocates
      destroyKeyValueCache(this.gpu, before);
    }
    this.cache = createKeyValueCache(this.gpu, this.shared.text, {
      capacity: rounded,
      dtype: this.shared.kvDtype,
    });
    if (before === undefined || keep === 0) return;
    await copyKeyValues(this.shared.text, { from: before, to: this.cache }, { numPositions: keep, executor });
    destroyKeyValueCache(this.gpu, before);
  }

  private reserveOwn(batchRows: number): void {
    if (this.own !== undefined && this.own.batchRows >= batchRows) return;
    this.programs.dispose();
    if (this.own !== undefined) destroySequenceBuffers(this.gpu, this.own);
    this.own = undefined;
    this.own = createSequenceBuffers(this.gpu, this.shared.text, batchRows);
  }
}

function repeated(row: Float32Array<ArrayBuffer>, count: number): Float32Array<ArrayBuffer> {
  const rows = new Float32Array(count * row.length);
  for (let index = 0; index < count; index++) rows.set(row, index * row.length);
  return rows;
}

/** The rows of a batch at one slot, whose tails follow each other in the cache. */
function batchSlots(slot: number, { numRows, prefixLength, tailLength }: Batch): StepSlots {
  return { rows: Array.from({ length: numRows }, (_, row) => ({ slot, offset: row * tailLength })), prefixLength };
}
