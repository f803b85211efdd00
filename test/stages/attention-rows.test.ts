// Attention of generated tokens, rollout and sinks of tiny-spatial, against the same attention read in other ways and products in f64.
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { attentionRollout, sinkTokens } from "../../src/attention-rollout.ts";
import { comparisonLines } from "../../src/cli/explain-comparison.ts";
import { at, InputError } from "../../src/errors.ts";
import { explain } from "../../src/explain.ts";
import { compareEdits, type EditedKey } from "../../src/explain-edits.ts";
import { TokenTexts } from "../../src/inspect/token-texts.ts";
import { tokenKinds } from "../../src/inspect/trace.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { readImageFile } from "../../src/preprocess/decode-image.node.ts";
import { tokenAttention } from "../../src/token-attention.ts";
import { largestError, readTensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { PARITY } from "../setup/parity-bounds.ts";

const folder = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "weights", "tiny-spatial");
const question = "Where is the ball in relation to the robot? Answer with left, right, front or behind.";

let model: Llava;
let inputs: ModelInputs;
beforeAll(async () => {
  model = await loadGoldenModel("../../weights/tiny-spatial");
  const image = await readImageFile(join(folder, "demo", "ball_behind_robot.png"));
  inputs = model.prepare({ image, question });
});
afterAll(() => model.dispose());

test("a token's map is that of the last prompt row of a prompt that ends in the token before it", async () => {
  const edited = { method: "scaling", factor: 0.5, rows: "generated", maxNewTokens: 3, ignoreEos: true } as const;
  const read = await tokenAttention(model, inputs, { ...edited, mapLayers: [1, 3] });
  const { tokens } = read.answer;
  expect(tokens).toHaveLength(3);
  const selection = { layer: 3, head: 2 };
  const first = await model.answer(inputs, { ...edited, attention: true });
  expect(read.map([0], selection)).toEqual(first.attention?.used(selection));
  const plain = await tokenAttention(model, inputs, { maxNewTokens: 2, ignoreEos: true, mapLayers: [1], tokens: [1] });
  const inputIds = Int32Array.of(...inputs.inputIds, at(plain.answer.tokens, 0).tokenId);
  const extended = await model.answer({ ...inputs, inputIds }, { maxNewTokens: 1, attention: true });
  const expected = extended.attention?.used({ layer: 1 }).values ?? [];
  expect(largestError(plain.map([1], { layer: 1 }).values, expected)).toBeLessThan(PARITY.attentionProbs);

  expect(() => read.map([3])).toThrow(
    new InputError("The row of token 3 was not read: expected one of 0, 1, 2, of 3 tokens."),
  );
  expect(() => plain.map([0])).toThrow(
    new InputError("The row of token 0 was not read: expected one of 1, of 2 tokens."),
  );
  expect(() => read.map([0], { layer: 2 })).toThrow(new InputError("Layer 2 was not read: expected one of 1, 3."));
  expect(() => read.map([0], { head: 9 })).toThrow(InputError);
  expect(() => read.map([0], { image: 1 })).toThrow(InputError);
  await expect(tokenAttention(model, inputs, { mapLayers: [9] })).rejects.toThrow(InputError);
});

