// Interventions of the caller's own against transformers in float64 (tools/goldens/score_edits.py): every operation, per layer
// and head, on columns with gaps, for prompt rows and for generated ones.
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AnswerOptions } from "../../src/answer.ts";
import { InputError } from "../../src/errors.ts";
import type { GeneratedToken } from "../../src/generate/generate.ts";
import {
  columnsOf,
  defineIntervention,
  type Intervention,
  type ScoreEdit,
} from "../../src/interventions/intervention.ts";
import { number } from "../../src/interventions/parameters.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { GOLDEN, goldenInputs, readTensorFile, type TensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { PARITY } from "../setup/parity-bounds.ts";
import { type ParityCheck, parityProblems, same, within } from "../setup/parity-check.ts";
import { topLogProbChecks } from "../setup/top-log-probs.ts";

interface GoldenEdit {
  readonly operation: ScoreEdit["operation"];
  readonly rows: readonly [start: number, end: number];
  readonly columns: string;
  readonly strengths: string;
}

interface GoldenCase {
  readonly name: string;
  readonly edits: readonly GoldenEdit[];
}

const { cases: CASES } = JSON.parse(readFileSync(`${GOLDEN}/score-edits/cases.json`, "utf8")) as {
  readonly cases: readonly GoldenCase[];
};
const NEW_TOKENS = 6;
const OPTIONS: AnswerOptions = { maxNewTokens: NEW_TOKENS, ignoreEos: true };

let model: Llava;
let golden: TensorFile;
let inputs: ModelInputs;
beforeAll(async () => {
  model = await loadGoldenModel("llava-deep", { chunkRows: 7 }); // edited rows and the picture begin and end within chunks
  golden = await readTensorFile("score-edits/expected.safetensors");
  inputs = goldenInputs(model, golden);
});
afterAll(() => model.dispose());

/** The edits of a case as the library takes them. */
function scoresOf({ edits }: GoldenCase): readonly ScoreEdit[] {
  const context = {
    numLayers: 0,
    numHeads: 0,
    numKeyValueHeads: 0,
    hiddenSize: 8,
    intermediateSize: 16,
    promptLength: inputs.inputIds.length,
    imageRuns: [],
    tieWordEmbeddings: false,
    images: [],
  };
  return edits.map(({ operation, rows, columns, strengths }) => ({
    operation,
    rows,
    columns: columnsOf(golden.ids(`columns.${columns}`), context),
    strength: golden.get(`strengths.${strengths}`).data,
  }));
}

/** The method that makes a case's edits: at once, or after it has read the confidence of an unmodified pass. */
function methodOf(golden: GoldenCase, readsFirst: boolean): Intervention {
  const described = { title: golden.name, summary: "edits of a golden", source: "tools/goldens/score_edits.py" };
  const edits = () => ({ scores: scoresOf(golden), factor: 1 });
  const method = defineIntervention({ name: golden.name, ...described, parameters: {}, edits });
  return readsFirst ? { ...method, reads: () => "probability" } : method;
}

function idsOf(tokens: readonly GeneratedToken[]): number[] {
  return tokens.map(({ tokenId }) => tokenId);
}

describe.each([
  ["in the first pass", false],
  ["after a confidence was read", true],
] as const)("%s", (_, readsFirst) => {
  test.each(CASES)("$name: attention, logits, every step and greedy ids", async (golden) => {
    const method = methodOf(golden, readsFirst);
    expect(parityProblems(await checksOf(golden.name, { method }))).toEqual([]);
  });
});

/** Goldens whose strengths are one number on some layers, as registered methods make them. */
const REGISTERED: readonly (readonly [name: string, method: AnswerOptions])[] = [
  ["pai-last", { method: "pai", gamma: 1, layers: [1, 2, 3], rows: "last" }],
  ["pai-generated", { method: "pai", gamma: 1, layers: [1, 2, 3] }],
  ["knock-out-last", { method: "knock-out", layers: [1, 2], columns: [0, 2, 5, 6, 7, 10, 12, 14, 15, 20] }],
  [
    "knock-out-after",
    { method: "knock-out", layers: [0, 1], columns: [0, 2, 5, 6, 7, 10, 12, 14, 15, 20], rows: { last: 13 } },
  ],
];

test.each(REGISTERED)("%s with %j", async (name, method) => {
  expect(parityProblems(await checksOf(name, method))).toEqual([]);
});

