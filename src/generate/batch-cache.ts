// Keys and values of several sequences in one cache, so that one attention kernel reaches all of them: each sequence has a run of
// slots of its own.
import { GpuError } from "../errors.ts";
import type { Gpu } from "../gpu/device.ts";
import type { Executor } from "../gpu/executor.ts";
import {
  type CacheSize,
  createKeyValueCache,
  destroyKeyValueCache,
  type KeyValueCache,
  keyValueBytes,
} from "../models/layers/decoder-state.ts";
import { copyKeyValues } from "./copy-key-values.ts";
import type { SharedDecoder } from "./shared-decoder.ts";

/** Slots are allocated in multiples of this. */
const CAPACITY_STEP = 256;

/** A sequence's slots. */
export interface CacheRun {
  /** The first; another one after {@link BatchCache.add} has moved the runs. */
  readonly start: number;
  readonly numSlots: number;
}

interface MovableRun extends CacheRun {
  start: number;
}

/** How the cache may grow. */
interface RoomOptions {
  readonly executor: Executor;
  /** Most bytes that all buffers of the engine may take while the cache grows. */
  readonly maxBytes: number;
}

/** A cache that grows with what is in it. */
export class BatchCache {
  private readonly shared: SharedDecoder;
  private held: KeyValueCache | undefined;
  /** In the order of their slots. */
  private readonly runs: MovableRun[] = [];
  private numReplacements = 0;

  constructor(shared: SharedDecoder) {
    this.shared = shared;
  }

  /** The cache. @throws RangeError before the first run. */
  get cache(): KeyValueCache {
    if (this.held === undefined) throw new RangeError("The batch has no keys and values.");
    return this.held;
  }

  /** Changes whenever the cache was replaced by a larger one: programs recorded before are void then. */
  get version(): number {
    return this.numReplacements;
  }

  /** Bytes of the cache. */
  get numBytes(): number {
    return this.held === undefined ? 0 : keyValueBytes(this.shared.text, this.held);
  }

  /**
   * Finds a run of slots; where no gap is long enough, the runs move into a new cache, a larger one if need be.
   * @returns undefined where `maxBytes` or the device's limits do not allow it
   * @throws GpuError `out-of-memory`; the runs stay where they are then.
   */
  async add(numSlots: number, options: RoomOptions): Promise<CacheRun | undefined> {
    const start = this.gapFor(numSlots) ?? (await this.moved(numSlots, options));
    if (start === undefined) return undefined;
    const run = { start, numSlots };
    this.runs.push(run);
    this.runs.sort((a, b) => a.start - b.start);
    return run;
  }

  /** Gives a run's slots back. */
  remove(run: CacheRun): void {
    const index = this.runs.indexOf(run);
    if (index >= 0) this.runs.splice(index, 1);
  }

  /** Frees the cache and forgets all runs. */
  dispose(): void {
    this.runs.length = 0;
    if (this.held !== undefined) destroyKeyValueCache(this.gpu, this.held);
    this.held = undefined;
    this.numReplacements++;
  }

  private get gpu(): Gpu {
    return this.shared.gpu;
  }

  private gapFor(numSlots: number): number | undefined {
    let start = 0;
    for (const run of this.runs) {
      if (run.start - start >= numSlots) return start;
      start = run.start + run.numSlots;
    }
    return (this.held?.capacity ?? 0) - start >= numSlots ? start : undefined;
  }

  /** Moves all runs to the start of a new cache. @returns the first slot behind them */
  private async moved(numSlots: number, { executor, maxBytes }: RoomOptions): Promise<number | undefined> {
    const { gpu, shared, held: before } = this;
    const { text, kvDtype: dtype } = shared;
    const numUsed = this.runs.reduce((sum, run) => sum + run.numSlots, 0);
    const least = numUsed + numSlots;
    // More than is needed, so that a growing batch seldom moves, where that fits.
    const sizes = [Math.ceil(1.5 * least), least];
    const capacity = sizes
      .map((slots) => Math.ceil(slots / CAPACITY_STEP) * CAPACITY_STEP)
      .find((slots) => gpu.allocatedBytes + keyValueBytes(text, { capacity: slots, dtype }) <= maxBytes);
    if (capacity === undefined) return undefined;
    const next = await this.allocated({ capacity, dtype });
    if (next === undefined) return undefined;
    let end = 0;
    for (const run of this.runs) {
      const place = { numPositions: run.numSlots, fromSlot: run.start, toSlot: end, executor };
      if (before !== undefined) await copyKeyValues(text, { from: before, to: next }, place);
      run.start = end;
      end += run.numSlots;
    }
    if (before !== undefined) destroyKeyValueCache(gpu, before);
    this.held = next;
    this.numReplacements++;
    return end;
  }

  private async allocated(size: CacheSize): Promise<KeyValueCache | undefined> {
    const { gpu } = this;
    let made: KeyValueCache | undefined;
    try {
      await gpu.guard("allocating the batch's key/value cache", () => {
        made = createKeyValueCache(gpu, this.shared.text, size);
      });
      return made;
    } catch (error) {
      if (made !== undefined) destroyKeyValueCache(gpu, made);
      if (error instanceof GpuError && error.reason === "limit") return undefined;
      throw error;
    }
  }
}
