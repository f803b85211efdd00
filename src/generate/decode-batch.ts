// Decodes several answers together: each step runs one token of every answer that waits for its next one. Answers join and leave
// between two steps (continuous batching: Yu et al., "Orca", OSDI 2022). Each has its own keys and values, edits and way to choose.
import { at, GpuError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import { type Executor, ProgramCache, SubmitExecutor } from "../gpu/executor.ts";
import { Program } from "../gpu/program.ts";
import { padTo4 } from "../gpu/tensor.ts";
import { createSequenceBuffers, destroySequenceBuffers, type SequenceBuffers } from "../models/layers/decoder-state.ts";
import { packScoreEdits, type ScoreEdit } from "../models/layers/score-edits.ts";
import { MAX_DECODE_ROWS, packStep } from "../models/layers/step.ts";
import { BatchCache, type CacheRun } from "./batch-cache.ts";
import { copyKeyValues } from "./copy-key-values.ts";
import { type DecoderRun, embedTokensProgram, stepProgram } from "./decoder-programs.ts";
import type { LruBudget, LruItem } from "./lru-budget.ts";
import type { RotaryPositions } from "./rotary-positions.ts";
import type { Sequence } from "./sequence.ts";
import type { SharedDecoder } from "./shared-decoder.ts";
import { type TokenChoice, TokenChooser } from "./token-chooser.ts";
import type { ChosenToken, TokenPicker } from "./token-picker.ts";

/** What a batch needs of its model. */
export interface BatchHost {
  readonly shared: SharedDecoder;
  /** The cache of a batch without answers counts against it. */
  readonly budget: LruBudget;
  /** Runs `work` when nothing else of the model runs. */
  inTurn<T>(phase: string, work: () => Promise<T>): Promise<T>;
}

/** How an answer goes on in a batch. */
export interface JoinOptions {
  /** Slots of the prompt and of all tokens that may come. */
  readonly numSlots: number;
  /** First positions of the sequence whose keys and values go over: all that have run. */
  readonly numPositions: number;
  readonly rotary: RotaryPositions;
  readonly picker: TokenPicker;
  /** Edits of the attention of generated rows, none of which has row strengths. */
  readonly edits: readonly ScoreEdit[];
  /** Most bytes that all buffers of the engine may take: the answer does not join where the batch's cache would need more. */
  readonly maxBytes: number;
}

/** An answer's place in a batch. */
export interface BatchSeat {
  /**
   * Runs the token that the picker has taken last in the next step of the batch, and takes the one after it. Outside of turns.
   * @throws GpuError; AbortError when the model is disposed.
   */
  next(): Promise<ChosenToken>;
  /** Gives the place up; a second call does nothing. */
  leave(): void;
}

/** An answer that waits for its next token. */
interface Waiter {
  resolve(chosen: ChosenToken): void;
  reject(error: unknown): void;
}

interface Row extends Omit<JoinOptions, "numPositions" | "maxBytes"> {
  readonly run: CacheRun;
  /** Slot of the next token to be run. */
  slot: number;
  waiter: Waiter | undefined;
  /** Why the answer cannot go on. */
  failure: unknown;
}

/** What a step gave one row. */
type Outcome = { readonly chosen: ChosenToken } | { readonly error: unknown };

/** The answers of one model that decode together. */
export class DecodeBatch {
  private readonly host: BatchHost;
  private readonly executor: Executor;
  private readonly cache: BatchCache;
  private readonly rows = new Set<Row>();
  private readonly programs = new ProgramCache();
  private readonly chooser: TokenChooser;
  private own: SequenceBuffers | undefined;
  /** One row of logits, for answers that do more than take the most probable token of each. */
  private single: SequenceBuffers | undefined;
  private readonly singleChooser: TokenChooser;
  private readonly singlePrograms = new ProgramCache();
  /** What {@link programs} were recorded for. */
  private recordedFor = "";
  private packed: { readonly of: readonly Row[]; readonly words: Uint32Array<ArrayBuffer> } | undefined;
  private idle: LruItem | undefined;
  private generation: number;
  private isStepping = false;
  private wake: (() => void) | undefined;

  constructor(host: BatchHost) {
    const { shared } = host;
    this.host = host;
    this.executor = new SubmitExecutor(shared.gpu);
    this.cache = new BatchCache(shared);
    this.generation = shared.generation;
    this.chooser = new TokenChooser(new LazyBuffers(shared, () => this.buffers), this.programs);
    this.singleChooser = new TokenChooser(new LazyBuffers(shared, () => this.singleBuffers), this.singlePrograms);
  }

  /** Answers in the batch. */
  get numRows(): number {
    return this.rows.size;
  }

  /**
   * Takes an answer over from its own sequence. In a turn.
   * @returns undefined where the batch has no room
   * @throws GpuError `out-of-memory`.
   */
  async join(sequence: Sequence, options: JoinOptions): Promise<BatchSeat | undefined> {
    const { executor } = this;
    const { shared, budget } = this.host;
    if (this.generation !== shared.generation) this.free();
    if (this.rows.size >= MAX_DECODE_ROWS) return undefined;
    const { numPositions, maxBytes, ...row } = options;
    const run = await this.cache.add(row.numSlots, { executor, maxBytes });
    if (run === undefined) return undefined;
    if (this.idle !== undefined) budget.remove(this.idle);
    this.idle = undefined;
    const joined: Row = { ...row, run, slot: numPositions, waiter: undefined, failure: undefined };
    this.rows.add(joined);
    try {
      const caches = { from: sequence.keyValues, to: this.cache.cache };
      await copyKeyValues(shared.text, caches, { numPositions, toSlot: run.start, executor });
    } catch (error) {
      this.remove(joined);
      throw error;
    }
    return { next: () => this.next(joined), leave: () => this.remove(joined) };
  }

  private get gpu(): Gpu {
    return this.host.shared.gpu;
  }

  private get buffers(): SequenceBuffers {
    this.own ??= createSequenceBuffers(this.gpu, this.host.shared.text, MAX_DECODE_ROWS);
    return this.own;
  }

  private get singleBuffers(): SequenceBuffers {
    this.single ??= createSequenceBuffers(this.gpu, this.host.shared.text, 1);
    return this.single;
  }

  private next(row: Row): Promise<ChosenToken> {
    return new Promise((resolve, reject) => {
      if (!this.rows.has(row)) {
        reject(row.failure ?? new RangeError("The answer has left its batch."));
        return;
      }
      row.waiter = { resolve, reject };
      if (this.isStepping) this.wakeIfAllWait();
      else void this.stepWhileWanted();
    });
  }

  private remove(row: Row): void {
    if (!this.rows.delete(row)) return;
    this.cache.remove(row.run);
    this.wakeIfAllWait();
    if (this.rows.size > 0) return;
    if (this.generation !== this.host.shared.generation) {
      this.free();
      return;
    }
    const { cache } = this;
    this.idle = {
      numBytes: cache.numBytes,
      evict: () => {
        this.idle = undefined;
        this.free();
      },
    };
    this.host.budget.use(this.idle);
  }

  private get waiting(): readonly Row[] {
    return [...this.rows].filter(({ waiter }) => waiter !== undefined);
  }

  private wakeIfAllWait(): void {
    if (this.waiting.length === this.rows.size) this.wake?.();
  }

  /** Steps until no answer waits for a token. */
  private async stepWhileWanted(): Promise<void> {
    this.isStepping = true;
    try {
      for (;;) {
        await this.gathered();
        const rows = this.waiting;
        if (rows.length === 0) return;
        const outcomes = await this.stepOf(rows);
        for (const [index, row] of rows.entries()) settle(row, at(outcomes, index));
      }
    } finally {
      this.isStepping = false;
    }
  }

  /** Waits for all answers to want their next token, but not for those that somebody reads slowly. */
  private async gathered(): Promise<void> {
    if (this.waiting.length === this.rows.size) return;
    await new Promise<void>((resolve) => {
      this.wake = resolve;
      setTimeout(resolve, 0);
    });
    this.wake = undefined;
  }

  private async stepOf(rows: readonly Row[]): Promise<readonly Outcome[]> {
    try {
      return await this.host.inTurn("decode", () => this.step(rows));
    } catch (error) {
      return rows.map(() => ({ error }));
    }
  }

  /** One token of each row that has not left meanwhile: the slots of the others may be taken already. */
  private async step(wanted: readonly Row[]): Promise<readonly Outcome[]> {
    if (this.generation !== this.host.shared.generation) {
      throw new GpuError("out-of-memory", "The GPU ran out of memory while the answer was generated; ask again.");
    }
    const rows = wanted.filter((row) => this.rows.has(row));
    const choices = rows.length === 0 ? [] : await this.run(rows);
    const outcomes = new Map<Row, Outcome>();
    for (const [index, row] of rows.entries()) {
      row.slot++;
      outcomes.set(row, await this.take(row, index, at(choices, index)));
    }
    return wanted.map((row) => outcomes.get(row) ?? { error: new RangeError("The answer has left its batch.") });
  }

  private async run(rows: readonly Row[]): Promise<(() => TokenChoice)[]> {
    const { executor, gpu, buffers } = this;
    const { shared } = this.host;
    const numRows = rows.length;
    const edits = this.editsOf(rows);
    shared.reserve({ batchRows: numRows, editBytes: edits?.byteLength ?? 0 });
    this.dropStalePrograms();
    const { scratch } = shared.decoder;
    const slots = rows.map(({ slot, run }) => ({ slot, offset: run.start }));
    gpu.write(
      buffers.tokenIds,
      Uint32Array.from(rows, ({ picker }) => picker.lastId),
    );
    gpu.write(scratch.step, packStep({ rows: slots, prefixLength: 0 }));
    gpu.write(scratch.rotary, joined(rows.map(({ rotary, slot }) => rotary.rowsFrom(slot, 1))));
    if (edits !== undefined) gpu.write(scratch.edits, edits);

    const stage = `decode step of ${numRows} rows`;
    const run: DecoderRun = { decoder: shared.decoder, cache: this.cache.cache, own: buffers };
    const isEdited = edits !== undefined;
    // A power of two, so that few programs are recorded.
    const raggedKeys = 2 ** Math.ceil(Math.log2(Math.max(...rows.map(({ numSlots }) => numSlots))));
    const options = { label: stage, numRows, isEdited, places: undefined, raggedKeys };
    const record = () => stepProgram(run, gpu, options);
    const programs = [
      await this.programs.get(executor, `embed ${numRows}`, () => embedTokensProgram(run, numRows)),
      await this.programs.get(executor, `step ${[numRows, isEdited, raggedKeys].join()}`, record),
      await this.chooser.rowsProgram(executor, numRows),
    ];
    await executor.run(programs.map((program) => ({ program, stage })));
    return this.chooser.readRows(numRows);
  }

  private async take(row: Row, index: number, choice: () => TokenChoice): Promise<Outcome> {
    const { picker } = row;
    try {
      await picker.ran();
      if (picker.isPlain) return { chosen: picker.takePlain(choice()) };
      choice(); // throws where the logits are not finite
      await this.copyLogits(index);
      const { gpu, singleBuffers: buffers, singleChooser: chooser } = this;
      return { chosen: await picker.take({ gpu, buffers, chooser }, this.executor) };
    } catch (error) {
      return { error };
    }
  }

  private async copyLogits(index: number): Promise<void> {
    const { buffers, singleBuffers, executor } = this;
    const size = padTo4(this.host.shared.text.vocabSize) * 4;
    const stage = `logits of row ${index}`;
    const program = await this.singlePrograms.get(executor, stage, () => {
      const copy = new Program(stage);
      copy.copy(buffers.logits, singleBuffers.logits, { size, sourceOffset: index * size });
      return copy;
    });
    await executor.run([{ program, stage }]);
  }

  /** The edits of all rows, packed; undefined when no row has edits. */
  private editsOf(rows: readonly Row[]): Uint32Array<ArrayBuffer> | undefined {
    if (rows.every(({ edits }) => edits.length === 0)) return undefined;
    const { packed } = this;
    if (packed?.of.length === rows.length && packed.of.every((row, index) => row === rows[index])) return packed.words;
    const { numHiddenLayers: numLayers, numAttentionHeads: numHeads } = this.host.shared.text;
    const words = packScoreEdits(
      rows.map(({ edits }) => edits),
      { numLayers, numHeads },
    );
    this.packed = { of: rows, words };
    return words;
  }

  /** Programs name the scratch buffers and the cache, which may have been replaced. */
  private dropStalePrograms(): void {
    const needed = `${this.host.shared.version} ${this.cache.version}`;
    if (this.recordedFor === needed) return;
    this.programs.dispose();
    this.recordedFor = needed;
  }

  /** Frees all buffers. Answers that are in the batch have lost theirs already. */
  private free(): void {
    const { generation } = this.host.shared;
    const error = new GpuError("out-of-memory", "The GPU ran out of memory while the answer was generated; ask again.");
    for (const row of this.rows) {
      this.rows.delete(row);
      row.failure = error;
      settle(row, { error });
    }
    this.programs.dispose();
    this.singlePrograms.dispose();
    this.cache.dispose();
    for (const buffers of [this.own, this.single]) {
      if (buffers !== undefined) destroySequenceBuffers(this.gpu, buffers);
    }
    this.own = undefined;
    this.single = undefined;
    this.packed = undefined;
    this.generation = generation;
  }
}

/** What a chooser needs, with buffers that are made at their first use. */
class LazyBuffers {
  readonly gpu: Gpu;
  readonly shared: SharedDecoder;
  private readonly get: () => SequenceBuffers;

  constructor(shared: SharedDecoder, get: () => SequenceBuffers) {
    this.gpu = shared.gpu;
    this.shared = shared;
    this.get = get;
  }

  get buffers(): SequenceBuffers {
    return this.get();
  }
}

function settle(row: Row, outcome: Outcome): void {
  const { waiter } = row;
  row.waiter = undefined;
  if ("error" in outcome) waiter?.reject(outcome.error);
  else waiter?.resolve(outcome.chosen);
}

function joined(parts: readonly Float32Array<ArrayBuffer>[]): Float32Array<ArrayBuffer> {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let end = 0;
  for (const part of parts) {
    all.set(part, end);
    end += part.length;
  }
  return all;
}
