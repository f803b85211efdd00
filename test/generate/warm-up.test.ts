// warmUp(): nothing is left to compile afterwards, nothing of it stays, and it can be stopped at any point.
import { expect, test } from "vitest";
import type { AnswerOptions, ExpectedQuestion, WarmUpProgress } from "../../src/answer.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { AbortError, InputError } from "../../src/errors.ts";
import { openNodeAdapter } from "../../src/gpu/hosts/adapter.node.ts";
import { Profiler } from "../../src/gpu/profile/profiler.ts";
import { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { adapterOfEnvironment, openTestDevice } from "../setup/device.ts";
import { GOLDEN, goldenInputs, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";

const NAME = "tiny-llava";

async function inputsOf(model: Llava): Promise<ModelInputs> {
  return goldenInputs(model, await readTensorFile(`${NAME}/expected.safetensors`));
}

/** A text prompt of so many ids that the vocabulary has. */
function textOf(model: Llava, length: number): ModelInputs {
  return model.processor.fromTensors({
    inputIds: Int32Array.from({ length }, (_, index) => 5 + (index % 20)),
    pixelValues: undefined,
  });
}

test("no question of the expected kind compiles anything afterwards, whatever the length of its prompt", async () => {
  const model = await loadGoldenModel(NAME);
  await model.compiled();
  const numLoaded = model.gpu.pipelines.size;
  await model.warmUp();
  const numWarm = model.gpu.pipelines.size;
  expect(numWarm).toBeGreaterThan(numLoaded); // a sweep's at least
  const inputs = await inputsOf(model);
  await model.answer(inputs, { maxNewTokens: 3, ignoreEos: true });
  await model.answer(inputs, { method: "adaptvis", maxNewTokens: 3, ignoreEos: true, reusePrefix: false });
  for (const length of [1, 2, 7, 9, 17, 33, 40]) {
    await model.answer(textOf(model, length), { maxNewTokens: 2, ignoreEos: true, reusePrefix: false });
  }
  for (const numFactors of [1, 3, 6, 12, 20]) {
    const factors = Array.from({ length: numFactors }, (_, index) => 0.5 + index / 10);
    await model.sweep(inputs, factors, { maxNewTokens: 3, ignoreEos: true, reusePrefix: false });
  }
  expect(model.gpu.pipelines.size).toBe(numWarm);
  // The count does see kernels of questions that were not expected.
  await model.answer(inputs, { attention: true, maxNewTokens: 1 });
  expect(model.gpu.pipelines.size).toBeGreaterThan(numWarm);
  model.dispose();
});

const asked: readonly [string, ExpectedQuestion, AnswerOptions][] = [
  ["attention", { attention: true }, { attention: true }],
  ["AdaptVis with attention", { method: "adaptvis", attention: true }, { method: "adaptvis", attention: true }],
  [
    "AdaptVis on rows after the picture",
    { method: "adaptvis", rows: "after-image" },
    { method: "adaptvis", rows: "after-image" },
  ],
  ["a fixed factor", { method: "scaling" }, { method: "scaling", factor: 2 }],
  ["PAI in generated rows", { method: "pai" }, { method: "pai", alpha: 0.3 }],
  ["VCD", { method: "vcd" }, { method: "vcd", noiseStep: 900 }],
  ["DoLa", { method: "dola", earlyLayers: [0, 1] }, { method: "dola", earlyLayers: [0, 1], plausibility: 0 }],
  [
    "sampling",
    { sampling: { repetitionPenalty: 1.1 }, topLogProbs: 1 },
    { sampling: { repetitionPenalty: 1.3, temperature: 1, seed: 1 }, topLogProbs: 4 },
  ],
];

test.each(asked)("the same for one kind of question: %s", async (_, expected, options) => {
  const { device } = await openTestDevice();
  const question = { ...options, maxNewTokens: 3, ignoreEos: true };
  const cold = await Llava.load(fileSource(`${GOLDEN}/${NAME}`), { device, firstQuestion: expected });
  const inputs = await inputsOf(cold);
  const answer = await cold.answer(inputs, question);
  cold.dispose();
  const warm = await loadGoldenModel(NAME);
  await warm.warmUp({ questions: [expected], sweep: false });
  const { size } = warm.gpu.pipelines;
  expect((await warm.answer(inputs, question)).tokens).toEqual(answer.tokens);
  expect(warm.gpu.pipelines.size).toBe(size);
  warm.dispose();
});

test("a load compiles what its first question runs, and no more", async () => {
  const { device } = await openTestDevice();
  const load = (firstQuestion?: ExpectedQuestion) =>
    Llava.load(fileSource(`${GOLDEN}/${NAME}`), { device, firstQuestion });
  const sizes = [];
  for (const question of [undefined, {}, { hasImage: false }]) {
    const model = await load(question);
    sizes.push(model.gpu.pipelines.size);
    const options = { maxNewTokens: 2, ignoreEos: true };
    if (question !== undefined) {
      const rows = model.gpu.pipelines.size;
      await model.answer(textOf(model, 40), options); // as many rows as the kernels of a whole chunk are for
      expect(model.gpu.pipelines.size).toBe(rows);
    }
    model.dispose();
  }
  const [usual = 0, greedy = 0, textOnly = 0] = sizes;
  expect(greedy).toBeLessThan(usual); // AdaptVis' step
  expect(textOnly).toBeLessThan(greedy); // the vision tower
  await expect(load({ method: "scaling", alpha1: 1 })).rejects.toThrow(InputError);
});

// The choice among the kernels of GPUs does not depend on the adapter, and SwiftShader takes most of a minute to compile them.
const classes = adapterOfEnvironment() === "swiftshader" ? (["cpu"] as const) : (["cpu", "gpu"] as const);

test.each(classes)("kernels for every length of a chunk are among them, class %s", async (adapterClass) => {
  const model = await loadGoldenModel(NAME, { adapterClass, chunkRows: 96 });
  await model.warmUp({ questions: [{}], sweep: false });
  const { size } = model.gpu.pipelines;
  for (let length = 1; length <= 96; length++) {
    await model.answer(textOf(model, length), { maxNewTokens: 1, reusePrefix: false });
  }
  expect(model.gpu.pipelines.size).toBe(size);
  model.dispose();
});

test("progress goes up to the total, phase by phase; a second warm-up has nothing left to run", async () => {
  const model = await loadGoldenModel(NAME);
  const seen: WarmUpProgress[] = [];
  await model.warmUp({ onProgress: (progress) => seen.push(progress) });
  const phases = seen.map(({ phase }) => phase);
  expect(phases).toEqual([...phases].sort()); // compile, then run
  for (const phase of ["compile", "run"] as const) {
    const own = seen.filter((progress) => progress.phase === phase);
    expect(new Set(own.map(({ total }) => total)).size).toBe(1);
    const done = own.map((progress) => progress.done);
    expect(done).toEqual(done.toSorted((a, b) => a - b));
    expect(done.at(-1)).toBe(own[0]?.total);
  }
  expect(seen.at(-1)?.total).toBe(model.gpu.pipelines.size);
  const again: WarmUpProgress[] = [];
  await model.warmUp({ onProgress: (progress) => again.push(progress) });
  const { size } = model.gpu.pipelines;
  expect(again).toEqual([
    { phase: "compile", done: size, total: size },
    { phase: "run", done: 0, total: 0 },
  ]);
  model.dispose();
});

test("it runs each kernel once, and leaves memory, caches and answers as they were", async () => {
  const { device } = await openTestDevice();
  const profiler = new Profiler();
  const model = await Llava.load(fileSource(`${GOLDEN}/${NAME}`), { device, profiler });
  const inputs = await inputsOf(model);
  const options = { maxNewTokens: 6, ignoreEos: true } as const;
  const session = model.session();
  const before = await session.answer(inputs, options).answer;
  const { allocatedBytes } = model.gpu;
  await model.warmUp();
  expect(model.gpu.allocatedBytes).toBe(allocatedBytes);
  const { stages } = await profiler.report();
  const warm = stages.find(({ stage }) => stage === "warm-up");
  expect(warm?.numDispatches).toBe(model.gpu.pipelines.size);
  const after = await session.answer(inputs, options).answer;
  expect(after.tokens).toEqual(before.tokens);
  expect(after.reusedTokens).toBe(inputs.inputIds.length - 1); // the session's keys and values are still there
  session.close();
  model.dispose();
});

test("questions may be asked meanwhile", async () => {
  const model = await loadGoldenModel(NAME);
  const inputs = await inputsOf(model);
  const options = { maxNewTokens: 4, ignoreEos: true, reusePrefix: false } as const;
  const warm = model.warmUp();
  const first = await model.answer(inputs, options);
  await warm;
  expect((await model.answer(inputs, options)).tokens).toEqual(first.tokens);
  model.dispose();
});

test("a signal ends it before, between and in its phases, and the model stays usable", async () => {
  const { adapter } = await openNodeAdapter(adapterOfEnvironment());
  const device = await adapter.requestDevice({
    requiredFeatures: adapter.features.has("subgroups") ? ["subgroups"] : [],
  });
  const model = await Llava.load(fileSource(`${GOLDEN}/${NAME}`), { device });
  const inputs = await inputsOf(model);
  await expect(model.warmUp({ signal: AbortSignal.abort() })).rejects.toThrow(AbortError);
  const stopAt = async (isTime: (progress: WarmUpProgress) => boolean) => {
    const controller = new AbortController();
    const late: WarmUpProgress[] = [];
    const onProgress = (progress: WarmUpProgress) => {
      if (controller.signal.aborted) late.push(progress);
      else if (isTime(progress)) controller.abort();
    };
    await expect(model.warmUp({ signal: controller.signal, onProgress })).rejects.toThrow(AbortError);
    expect(late).toEqual([]);
  };
  await stopAt(({ phase }) => phase === "compile");
  const { allocatedBytes } = model.gpu;
  await stopAt(({ phase, done }) => phase === "run" && done === 0);
  await stopAt(({ phase, done }) => phase === "run" && done === 2);
  expect(model.gpu.allocatedBytes).toBe(allocatedBytes);
  const answer = await model.answer(inputs, { maxNewTokens: 4, ignoreEos: true });
  const shared = await loadGoldenModel(NAME);
  const other = await shared.answer(inputs, { maxNewTokens: 4, ignoreEos: true });
  expect(answer.tokens.map(({ tokenId }) => tokenId)).toEqual(other.tokens.map(({ tokenId }) => tokenId));
  const totals = new Set<number>();
  await model.warmUp({
    onProgress: ({ phase, total }) => {
      if (phase === "run") totals.add(total);
    },
  });
  expect([...totals]).toEqual([model.gpu.pipelines.size - 2]); // the two that ran before it was stopped do not run again
  shared.dispose();
  model.dispose();
  device.destroy();
});

test("dispose() ends it in either phase", async () => {
  for (const phase of ["compile", "run"] as const) {
    const model = await loadGoldenModel(NAME);
    const onProgress = (progress: WarmUpProgress) => {
      if (progress.phase === phase && progress.done < progress.total) model.dispose();
    };
    await expect(model.warmUp({ onProgress })).rejects.toThrow(AbortError);
    expect(model.gpu.allocatedBytes).toBe(0);
    await expect(model.warmUp()).rejects.toThrow(AbortError);
  }
});

test("options that cannot be are refused as a question's are", async () => {
  const model = await loadGoldenModel(NAME);
  const questions = [{ method: "greedy", alpha1: 2 } as const];
  await expect(model.warmUp({ questions })).rejects.toThrow(/alpha1/);
  await expect(model.warmUp({ questions: [{ method: "best" as "greedy" }] })).rejects.toThrow(InputError);
  model.dispose();
});