test("a rollout is the product of all layers' attention, in whatever parts it is read; sinks are those with most attention", async () => {
  const { numHiddenLayers, numAttentionHeads } = model.config.text;
  const size = inputs.inputIds.length;
  const positions = Array.from({ length: size }, (_, position) => position);
  const layers = Array.from({ length: numHiddenLayers }, (_, layer) => layer);
  const read = layers.map((layer) => ({ place: `layers.${layer}.attention_probs`, positions }));
  const { reads } = await model.answer(inputs, { maxNewTokens: 1, read });
  let row = Float64Array.from(positions, (position) => (position === size - 1 ? 1 : 0));
  for (const { data } of [...reads].reverse()) {
    const next = new Float64Array(size);
    for (let i = 0; i < size; i++) {
      for (let key = 0; key <= i; key++) {
        let mean = 0;
        for (let head = 0; head < numAttentionHeads; head++) {
          mean += at(data, (i * numAttentionHeads + head) * size + key) / numAttentionHeads;
        }
        next[key] = at(next, key) + at(row, i) * (mean / 2 + (i === key ? 0.5 : 0));
      }
    }
    row = next;
  }
  const whole = await attentionRollout(model, inputs);
  expect(largestError(whole.values, row)).toBeLessThan(1e-6);
  const [[start, end] = [0, 0]] = at(inputs.images, 0).runs;
  const map = whole.map();
  expect(largestError(map.values, row.subarray(start, end))).toBeLessThan(1e-6);
  // A third of a layer's rows at a time.
  const maxBytes = 8 * numAttentionHeads * size * Math.ceil(size / 3);
  const inParts = await attentionRollout(model, inputs, { maxBytes });
  expect(largestError(inParts.values, row)).toBeLessThan(1e-6);
  await expect(attentionRollout(model, inputs, { maxBytes: 8 })).rejects.toThrow(/takes \d+ bytes, and 8 are allowed/);

  const [layer, head] = [1, 2];
  const { data } = at(reads, layer);
  const importance = positions.map((key) => {
    const rows = positions.slice(key);
    return rows.reduce((sum, i) => sum + at(data, (i * numAttentionHeads + head) * size + key), 0) / rows.length;
  });
  const threshold =
    at(
      [...importance].sort((a, b) => b - a),
      3,
    ) + 1e-9;
  const sinks = await sinkTokens(model, inputs, { layer, head, threshold });
  expect(largestError(sinks.importance, importance)).toBeLessThan(1e-6);
  expect(sinks.positions).toEqual(positions.filter((position) => at(importance, position) > threshold));
  expect(sinks.positions).toHaveLength(3);
  await expect(sinkTokens(model, inputs, { layer: 9 })).rejects.toThrow(InputError);
});

test("a sweep's maps are those of one answer per factor, and the fraction of negative scores is that of the scores read", async () => {
  const layer = 2;
  const swept = await model.sweep(inputs, [0.5, 1], { maxNewTokens: 1, mapLayers: [layer] });
  const alone = await model.answer(inputs, {
    method: "scaling",
    factor: 0.5,
    maxNewTokens: 1,
    attention: true,
    read: [{ place: `layers.${layer}.attention_scores` }],
  });
  const [edited, plain] = [at(swept, 0).attention, at(swept, 1).attention];
  const expected = alone.attention?.used({ layer, head: 3 });
  expect(largestError(edited?.used({ head: 3 }).values ?? [], expected?.values ?? [])).toBeLessThan(
    PARITY.attentionProbs,
  );
  expect(edited?.unmodified({ layer })).toEqual(plain?.used({ layer }));
  expect(() => edited?.used({ layer: 1 })).toThrow(new InputError("layer must be 2, got 1."));
  const [[start, end] = [0, 0]] = at(inputs.images, 0).runs;
  const size = inputs.inputIds.length;
  const scores = at(alone.reads, 0).data.subarray(3 * size + start, 3 * size + end);
  const negative = scores.filter((score) => score < 0).length / scores.length;
  expect(negative).toBeGreaterThan(0);
  expect(negative).toBeLessThan(1);
  expect([expected?.negativeScores, alone.attention?.negativeScores()[layer]?.[3]]).toEqual([negative, negative]);
  expect(edited?.used({ head: 3 }).negativeScores).toBeCloseTo(negative, 1);
  await expect(model.sweep(inputs, [1], { mapLayers: [9] })).rejects.toThrow(
    new InputError("mapLayers: expected layers from 0 to 3, got 9."),
  );
});

