// 200 questions in one process: the ledger of GPU buffer bytes stays where the first question of each kind left it.
import { expect, test } from "vitest";
import type { AnswerOptions } from "../../src/answer.ts";
import { goldenInputs, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";

const NUM_QUESTIONS = 200;

const KINDS: readonly AnswerOptions[] = [
  { maxNewTokens: 2 },
  { method: "scaling", factor: 1.5, maxNewTokens: 5 },
  { method: "adaptvis", maxNewTokens: 3, attention: true },
  { method: "adaptvis", maxNewTokens: 4, rows: { last: 2 }, layers: [0] },
  { maxNewTokens: 6, sampling: { temperature: 1, topK: 10, repetitionPenalty: 1.2, seed: 3 }, topLogProbs: 4 },
];

test("GPU memory is flat over 200 questions", async () => {
  const model = await loadGoldenModel("tiny-llava");
  const inputs = goldenInputs(model, await readTensorFile("tiny-llava/expected.safetensors"));
  const ask = (index: number) => model.answer(inputs, { ignoreEos: true, ...KINDS[index % KINDS.length] });
  for (let i = 0; i < KINDS.length; i++) await ask(i);
  const before = model.gpu.allocatedBytes;
  for (let i = KINDS.length; i < NUM_QUESTIONS; i++) {
    await ask(i);
    expect(model.gpu.allocatedBytes, `after question ${i + 1}`).toBe(before);
  }
  model.dispose();
  expect(model.gpu.allocatedBytes).toBe(0);
});
