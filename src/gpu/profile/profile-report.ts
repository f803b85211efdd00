// Totals of a profile: by phase, by stage and by kernel.
import type { CpuSpan, DispatchInfo, GpuSpan } from "./profiler.ts";
import type { ClockOffset, ClockQuality } from "./timestamp-pool.ts";

/** Times coarser than this are said to be coarse: short kernels take less. */
const FINE_RESOLUTION_NS = 1000;

/** A part of the program's run as its caller sees it: the load, the answers, the sweeps. */
export interface PhaseTimes {
  readonly phase: string;
  readonly count: number;
  /** By the clock, from its start to its end. */
  readonly wallMs: number;
  /** CPU time of handing data to the GPU, parameters of programs included. */
  readonly uploadMs: number;
  readonly uploadBytes: number;
}

/** Times of one program. */
export interface StageTimes {
  readonly stage: string;
  readonly numSubmits: number;
  readonly numDispatches: number;
  /** Making dispatches, parameters and bind groups. */
  readonly recordMs: number;
  /** Waiting for pipelines to compile. */
  readonly pipelinesMs: number;
  /** Encoding and submitting; programs that go into another one's submit count there. */
  readonly encodeMs: number;
  /** Sum over its kernels, copies left out; undefined without timestamp queries. */
  readonly gpuMs: number | undefined;
  /** Waiting for results after this stage's submit, which lasts until everything before it has run too. */
  readonly readbackMs: number;
}

/** Times of one kernel with one set of constants in one stage. */
export interface KernelTimes {
  readonly stage: string;
  readonly kernel: string;
  readonly constants: Readonly<Record<string, number | boolean>>;
  /** Calls encoded. */
  readonly count: number;
  /** Undefined without timestamp queries, as all of the following. */
  readonly gpuMs: number | undefined;
  readonly meanUs: number | undefined;
  /** Of the shortest call; the first calls of a pipeline may hold a driver's compilation (lavapipe's do). */
  readonly leastUs: number | undefined;
  /** Part of all kernels' time, 0 to 1. */
  readonly share: number | undefined;
}

/** Where the time went. All times are milliseconds unless the name says otherwise. */
export interface ProfileReport {
  readonly hasGpuTimes: boolean;
  readonly phases: readonly PhaseTimes[];
  /** In the order of their first use. */
  readonly stages: readonly StageTimes[];
  /** Longest first. */
  readonly kernels: readonly KernelTimes[];
  /** Pipelines compiled, and the sum of their times, which overlap each other and the load. */
  readonly pipelines: { readonly count: number; readonly totalMs: number };
  /** Step of the GPU's clock in nanoseconds, as found; undefined without times. */
  readonly resolutionNs: number | undefined;
  /** How far the GPU's spans may be off beside the CPU's in the trace; undefined when that is unknown. */
  readonly alignmentErrorMs: number | undefined;
  /** Passes whose end lay before their begin (counted as 0) and passes without times. */
  readonly numClamped: number;
  readonly numMissing: number;
  /** Spans that the trace has no room for; the totals count them. */
  readonly numSpansLeftOut: number;
  /** What one must know to read the numbers, in sentences. */
  readonly notes: readonly string[];
}

type Changeable<T> = { -readonly [K in keyof T]: T[K] };

interface KernelSums {
  readonly info: DispatchInfo;
  count: number;
  numTimed: number;
  gpuMs: number;
  leastMs: number;
}

/** Sums up spans as they come. */
export class ProfileTotals {
  private readonly phases = new Map<string, Changeable<PhaseTimes>>();
  private readonly stages = new Map<string, Changeable<StageTimes> & { gpuSum: number }>();
  private readonly kernels = new Map<string, KernelSums>();
  private readonly keys = new WeakMap<DispatchInfo, string>();
  private numPipelines = 0;
  private pipelinesMs = 0;

  addCpu(span: CpuSpan): void {
    const { kind, name, durationMs } = span;
    switch (kind) {
      case "phase": {
        const phase = this.phase(name);
        phase.count++;
        phase.wallMs += durationMs;
        return;
      }
      case "upload": {
        const phase = this.phase(name);
        phase.uploadMs += durationMs;
        phase.uploadBytes += span.byteLength ?? 0;
        return;
      }
      case "compile":
        this.numPipelines++;
        this.pipelinesMs += durationMs;
        return;
      case "encode":
        this.stage(name).numSubmits++;
        this.stage(name).encodeMs += durationMs;
        return;
      case "record":
        this.stage(name).recordMs += durationMs;
        return;
      case "pipelines":
        this.stage(name).pipelinesMs += durationMs;
        return;
      case "readback":
        this.stage(name).readbackMs += durationMs;
    }
  }

  addDispatch(info: DispatchInfo): void {
    this.stage(info.stage).numDispatches++;
    this.kernel(info).count++;
  }

