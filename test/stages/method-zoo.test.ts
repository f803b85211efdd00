// Methods against the same methods in Python, in float64 and on two checkpoints (tools/goldens/method_zoo.py): attention, the logits
// of every step, and greedy ids. And every registered method in a session that has answered something else before.
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AnswerOptions } from "../../src/answer.ts";
import { InputError } from "../../src/errors.ts";
import { INTERVENTIONS, type MethodName, type MethodSettings } from "../../src/interventions/registry.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { GOLDEN, goldenInputs, readTensorFile, type TensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { PARITY } from "../setup/parity-bounds.ts";
import { type ParityCheck, parityProblems, same, within } from "../setup/parity-check.ts";
import { topLogProbChecks } from "../setup/top-log-probs.ts";

interface ZooCase {
  readonly name: string;
  readonly method: MethodName;
  readonly settings: MethodSettings;
  /** What the gate chose. */
  readonly factor?: number;
}

const { cases: CASES } = JSON.parse(readFileSync(`${GOLDEN}/method-zoo/cases.json`, "utf8")) as {
  readonly cases: Readonly<Record<string, readonly ZooCase[]>>;
};
const OPTIONS: AnswerOptions = { maxNewTokens: 5, ignoreEos: true, topLogProbs: 100 };

describe.each(Object.entries(CASES))("%s", (checkpoint, cases) => {
  let model: Llava;
  let golden: TensorFile;
  let inputs: ModelInputs;
  beforeAll(async () => {
    model = await loadGoldenModel(checkpoint, { chunkRows: 7 }); // edited rows and the picture begin and end within chunks
    golden = await readTensorFile(`method-zoo/${checkpoint}.safetensors`);
    inputs = goldenInputs(model, golden);
  });
  afterAll(() => model.dispose());

  test.each(cases)("$name", async ({ name, method, settings, factor }) => {
    const { text } = model.config;
    const { tensors, answer } = await model.trace(inputs, { ...OPTIONS, ...settings, method }, { generated: false });
    const traced = new Map(tensors.map((tensor) => [tensor.name, tensor.data]));
    const checks: ParityCheck[] = [
      same(
        "ids",
        answer.tokens.map(({ tokenId }) => tokenId),
        golden.ids(`${name}.generated`),
      ),
      ...topLogProbChecks(answer.tokens, golden.get(`${name}.step_logits`).data, text.vocabSize),
    ];
    for (let layer = 0; layer < text.numHiddenLayers; layer++) {
      const probs = traced.get(`layers.${layer}.attention_probs`) ?? [];
      const expected = golden.get(`${name}.probs.${layer}`).data;
      checks.push(within(`layer ${layer} attention`, PARITY.attentionProbs, [probs, expected]));
    }
    expect(parityProblems(checks)).toEqual([]);
    if (factor !== undefined) expect(answer.factor).toBeCloseTo(factor, 12);
  });
});

describe("every method", () => {
  let model: Llava;
  let inputs: ModelInputs;
  beforeAll(async () => {
    model = await loadGoldenModel("llava-deep", { chunkRows: 7 }); // grouped-query attention
    inputs = goldenInputs(model, await readTensorFile("method-zoo/llava-deep.safetensors"));
  });
  afterAll(() => model.dispose());

  /** VAF's own layers are beyond those of a tiny model, and its sink dimensions are not known. */
  const settingsOf = (method: MethodName): MethodSettings => {
    if (method === "vaf") return { layers: [1, 2] };
    return method === "visual-sinks" ? { dimensions: [0, 5], tau: 1 } : {};
  };

  test.each(INTERVENTIONS.map(({ name }) => name))(
    "%s: rows that are shared with another method's answer change nothing",
    async (method) => {
      const options = { ...OPTIONS, ...settingsOf(method), method };
      const alone = await model.answer(inputs, { ...options, reusePrefix: false });
      expect(alone.reusedTokens).toBe(0);
      using session = model.session();
      // Sinks are known of rows that ran under the same method only.
      const first = method === "visual-sinks" ? { ...options, rho: 0 } : ({ method: "scaling", factor: 0.3 } as const);
      await session.answer(inputs, { ...first, maxNewTokens: 1 }).answer;
      const shared = await session.answer(inputs, options).answer;
      // All rows before the first edited one, at the earliest behind the picture.
      const [, pictureEnd] = shared.imageSpan;
      expect(shared.reusedTokens).toBeGreaterThanOrEqual(pictureEnd);
      if (method === "vaf") expect(shared.reusedTokens).toBe(pictureEnd);
      if (method === "pai") expect(shared.reusedTokens).toBe(inputs.inputIds.length - 1);
      const numbers = ({ tokens }: typeof alone) =>
        tokens.flatMap(({ tokenId, logProb, top }) => [tokenId, logProb, ...top.map((each) => each.logProb)]);
      expect(parityProblems([within("log probabilities", PARITY.oracle, [numbers(shared), numbers(alone)])])).toEqual(
        [],
      );
    },
  );

  test.each([
    [{ method: "scaling", layers: [4] }, "layers must be whole numbers from 0 to 3, got 4."],
    [{ method: "pai", heads: [1, 4] }, "heads must be whole numbers from 0 to 3, got 4."],
    [{ method: "scaling", patches: [9] }, "patches must be numbers of the prompt's image tokens (0 to 8), got 9."],
    [
      { method: "scaling", patches: [0], box: [0, 0, 1, 1] },
      "patches and box both select image tokens: give one of them.",
    ],
    [
      { method: "scaling", box: [0, 0, 1, 1] },
      "box needs the picture's size, which these inputs do not have: give patches instead.",
    ],
    [
      { method: "constant-add", columns: [1], patches: [0] },
      "columns are positions of the prompt, among which patches and box choose nothing: omit one of them.",
    ],
    [
      { method: "vaf" },
      "layers: VAF acts on layers 9 to 14 unless layers are given, and this model has only layers 0 to 3: give its middle layers.",
    ],
    [
      { method: "pai", randomHeads: 9 },
      "randomHeads must be at most 8, the heads of all layers that the method acts on, got 9.",
    ],
    [
      { method: "knock-out", headSeed: 1 },
      "headSeed draws random heads, of which there are none: give randomHeads too.",
    ],
    [
      { method: "scaling", strengths: [[1, 1, 1, 1]] },
      "strengths must be a list of numbers for each layer, 4 layers × 4 heads, got 1 lists.",
    ],
    [
      { method: "scaling", strengths: new Float32Array(16), randomHeads: 2 },
      "strengths and randomHeads both choose heads: give one of them.",
    ],
  ] as const)("%j is refused", async (options, message) => {
    await expect(model.answer(inputs, options)).rejects.toThrow(new InputError(message));
  });
});
