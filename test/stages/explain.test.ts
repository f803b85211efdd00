// Explained answers: the same to the bit as others, with every dispatch as a pass, and values that are the trace's own.
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Answer, AnswerOptions, Trace } from "../../src/answer.ts";
import { blobSource } from "../../src/checkpoint/blob-source.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { encodeSafetensors, type TensorToWrite } from "../../src/checkpoint/safetensors-writer.ts";
import { AbortError } from "../../src/errors.ts";
import { type Explanation, explain } from "../../src/explain.ts";
import type { ExplainedPass, PassValues } from "../../src/inspect/explained-pass.ts";
import { Llava } from "../../src/llava.ts";
import { imageSpan, type ModelInputs } from "../../src/models/inputs.ts";
import { readImageFile } from "../../src/preprocess/decode-image.node.ts";
import { countDispatches } from "../setup/count-dispatches.ts";
import { openTestDevice } from "../setup/device.ts";
import { GOLDEN, goldenInputs, largestError, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";

const METHODS: readonly AnswerOptions[] = [
  { maxNewTokens: 3 },
  { method: "scaling", factor: 1.5, maxNewTokens: 3 },
  { method: "adaptvis", maxNewTokens: 3 },
  { method: "adaptvis", maxNewTokens: 2, attention: true },
  { method: "adaptvis", maxNewTokens: 2, rows: { last: 3 }, layers: [1] },
  { method: "scaling", factor: 0.5, maxNewTokens: 3, rows: "generated" },
  { maxNewTokens: 3, topLogProbs: 4, sampling: { temperature: 1, topK: 10, repetitionPenalty: 1.2, seed: 3 } },
];

/** What must not change, attention as numbers. */
/** An answer without what depends on the questions before it. */
function plain({ attention, reusedTokens: _, ...answer }: Answer): object {
  return { ...answer, map: attention?.used() };
}

function passOf(explanation: Explanation, stage: string, place: string): ExplainedPass {
  const found = explanation.passes.filter((pass) => pass.stage === stage && pass.place === place);
  if (found[0] === undefined) throw new Error(`no pass of ${stage} at ${place}`);
  return found.at(-1) ?? found[0]; // of several the last, which completes what the others begin
}

function outputOf(pass: ExplainedPass, binding = "output"): PassValues {
  const output = pass.outputs.find((candidate) => candidate.binding === binding);
  if (output === undefined) throw new Error(`pass ${pass.index} wrote no ${binding}`);
  return output;
}

function tensorOf(trace: Trace, name: string): Float32Array {
  const tensor = trace.tensors.find((candidate) => candidate.name === name);
  if (!(tensor?.data instanceof Float32Array)) throw new Error(`the trace has no ${name}`);
  return tensor.data;
}

/** The statistics, computed here once more. */
function expectStatistics(actual: PassValues, values: Float32Array): void {
  const numbers = Array.from(values);
  const mean = numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
  const rms = Math.sqrt(numbers.reduce((sum, value) => sum + value * value, 0) / numbers.length);
  expect(actual.shape.reduce((product, size) => product * size, 1)).toBe(numbers.length);
  expect(actual).toMatchObject({ min: Math.min(...numbers), max: Math.max(...numbers), numNonFinite: 0 });
  expect(actual.numZeros).toBe(numbers.filter((value) => value === 0).length);
  expect(actual.mean).toBeCloseTo(mean, 9);
  expect(actual.rms).toBeCloseTo(rms, 9);
}

/** Every binding that can be written is accounted for, and what was written has a size that the buffer has room for. */
function expectWhole(explanation: Explanation): void {
  explanation.passes.forEach((pass, index) => {
    const where = `pass ${index}: ${pass.kernel} at ${pass.place}`;
    expect(pass.index, where).toBe(index);
    expect(pass.place, where).not.toBe("");
    expect(explanation.kernels[pass.kernel]?.wgsl, where).toContain("@compute");
    expect(pass.workgroupSize[0], where).toBeGreaterThan(0);
    for (const { binding, access, label, shape, byteLength } of pass.tensors) {
      const outputs = pass.outputs.filter((output) => output.binding === binding);
      const isUsed = !label.startsWith("unused");
      if (access === "read" || !isUsed) expect(outputs, `${where}, ${binding}`).toEqual([]);
      else expect(outputs.length, `${where}, ${binding}`).toBeGreaterThan(0);
      if (isUsed && !["step", "source"].includes(binding)) expect(shape, `${where}, ${binding}`).toBeDefined();
      for (const output of outputs) {
        expect(output.shape.reduce((product, size) => product * size, 4)).toBeLessThanOrEqual(byteLength);
      }
    }
    for (const { picture, numNonFinite, label } of pass.outputs) {
      expect(numNonFinite, `${where}, ${label}`).toBe(0);
      expect(picture.values).toHaveLength(picture.width * picture.height);
      expect(Math.max(picture.width, picture.height)).toBeLessThanOrEqual(64);
    }
  });
}

describe("tiny-llava", () => {
  let model: Llava;
  let inputs: ModelInputs;
  beforeAll(async () => {
    model = await loadGoldenModel("tiny-llava", { lookahead: 1 });
    inputs = goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));
  });
  afterAll(() => model.dispose());

  test.each(METHODS)("the answer is the same to the bit, every dispatch a pass: %j", async (options) => {
    const asked = { ...options, ignoreEos: true };
    let expected: Answer | undefined;
    const numDispatches = await countDispatches(model.gpu.device, async () => {
      expected = await model.answer(inputs, { ...asked, reusePrefix: false });
    });
    const bytes = model.gpu.allocatedBytes;
    const seen: ExplainedPass[] = [];
    const explanation = await explain(model, inputs, { ...asked, onPass: (pass) => seen.push(pass) });
    expect(plain(explanation.answer)).toEqual(expected && plain(expected));
    expect(explanation.passes).toHaveLength(numDispatches);
    expect(seen).toEqual(explanation.passes);
    expect(model.gpu.allocatedBytes).toBe(bytes);
    expectWhole(explanation);
    const { passes, kernels } = explanation;
    expect(structuredClone({ passes, kernels })).toEqual({ passes, kernels });
    // And nothing of it stays: the next answer is as before.
    expect(plain(await model.answer(inputs, asked))).toEqual(expected && plain(expected));
  });

  test("statistics and pictures are those of the trace", async () => {
    const options = { method: "adaptvis", maxNewTokens: 2, ignoreEos: true, attention: true } as const;
    const trace = await model.trace(inputs, options);
    const explanation = await explain(model, inputs, options);
    const values = (stage: string, place: string, binding?: string) =>
      outputOf(passOf(explanation, stage, place), binding);
    expectStatistics(values("vision", "vision.pre_layrnorm"), tensorOf(trace, "vision.hidden_states.0"));
    expectStatistics(values("vision", "vision.layers.1.mlp.fc2"), tensorOf(trace, "vision.hidden_states.2"));
    const features = tensorOf(trace, "image_features");
    expectStatistics(values("vision", "multi_modal_projector.linear_2"), features);
    expectStatistics(values("embed prompt", "image_features"), features);
    const embeds = tensorOf(trace, "inputs_embeds");
    const [start, end] = imageSpan(inputs);
    const text = embeds.filter((_, index) => index < start * 64 || index >= end * 64);
    expectStatistics(values("embed prompt", "embed_tokens"), text);
    for (const layer of [0, 1]) {
      const name = `layers.${layer}`;
      expectStatistics(values("adaptvis step", `${name}.mlp.down_proj`), tensorOf(trace, `${name}.hidden_states`));
      expectStatistics(
        values("adaptvis step", `${name}.self_attn`, "probs"),
        tensorOf(trace, `${name}.attention_probs`),
      );
      const scores = explanation.passes.find(
        ({ stage, place, outputs }) =>
          stage === "adaptvis step" &&
          place === `${name}.self_attn` &&
          outputs.some(({ binding }) => binding === "scores"),
      );
      expectStatistics(
        outputOf(scores ?? passOf(explanation, "", ""), "scores"),
        tensorOf(trace, `${name}.attention_scores`),
      );
    }
    expectStatistics(values("adaptvis step", "lm_head"), tensorOf(trace, "logits"));
    // 25 rows of 64: the picture is the tensor itself.
    const { picture } = values("vision", "vision.layers.1.mlp.fc2");
    expect(picture).toEqual({ width: 64, height: 17, values: tensorOf(trace, "vision.hidden_states.2") });
  });

  test("prefill's last row is the plain trace's, layer by layer, and the chosen token the answer's", async () => {
    const trace = await model.trace(inputs, { maxNewTokens: 2, ignoreEos: true });
    const explanation = await explain(model, inputs, { maxNewTokens: 2, ignoreEos: true });
    for (const layer of [0, 1]) {
      const { picture } = outputOf(passOf(explanation, "prefill", `layers.${layer}.mlp.down_proj`));
      const last = picture.values.slice(-64);
      expect(largestError(last, tensorOf(trace, `layers.${layer}.hidden_states`))).toBe(0);
    }
    explanation.answer.tokens.forEach(({ tokenId, logProb }, index) => {
      const choice = passOf(explanation, `choose token ${index}`, "argmax");
      const [token, logit, logSumExp, bad] = choice.outputs.map(({ min }) => min);
      expect([token, bad]).toEqual([tokenId, 0]);
      expect((logit ?? 0) - (logSumExp ?? 0)).toBe(logProb);
    });
  });

  test("adaptvis has its extra step as a stage of its own, with the factor", async () => {
    const { passes, answer } = await explain(model, inputs, { method: "adaptvis", ignoreEos: true });
    const stages = passes.map(({ stage }) => stage).filter((stage, index, all) => stage !== all[index - 1]);
    expect(stages).toEqual([
      "vision",
      "embed prompt",
      "prefill",
      "confidence",
      "adaptvis step",
      "choose token 0",
      "decode step 1",
      "choose token 1",
      "decode step 2",
      "choose token 2",
    ]);
    const attends = passes.filter(({ place }) => place.endsWith("layers.0.self_attn"));
    const factors = attends.map(({ stage, params }) => [stage, params["edit.strength"]]);
    expect(factors).toContainEqual(["adaptvis step", answer.factor]);
    expect(factors).toContainEqual(["prefill", undefined]);
    const extra = passes.find(({ stage, kernel }) => stage === "adaptvis step" && kernel.startsWith("attention"));
    const row = inputs.inputIds.length - 1;
    const numColumns = answer.imageSpan[1] - answer.imageSpan[0];
    expect(extra?.what).toContain(`in position ${row} the scores of ${numColumns} keys times ${answer.factor}`);
    expect(extra?.params["step.slotStart"]).toBe(row);
  });

  test("without values nothing is read back, and the passes are the same", async () => {
    const full = await explain(model, inputs, { ignoreEos: true });
    const bare = await explain(model, inputs, { ignoreEos: true, values: false });
    const strip = (pass: ExplainedPass) => ({ ...pass, outputs: [], gpuMs: 0 });
    expect(bare.passes.map((pass) => ({ ...pass, gpuMs: 0 }))).toEqual(full.passes.map(strip));
    expect(plain(bare.answer)).toEqual(plain(full.answer));
  });

  test("times are there where the device has timestamp queries", async () => {
    const { passes } = await explain(model, inputs, { maxNewTokens: 1 });
    const hasTimes = model.gpu.device.features.has("timestamp-query");
    for (const { gpuMs } of passes) {
      if (!hasTimes) expect(gpuMs).toBeUndefined();
      else if (gpuMs !== undefined) expect(gpuMs).toBeGreaterThanOrEqual(0);
    }
    if (hasTimes) expect(passes.some(({ gpuMs }) => gpuMs !== undefined)).toBe(true);
  });

  test.each([0, 30, 70])("stopped after pass %i the model goes on, and no buffer stays", async (last) => {
    const options = { method: "adaptvis", ignoreEos: true } as const;
    const expected = await model.answer(inputs, options);
    const bytes = model.gpu.allocatedBytes;
    const stop = new AbortController();
    let numPasses = 0;
    const onPass = ({ index }: ExplainedPass) => {
      numPasses++;
      if (index === last) stop.abort();
    };
    await expect(explain(model, inputs, { ...options, signal: stop.signal, onPass })).rejects.toThrow(AbortError);
    expect(numPasses).toBe(last + 1);
    expect(model.gpu.allocatedBytes).toBe(bytes);
    expect(plain(await model.answer(inputs, options))).toEqual(plain(expected));
  });

  test("disposed of in the middle it ends with an AbortError, and so does one asked later", async () => {
    const other = await loadGoldenModel("tiny-llava");
    const onPass = ({ index }: ExplainedPass) => {
      if (index === 30) other.dispose();
    };
    await expect(explain(other, inputs, { onPass })).rejects.toThrow(AbortError);
    await expect(explain(other, inputs)).rejects.toThrow(AbortError);
    expect(other.gpu.allocatedBytes).toBe(0);
  });

  test("a question asked meanwhile waits and is not explained", async () => {
    const expected = plain(await model.answer(inputs, { maxNewTokens: 2 }));
    const [explanation, answer] = await Promise.all([
      explain(model, inputs, { maxNewTokens: 1 }),
      model.answer(inputs, { maxNewTokens: 2 }),
    ]);
    expect(plain(answer)).toEqual(expected);
    expect(explanation.passes.filter(({ place }) => place === "argmax")).toHaveLength(1);
  });
});

