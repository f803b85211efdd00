// Begin and end times of compute passes: query sets that fill up one after the other, are resolved behind the work that
// wrote them, read back aside and used again, so that memory stays bounded however long a profile runs.
import { at } from "../../errors.ts";
import { GPU_READBACK, type Gpu } from "../device.ts";

/** WebGPU's largest query set; each pass takes two entries of it. */
const MAX_QUERIES = 4096;
const QUERY_RESOLVE = 0x0200; // GPUBufferUsage.QUERY_RESOLVE: Node has no global of that name
const COPY_SRC = 0x0004;

/** The two times of one pass and what ran in it. */
export interface TimedPass<Label> {
  readonly label: Label;
  /** Milliseconds of the GPU's clock since the first time that was read. */
  readonly startMs: number;
  readonly durationMs: number;
}

/** What the times themselves turned out to be like. */
export interface ClockQuality {
  /** Largest step that all times are multiples of, in nanoseconds; undefined before two different times are known. */
  readonly resolutionNs: number | undefined;
  /** Passes that ended before they began by the adapter's clock; their durations count as 0. */
  readonly numClamped: number;
  /** Passes that the adapter left without times. */
  readonly numMissing: number;
}

/**
 * Bounds of what must be added to the GPU's clock to get the CPU's (`performance.now()`), in milliseconds: work begins
 * after its submit was called, and is done before a wait for it ends.
 */
export interface ClockOffset {
  readonly least: number;
  readonly most: number;
}

interface Block<Label> {
  readonly querySet: GPUQuerySet;
  readonly resolved: GPUBuffer;
  readonly staging: GPUBuffer;
  labels: Label[];
  /** Pass number → CPU time before which it did not begin. */
  submits: Map<number, number>;
  /** Pass number → CPU time at which it had ended. */
  waits: Map<number, number>;
  /** Counts the uses of the block, so that a place in an earlier use is told apart. */
  use: number;
}

/** A pass in a block's use. */
export interface PassPlace {
  readonly block: object;
  readonly use: number;
  readonly index: number;
}

/** Hands out places for times, and passes the times on when they have been read. */
export class TimestampPool<Label> {
  private readonly gpu: Gpu;
  private readonly onPass: (pass: TimedPass<Label>) => void;
  private readonly passesPerBlock: number;
  private readonly blocks: Block<Label>[] = [];
  private readonly free: Block<Label>[] = [];
  private readonly full: Block<Label>[] = [];
  private readonly pending = new Set<Promise<void>>();
  private current: Block<Label> | undefined;
  private unsubmitted: { readonly block: Block<Label>; readonly index: number } | undefined;
  private lastTaken: { readonly block: Block<Label>; readonly index: number } | undefined;
  private origin: bigint | undefined;
  private stepNs = 0;
  private numClamped = 0;
  private numMissing = 0;
  private offsetLeast = Number.NEGATIVE_INFINITY;
  private offsetMost = Number.POSITIVE_INFINITY;
  private isDisposed = false;

  /** @param options.passesPerBlock passes of one query set; the largest possible unless given */
  constructor(
    gpu: Gpu,
    onPass: (pass: TimedPass<Label>) => void,
    options: { readonly passesPerBlock?: number | undefined } = {},
  ) {
    this.gpu = gpu;
    this.onPass = onPass;
    this.passesPerBlock = Math.min(options.passesPerBlock ?? MAX_QUERIES / 2, MAX_QUERIES / 2);
  }

  get quality(): ClockQuality {
    const { numClamped, numMissing } = this;
    return { resolutionNs: this.stepNs === 0 ? undefined : this.stepNs, numClamped, numMissing };
  }

  /** Undefined until one submit and one wait are known. */
  get offset(): ClockOffset | undefined {
    const { offsetLeast: least, offsetMost: most } = this;
    return Number.isFinite(least) && Number.isFinite(most) ? { least, most } : undefined;
  }

  /** Where the next pass writes its times. */
  next(label: Label): GPUComputePassTimestampWrites {
    if (this.current !== undefined && this.current.labels.length === this.passesPerBlock) {
      this.full.push(this.current);
      this.current = undefined;
    }
    this.current ??= this.free.pop() ?? this.createBlock();
    const block = this.current;
    const index = block.labels.push(label) - 1;
    this.lastTaken = { block, index };
    this.unsubmitted ??= this.lastTaken;
    return { querySet: block.querySet, beginningOfPassWriteIndex: index * 2, endOfPassWriteIndex: index * 2 + 1 };
  }