async function checksOf(name: string, method: AnswerOptions): Promise<readonly ParityCheck[]> {
  const trace = await model.trace(inputs, { ...OPTIONS, ...method, topLogProbs: 100 });
  const traced = new Map(trace.tensors.map((tensor) => [tensor.name, tensor.data]));
  const checks: ParityCheck[] = [];
  for (let layer = 0; layer < model.config.text.numHiddenLayers; layer++) {
    const probs = traced.get(`layers.${layer}.attention_probs`) ?? [];
    const expected = golden.get(`${name}.probs.${layer}`).data;
    checks.push(within(`layer ${layer} attention`, PARITY.attentionProbs, [probs, expected]));
  }
  checks.push(within("logits", PARITY.logits, [traced.get("logits") ?? [], golden.get(`${name}.logits`).data]));
  const steps = golden.get(`${name}.step_logits`);
  checks.push(...topLogProbChecks(trace.answer.tokens, steps.data));
  checks.push(same("ids", idsOf(trace.answer.tokens), golden.ids(`${name}.generated`)));
  return checks;
}

test("in one session, each case after each other: rows in front of the first edited one are used again, others never", async () => {
  using session = model.session();
  const lastRow = inputs.inputIds.length - 1;
  let numHeld: number | undefined;
  for (const readsFirst of [false, true]) {
    for (const edited of readsFirst ? CASES.toReversed() : CASES) {
      const answer = await session.answer(inputs, { ...OPTIONS, method: methodOf(edited, readsFirst) }).answer;
      expect(idsOf(answer.tokens), edited.name).toEqual(golden.ids(`${edited.name}.generated`));
      const firstEdited = Math.min(lastRow, ...edited.edits.map(({ rows: [start] }) => start));
      const numReused = Math.min(numHeld ?? 0, readsFirst ? lastRow : firstEdited);
      if (numHeld !== undefined) expect(answer.reusedTokens, edited.name).toBe(numReused);
      numHeld = firstEdited;
    }
  }
});

test.each([
  ["multiply-after-generated", 300, false],
  ["multiply-after-generated", 600, true],
  ["multiply-last", 900, true],
] as const)(
  "%s with %i more edits that change nothing, for which room is made on the way",
  async (name, numMore, readsFirst) => {
    const edited = CASES.find((known) => known.name === name);
    if (edited === undefined) throw new Error(`cases.json has no ${name}`);
    const { numHiddenLayers, numAttentionHeads } = model.config.text;
    const neutral = Array.from({ length: numMore }, (): ScoreEdit => {
      const strength = new Float32Array(numHiddenLayers * numAttentionHeads).fill(1);
      return { operation: "multiply", strength, columns: [[0, 4]], rows: [25, 32] };
    });
    const method = {
      ...methodOf(edited, readsFirst),
      edits: () => ({ scores: [...scoresOf(edited), ...neutral], factor: 1 }),
    };
    const answer = await model.answer(inputs, { ...OPTIONS, method });
    expect(idsOf(answer.tokens)).toEqual(golden.ids(`${name}.generated`));
  },
);

test("settings of the caller's own reach its edits, and others are refused", async () => {
  const [multiplied] = CASES.filter(({ name }) => name === "multiply-after-generated");
  if (multiplied === undefined) throw new Error("cases.json has no multiply-after-generated");
  const method = defineIntervention({
    name: "powers",
    title: "Powers",
    summary: "multiplies by powers of the golden's factors",
    source: "this test",
    parameters: { power: number({ default: 0, minimum: 0, maximum: 2, meaning: "exponent" }) },
    edits: ({ power }) => ({
      scores: scoresOf(multiplied).map((edit) => ({
        ...edit,
        strength: Float32Array.from(edit.strength as Float32Array, (factor) => factor ** power), // a table in every case
      })),
      factor: 1,
    }),
  });
  const unmodified = await model.answer(inputs, { ...OPTIONS, method });
  expect(idsOf(unmodified.tokens)).toEqual(golden.ids("none.generated"));
  expect(unmodified.settings).toEqual({ power: 0 });
  const edited = await model.answer(inputs, { ...OPTIONS, method, settings: { power: 1 } });
  expect(idsOf(edited.tokens)).toEqual(golden.ids("multiply-after-generated.generated"));
  expect(edited.method).toBe("powers");
  await expect(model.answer(inputs, { method, settings: { power: 3 } })).rejects.toThrow(
    new InputError("power must be a number from 0 to 2, got 3."),
  );
  await expect(model.answer(inputs, { method, settings: { exponent: 1 } })).rejects.toThrow(
    new InputError("exponent is not a setting of method powers: it has power."),
  );
});