describe("other dtypes, sizes and classes of kernels", () => {
  const cases = [
    { name: "tiny-llava", dtype: "q4" },
    { name: "tiny-llava-gqa", chunkRows: 7 },
    { name: "llava-odd-widths-bf16" },
    // The vision tower's kernels for GPUs are recomputed in explain-passes.
    { name: "llama-text-tied", adapterClass: "gpu" },
  ] as const;

  test.each(cases)("%j", async ({ name, ...load }) => {
    const model = await loadGoldenModel(name, { ...load, lookahead: 1 });
    try {
      const inputs = goldenInputs(model, await readTensorFile(`${name}/expected.safetensors`));
      const options = { method: "adaptvis", maxNewTokens: 2, ignoreEos: true } as const;
      const trace = await model.trace(inputs, options);
      const explanation = await explain(model, inputs, { ...options, attention: true });
      expect(plain(explanation.answer)).toEqual(plain(trace.answer));
      expectWhole(explanation);
      const numLayers = model.config.text.numHiddenLayers;
      for (let layer = 0; layer < numLayers; layer++) {
        const down = outputOf(passOf(explanation, "adaptvis step", `layers.${layer}.mlp.down_proj`));
        expectStatistics(down, tensorOf(trace, `layers.${layer}.hidden_states`));
        const attended = passOf(explanation, "adaptvis step", `layers.${layer}.self_attn`);
        expectStatistics(outputOf(attended, "probs"), tensorOf(trace, `layers.${layer}.attention_probs`));
      }
      expectStatistics(outputOf(passOf(explanation, "adaptvis step", "lm_head")), tensorOf(trace, "logits"));
      if (model.config.multimodal === undefined) return;
      const { numVisionLayers } = model.config.multimodal;
      const last = passOf(explanation, "vision", `vision.layers.${numVisionLayers - 1}.mlp.fc2`);
      expectStatistics(outputOf(last), tensorOf(trace, `vision.hidden_states.${numVisionLayers}`));
      const features = passOf(explanation, "vision", "multi_modal_projector.linear_2");
      expectStatistics(outputOf(features), tensorOf(trace, "image_features"));
    } finally {
      model.dispose();
    }
  });

  test("LLaVA-NeXT: a stage a tile, and newline rows", async () => {
    const model = await loadGoldenModel("llava-next", { lookahead: 1 });
    const inputs = goldenInputs(model, await readTensorFile("llava-next/expected-0.safetensors"));
    const explanation = await explain(model, inputs, { maxNewTokens: 1 });
    expectWhole(explanation);
    const stages = new Set(explanation.passes.map(({ stage }) => stage));
    expect(stages).toContain("vision, tile 1");
    expect(stages).toContain("vision, tile 2");
    const trace = await model.trace(inputs, { maxNewTokens: 1 });
    const gathered = passOf(explanation, "embed prompt", "image_features");
    expectStatistics(outputOf(gathered), tensorOf(trace, "image_features"));
    model.dispose();
  });
});