  /** To be called behind a submit, with the time before it: reads back what is full. */
  submitted(cpuMs: number): void {
    this.unsubmitted?.block.submits.set(this.unsubmitted.index, cpuMs);
    this.unsubmitted = undefined;
    for (const block of this.full.splice(0)) this.readBack(block);
  }

  /** The last pass so far; undefined when there is none. */
  lastPlace(): PassPlace | undefined {
    return this.lastTaken && { ...this.lastTaken, use: this.lastTaken.block.use };
  }

  /** A wait that covered `place` ended at `cpuMs`. */
  waited(place: PassPlace | undefined, cpuMs: number): void {
    const block = this.blocks.find((candidate) => candidate === place?.block);
    if (place === undefined || block === undefined || block.use !== place.use || block.waits.has(place.index)) return;
    block.waits.set(place.index, cpuMs);
  }

  /** Reads all times so far. What is encoded but not submitted yet would be left without times. */
  async flush(): Promise<void> {
    if (this.isDisposed) return;
    this.unsubmitted = undefined;
    for (const block of this.full.splice(0)) this.readBack(block);
    if (this.current !== undefined && this.current.labels.length > 0) {
      this.readBack(this.current);
      this.current = undefined;
    }
    await Promise.all(this.pending);
  }

  /** Frees the query sets; times not read yet are lost. The buffers go with the Gpu. */
  dispose(): void {
    this.isDisposed = true;
    for (const { querySet } of this.blocks.splice(0)) querySet.destroy();
    this.current = undefined;
  }

  private createBlock(): Block<Label> {
    const count = this.passesPerBlock * 2;
    const block = {
      resolved: this.gpu.createBuffer("profiler times", count * 8, QUERY_RESOLVE | COPY_SRC),
      staging: this.gpu.createBuffer("profiler readback", count * 8, GPU_READBACK),
      querySet: this.gpu.device.createQuerySet({ label: "profiler", type: "timestamp", count }),
      labels: [],
      submits: new Map<number, number>(),
      waits: new Map<number, number>(),
      use: 0,
    };
    this.blocks.push(block);
    return block;
  }

  private readBack(block: Block<Label>): void {
    const { device } = this.gpu;
    const numBytes = block.labels.length * 16;
    const encoder = device.createCommandEncoder({ label: "profiler" });
    encoder.resolveQuerySet(block.querySet, 0, block.labels.length * 2, block.resolved, 0);
    encoder.copyBufferToBuffer(block.resolved, 0, block.staging, 0, numBytes);
    device.queue.submit([encoder.finish()]);
    const reading = this.map(block, numBytes).finally(() => this.pending.delete(reading));
    this.pending.add(reading);
  }

  private async map(block: Block<Label>, numBytes: number): Promise<void> {
    const { staging } = block;
    try {
      await staging.mapAsync(MAP_MODE_READ, 0, numBytes);
      this.waited({ block, use: block.use, index: block.labels.length - 1 }, performance.now());
      const times = new BigUint64Array(staging.getMappedRange(0, numBytes).slice(0));
      staging.unmap();
      this.take(block, times);
      this.recycle(block);
    } catch {
      // The device is lost or the model disposed: whoever waits for an answer is told.
      this.numMissing += block.labels.length;
    }
  }

  private take(block: Block<Label>, times: BigUint64Array): void {
    for (const [index, label] of block.labels.entries()) {
      const begin = at(times, index * 2);
      const end = at(times, index * 2 + 1);
      if (begin === 0n || end === 0n) {
        this.numMissing++;
        continue;
      }
      this.origin ??= begin;
      const startNs = Number(begin - this.origin);
      const endNs = Number(end - this.origin);
      this.stepNs = greatestCommonDivisor(greatestCommonDivisor(this.stepNs, startNs), endNs);
      if (endNs < startNs) this.numClamped++;
      const durationMs = Math.max(0, endNs - startNs) / 1e6;
      const startMs = startNs / 1e6;
      const submitMs = block.submits.get(index);
      if (submitMs !== undefined) this.offsetLeast = Math.max(this.offsetLeast, submitMs - startMs);
      const waitMs = block.waits.get(index);
      if (waitMs !== undefined) this.offsetMost = Math.min(this.offsetMost, waitMs - endNs / 1e6);
      this.onPass({ label, startMs, durationMs });
    }
  }

  private recycle(block: Block<Label>): void {
    block.labels = [];
    block.submits.clear();
    block.waits.clear();
    block.use++;
    this.free.push(block);
  }
}

const MAP_MODE_READ = 0x0001; // GPUMapMode.READ: Node has no global of that name

function greatestCommonDivisor(a: number, b: number): number {
  let [large, small] = [Math.abs(a), Math.abs(b)];
  while (small > 0) [large, small] = [small, large % small];
  return large;
}
