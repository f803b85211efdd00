// Who owns what, and until when: the device is its maker's, a model's buffers are the model's, and both ends are defined.
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import type { Answer, AnswerOptions } from "../../src/answer.ts";
import { blobSource } from "../../src/checkpoint/blob-source.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { AbortError, CheckpointError, GpuError, InputError } from "../../src/errors.ts";
import { explain } from "../../src/explain.ts";
import { openNodeAdapter } from "../../src/gpu/hosts/adapter.node.ts";
import { Profiler } from "../../src/gpu/profile/profiler.ts";
import { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { addArrays } from "../hosts/add-arrays.ts";
import { adapterOfEnvironment, openTestDevice, withErrorScopes } from "../setup/device.ts";
import { GOLDEN, goldenInputs, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";

const FOLDER = `${GOLDEN}/tiny-llava`;

async function inputsOf(model: Llava): Promise<ModelInputs> {
  return goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));
}

function idsOf(answer: Answer): number[] {
  return answer.tokens.map(({ tokenId }) => tokenId);
}

/** Whether the device still computes: what its owner would do with it next. */
async function isUsable(device: GPUDevice): Promise<boolean> {
  const keep = { info: device.adapterInfo, requestDevice: async () => keepAlive(device) };
  const { wrongSums } = await withErrorScopes(device, () => addArrays(keep as unknown as GPUAdapter)); // all it uses
  return wrongSums === 0;
}

