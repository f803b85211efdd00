// Sessions that decode in one batch: every answer is the one that it gets alone, whatever the others are and whenever they come and go.
import { setTimeout } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { Answer, AnswerOptions } from "../../src/answer.ts";
import { AbortError, at, InputError } from "../../src/errors.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { readTensorFile, type TensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";

const NUM_TOKENS = 20;
const OPTIONS: AnswerOptions = { maxNewTokens: NUM_TOKENS, ignoreEos: true };
const BATCHED = { batched: true } as const;

let golden: TensorFile;
let model: Llava;
beforeAll(async () => {
  golden = await readTensorFile("multi-picture/expected.safetensors");
  model = await loadGoldenModel("llava-biases", { chunkRows: 16 });
});
afterAll(() => model.dispose());
afterEach(() => vi.restoreAllMocks());

/** Prompts of different lengths: with two pictures, with one, and without. */
function prompts(): readonly ModelInputs[] {
  const pixels = golden.get("pixel_values").data;
  const withPictures = ["two", "turn.0", "turn.1"].map((name) => {
    const [numPictures = 0] = golden.get(`${name}.runs`).shape;
    const pixelValues = Float32Array.from(pixels.subarray(0, (numPictures * pixels.length) / 2));
    return model.processor.fromTensors({ inputIds: golden.ids(`${name}.input_ids`), pixelValues });
  });
  const { vocabSize } = model.config.text;
  const special = Math.max(...golden.ids("two.input_ids")); // the picture's placeholder
  const text = Array.from({ length: 5 }, (_, index) => {
    const ids = Int32Array.from(
      { length: 3 + 14 * index },
      (_, position) => 3 + ((position * 7 + index) % (vocabSize - 4)),
    );
    return model.processor.fromTensors({ inputIds: ids.filter((id) => id !== special), pixelValues: undefined });
  });
  return [...withPictures, ...text];
}

interface Asked {
  readonly inputs: ModelInputs;
  readonly options: AnswerOptions;
}

async function alone({ inputs, options }: Asked): Promise<Answer> {
  using session = model.session();
  return await session.answer(inputs, { ...options, reusePrefix: false }).answer;
}

/** Answers all at once, in one batch. @param delaysMs when each comes */
async function together(asked: readonly Asked[], delaysMs: readonly number[] = []): Promise<Answer[]> {
  return Promise.all(
    asked.map(async ({ inputs, options }, index) => {
      await setTimeout(delaysMs[index] ?? 0);
      using session = model.session(BATCHED);
      const stream = session.answer(inputs, { ...options, reusePrefix: false });
      const ids: number[] = [];
      for await (const { tokenId } of stream) ids.push(tokenId);
      const answer = await stream.answer;
      expect(ids).toEqual(answer.tokens.map(({ tokenId }) => tokenId));
      return answer;
    }),
  );
}

/** Says how many rows each step of a batch had. */
function watchSteps(): readonly number[] {
  const { device } = model.gpu;
  const sizes: number[] = [];
  const create = device.createCommandEncoder.bind(device);
  vi.spyOn(device, "createCommandEncoder").mockImplementation((descriptor) => {
    const [, size] = /^choose (\d+) rows$/.exec(descriptor?.label ?? "") ?? [];
    if (size !== undefined) sizes.push(Number(size));
    return create(descriptor);
  });
  return sizes;
}

/** Everything of an answer that must not depend on what else runs; log-probabilities to the last bits but four. */
function compare(got: Answer, expected: Answer): void {
  const idsOf = ({ tokens }: Answer) => tokens.map(({ tokenId }) => tokenId);
  expect(idsOf(got)).toEqual(idsOf(expected));
  expect(got.text).toBe(expected.text);
  for (const [index, token] of got.tokens.entries()) {
    const other = at(expected.tokens, index);
    expect(Math.abs(token.logProb - other.logProb)).toBeLessThan(1e-4);
    expect(token.top.map(({ tokenId }) => tokenId)).toEqual(other.top.map(({ tokenId }) => tokenId));
  }
  expect(got.confidence).toBe(expected.confidence);
  expect(got.finishReason).toBe(expected.finishReason);
}

