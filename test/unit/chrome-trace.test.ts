// The trace file: fields that the Trace Event Format requires, and spans that nest on every thread.
import { expect, test } from "vitest";
import { chromeTraceOf } from "../../src/gpu/profile/chrome-trace.ts";
import type { CpuSpan, GpuSpan } from "../../src/gpu/profile/profiler.ts";
import { traceProblems } from "../setup/trace-format.ts";

const cpu = (kind: CpuSpan["kind"], startMs: number, durationMs: number): CpuSpan => ({
  kind,
  name: "prefill",
  startMs,
  durationMs,
});

const gpu = (startMs: number, durationMs: number): GpuSpan => ({
  label: { stage: "prefill", kernel: "matmul", constants: { TILE: 4 }, params: { numRows: 7 }, grid: [2, 3, 1] },
  startMs,
  durationMs,
});

test("spans become complete events in microseconds from 0 on, with their facts", () => {
  const { traceEvents, otherData } = chromeTraceOf({
    cpuSpans: [cpu("phase", 100, 10), cpu("encode", 101, 1)],
    gpuSpans: [gpu(0, 0.5)],
    offset: { least: 102, most: 104 },
    notes: ["One.", "Two."],
  });
  expect(traceProblems(traceEvents)).toEqual([]);
  expect(otherData).toEqual({ producer: "adaptvis", notes: "One. Two." });
  const spans = traceEvents.filter(({ ph }) => ph === "X");
  expect(spans).toMatchObject([
    { name: "prefill", cat: "phase", ts: 0, dur: 10_000 },
    { name: "encode and submit: prefill", cat: "encode", ts: 1000, dur: 1000 },
    {
      name: "matmul",
      cat: "prefill",
      ts: 3000, // in the middle of what the offset may be
      dur: 500,
      args: { grid: "2 × 3 × 1", constants: { TILE: 4 }, params: { numRows: 7 }, gpuNs: 500_000 },
    },
  ]);
  const named = traceEvents.filter(({ ph }) => ph === "M").map(({ name, args }) => [name, args.name]);
  expect(named).toEqual([
    ["process_name", "CPU"],
    ["process_name", "GPU"],
    ["thread_name", "JavaScript"],
    ["thread_name", "queue"],
  ]);
});

test("spans that cross get threads of their own; those that touch or lie inside do not", () => {
  const { traceEvents } = chromeTraceOf({
    cpuSpans: [
      cpu("phase", 0, 10),
      cpu("record", 1, 2),
      cpu("upload", 3, 1), // touches
      cpu("readback", 9, 2), // crosses the phase
      cpu("compile", 0, 5),
      cpu("compile", 1, 2), // inside, but compiles run side by side
      cpu("compile", 6, 1),
    ],
    gpuSpans: [gpu(0, 1 / 3), gpu(1 / 3, 1 / 3), gpu(0.5, 2)],
    offset: undefined,
    notes: [],
  });
  expect(traceProblems(traceEvents)).toEqual([]);
  const threads = traceEvents.filter(({ name }) => name === "thread_name").map(({ args }) => args.name);
  expect(threads).toEqual([
    "JavaScript",
    "JavaScript 2",
    "compile pipelines",
    "compile pipelines 2",
    "queue",
    "queue 2",
  ]);
});

test("an empty profile is a valid trace", () => {
  const trace = chromeTraceOf({ cpuSpans: [], gpuSpans: [], offset: undefined, notes: [] });
  expect(traceProblems(trace.traceEvents)).toEqual([]);
});

test("the check itself finds what is wrong", () => {
  const event = { name: "a", ph: "X", pid: 1, tid: 1, ts: 0, dur: 2, args: {} } as const;
  expect(traceProblems([event, { ...event, ts: 1 }])).toEqual([expect.stringMatching(/crosses/)]);
  expect(traceProblems([{ ...event, dur: -1 }])).toEqual([expect.stringMatching(/dur/)]);
  expect(traceProblems([{ ...event, ts: Number.NaN }])).toEqual([expect.stringMatching(/ts/)]);
  expect(traceProblems([{ ...event, ph: "B" }])).toEqual([expect.stringMatching(/ph/)]);
});
