// Where the time of a model goes: spans of the CPU's work (record, encode, wait, upload, compile) and, where the device
// has timestamp queries, of every kernel on the GPU. Gpu and Program call the hooks; without a profiler they are one check.
import { InputError } from "../../errors.ts";
import { readOptions, type Schema, whole } from "../../options.ts";
import type { Gpu } from "../device.ts";
import { type ChromeTrace, chromeTraceOf } from "./chrome-trace.ts";
import { type ProfileReport, ProfileTotals } from "./profile-report.ts";
import { type TimedPass, TimestampPool } from "./timestamp-pool.ts";

/** What one recorded dispatch is; the same object at every replay. */
export interface DispatchInfo {
  /** The program's label, such as "vision", "prefill" or "choose". */
  readonly stage: string;
  readonly kernel: string;
  /** Values of the pipeline's overrides. */
  readonly constants: Readonly<Record<string, number | boolean>>;
  /** Values of the kernel's `struct Params`: shapes for the most part. */
  readonly params: Readonly<Record<string, number>>;
  /** Workgroups in x, y, z. */
  readonly grid: readonly [number, number, number];
}

/**
 * What the CPU did: `record` dispatches and bind groups, wait for `pipelines`, `encode` and submit, wait for `readback`,
 * `upload`, `compile` one pipeline (aside, several at once), or a whole `phase` such as the load or an answer.
 */
export type CpuSpanKind = "record" | "pipelines" | "encode" | "readback" | "upload" | "compile" | "phase";

/** One piece of the CPU's work; times are `performance.now()`'s. */
export interface CpuSpan {
  readonly kind: CpuSpanKind;
  /** The program's label, the kernel's name for `compile`, the phase's otherwise. */
  readonly name: string;
  readonly startMs: number;
  readonly durationMs: number;
  /** Of an upload. */
  readonly byteLength?: number;
}

/** One kernel on the GPU; `startMs` is the GPU's own clock. */
export type GpuSpan = TimedPass<DispatchInfo>;

/** How a profiler keeps what it sees. */
export interface ProfilerOptions {
  /** Spans of each kind (CPU, GPU) kept for the trace, 200 000 unless given; the totals count all of them. */
  readonly maxSpans?: number;
  /** Kernel calls timed between two readbacks, 2048 (WebGPU's limit) unless given. */
  readonly passesPerReadback?: number;
}

/** Queries of a timestamp query set, two per pass: WebGPU's limit. */
const MAX_PASSES = 2048;
const PROFILER: Schema<ProfilerOptions> = { maxSpans: whole(0), passesPerReadback: whole(1, MAX_PASSES) };
const DEFAULT_MAX_SPANS = 200_000;

/**
 * Measures one model: give it to `Llava.load` as `profiler`. Every kernel then runs in a pass of its own, so that a
 * profiled answer is slower than another and the same to the bit.
 */
export class Profiler {
  private readonly totals = new ProfileTotals();
  private readonly cpuSpans: CpuSpan[] = [];
  private readonly gpuSpans: GpuSpan[] = [];
  private readonly maxSpans: number;
  private readonly passesPerReadback: number | undefined;
  private gpu: Gpu | undefined;
  private pool: TimestampPool<DispatchInfo> | undefined;
  private phaseName = "other";
  private lastStage = "";
  private numLeftOut = 0;

  constructor(options: ProfilerOptions = {}) {
    const { maxSpans = DEFAULT_MAX_SPANS, passesPerReadback } = readOptions("a Profiler", options, PROFILER);
    this.maxSpans = maxSpans;
    this.passesPerReadback = passesPerReadback;
  }

  /** Totals of everything so far. Waits for the GPU's times, so call it between questions. */
  async report(): Promise<ProfileReport> {
    await this.pool?.flush();
    return this.totals.report({
      hasGpuTimes: this.pool !== undefined,
      quality: this.pool?.quality,
      offset: this.pool?.offset,
      numSpansLeftOut: this.numLeftOut,
    });
  }

  /**
   * Everything so far in the Trace Event Format, which Perfetto (ui.perfetto.dev) and chrome://tracing open:
   * `JSON.stringify` it into a file. GPU spans are placed by an estimate of the clocks' offset that the trace states.
   */
  async chromeTrace(): Promise<ChromeTrace> {
    const { notes } = await this.report();
    return chromeTraceOf({ cpuSpans: this.cpuSpans, gpuSpans: this.gpuSpans, offset: this.pool?.offset, notes });
  }

  /** Called by the Gpu that is measured. @throws InputError for a second one. @internal */
  attach(gpu: Gpu): void {
    if (this.gpu !== undefined) {
      throw new InputError("This Profiler measures another model already: make a new one for each model.");
    }
    this.gpu = gpu;
    if (!gpu.device.features.has("timestamp-query")) return;
    const onPass = (span: GpuSpan) => {
      this.totals.addGpu(span);
      if (this.gpuSpans.length < this.maxSpans) this.gpuSpans.push(span);
      else this.numLeftOut++;
    };
    this.pool = new TimestampPool(gpu, onPass, { passesPerBlock: this.passesPerReadback });
  }

  /** Runs `work` as a named phase, which the trace shows around what happens in it. @internal */
  async phase<T>(name: string, work: () => Promise<T>): Promise<T> {
    const outer = this.phaseName;
    const startMs = performance.now();
    this.phaseName = name;
    try {
      return await work();
    } finally {
      this.phaseName = outer;
      this.add("phase", name, startMs);
    }
  }

  /** Adds a span that ends now. @internal */
  add(kind: CpuSpanKind, name: string, startMs: number): void {
    this.addSpan({ kind, name, startMs, durationMs: performance.now() - startMs });
  }

  /** Adds an upload that ends now. @internal */
  uploaded(startMs: number, byteLength: number): void {
    const durationMs = performance.now() - startMs;
    this.addSpan({ kind: "upload", name: this.phaseName, startMs, durationMs, byteLength });
  }

  /** Counts a dispatch. @returns where its pass writes its times; undefined without timestamp queries. @internal */
  dispatching(info: DispatchInfo): GPUComputePassTimestampWrites | undefined {
    this.totals.addDispatch(info);
    return this.pool?.next(info);
  }

  /** Called behind a submit, with the times of its encoding's start and of the submit's. @internal */
  submitted(stage: string, startMs: number, submitMs: number): void {
    this.lastStage = stage;
    this.add("encode", stage, startMs);
    this.pool?.submitted(submitMs);
  }

  /** Called before a wait for the GPU. @returns to be called when it is over. @internal */
  waiting(): () => void {
    const startMs = performance.now();
    const place = this.pool?.lastPlace();
    const stage = this.lastStage;
    return () => {
      this.pool?.waited(place, performance.now());
      this.add("readback", stage, startMs);
    };
  }

  /** Called when the Gpu goes; what was measured stays. @internal */
  detach(): void {
    this.pool?.dispose();
  }

  private addSpan(span: CpuSpan): void {
    this.totals.addCpu(span);
    if (this.cpuSpans.length < this.maxSpans) this.cpuSpans.push(span);
    else this.numLeftOut++;
  }
}