describe("answers in one batch", () => {
  test("of different prompts, which come at different times", async () => {
    const asked = prompts().map((inputs, index) => ({ inputs, options: { ...OPTIONS, maxNewTokens: 12 + 3 * index } }));
    const expected: Answer[] = [];
    for (const one of asked) expected.push(await alone(one));
    const sizes = watchSteps();
    const answers = await together(asked, [0, 5, 0, 40, 0, 90, 10, 60]);
    for (const [index, answer] of answers.entries()) compare(answer, at(expected, index));
    expect(Math.max(...sizes)).toBeGreaterThan(4);
    expect(new Set(sizes).size).toBeGreaterThan(3);
  });

  test("with edits, draws, penalties, choices, log-probabilities, stop strings and maps of their own", async () => {
    const inputs = prompts();
    const sampling = { temperature: 0.8, topP: 0.9, seed: 3 };
    const variants: readonly AnswerOptions[] = [
      { method: "adaptvis", ...OPTIONS },
      { method: "scaling", factor: 2, rows: "generated", ...OPTIONS },
      { sampling, ...OPTIONS },
      { topLogProbs: 5, ...OPTIONS },
      { sampling: { repetitionPenalty: 1.3 }, topLogProbs: 2, ...OPTIONS },
      { attention: true, ...OPTIONS },
      { method: "vcd", ...OPTIONS },
    ];
    const asked = variants.map((options, index) => ({ inputs: at(inputs, index % 3), options }));
    const expected: Answer[] = [];
    for (const one of asked) expected.push(await alone(one));
    const sizes = watchSteps();
    const answers = await together(asked);
    for (const [index, answer] of answers.entries()) compare(answer, at(expected, index));
    expect(Math.max(...sizes)).toBeGreaterThan(3);
    const isClose = (a: number, b: number) => Math.abs(a - b) < 1e-5;
    const [got, want] = [answers, expected].map((all) => at(all, 5).attention?.used().values);
    expect(got?.length).toBeGreaterThan(0);
    expect(got?.every((value, index) => isClose(value, Number(want?.[index])))).toBe(true);
  });

  test("more than a batch has room for", async () => {
    const [inputs] = prompts().slice(4);
    if (inputs === undefined) throw new Error("no prompt");
    const asked = Array.from({ length: 19 }, () => ({ inputs, options: { ...OPTIONS, maxNewTokens: 30 } }));
    const expected = await alone(at(asked, 0));
    const sizes = watchSteps();
    for (const answer of await together(asked)) compare(answer, expected);
    expect(Math.max(...sizes)).toBe(16);
  });

  test("one that is left, one that is stopped, one whose session is closed and one that is refused do not touch the others", async () => {
    const inputs = prompts();
    const asked = [0, 3, 4, 5].map((index) => ({ inputs: at(inputs, index), options: OPTIONS }));
    const expected: Answer[] = [];
    for (const one of asked) expected.push(await alone(one));
    const others = async () => {
      using left = model.session(BATCHED);
      let count = 0;
      for await (const _ of left.answer(at(inputs, 1), OPTIONS)) if (++count === 5) break;
      const stop = new AbortController();
      using stopped = model.session(BATCHED);
      const onToken = () => ++count === 12 && stop.abort();
      const aborted = stopped.answer(at(inputs, 2), { ...OPTIONS, onToken: () => void onToken(), signal: stop.signal });
      await expect(aborted.answer).rejects.toThrow(AbortError);
      const closed = model.session(BATCHED);
      const ended = closed.answer(at(inputs, 6), {
        ...OPTIONS,
        onToken: () => void (++count === 20 && closed.close()),
      });
      await expect(ended.answer).rejects.toThrow(AbortError);
      using bad = model.session(BATCHED);
      await expect(bad.answer(at(inputs, 0), { maxNewTokens: -1 }).answer).rejects.toThrow(InputError);
    };
    const [answers] = await Promise.all([together(asked), others()]);
    for (const [index, answer] of answers.entries()) compare(answer, at(expected, index));
  });

  test("one without room in memory runs alone, in turns with the others", async () => {
    const inputs = prompts();
    const asked = [0, 3].map((index) => ({ inputs: at(inputs, index), options: OPTIONS }));
    const expected: Answer[] = [];
    for (const one of asked) expected.push(await alone(one));
    model.clearCaches();
    const sizes = watchSteps();
    const answers = await Promise.all(
      asked.map(({ inputs, options }) => {
        const session = model.session({ batched: true, memoryBytes: 1 });
        return session.answer(inputs, { ...options, reusePrefix: false }).answer.finally(() => session.close());
      }),
    );
    for (const [index, answer] of answers.entries()) compare(answer, at(expected, index));
    expect(sizes).toEqual([]);
  });

  test("other sessions neither join nor wait for a batch", async () => {
    const inputs = prompts();
    const asked = [0, 3].map((index) => ({ inputs: at(inputs, index), options: OPTIONS }));
    const expected: Answer[] = [];
    for (const one of asked) expected.push(await alone(one));
    const sizes = watchSteps();
    const answers = await Promise.all(asked.map(alone));
    expect(answers.map(({ tokens }) => tokens)).toEqual(expected.map(({ tokens }) => tokens)); // to the bit
    expect(sizes).toEqual([]);
  });

  test("all memory is given back", async () => {
    const asked = prompts().map((inputs) => ({ inputs, options: OPTIONS }));
    await together(asked);
    model.clearCaches();
    const before = model.gpu.allocatedBytes;
    await together(asked);
    model.clearCaches();
    expect(model.gpu.allocatedBytes).toBe(before);
  });
});

