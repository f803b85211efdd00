// Edits that keep a row's total attention, against transformers in float64 (tools/goldens/row_edits.py): a temperature within the
// picture and the redistribution of attention sinks, as registered methods, on two checkpoints, one with grouped queries.
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Answer, AnswerOptions } from "../../src/answer.ts";
import { InputError } from "../../src/errors.ts";
import { defineIntervention } from "../../src/interventions/intervention.ts";
import { visualSinks } from "../../src/interventions/visual-sinks.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { GOLDEN, goldenInputs, readTensorFile, type TensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { PARITY } from "../setup/parity-bounds.ts";
import { type ParityCheck, parityProblems, same, within } from "../setup/parity-check.ts";
import { topLogProbChecks } from "../setup/top-log-probs.ts";

const { cases: CASES } = JSON.parse(readFileSync(`${GOLDEN}/row-edits/cases.json`, "utf8")) as {
  readonly cases: Readonly<Record<string, Readonly<Record<string, AnswerOptions>>>>;
};
const OPTIONS: AnswerOptions = { maxNewTokens: 6, ignoreEos: true };

const idsOf = ({ tokens }: Answer) => tokens.map(({ tokenId }) => tokenId);

describe.each(Object.keys(CASES))("%s", (checkpoint) => {
  const cases = Object.entries(CASES[checkpoint] ?? {});
  let model: Llava;
  let golden: TensorFile;
  let inputs: ModelInputs;
  beforeAll(async () => {
    model = await loadGoldenModel(checkpoint, { chunkRows: 7 }); // edited rows and the picture begin and end within chunks
    golden = await readTensorFile(`row-edits/${checkpoint}.safetensors`);
    inputs = goldenInputs(model, golden);
  });
  afterAll(() => model.dispose());

  test.each(cases)("%s: attention, logits, every step and greedy ids", async (name, method) => {
    const trace = await model.trace(inputs, { ...OPTIONS, ...method, topLogProbs: 100 });
    const traced = new Map(trace.tensors.map((tensor) => [tensor.name, tensor.data]));
    const checks: ParityCheck[] = [];
    for (let layer = 0; layer < model.config.text.numHiddenLayers; layer++) {
      const probs = traced.get(`layers.${layer}.attention_probs`) ?? [];
      checks.push(within(`layer ${layer}`, PARITY.attentionProbs, [probs, golden.get(`${name}.probs.${layer}`).data]));
    }
    checks.push(within("logits", PARITY.logits, [traced.get("logits") ?? [], golden.get(`${name}.logits`).data]));
    const steps = golden.get(`${name}.step_logits`).data;
    checks.push(...topLogProbChecks(trace.answer.tokens, steps, model.config.text.vocabSize));
    checks.push(same("ids", idsOf(trace.answer), golden.ids(`${name}.generated`)));
    expect(parityProblems(checks)).toEqual([]);
  });

  test("answers do not depend on what is reused: sinks are known for as much of it as was run for them", async () => {
    const end = inputs.images[0]?.runs[0]?.[1] ?? 0;
    const last = inputs.inputIds.length - 1;
    const exactly = ({ tokens }: Answer) => tokens.map(({ tokenId, logProb }) => [tokenId, logProb]);
    const unshared = new Map<string, unknown>();
    for (const [name, method] of cases) {
      unshared.set(name, exactly(await model.answer(inputs, { ...OPTIONS, ...method, reusePrefix: false })));
    }
    const { sinks, flatter, sharper, "sinks-all-moved": moved } = Object.fromEntries(cases);
    // Which rows are reused: the first from another method, then from other dimensions, then from the same ones.
    const order = [
      ["flatter", flatter, 0],
      ["sharper", sharper, end],
      ["sinks", sinks, 0],
      ["sinks", sinks, end],
      ["sinks-all-moved", moved, 0],
      ["flatter", flatter, end],
      ["sinks-all-moved", moved, end],
      ["sinks", sinks, 0],
    ] as const;
    using session = model.session();
    await session.answer(inputs, { ...OPTIONS, maxNewTokens: 1 }).answer;
    for (const [index, [name, method, numReused]] of order.entries()) {
      const answer = await session.answer(inputs, { ...OPTIONS, ...method }).answer;
      expect(exactly(answer), `${index}: ${name}`).toEqual(unshared.get(name));
      expect(answer.reusedTokens, `${index}: ${name}`).toBe(index === 0 ? last : numReused);
    }
    // A new sequence takes keys and values over, and no sinks.
    const other = await model.answer(inputs, { ...OPTIONS, ...sinks });
    expect(exactly(other)).toEqual(unshared.get("sinks"));
  });

  test("rows of a batch: each temperature gives what it gives alone", async () => {
    const methods = [0.5, 2, 1].map((factor) => ({ method: "temperature" as const, factor }));
    using session = model.session();
    const { answers } = await session.answerEach(inputs, methods, OPTIONS);
    expect(answers.length).toBe(methods.length);
    for (const [index, method] of methods.entries()) {
      const alone = await model.answer(inputs, { ...OPTIONS, ...method });
      const [got, expected] = [answers[index], alone].map((answer) => answer?.tokens.map((token) => token.logProb));
      expect(parityProblems([within("log-probabilities", PARITY.logits, [got ?? [], expected ?? []])])).toEqual([]);
    }
  });
});

describe("refused", () => {
  let model: Llava;
  beforeAll(async () => {
    model = await loadGoldenModel("llava-deep");
  });
  afterAll(() => model.dispose());
  const picture = async () => goldenInputs(model, await readTensorFile("row-edits/llava-deep.safetensors"));
  const sinks: AnswerOptions = { method: "visual-sinks", dimensions: [5] };

  test.each<[string, AnswerOptions, string]>([
    [
      "a dimension out of range",
      { ...sinks, dimensions: [48] },
      "dimensions must be whole numbers from 0 to 47, got 48.",
    ],
    [
      "no dimensions where none are known",
      { method: "visual-sinks" },
      "dimensions: the sink dimensions of this model are not known, only those of LLaMA-2-7B and 13B: give them.",
    ],
    ["an unknown layer", { ...sinks, layers: [4] }, "layers must be whole numbers from 0 to 3, got 4."],
    [
      "sinks after a confidence",
      {
        method: {
          ...defineIntervention({
            name: "gated",
            title: "",
            summary: "",
            source: "",
            parameters: {},
            reads: () => "probability",
            edits: (_, context) => visualSinks.edits({ ...DEFAULTS, dimensions: [5] }, context, { confidence: 1 }),
          }),
        },
      },
      "Method gated: an edit of attention sinks cannot follow a confidence (reads).",
    ],
  ])("%s", async (_, options, message) => {
    await expect(model.answer(await picture(), options)).rejects.toThrow(new InputError(message));
  });

  test.each(["visual-sinks", "temperature"] as const)("%s without a picture", async (method) => {
    const options: AnswerOptions = { method, ...(method === "visual-sinks" && { dimensions: [5] }) };
    const text = { inputIds: Int32Array.of(1, 5, 9), images: [] };
    await expect(model.answer(text, options)).rejects.toThrow(
      new InputError(`Method ${method} changes the attention on a picture, and there is none: ask about one.`),
    );
  });
});

const DEFAULTS = {
  dimensions: undefined,
  tau: 20,
  rho: 0.5,
  moved: 0.6,
  minimumImageShare: 0.2,
  layers: undefined,
  heads: undefined,
  strengths: undefined,
  randomHeads: undefined,
  headSeed: undefined,
  rows: "after-image",
} as const;