/** The device without its destroy(), which the sum's own clean-up calls. */
function keepAlive(device: GPUDevice): GPUDevice {
  return new Proxy(device, {
    get(target, name) {
      if (name === "destroy") return () => undefined;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** A device made with no word from adaptvis: the specification's default limits, no features. */
async function foreignDevice(): Promise<GPUDevice> {
  const { adapter } = await openNodeAdapter(adapterOfEnvironment());
  return adapter.requestDevice();
}

test("a device made by others is taken as it is, and computes after dispose()", async () => {
  const device = await foreignDevice();
  const model = await Llava.load(fileSource(FOLDER), { device });
  const answer = await model.answer(await inputsOf(model), { maxNewTokens: 3 });
  const shared = await loadGoldenModel("tiny-llava");
  expect(idsOf(answer)).toEqual(idsOf(await shared.answer(await inputsOf(shared), { maxNewTokens: 3 })));
  shared.dispose();
  model.dispose();
  expect(await isUsable(device)).toBe(true);
  device.destroy();
});

test("it computes after loads that failed early, in the middle and by abort", async () => {
  const device = await foreignDevice();
  const config = new Blob([await readFile(`${FOLDER}/config.json`)]);
  const weights = await readFile(`${FOLDER}/model.safetensors`);
  const cut = new Blob([new Uint8Array(weights).slice(0, weights.length - 1000)]);
  await expect(Llava.load(blobSource(new Map(), "empty"), { device })).rejects.toThrow(CheckpointError);
  const truncated = new Map([
    ["config.json", config],
    ["model.safetensors", cut],
  ]);
  await expect(Llava.load(blobSource(truncated, "cut"), { device })).rejects.toThrow(CheckpointError);
  const controller = new AbortController();
  const onProgress = () => controller.abort();
  const stopped = Llava.load(fileSource(FOLDER), { device, signal: controller.signal, onProgress });
  await expect(stopped).rejects.toThrow(AbortError);
  expect(await isUsable(device)).toBe(true);
  const model = await Llava.load(fileSource(FOLDER), { device });
  expect(idsOf(await model.answer(await inputsOf(model), { maxNewTokens: 2 }))).toHaveLength(2);
  model.dispose();
  device.destroy();
});

test("using frees the model at the end of the block", async () => {
  const { device } = await openTestDevice();
  let freed: Llava;
  {
    using model = await Llava.load(fileSource(FOLDER), { device });
    expect(model.gpu.allocatedBytes).toBeGreaterThan(0);
    freed = model;
  }
  expect(freed.gpu.allocatedBytes).toBe(0);
  await expect(freed.answer(await inputsOf(freed))).rejects.toThrow(AbortError);
});

test("every use of a disposed model is the same clear error, and dispose() again is none", async () => {
  const model = await loadGoldenModel("tiny-llava");
  const inputs = await inputsOf(model);
  await model.answer(inputs, { maxNewTokens: 2 });
  for (let time = 0; time < 3; time++) model.dispose();
  const message = "The question was stopped because its model was disposed; load the model again to ask.";
  const uses = [
    () => model.answer(inputs),
    () => model.trace(inputs),
    () => model.sweep(inputs, [0.5, 1.5]),
    () => model.score(inputs),
    () => explain(model, inputs),
  ];
  for (const use of uses) {
    const failure = await use().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(AbortError);
    expect(failure).toMatchObject({ message });
  }
  expect(model.gpu.allocatedBytes).toBe(0);
});

const running: readonly [string, AnswerOptions, profiled: boolean][] = [
  ["greedy", {}, false],
  ["with AdaptVis and attention", { method: "adaptvis", attention: true }, false],
  ["sampling", { sampling: { temperature: 1, topK: 8, repetitionPenalty: 1.2, seed: 1 }, topLogProbs: 3 }, false],
  ["profiled", {}, true],
];

test.each(running)(
  "dispose() while a question runs, %s: it and those that wait are rejected",
  async (_, options, profiled) => {
    const { device } = await openTestDevice();
    const profiler = profiled ? new Profiler() : undefined;
    const model = await Llava.load(fileSource(FOLDER), { device, profiler });
    const inputs = await inputsOf(model);
    const whole = await model.answer(inputs, { ...options, maxNewTokens: 12, ignoreEos: true });
    const seen: number[] = [];
    const onToken = ({ tokenId }: { readonly tokenId: number }) => {
      seen.push(tokenId);
      if (seen.length === 3) setTimeout(() => model.dispose());
    };
    const first = model.answer(inputs, { ...options, maxNewTokens: 100, ignoreEos: true, onToken });
    const questions = [first, model.answer(inputs, options), model.sweep(inputs, [0.5, 2])];
    for (const { status, ...rest } of await Promise.allSettled(questions)) {
      expect({ status, ...rest }).toMatchObject({ status: "rejected", reason: expect.any(AbortError) });
    }
    expect(seen.length).toBeGreaterThanOrEqual(3);
    // Not one token came out of freed buffers.
    expect(seen.slice(0, 12)).toEqual(idsOf(whole).slice(0, seen.length));
    expect(model.gpu.allocatedBytes).toBe(0);
    expect(await isUsable(device)).toBe(true);
    if (profiler !== undefined) expect((await profiler.report()).phases.length).toBeGreaterThan(0);
  },
);

test("dispose() before anything of a question ran, and in its first steps", async () => {
  for (const numTurns of [0, 1, 2, 3, 5, 10, 20]) {
    const model = await loadGoldenModel("tiny-llava");
    const asked = model.answer(await inputsOf(model), { maxNewTokens: 50, ignoreEos: true }).catch((error) => error);
    for (let turn = 0; turn < numTurns; turn++) await Promise.resolve();
    model.dispose();
    expect(await asked).toBeInstanceOf(AbortError);
    expect(model.gpu.allocatedBytes).toBe(0);
  }
});

test("two models on one device answer at once as they do alone; one goes on when the other is disposed", async () => {
  const names = ["tiny-llava", "llava-biases"] as const;
  const models = await Promise.all(names.map((name) => loadGoldenModel(name)));
  const inputs = await Promise.all(
    models.map(async (model, index) =>
      goldenInputs(model, await readTensorFile(`${names[index]}/expected.safetensors`)),
    ),
  );
  const [one, two] = models;
  const [ofOne, ofTwo] = inputs;
  if (!one || !two || !ofOne || !ofTwo) throw new Error("two models were loaded");
  const options = { maxNewTokens: 8, ignoreEos: true, reusePrefix: false } as const;
  const alone = [idsOf(await one.answer(ofOne, options)), idsOf(await two.answer(ofTwo, options))];
  const together = await Promise.all([one.answer(ofOne, options), two.answer(ofTwo, options)]);
  expect(together.map(idsOf)).toEqual(alone);
  const going = two.answer(ofTwo, options);
  one.dispose();
  expect(idsOf(await going)).toEqual(alone[1]);
  await expect(two.answer(ofTwo, { ...options, layers: [99] })).rejects.toThrow(InputError);
  expect(idsOf(await two.answer(ofTwo, options))).toEqual(alone[1]);
  two.dispose();
});

test("dispose() while an answer is explained", async () => {
  const model = await loadGoldenModel("tiny-llava");
  let numPasses = 0;
  const onPass = () => {
    numPasses++;
    if (numPasses === 5) model.dispose();
  };
  await expect(explain(model, await inputsOf(model), { onPass })).rejects.toThrow(AbortError);
  expect(model.gpu.allocatedBytes).toBe(0);
});

test("a question under which the device is lost and then the model disposed tells of the loss; the other way round, of that", async () => {
  for (const isLostFirst of [true, false]) {
    const device = await foreignDevice();
    const model = await Llava.load(fileSource(FOLDER), { device });
    const asked = model
      .answer(await inputsOf(model), { maxNewTokens: 100, ignoreEos: true, onStage: () => end() })
      .catch((error: unknown) => error);
    let isEnded = false;
    const end = () => {
      if (isEnded) return;
      isEnded = true;
      if (!isLostFirst) model.dispose();
      device.destroy();
      if (isLostFirst) void device.lost.then(() => model.dispose());
    };
    expect(await asked).toBeInstanceOf(isLostFirst ? GpuError : AbortError);
    await device.lost;
    await expect(model.answer(await inputsOf(model))).rejects.toThrow(AbortError);
    expect(model.gpu.allocatedBytes).toBe(0);
  }
});
