// A profile in the Trace Event Format ("JSON Object Format" of docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU):
// complete events ("X") that nest on each thread, metadata events ("M") that name processes and threads.
import type { CpuSpan, CpuSpanKind, GpuSpan } from "./profiler.ts";
import type { ClockOffset } from "./timestamp-pool.ts";

/** One event; `ts` and `dur` are microseconds. */
export interface ChromeTraceEvent {
  readonly name: string;
  /** X: a span. M: the name of a process or thread. */
  readonly ph: "X" | "M";
  readonly pid: number;
  readonly tid: number;
  readonly cat?: string;
  readonly ts?: number;
  readonly dur?: number;
  readonly args: Readonly<Record<string, unknown>>;
}

/** What `JSON.stringify` turns into a file that Perfetto and chrome://tracing open. */
export interface ChromeTrace {
  readonly displayTimeUnit: "ms";
  readonly otherData: Readonly<Record<string, string>>;
  readonly traceEvents: readonly ChromeTraceEvent[];
}

interface PlacedSpan {
  readonly name: string;
  readonly cat: string;
  readonly startNs: number;
  readonly endNs: number;
  readonly args: Readonly<Record<string, unknown>>;
}

const CPU_PROCESS = 1;
const GPU_PROCESS = 2;

const TITLES: Readonly<Record<CpuSpanKind, string>> = {
  record: "record",
  pipelines: "wait for pipelines",
  encode: "encode and submit",
  readback: "wait for readback",
  upload: "upload",
  compile: "compile",
  phase: "phase",
};

/** Puts spans on threads: JavaScript, pipelines that compile aside, the GPU's queue. */
export function chromeTraceOf(profile: {
  readonly cpuSpans: readonly CpuSpan[];
  readonly gpuSpans: readonly GpuSpan[];
  readonly offset: ClockOffset | undefined;
  readonly notes: readonly string[];
}): ChromeTrace {
  const { offset, notes } = profile;
  // Between the bounds; without bounds the GPU's first span is put where the CPU's first is.
  const firstCpuMs = profile.cpuSpans.reduce(
    (least, { startMs }) => Math.min(least, startMs),
    Number.POSITIVE_INFINITY,
  );
  const offsetMs = offset ? (offset.least + offset.most) / 2 : Number.isFinite(firstCpuMs) ? firstCpuMs : 0;
  const gpu = profile.gpuSpans.map((span) => placeGpu(span, Math.round(offsetMs * 1e6)));
  const isAside = (span: CpuSpan) => span.kind === "compile";
  const cpu = profile.cpuSpans.filter((span) => !isAside(span)).map(placeCpu);
  const compiles = profile.cpuSpans.filter(isAside).map(placeCpu);
  const originNs = [...cpu, ...compiles, ...gpu].reduce(
    (least, { startNs }) => Math.min(least, startNs),
    Number.POSITIVE_INFINITY,
  );
  const groups = [
    { pid: CPU_PROCESS, thread: "JavaScript", lanes: lanesOf(cpu, { mayNest: true }) },
    { pid: CPU_PROCESS, thread: "compile pipelines", lanes: lanesOf(compiles, { mayNest: false }) },
    { pid: GPU_PROCESS, thread: "queue", lanes: lanesOf(gpu, { mayNest: false }) },
  ];
  const traceEvents = [
    metadata("process_name", CPU_PROCESS, 0, "CPU"),
    metadata("process_name", GPU_PROCESS, 0, "GPU"),
  ];
  let tid = 0;
  for (const { pid, thread, lanes } of groups) {
    for (const [index, lane] of lanes.entries()) {
      tid++;
      traceEvents.push(metadata("thread_name", pid, tid, index === 0 ? thread : `${thread} ${index + 1}`));
      for (const { name, cat, startNs, endNs, args } of lane) {
        const times = { ts: (startNs - originNs) / 1000, dur: (endNs - startNs) / 1000 };
        traceEvents.push({ name, cat, ph: "X", pid, tid, ...times, args });
      }
    }
  }
  return { displayTimeUnit: "ms", otherData: { producer: "adaptvis", notes: notes.join(" ") }, traceEvents };
}

function placeCpu({ kind, name, startMs, durationMs, byteLength }: CpuSpan): PlacedSpan {
  const title = kind === "phase" ? name : `${TITLES[kind]}: ${name}`;
  const args = { name, ...(byteLength !== undefined && { bytes: byteLength }) };
  return { name: title, cat: kind, ...nanoseconds(startMs, durationMs), args };
}

function placeGpu({ label, startMs, durationMs }: GpuSpan, offsetNs: number): PlacedSpan {
  const { stage, kernel, grid, constants, params } = label;
  const { startNs, endNs } = nanoseconds(startMs, durationMs);
  const args = { stage, kernel, grid: grid.join(" × "), constants, params, gpuNs: endNs - startNs };
  return { name: kernel, cat: stage, startNs: startNs + offsetNs, endNs: endNs + offsetNs, args };
}

/** Whole numbers, so that spans that touch still do after rounding. */
function nanoseconds(startMs: number, durationMs: number): { readonly startNs: number; readonly endNs: number } {
  return { startNs: Math.round(startMs * 1e6), endNs: Math.round((startMs + durationMs) * 1e6) };
}

/** Deals spans to as few threads as they need: on one thread, spans are apart or, where they may, one inside the other. */
function lanesOf(spans: readonly PlacedSpan[], options: { readonly mayNest: boolean }): PlacedSpan[][] {
  const lanes: { readonly spans: PlacedSpan[]; openEnds: number[] }[] = [];
  for (const span of [...spans].sort((a, b) => a.startNs - b.startNs || b.endNs - a.endNs)) {
    const lane = lanes.find((candidate) => {
      candidate.openEnds = candidate.openEnds.filter((endNs) => endNs > span.startNs);
      const innermost = candidate.openEnds.at(-1);
      return innermost === undefined || (options.mayNest && innermost >= span.endNs);
    });
    if (lane === undefined) lanes.push({ spans: [span], openEnds: [span.endNs] });
    else {
      lane.spans.push(span);
      lane.openEnds.push(span.endNs);
    }
  }
  return lanes.map((lane) => lane.spans);
}

function metadata(name: string, pid: number, tid: number, value: string): ChromeTraceEvent {
  return { name, ph: "M", pid, tid, args: { name: value } };
}
