// VCD and DoLa against the same methods in Python: in float64 (tools/goldens/contrast_methods.py), and as transformers itself
// decodes with DoLa (tools/goldens/dola_transformers.py).
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AnswerOptions } from "../../src/answer.ts";
import { InputError } from "../../src/errors.ts";
import type { GeneratedToken } from "../../src/generate/generate.ts";
import { type Contrast, defineIntervention, NO_EDITS, RULED_OUT } from "../../src/interventions/intervention.ts";
import { noised } from "../../src/interventions/noise.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { CONTRAST_CASES, CONTRAST_FOLDER } from "../setup/contrast-cases.ts";
import { countDispatches } from "../setup/count-dispatches.ts";
import { adapterOfEnvironment, openTestDevice } from "../setup/device.ts";
import { goldenInputs, largestError, readTensorFile, type TensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { PARITY } from "../setup/parity-bounds.ts";
import { parityProblems, same, within } from "../setup/parity-check.ts";
import { topLogProbChecks } from "../setup/top-log-probs.ts";

const OPTIONS: AnswerOptions = { maxNewTokens: 6, ignoreEos: true };

let model: Llava;
let golden: TensorFile;
let inputs: ModelInputs;
beforeAll(async () => {
  model = await loadGoldenModel("llava-deep", { chunkRows: 7 }); // the last row of a prompt is not its chunk's first
  golden = await readTensorFile(`${CONTRAST_FOLDER}/expected.safetensors`);
  inputs = goldenInputs(model, golden);
});
afterAll(() => model.dispose());

/** A method of the caller's own that answers from the logits of the first early layer. */
const PROBE = {
  name: "probe",
  title: "Probe",
  summary: "takes early logits",
  source: "this test",
  parameters: {},
  edits: () => NO_EDITS,
};
const EARLY = {
  against: "early-layers" as const,
  isNormalised: true,
  combine: (logits: Float32Array, [early]: readonly Float32Array[]) => logits.set(early ?? []),
};

function idsOf(tokens: readonly GeneratedToken[]): number[] {
  return tokens.map(({ tokenId }) => tokenId);
}

/** The golden's logits after the contrast are those of `tokens`, and nothing that is ruled out is a probable alternative. */
function problemsOf(tokens: readonly GeneratedToken[], expected: TensorFile, name: string): string[] {
  return parityProblems([
    same("ids", idsOf(tokens), expected.ids(`${name}.generated`)),
    ...topLogProbChecks(tokens, expected.get(`${name}.step_logits`).data).map((check) => ({
      ...check,
      what: `${name}: ${check.what}`,
    })),
  ]);
}

describe.each([
  ["alone", {}],
  [
    "with attention captured and places read on the way",
    { attention: true, read: [{ place: "layers.1.hidden_states" }] },
  ],
] as const)("%s", (_, more) => {
  test.each(CONTRAST_CASES)("$name: logits of every step and greedy ids", async ({ name, method, settings }) => {
    const { tokens, ...answer } = await model.answer(inputs, {
      ...OPTIONS,
      ...more,
      ...settings,
      method,
      topLogProbs: 100,
    });
    expect(problemsOf(tokens, golden, name)).toEqual([]);
    expect(answer.method).toBe(method);
    expect(answer.settings).toMatchObject(settings);
    expect(answer.factor).toBe(1);
    expect(answer.reads.length).toBe("read" in more ? 1 : 0);
  });
});

test.each(CONTRAST_CASES)("$name: the first stream's logits are those without a contrast", async (given) => {
  const { name, method, settings } = given;
  const { tensors, answer } = await model.trace(inputs, { ...OPTIONS, ...settings, method });
  const traced = tensors.find((tensor) => tensor.name === "logits")?.data ?? [];
  const last = golden.get(`${name}.last`).data.subarray(0, 160);
  expect(parityProblems([within("logits", PARITY.logits, [traced, last])])).toEqual([]);
  expect(idsOf(answer.tokens)).toEqual(golden.ids(`${name}.generated`));
});

test("in one session, each case after each other, with prefixes used again", async () => {
  using session = model.session();
  let numReusable: number | undefined;
  for (const { name, method, settings } of [...CONTRAST_CASES, ...CONTRAST_CASES.toReversed()]) {
    const { tokens, reusedTokens } = await session.answer(inputs, { ...OPTIONS, ...settings, method }).answer;
    expect(idsOf(tokens), name).toEqual(golden.ids(`${name}.generated`));
    if (numReusable !== undefined) expect(reusedTokens, name).toBe(numReusable);
    numReusable = inputs.inputIds.length - 1;
  }
});

describe("DoLa as transformers 4.52.4 decodes with it", () => {
  test.each([
    ["llava-deep", "low", { candidates: "low" }],
    ["llava-deep", "high", { candidates: "high" }],
    ["llava-deep", "0-1-2-3", { earlyLayers: [0, 1, 2, 3] }],
    ["llava-deep", "high-penalised", { candidates: "high", sampling: { repetitionPenalty: 1.2 } }],
    ["llama-text-tied", "low", { candidates: "low" }],
    ["llama-text-tied", "0-1", { earlyLayers: [0, 1] }],
  ] as const)("%s, %s", async (checkpoint, name, options) => {
    const expected = await readTensorFile(`${CONTRAST_FOLDER}/transformers.safetensors`);
    const own = checkpoint === "llava-deep" ? model : await loadGoldenModel(checkpoint);
    const prompt = { inputIds: Int32Array.from(expected.ids(`${checkpoint}.input_ids`)), images: [] };
    const { tokens } = await own.answer(prompt, {
      ...OPTIONS,
      ...options,
      method: "dola",
      variant: "code",
      topLogProbs: 100,
    });
    expect(problemsOf(tokens, expected, `${checkpoint}.${name}`)).toEqual([]);
    if (own !== model) own.dispose();
  });
});

test("without a picture VCD has no second stream: the answer is the greedy one", async () => {
  const text = { inputIds: Int32Array.of(1, 37, 31, 82), images: [] };
  const { tokens } = await model.answer(text, OPTIONS);
  expect(await model.answer(text, { ...OPTIONS, method: "vcd" })).toMatchObject({ tokens });
});

test.each(["vcd", "dola"] as const)(
  "%s can be sampled from: plausible tokens alone, the same with the same seed",
  async (method) => {
    const sampled = (seed: number) =>
      model.answer(inputs, { ...OPTIONS, method, sampling: { temperature: 3, seed }, topLogProbs: 100 });
    const [first, again, other] = [await sampled(1), await sampled(1), await sampled(2)];
    expect(idsOf(again.tokens)).toEqual(idsOf(first.tokens));
    expect(idsOf(other.tokens)).not.toEqual(idsOf(first.tokens));
    for (const { logProb } of [...first.tokens, ...other.tokens]) expect(logProb).toBeGreaterThan(RULED_OUT / 2);
  },
);

test("VCD's noise follows its seed", async () => {
  const answered = async (noiseSeed: number) =>
    (await model.answer(inputs, { ...OPTIONS, method: "vcd", noiseSeed })).tokens;
  const first = await answered(1);
  expect(await answered(1)).toEqual(first);
  expect((await answered(2)).map(({ logProb }) => logProb)).not.toEqual(first.map(({ logProb }) => logProb));
});

test("what is read at generated positions is read there, and the tokens stay the same", async () => {
  const place = "layers.2.hidden_states";
  const positions = [0, 1, 2, 3].map((index) => inputs.inputIds.length + index);
  const { tokens, reads } = await model.answer(inputs, { ...OPTIONS, method: "dola", read: [{ place, positions }] });
  const ids = golden.ids("dola.generated");
  expect(idsOf(tokens)).toEqual(ids);
  const longer = { ...inputs, inputIds: Int32Array.from([...inputs.inputIds, ...ids.slice(0, 4)]) };
  const { reads: expected } = await model.answer(longer, { maxNewTokens: 1, read: [{ place, positions }] });
  expect(reads[0]?.shape).toEqual([4, model.config.text.hiddenSize]);
  expect(largestError(reads[0]?.data ?? [], expected[0]?.data ?? [])).toBeLessThan(PARITY.hiddenStates);
});

test.each(["vcd", "dola"] as const)(
  "between two tokens of %s, a sweep of another session may replace the scratch buffers",
  async (method) => {
    const own = await loadGoldenModel("llava-deep");
    using session = own.session();
    const stream = session.answer(inputs, { ...OPTIONS, method });
    const ids: number[] = [];
    for await (const { tokenId } of stream) {
      ids.push(tokenId);
      // More rows each time than the buffers have room for.
      await own.sweep(
        inputs,
        Array.from({ length: 2 + ids.length }, () => 1),
        { maxNewTokens: 1 },
      );
    }
    expect(ids).toEqual(golden.ids(`${method}.generated`));
    own.dispose();
  },
);

test("hidden states that are written are those that early layers give their logits from", async () => {
  const positions = [inputs.inputIds.length - 1];
  const values = Float32Array.from({ length: model.config.text.hiddenSize }, (_, index) => Math.sin(index) * 3);
  const options = { ...OPTIONS, maxNewTokens: 1 };
  // Behind the last layer, the same values go through the final norm and lm_head of every answer.
  const written = (layer: number) => [{ place: `layers.${layer}.hidden_states`, positions, values }];
  const { tensors } = await model.trace(inputs, { ...options, write: written(3) });
  const expected = Float32Array.from(tensors.find(({ name }) => name === "logits")?.data ?? []);
  const method = defineIntervention({ ...PROBE, contrast: () => ({ ...EARLY, layers: [2] }) });
  const { tokens } = await model.answer(inputs, { ...options, method, write: written(1), topLogProbs: 100 });
  expect(parityProblems(topLogProbChecks(tokens, expected))).toEqual([]);
});

test("keys and values in fewer bits move the logits by no more than they do without a contrast", async () => {
  const packed = await loadGoldenModel("llava-deep", { kvDtype: "f16" });
  for (const method of ["vcd", "dola"] as const) {
    const { tokens } = await packed.answer(inputs, { ...OPTIONS, method, topLogProbs: 100 });
    const [expected] = [golden.get(`${method}.step_logits`).data.subarray(0, 160)];
    const [check] = topLogProbChecks(tokens, expected);
    expect(check).toMatchObject({ what: "log probabilities of token 0" });
    // Up to three times the error of one stream's logits: (1 + 1) of the first and 1 of the second.
    expect(Number(check !== undefined && "error" in check ? check.error : Number.NaN)).toBeLessThan(
      3 * PARITY.kvOracle.f16,
    );
  }
  packed.dispose();
});

// SwiftShader takes most of a minute to compile the kernels of GPUs.
const classes = adapterOfEnvironment() === "swiftshader" ? (["cpu"] as const) : (["cpu", "gpu"] as const);

test.each(classes)("the same in one model with kernels of class %s", async (adapterClass) => {
  const own = await loadGoldenModel("llava-deep", { adapterClass });
  for (const { name, method, settings } of CONTRAST_CASES) {
    const { tokens } = await own.answer(inputs, { ...OPTIONS, ...settings, method, topLogProbs: 100 });
    expect(problemsOf(tokens, golden, name)).toEqual([]);
  }
  own.dispose();
});

test("LLaVA-NeXT: every tile is noised, and the logits are those of two prompts", async () => {
  const next = await loadGoldenModel("llava-next");
  const tiled = goldenInputs(next, await readTensorFile("llava-next/expected-0.safetensors"));
  const noisy = {
    ...tiled,
    images: tiled.images.map((image, index) => ({
      ...image,
      pixelValues: noised(image.pixelValues, { step: 700, seed: 5 + index }),
    })),
  };
  const logitsOf = async (prompt: ModelInputs) => {
    const { tensors } = await next.trace(prompt, { maxNewTokens: 1 });
    return Array.from(tensors.find(({ name }) => name === "logits")?.data ?? []);
  };
  const [clear, lost] = [await logitsOf(tiled), await logitsOf(noisy)];
  expect(largestError(clear, lost)).toBeGreaterThan(0.1);
  const { tokens } = await next.answer(tiled, {
    ...OPTIONS,
    method: "vcd",
    plausibility: 0,
    noiseStep: 700,
    noiseSeed: 5,
    topLogProbs: 100,
  });
  const expected = Float32Array.from(clear, (value, id) => 2 * value - Number(lost[id]));
  expect(parityProblems(topLogProbChecks(tokens, expected, expected.length))).toEqual([]);
  next.dispose();
});

test("a token costs DoLa a norm and an lm_head more, without the norm in the code's variant, and greedy answers nothing", async () => {
  const { device } = await openTestDevice();
  const options = { ...OPTIONS, reusePrefix: false };
  const count = (more: AnswerOptions) =>
    countDispatches(device, async () => void (await model.answer(inputs, { ...options, ...more })));
  const greedy = await count({});
  expect(await count({ method: "dola" })).toBe(greedy + 6 * 2);
  expect(await count({ method: "dola", variant: "code" })).toBe(greedy + 6);
  expect(await count({ method: "dola", earlyLayers: [0, 1, 2, 3] })).toBe(greedy + 6 * 2);
  expect(await count({})).toBe(greedy);
});

test("DoLa's programs are recorded once per answer, not per token", async () => {
  const { device } = await openTestDevice();
  const { createBindGroup } = device;
  let numGroups = 0;
  device.createBindGroup = (descriptor) => {
    numGroups++;
    return createBindGroup.call(device, descriptor);
  };
  try {
    const groupsOf = async (maxNewTokens: number) => {
      numGroups = 0;
      await model.answer(inputs, { ...OPTIONS, method: "dola", reusePrefix: false, maxNewTokens });
      return numGroups;
    };
    await groupsOf(6);
    const few = await groupsOf(2);
    expect(few).toBeGreaterThan(0);
    expect(await groupsOf(6)).toBe(few);
  } finally {
    device.createBindGroup = createBindGroup;
  }
});

test.each(["vcd", "dola"] as const)("%s leaves nothing behind", async (method) => {
  await model.answer(inputs, { ...OPTIONS, method });
  model.clearCaches();
  const before = model.gpu.allocatedBytes;
  await model.answer(inputs, { ...OPTIONS, method });
  model.clearCaches();
  expect(model.gpu.allocatedBytes).toBe(before);
});

describe("what cannot be is refused in one sentence, and the model stays usable", () => {
  const refused = (contrast: Contrast) =>
    model.answer(inputs, { ...OPTIONS, method: defineIntervention({ ...PROBE, contrast: () => contrast }) });

  test.each([
    [[], "none"],
    [[4], "4"],
    [[-1], "-1"],
    [[0.5], "0.5"],
    [[1, 1], "1,1"],
  ] as const)("early layers %j", async (layers, got) => {
    await expect(refused({ ...EARLY, layers })).rejects.toThrow(
      new InputError(`early layers must be different whole numbers from 0 to 3, at least one, got ${got}.`),
    );
  });

  test("another number of pixel values", async () => {
    const changed = () => new Float32Array(3);
    await expect(refused({ against: "changed-picture", changed, combine: () => undefined })).rejects.toThrow(
      "contrast: changed must return 5292 pixel values for picture 0, got 3.",
    );
  });

  test("settings that the method does not have, or that are none of the model's layers", async () => {
    const answer = (options: AnswerOptions) => model.answer(inputs, { ...OPTIONS, ...options });
    await expect(answer({ method: "vcd", layers: [1] })).rejects.toThrow(
      "layers is not a setting of method vcd: it has amplification, plausibility, noiseStep, noiseSeed.",
    );
    await expect(answer({ method: "dola", earlyLayers: [4] })).rejects.toThrow(
      "earlyLayers must be whole numbers from 0 to 3, got 4.",
    );
    await expect(answer({ method: "dola", earlyLayers: [] })).rejects.toThrow(
      new InputError("early layers must be different whole numbers from 0 to 3, at least one, got none."),
    );
    expect(idsOf((await answer({ method: "dola" })).tokens)).toEqual(golden.ids("dola.generated"));
  });
});