test("an intervention beside the unedited passes: one row is the softmax of its scores, and nothing before the edit differs", async () => {
  const options = { method: "scaling", factor: 0.5, layers: [1], heads: [2], maxNewTokens: 1 } as const;
  const edited = await explain(model, inputs, options);
  const selection = { layer: 1, head: 2 };
  const { changed, numCompared, row } = await compareEdits(model, inputs, { edited, options, selection });
  expect(numCompared).toBe(edited.passes.length);
  expect(changed[0]?.edited).toMatchObject({ stage: "prefill", place: "layers.1.self_attn" });
  expect(changed.at(-1)?.edited.place).toBe("argmax");
  const softmax = (scores: readonly number[]) => {
    const most = Math.max(...scores);
    const exps = scores.map((score) => Math.exp(score - most));
    const sum = exps.reduce((total, value) => total + value, 0);
    return exps.map((value) => value / sum);
  };
  const column = (of: (key: EditedKey) => number | undefined) => row.keys.map((key) => of(key) ?? Number.NaN);
  const after = softmax(column(({ editedScore }) => editedScore));
  expect(
    largestError(
      column(({ prob }) => prob),
      after,
    ),
  ).toBeLessThan(PARITY.attentionProbs);
  const before = softmax(column(({ uneditedScore }) => uneditedScore));
  expect(
    largestError(
      column(({ uneditedProb }) => uneditedProb),
      before,
    ),
  ).toBeLessThan(PARITY.attentionProbs);
  const [[start, end] = [0, 0]] = at(inputs.images, 0).runs;
  for (const { position, score, editedScore } of row.keys) {
    expect(editedScore).toBe(position >= start && position < end ? score / 2 : score);
  }
  // The layer's input is the same, so are its scores before the edit.
  expect(
    largestError(
      column(({ score }) => score),
      column(({ uneditedScore }) => uneditedScore),
    ),
  ).toBe(0);
  const plain = await model.answer(inputs, { maxNewTokens: 1, attention: true });
  expect(row.maps[0]?.unmodified?.share).toBeCloseTo(plain.attention?.used(selection).share ?? Number.NaN, 5);
  await expect(compareEdits(model, inputs, { edited, options, selection: { head: 9 } })).rejects.toThrow(
    new InputError("head must be a whole number from 0 to 3, got 9."),
  );
});

test("the guide's page that follows one number has the program's lines, and the value is that of a matrix product", async () => {
  const [layer, head] = [2, 0];
  const options = { method: "scaling", factor: 0.5, layers: [layer], heads: [head], maxNewTokens: 1 } as const;
  const edited = await explain(model, inputs, options);
  const comparison = await compareEdits(model, inputs, { edited, options, selection: { layer, head } });
  const texts = new TokenTexts(model.processor.tokenizer);
  const lines = comparisonLines(comparison, {
    title: "ScalingVis",
    factor: 0.5,
    withAllLayers: false,
    tokenAt: (position) => at(tokenKinds(inputs), position),
    textOf: (tokenId) => texts.of(tokenId),
  });
  const followed = lines.slice(lines.findIndex((line) => line.includes("followed to the logits")));
  expect(followed).toHaveLength(7);
  const guide = readFileSync(join(folder, "..", "..", "tools", "docs", "method", "one-number.md"), "utf8");
  expect(guide).toContain(followed.join("\n"));

  const { position = -1, value = new Float32Array(), component = -1, headOutput } = comparison.row.followed ?? {};
  const input = { place: `layers.${layer}.input_layernorm`, positions: [position] };
  const { reads } = await model.answer(inputs, { maxNewTokens: 1, read: [input], reusePrefix: false });
  const weights = await readTensorFile("model.safetensors", folder);
  const { data, shape } = weights.get(`language_model.model.layers.${layer}.self_attn.v_proj.weight`);
  const size = at(shape, 1);
  const expected = Array.from(value, (_, row) => {
    const start = (head * value.length + row) * size;
    return at(reads, 0).data.reduce((sum, x, column) => sum + x * at(data, start + column), 0);
  });
  expect(value).toHaveLength(32);
  expect(largestError(value, expected)).toBeLessThan(1e-4);
  expect(Math.max(...expected.map(Math.abs))).toBe(Math.abs(at(expected, component)));
  // The logits themselves, of the pass that gave the answer.
  for (const method of ["greedy", "scaling"] as const) {
    const { tensors } = await model.trace(inputs, method === "greedy" ? { maxNewTokens: 1 } : options);
    const logits = tensors.find(({ name }) => name === "logits")?.data ?? [];
    const { tokenId = -1, otherId = -1, unedited, edited: after } = comparison.row.logits ?? {};
    expect(at(logits, tokenId) - at(logits, otherId)).toBeCloseTo(
      (method === "greedy" ? unedited : after) ?? Number.NaN,
      4,
    );
  }
  expect(headOutput?.edited).not.toBe(headOutput?.unedited);
});