/** What the GPU is given to run, in order: "prefill" for a chunk of a prompt, "choose …" for the token after it or after a step. */
function watchRuns(onRun?: (label: string) => void): readonly string[] {
  const { device } = model.gpu;
  const runs: string[] = [];
  const create = device.createCommandEncoder.bind(device);
  vi.spyOn(device, "createCommandEncoder").mockImplementation((descriptor) => {
    const label = descriptor?.label ?? "";
    if (label === "prefill" || label.startsWith("choose")) {
      runs.push(label);
      onRun?.(label);
    }
    return create(descriptor);
  });
  return runs;
}

describe("a long prompt", () => {
  let short: Asked;
  let long: Asked;
  let expected: Answer[];
  beforeAll(async () => {
    const inputs = prompts();
    [short, long] = [at(inputs, 3), at(inputs, 7)].map((one) => ({ inputs: one, options: OPTIONS })) as [Asked, Asked];
    expect(long.inputs.inputIds.length).toBeGreaterThan(3 * 16);
    expected = [await alone(short), await alone(long)];
  });

  test("runs in chunks between the steps of the others", async () => {
    const runs = watchRuns();
    const answers = await together([short, long]);
    for (const [index, answer] of answers.entries()) compare(answer, at(expected, index));
    const chunks = runs.flatMap((label, index) => (label === "prefill" ? [index] : []));
    const between = chunks.slice(2).filter((index) => runs[index - 1] !== "prefill");
    expect(between.length).toBeGreaterThan(1);
  });

  test("that is stopped between two chunks keeps no embeddings", async () => {
    model.clearCaches();
    const destroyed: string[] = [];
    const { gpu } = model;
    const destroy = gpu.destroyBuffer.bind(gpu);
    vi.spyOn(gpu, "destroyBuffer").mockImplementation((buffer) => {
      destroyed.push(buffer.label);
      destroy(buffer);
    });
    const stop = new AbortController();
    let numChunks = 0;
    watchRuns((label) => {
      if (label === "prefill" && ++numChunks === 3) stop.abort();
    });
    const stopped = { inputs: long.inputs, options: { ...OPTIONS, signal: stop.signal } };
    const answers = await Promise.allSettled([together([short]), together([stopped])]);
    expect(answers.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect(destroyed).toContain("kept inputsEmbeds"); // when the session gave its sequence back, not later
  });

  test("lets another question have its first token after two chunks at most", async () => {
    let started: Promise<Answer[]> | undefined;
    const runs = watchRuns(() => {
      started ??= together([short]);
    });
    const [answer] = await together([long]);
    if (answer === undefined) throw new Error("no answer");
    compare(answer, at(expected, 1));
    compare(at((await started) ?? [], 0), at(expected, 0));
    // The first chunk of the long prompt, at most two more, and the short one.
    const numBefore = runs.indexOf("choose");
    expect(numBefore).toBeGreaterThan(1);
    expect(numBefore).toBeLessThanOrEqual(4);
    expect(runs.slice(numBefore)).toContain("prefill"); // the long one was not through yet
  });
});

test("a warm-up for a batch leaves nothing to compile", async () => {
  const warm = await loadGoldenModel("llava-biases", { chunkRows: 16 });
  await warm.warmUp({ sweep: false, batched: true, questions: [{}, { method: "scaling", rows: "generated" }] });
  const { size } = warm.gpu.pipelines;
  const [, , , ...inputs] = prompts();
  await Promise.all(
    inputs.map(async (one, index) => {
      using session = warm.session(BATCHED);
      const edited = index === 1 ? ({ method: "scaling", factor: 2, rows: "generated" } as const) : {};
      await session.answer(one, { ...OPTIONS, ...edited }).answer;
    }),
  );
  expect(warm.gpu.pipelines.size).toBe(size);
  warm.dispose();
});

test("wrong options of a session are refused", () => {
  expect(() => model.session({ batched: 1 as unknown as boolean })).toThrow(/batched must be true or false, got 1/);
  expect(() => model.session({ memoryBytes: 0 })).toThrow(/memoryBytes must be a number above 0, got 0/);
});