test("tiny-spatial: a question about a picture, all methods", async () => {
  const { device } = await openTestDevice();
  const folder = fileURLToPath(new URL("../../weights/tiny-spatial", import.meta.url));
  const model = await Llava.load(fileSource(folder), { device, lookahead: 1 });
  const image = await readImageFile(`${folder}/demo/ball_behind_robot.png`);
  const question = "Where is the ball in relation to the robot? Answer with left, right, front or behind.";
  const inputs = model.prepare({ image, question });
  const adaptvis = { alpha1: 0.5, alpha2: 1.2, beta: 0.6 };
  for (const method of ["greedy", "scaling", "adaptvis"] as const) {
    const options = { method, ...(method === "adaptvis" && adaptvis), maxNewTokens: 4 };
    const explanation = await explain(model, inputs, options);
    expect(plain(explanation.answer)).toEqual(plain(await model.answer(inputs, options)));
    expectWhole(explanation);
  }
  model.dispose();
});

test("a weight that is not a number: the error names the pass that it came in by, and the model goes on", async () => {
  const file = await readTensorFile("tiny-llava/model.safetensors");
  const broken = [...file.tensors].map(([name, { shape, data }]): TensorToWrite => {
    const isChosen = name.endsWith("language_model.model.layers.1.mlp.down_proj.weight");
    return { name, dtype: "F32", shape, data: isChosen ? data.with(0, Number.NaN) : data };
  });
  const files = new Map([
    ["config.json", new Blob([await readFile(`${GOLDEN}/tiny-llava/config.json`)])],
    ["model.safetensors", new Blob([encodeSafetensors(broken)])],
  ]);
  const { device } = await openTestDevice();
  using model = await Llava.load(blobSource(files, "broken"), { device });
  const inputs = goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));
  const seen: ExplainedPass[] = [];
  const failure: unknown = await explain(model, inputs, { onPass: (pass) => seen.push(pass) }).catch(
    (error: unknown) => error,
  );
  const origin = seen.find(({ place }) => place === "layers.1.mlp.down_proj");
  expect(failure).toMatchObject({
    name: "GpuError",
    reason: "shader",
    message: expect.stringMatching(
      new RegExp(
        `^The logits are not finite .*; the first .* pass ${origin?.index} \\(prefill, layers\\.1\\.mlp\\.down_proj\\)\\.$`,
      ),
    ),
  });
  await expect(explain(model, inputs, { values: false })).rejects.toThrow(
    /^The logits are not finite .* another adapter\.$/,
  );
});