  addGpu({ label, durationMs }: GpuSpan): void {
    this.stage(label.stage).gpuSum += durationMs;
    const sums = this.kernel(label);
    sums.numTimed++;
    sums.gpuMs += durationMs;
    sums.leastMs = Math.min(sums.leastMs, durationMs);
  }

  report(clock: {
    readonly hasGpuTimes: boolean;
    readonly quality: ClockQuality | undefined;
    readonly offset: ClockOffset | undefined;
    readonly numSpansLeftOut: number;
  }): ProfileReport {
    const { hasGpuTimes, quality, offset, numSpansLeftOut } = clock;
    const facts = {
      hasGpuTimes,
      resolutionNs: quality?.resolutionNs,
      alignmentErrorMs: offset && Math.abs(offset.most - offset.least) / 2,
      numClamped: quality?.numClamped ?? 0,
      numMissing: quality?.numMissing ?? 0,
      numSpansLeftOut,
    };
    const stages = [...this.stages.values()].map(({ gpuSum, ...times }) => ({
      ...times,
      gpuMs: hasGpuTimes ? gpuSum : undefined,
    }));
    return {
      ...facts,
      phases: [...this.phases.values()].map((times) => ({ ...times })),
      stages,
      kernels: this.kernelTimes(hasGpuTimes),
      pipelines: { count: this.numPipelines, totalMs: this.pipelinesMs },
      notes: notesOf(facts),
    };
  }

  private kernelTimes(hasGpuTimes: boolean): KernelTimes[] {
    const sums = [...this.kernels.values()].sort((a, b) => b.gpuMs - a.gpuMs || b.count - a.count);
    const total = sums.reduce((sum, { gpuMs }) => sum + gpuMs, 0);
    return sums.map(({ info: { stage, kernel, constants }, count, numTimed, gpuMs, leastMs }) => ({
      stage,
      kernel,
      constants,
      count,
      gpuMs: hasGpuTimes ? gpuMs : undefined,
      meanUs: hasGpuTimes && numTimed > 0 ? (gpuMs / numTimed) * 1000 : undefined,
      leastUs: hasGpuTimes && numTimed > 0 ? leastMs * 1000 : undefined,
      share: hasGpuTimes && total > 0 ? gpuMs / total : undefined,
    }));
  }

  private phase(phase: string): Changeable<PhaseTimes> {
    let times = this.phases.get(phase);
    if (times === undefined) {
      times = { phase, count: 0, wallMs: 0, uploadMs: 0, uploadBytes: 0 };
      this.phases.set(phase, times);
    }
    return times;
  }

  private stage(stage: string): Changeable<StageTimes> & { gpuSum: number } {
    let times = this.stages.get(stage);
    if (times === undefined) {
      const none = { recordMs: 0, pipelinesMs: 0, encodeMs: 0, gpuMs: undefined, readbackMs: 0 };
      times = { stage, numSubmits: 0, numDispatches: 0, ...none, gpuSum: 0 };
      this.stages.set(stage, times);
    }
    return times;
  }

  private kernel(info: DispatchInfo): KernelSums {
    let key = this.keys.get(info);
    if (key === undefined) {
      key = JSON.stringify([info.stage, info.kernel, info.constants]);
      this.keys.set(info, key);
    }
    let sums = this.kernels.get(key);
    if (sums === undefined) {
      sums = { info, count: 0, numTimed: 0, gpuMs: 0, leastMs: Number.POSITIVE_INFINITY };
      this.kernels.set(key, sums);
    }
    return sums;
  }
}

type Facts = Pick<
  ProfileReport,
  "hasGpuTimes" | "resolutionNs" | "alignmentErrorMs" | "numClamped" | "numMissing" | "numSpansLeftOut"
>;

function notesOf(facts: Facts): string[] {
  if (!facts.hasGpuTimes) {
    const reason = "This device has no timestamp-query feature, so only the CPU's times are known.";
    return [reason, ...leftOutNote(facts)];
  }
  const { resolutionNs, alignmentErrorMs, numClamped, numMissing } = facts;
  const notes = ["Every kernel ran in a pass of its own, which costs time; copies are in no GPU time."];
  if (resolutionNs !== undefined && resolutionNs > FINE_RESOLUTION_NS) {
    notes.push(
      `The GPU's clock is coarse: its times are multiples of ${resolutionNs / 1000} µs, so times of short kernels hold in sums only.`,
    );
  }
  if (alignmentErrorMs !== undefined) {
    notes.push(
      `In the trace, GPU spans lie beside the CPU's to within about ${alignmentErrorMs.toFixed(3)} ms: an estimate.`,
    );
  }
  if (numClamped > 0) notes.push(`${numClamped} kernels ended before they began by the GPU's clock; they count as 0.`);
  if (numMissing > 0) notes.push(`${numMissing} kernels got no times from the GPU.`);
  return [...notes, ...leftOutNote(facts)];
}

function leftOutNote({ numSpansLeftOut }: Facts): string[] {
  if (numSpansLeftOut === 0) return [];
  return [`${numSpansLeftOut} later spans are in the totals but not in the trace, which is full.`];
}
