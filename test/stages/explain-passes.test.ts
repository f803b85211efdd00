// Explained passes watched from outside: each writes in its buffers what its explanation says, all of it and nothing else; its
// statistics are those of what stands there; and that is what the kernel's f64 twin makes of what stood there before.
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import type { AnswerOptions } from "../../src/answer.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { Llava } from "../../src/llava.ts";
import { readImageFile } from "../../src/preprocess/decode-image.node.ts";
import { readSlots } from "../reference/cache-formats.ts";
import { at } from "../reference/rows.ts";
import { openTestDevice } from "../setup/device.ts";
import { expectClose } from "../setup/expect-close.ts";
import { goldenInputs, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { expectedOutput } from "../setup/pass-twins.ts";
import { POISON_WORD, type WatchedPass, watchPasses, wordsOf } from "../setup/watch-passes.ts";

/** Where a pass left its own account: "binding: …", nothing where it kept to it. */
function problemsOf({ pass, call, bound, before, after }: WatchedPass): readonly string[] {
  return [...call.kernel.bindings].flatMap(([binding, { type }]) => {
    const [held, left] = [before.get(binding), after.get(binding)];
    if (held === undefined || left === undefined) return []; // params
    const tensor = bound[binding];
    const written = new Set((tensor?.written ?? []).flatMap(({ view }) => wordsOf(view)));
    const isWritable = type === "storage";
    let untouched = 0;
    let outside = 0;
    for (const [word, value] of left.entries()) {
      if (written.has(word)) untouched += Number(value === POISON_WORD);
      else outside += Number(value !== held[word] && (!isWritable || value !== 0)); // padding is written as zeros
    }
    const where = `${pass.place}, ${call.kernel.name}, ${binding}`;
    return [
      ...(untouched > 0 ? [`${where}: ${untouched} of ${written.size} words were not written`] : []),
      ...(outside > 0 ? [`${where}: ${outside} words beside the ${written.size} that are told were written`] : []),
    ];
  });
}

/** The statistics, from what stands in the buffers. */
function expectStatistics({ pass, bound, after }: WatchedPass): void {
  const written = Object.entries(bound).flatMap(([binding, tensor]) =>
    after.has(binding) ? tensor.written.map(({ view }) => ({ binding, view })) : [],
  );
  expect(pass.outputs).toHaveLength(written.length);
  for (const [index, { binding, view }] of written.entries()) {
    const words = after.get(binding) ?? new Uint32Array(0);
    const numbers = view.dtype === "f32" ? new Float32Array(words.buffer) : words;
    const stored = wordsOf(view).map((word) => at(numbers, word));
    const { packed } = view;
    const values = packed
      ? Array.from(readSlots(Uint32Array.from(stored), packed.headDim, packed.dtype).values)
      : stored;
    const shape = packed ? [...view.shape.slice(0, -1), packed.headDim] : view.shape;
    const sum = values.reduce((total, value) => total + value, 0);
    const squares = values.reduce((total, value) => total + value * value, 0);
    const output = pass.outputs[index];
    const where = `${pass.place}, ${pass.kernel}, ${binding}`;
    const largest = (pick: (...numbers: number[]) => number) => values.reduce((most, value) => pick(most, value));
    expect(output, where).toMatchObject({ binding, shape, min: largest(Math.min), max: largest(Math.max) });
    expect(output?.numZeros, where).toBe(values.filter((value) => value === 0).length);
    expect(output?.mean, where).toBeCloseTo(sum / values.length, 9);
    expect(output?.rms, where).toBeCloseTo(Math.sqrt(squares / values.length), 9);
  }
}

function expectTwin(watched: WatchedPass): boolean {
  const expected = expectedOutput(watched);
  if (expected === undefined) return false;
  const { values, magnitudes, bound, columns, rowStart } = expected;
  const output = new Float32Array(watched.after.get("output")?.buffer ?? new ArrayBuffer(0));
  const actual = Float32Array.from(values, (_, index) =>
    at(output, rowStart(Math.floor(index / columns)) + (index % columns)),
  );
  try {
    expectClose(actual, values, bound, { shape: [values.length / columns, columns], magnitudes });
  } catch (cause) {
    throw new Error(`${watched.pass.place}, ${watched.call.kernel.name}: ${String(cause)}`, { cause });
  }
  return true;
}

async function expectPasses(
  model: Llava,
  inputs: ReturnType<Llava["prepare"]>,
  answer: AnswerOptions,
): Promise<ReadonlyMap<string, number>> {
  const problems: string[] = [];
  /** Passes that a twin computed again, by kernel. */
  const recomputed = new Map<string, number>();
  await watchPasses(model, inputs, {
    answer,
    onPass: (watched) => {
      problems.push(...problemsOf(watched));
      expectStatistics(watched);
      const { name } = watched.call.kernel;
      if (model.dtype === "f32" && expectTwin(watched)) recomputed.set(name, (recomputed.get(name) ?? 0) + 1);
    },
  });
  expect([...new Set(problems)]).toEqual([]);
  return recomputed;
}

test("tiny-spatial's answer with AdaptVis, every pass of it", async () => {
  const { device } = await openTestDevice();
  const folder = fileURLToPath(new URL("../../weights/tiny-spatial", import.meta.url));
  using model = await Llava.load(fileSource(folder), { device, dtype: "f32", lookahead: 1 });
  const image = await readImageFile(`${folder}/demo/ball_behind_robot.png`);
  const question = "Where is the ball in relation to the robot? Answer with left, right, front or behind.";
  const answer = { method: "adaptvis", alpha1: 0.5, alpha2: 1.2, beta: 0.6, maxNewTokens: 2 } as const;
  const recomputed = await expectPasses(model, model.prepare({ image, question }), { ...answer, ignoreEos: true });
  const count = [...recomputed.values()].reduce((sum, passes) => sum + passes, 0);
  expect(recomputed.get("rms-norm")).toBe(3 * 9);
  expect(count).toBeGreaterThan(90);
});

const SAMPLED: AnswerOptions = {
  maxNewTokens: 3,
  topLogProbs: 4,
  sampling: { temperature: 1, topK: 10, repetitionPenalty: 1.2, seed: 3 },
};
const SCALED: AnswerOptions = { method: "adaptvis", maxNewTokens: 2, rows: { last: 3 }, heads: [1], layers: [1] };

const CASES = [
  [
    "tiny-llava",
    { dtype: "f32" },
    { method: "scaling", factor: 0, maxNewTokens: 2, rows: "generated", attention: true },
  ],
  ["tiny-llava", { dtype: "q4" }, SAMPLED],
  ["tiny-llava-gqa", { dtype: "f32", chunkRows: 7 }, SCALED],
  ["llava-odd-widths-bf16", {}, { method: "adaptvis", maxNewTokens: 2, attention: true }],
  ["llava-odd-widths-bf16", { dtype: "f32" }, { method: "adaptvis", maxNewTokens: 2, attention: true }],
  [
    "llava-odd-widths-bf16",
    { dtype: "f32", adapterClass: "gpu" },
    { method: "adaptvis", maxNewTokens: 2, attention: true },
  ],
  ["llava-odd-widths-bf16", { dtype: "f32", kvDtype: "f16" }, { method: "adaptvis", maxNewTokens: 2 }],
  ["tiny-llava-gqa", { dtype: "f32", kvDtype: "q8", chunkRows: 7 }, SCALED],
  ["llava-wide-head", { dtype: "f32", kvDtype: "q8", adapterClass: "gpu" }, { maxNewTokens: 2, attention: true }],
  ["llava-biases", { dtype: "f32" }, { maxNewTokens: 2 }],
  ["llava-biases", { dtype: "q8", activationDtype: "q8" }, { maxNewTokens: 2 }],
  ["llava-wide-head", { dtype: "f32" }, { maxNewTokens: 2 }],
] as const satisfies readonly (readonly [string, Parameters<typeof loadGoldenModel>[1], AnswerOptions])[];

test.each(CASES)("%s, loaded with %j, asked with %j", async (name, load, answer) => {
  using model = await loadGoldenModel(name, { ...load, lookahead: 1 });
  const inputs = goldenInputs(model, await readTensorFile(`${name}/expected.safetensors`));
  const recomputed = await expectPasses(model, inputs, { ...answer, ignoreEos: true });
  if (model.dtype === "f32") expect(recomputed.size).toBeGreaterThanOrEqual(5);
});
