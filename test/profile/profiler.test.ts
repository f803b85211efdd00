// The profiler on this process's adapter: nothing is left out of the sums, answers stay as they are, memory is bounded.
import { beforeAll, describe, expect, test } from "vitest";
import type { AnswerOptions } from "../../src/answer.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { InputError } from "../../src/errors.ts";
import { GPU_STORAGE, Gpu } from "../../src/gpu/device.ts";
import { defineKernel } from "../../src/gpu/kernel.ts";
import { PreparedProgram } from "../../src/gpu/prepared-program.ts";
import type { ProfileReport } from "../../src/gpu/profile/profile-report.ts";
import { Profiler } from "../../src/gpu/profile/profiler.ts";
import { Program } from "../../src/gpu/program.ts";
import { Llava } from "../../src/llava.ts";
import { countDispatches } from "../setup/count-dispatches.ts";
import { openTestDevice, withErrorScopes } from "../setup/device.ts";
import { GOLDEN, goldenInputs, readTensorFile, type TensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { traceProblems } from "../setup/trace-format.ts";

const KINDS: readonly AnswerOptions[] = [
  { method: "adaptvis", maxNewTokens: 3, attention: true },
  { maxNewTokens: 4, sampling: { temperature: 1, seed: 3, repetitionPenalty: 1.2 }, topLogProbs: 4 },
  { method: "scaling", factor: 1.5, maxNewTokens: 4 },
];

let golden: TensorFile;

beforeAll(async () => {
  golden = await readTensorFile("tiny-llava/expected.safetensors");
});

async function answers(model: Llava): Promise<unknown[]> {
  const inputs = goldenInputs(model, golden);
  const found: unknown[] = [];
  for (const options of KINDS) {
    const { attention, ...answer } = await model.answer(inputs, { ignoreEos: true, ...options });
    found.push({ ...answer, map: attention?.used() });
  }
  const { tensors } = await model.trace(inputs, { method: "adaptvis", maxNewTokens: 2 });
  found.push(tensors, await model.sweep(inputs, [0.5, 1, 2], { maxNewTokens: 3, ignoreEos: true }));
  return found;
}

const sum = (values: readonly (number | undefined)[]) =>
  values.reduce<number>((total, value) => total + (value ?? 0), 0);

describe("a profiled model", () => {
  let report: ProfileReport;
  let profiled: unknown[];
  let numDispatches: number;
  let profiler: Profiler;

  beforeAll(async () => {
    const { device } = await openTestDevice();
    // few passes a readback, so that query sets fill up and are used again within one submit
    profiler = new Profiler({ passesPerReadback: 24 });
    numDispatches = await countDispatches(device, async () => {
      const model = await Llava.load(fileSource(`${GOLDEN}/tiny-llava`), { device, profiler });
      profiled = await withErrorScopes(device, () => answers(model));
      report = await withErrorScopes(device, () => profiler.report());
      model.dispose();
    });
  });

  test("answers, traces and sweeps to the bit as one that is not", async () => {
    const model = await loadGoldenModel("tiny-llava");
    expect(await answers(model)).toEqual(profiled);
    model.dispose();
  });

  test("counts and times every dispatch", async () => {
    expect(numDispatches).toBeGreaterThan(100);
    expect(sum(report.stages.map((stage) => stage.numDispatches))).toBe(numDispatches);
    expect(sum(report.kernels.map((kernel) => kernel.count))).toBe(numDispatches);
    const { traceEvents } = await profiler.chromeTrace();
    expect(traceEvents.filter(({ ph, args }) => ph === "X" && "gpuNs" in args)).toHaveLength(numDispatches);
    expect(traceProblems(traceEvents)).toEqual([]);
    expect(report).toMatchObject({ hasGpuTimes: true, numMissing: 0, numSpansLeftOut: 0 });
  });

  test("has the same GPU time by stage and by kernel, and shares that add up to 1", () => {
    const byStage = sum(report.stages.map(({ gpuMs }) => gpuMs));
    expect(byStage).toBeGreaterThan(0);
    expect(sum(report.kernels.map(({ gpuMs }) => gpuMs))).toBeCloseTo(byStage, 6);
    expect(sum(report.kernels.map(({ share }) => share))).toBeCloseTo(1, 9);
    for (const { stage, gpuMs } of report.stages) {
      const kernels = report.kernels.filter((kernel) => kernel.stage === stage);
      expect(sum(kernels.map((kernel) => kernel.gpuMs))).toBeCloseTo(gpuMs ?? Number.NaN, 6);
    }
  });

  test("tells stages and phases apart, and their work fits into the time by the clock", () => {
    const stages = report.stages.map(({ stage }) => stage);
    expect(stages).toEqual(expect.arrayContaining(["vision", "embed prompt", "prefill", "choose"]));
    expect(report.phases.map(({ phase, count }) => [phase, count])).toEqual(
      expect.arrayContaining([
        ["load", 1],
        ["answer", KINDS.length],
        ["trace", 1],
        ["sweep", 1],
      ]),
    );
    const wallMs = sum(report.phases.filter(({ phase }) => phase !== "load").map((phase) => phase.wallMs));
    const ownMs = report.stages.map((times) => times.recordMs + times.pipelinesMs + times.encodeMs + times.readbackMs);
    expect(sum(ownMs)).toBeGreaterThan(0);
    expect(sum(ownMs)).toBeLessThanOrEqual(wallMs);
    expect(report.phases.find(({ phase }) => phase === "load")?.uploadBytes).toBeGreaterThan(10_000);
    expect(report.pipelines.count).toBeGreaterThan(5);
  });

  test("the adapter's clock never runs backwards, and says how fine it is", () => {
    expect(report.numClamped).toBe(0);
    expect(report.resolutionNs).toBeGreaterThanOrEqual(1);
    expect(report.alignmentErrorMs).toBeGreaterThanOrEqual(0);
    const isCoarse = (report.resolutionNs ?? 0) > 1000;
    expect(report.notes.some((note) => note.includes("coarse"))).toBe(isCoarse);
  });
});

test("without timestamp queries the CPU's times are there, and a sentence says why the GPU's are not", async () => {
  const { gpu } = await openTestDevice();
  const adapter = await gpu.requestAdapter();
  if (adapter === null) throw new Error("the adapter is gone");
  const device = await adapter.requestDevice();
  const profiler = new Profiler();
  const model = await Llava.load(fileSource(`${GOLDEN}/tiny-llava`), { device, profiler });
  await model.answer(goldenInputs(model, golden), { maxNewTokens: 2 });
  const report = await profiler.report();
  expect(report).toMatchObject({ hasGpuTimes: false, resolutionNs: undefined, alignmentErrorMs: undefined });
  expect(report.notes).toEqual([expect.stringMatching(/no timestamp-query feature/)]);
  expect(report.stages.every(({ gpuMs }) => gpuMs === undefined)).toBe(true);
  expect(
    report.kernels.every(({ count, gpuMs, share }) => count > 0 && gpuMs === undefined && share === undefined),
  ).toBe(true);
  expect(sum(report.stages.map(({ encodeMs }) => encodeMs))).toBeGreaterThan(0);
  const { traceEvents } = await profiler.chromeTrace();
  expect(traceEvents.some(({ cat }) => cat === "readback")).toBe(true);
  expect(traceEvents.some(({ args }) => "gpuNs" in args)).toBe(false);
  model.dispose();
  device.destroy();
});

test("memory is flat over many profiled questions, and spans stop being kept at their limit", async () => {
  const { device } = await openTestDevice();
  const profiler = new Profiler({ maxSpans: 500 });
  const model = await Llava.load(fileSource(`${GOLDEN}/tiny-llava`), { device, profiler });
  const inputs = goldenInputs(model, golden);
  const ask = (index: number) => model.answer(inputs, { ignoreEos: true, ...KINDS[index % KINDS.length] });
  for (let i = 0; i < KINDS.length; i++) await ask(i);
  await profiler.report();
  const before = model.gpu.allocatedBytes;
  for (let i = 0; i < 60; i++) {
    await ask(i);
    // at most two more query sets, while the first are being read
    expect(model.gpu.allocatedBytes).toBeLessThanOrEqual(before + 2 * 2 * 4096 * 8);
  }
  const report = await profiler.report();
  expect(report.numMissing).toBe(0);
  expect(report.numSpansLeftOut).toBeGreaterThan(0);
  expect(report.notes.some((note) => note.includes("trace, which is full"))).toBe(true);
  const { traceEvents } = await profiler.chromeTrace();
  expect(traceEvents.filter(({ ph }) => ph === "X").length).toBe(1000);
  model.dispose();
  expect(model.gpu.allocatedBytes).toBe(0);
  expect((await profiler.report()).kernels).toEqual(report.kernels);
});

test("a model may go while times are being read", async () => {
  const { device } = await openTestDevice();
  const profiler = new Profiler();
  const model = await Llava.load(fileSource(`${GOLDEN}/tiny-llava`), { device, profiler });
  await model.answer(goldenInputs(model, golden), { maxNewTokens: 2 });
  const reading = profiler.report();
  model.dispose();
  expect((await reading).hasGpuTimes).toBe(true);
});

test("one profiler measures one model", async () => {
  const { device } = await openTestDevice();
  const profiler = new Profiler();
  const gpu = new Gpu(device, { profiler });
  expect(() => new Gpu(device, { profiler })).toThrow(InputError);
  gpu.dispose();
});

test("a program that is encoded by hand is timed as well", async () => {
  const { device } = await openTestDevice();
  const kernel = defineKernel(
    "double",
    `@group(0) @binding(0) var<storage, read_write> output: array<f32>;
override BY: f32;
@compute @workgroup_size(1) fn main() { output[0] = output[0] * BY + 1.0; }`,
  );
  const profiler = new Profiler({ passesPerReadback: 3 });
  const gpu = new Gpu(device, { profiler });
  await withErrorScopes(device, async () => {
    const output = gpu.createBuffer("output", 16, GPU_STORAGE);
    const program = new Program("by hand");
    for (let i = 0; i < 4; i++) program.dispatch(kernel, { constants: { BY: 2 }, bindings: { output }, grid: [1] });
    const prepared = await PreparedProgram.prepare(gpu, program);
    const encoder = device.createCommandEncoder();
    prepared.encode(encoder);
    device.queue.submit([encoder.finish()]);
    expect(new Float32Array(await gpu.readBuffer(output, 4))[0]).toBe(15);
    const { kernels, numMissing } = await profiler.report();
    expect(kernels).toMatchObject([{ stage: "by hand", kernel: "double", constants: { BY: 2 }, count: 4 }]);
    expect(numMissing).toBe(0);
  });
  gpu.dispose();
});
