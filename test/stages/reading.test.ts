// Head outputs, logit lens and logit attribution against transformers in float64 (tools/goldens/reading.py), and reads as texts.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Attribution, attributeLogit } from "../../src/attribution.ts";
import { InputError } from "../../src/errors.ts";
import { logitLens } from "../../src/lens.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { goldenInputs, largestError, readTensorFile, type TensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { PARITY } from "../setup/parity-bounds.ts";

const ROW_NAMES = ["picture", "text", "last", "generated"] as const;

describe.each(["llava-deep", "llava-biases"])("%s", (name) => {
  let model: Llava;
  let golden: TensorFile;
  let inputs: ModelInputs;
  let rows: number[];
  let numLayers: number;
  beforeAll(async () => {
    model = await loadGoldenModel(name, { chunkRows: 7 });
    golden = await readTensorFile(`reading/${name}.safetensors`);
    inputs = goldenInputs(model, golden);
    rows = golden.ids("rows");
    numLayers = model.config.text.numHiddenLayers;
  });
  afterAll(() => model.dispose());

  test("what heads, attention and MLP add to the residual stream, in one trace", async () => {
    const at = `@${rows.join(",")}`;
    const read = [
      `layers.*.self_attn${at}`,
      `blocks.*.attn.hook_result${at}`,
      `blocks.*.hook_attn_out${at}`,
      `layers.*.mlp_output${at}`,
    ];
    const { tensors, metadata } = await model.trace(inputs, { maxNewTokens: 3, ignoreEos: true }, { read });
    expect(tensors.map((tensor) => tensor.name)).toHaveLength(4 * numLayers + 2);
    const reads: Record<string, unknown> = JSON.parse(metadata.reads ?? "");
    expect(reads["blocks.0.attn.hook_result"]).toMatchObject({
      place: "layers.0.head_outputs",
      positions: rows,
      axes: ["position", "head", "column"],
    });
    for (let layer = 0; layer < numLayers; layer++) {
      for (const [place, expected] of [
        [`layers.${layer}.self_attn`, `z.${layer}`],
        [`blocks.${layer}.attn.hook_result`, `heads.${layer}`],
        [`blocks.${layer}.hook_attn_out`, `attention.${layer}`],
        [`layers.${layer}.mlp_output`, `mlp.${layer}`],
      ] as const) {
        const tensor = tensors.find((other) => other.name === place);
        expect(tensor?.shape, place).toEqual(golden.get(expected).shape);
        expect(largestError(tensor?.data ?? [], golden.get(expected).data), place).toBeLessThan(PARITY.hiddenStates);
      }
    }
  });

  test("the logit lens of a patch, a text token, the last row and a generated token, with and without the final norm", async () => {
    const { vocabSize } = model.config.text;
    const places = [
      "inputs_embeds",
      ...Array.from({ length: numLayers }, (_, layer) => `layers.${layer}.hidden_states`),
    ];
    const options = { maxNewTokens: 3, ignoreEos: true };
    const { reads } = await model.answer(inputs, {
      ...options,
      read: places.map((place) => ({ place, positions: rows })),
    });
    for (const [state, { data }] of reads.entries()) {
      for (const [kind, isNormalized] of [
        ["lens", true],
        ["raw", false],
      ] as const) {
        const logits = await model.logits(data, { isNormalized });
        expect(largestError(logits, golden.get(`${kind}.${state}`).data), `${kind} ${state}`).toBeLessThan(
          PARITY.logits,
        );
      }
    }
    const lens = await logitLens(model, inputs, { ...options, positions: rows, layers: [-1, 0], topTokens: 3 });
    expect(lens).toMatchObject({ layers: [-1, 0], positions: rows });
    for (const [index, row] of lens.rows.entries()) {
      expect([row.layer, row.position]).toEqual([index < rows.length ? -1 : 0, rows[index % rows.length]]);
      const start = (index % rows.length) * vocabSize;
      const logits = golden.get(`lens.${row.layer + 1}`).data.subarray(start, start + vocabSize);
      const expected = mostProbableOf(logits, 3);
      expect(row.tokens.map(({ tokenId }) => tokenId)).toEqual(expected.map(({ tokenId }) => tokenId));
      expect(
        largestError(
          row.tokens.map(({ probability }) => probability),
          expected.map(({ probability }) => probability),
        ),
      ).toBeLessThan(PARITY.attentionProbs);
    }
  });

  test.each([2, 3] as const)(
    "the parts of logits of the row %i: each, their sum, and a difference of two",
    async (row) => {
      const prefix = `part.${row}`;
      const [token = 0, against = 0] = golden.ids(`${prefix}.tokens`);
      const options = { maxNewTokens: 3, ignoreEos: true, position: rows[row] };
      const logits = golden.get(`${prefix}.logits`).data;
      const one = await attributeLogit(model, inputs, options);
      expect(one).toMatchObject({ position: rows[row], token: { tokenId: token }, against: undefined });
      expect(Math.abs(one.logit - Number(logits[0])), ROW_NAMES[row]).toBeLessThan(PARITY.logits);
      expect(Math.abs(one.sum - one.logit)).toBeLessThan(SUM);
      const difference = await attributeLogit(model, inputs, { ...options, token, against });
      expect(Math.abs(difference.logit - (Number(logits[0]) - Number(logits[1])))).toBeLessThan(PARITY.logits);
      expect(Math.abs(difference.sum - difference.logit)).toBeLessThan(SUM);
      for (const part of ["heads", "mlp", "bias", "embedding"] as const) {
        const expected = golden.get(`${prefix}.${part}`).data;
        const half = expected.length / 2;
        const first = expected.subarray(0, half);
        expect(largestError(valuesOf(one, part, half), first), part).toBeLessThan(PARITY.logits);
        const differences = first.map((value, index) => value - Number(expected[half + index]));
        expect(largestError(valuesOf(difference, part, half), differences), `${part}, difference`).toBeLessThan(
          PARITY.logits,
        );
      }
    },
  );

  test("attention of different rows in each layer, with gaps, and a write under another name", async () => {
    const options = { maxNewTokens: 3, ignoreEos: true };
    const all = await model.answer(inputs, { ...options, read: ["layers.*.attention_probs@prompt,generated"] });
    const read = ["layers.0.attention_probs[1]@1,3,-1", "layers.1.attention_probs@2-4,9,generated"];
    const [first, second] = (await model.answer(inputs, { ...options, read })).reads;
    for (const [values, whole] of [
      [first, all.reads[0]],
      [second, all.reads[1]],
    ] as const) {
      const [, numHeads = 0, numKeys = 0] = whole?.shape ?? [];
      const heads = values?.heads ?? Array.from({ length: numHeads }, (_, head) => head);
      const width = values?.shape.at(-1) ?? 0;
      const expected = values?.positions?.flatMap((position) =>
        heads.flatMap((head) => {
          const start = (position * numHeads + head) * numKeys;
          return [...(whole?.data.subarray(start, start + width) ?? [])];
        }),
      );
      expect(largestError(values?.data ?? [], expected ?? [])).toBeLessThan(PARITY.oracle);
    }
    const values = new Float32Array(model.config.text.hiddenSize).fill(1);
    const write = (place: string) => [{ place, positions: [3], values, mode: "add" as const }];
    const [ours, theirs] = [
      await model.trace(inputs, { maxNewTokens: 1, write: write("layers.0.hidden_states") }),
      await model.trace(inputs, { maxNewTokens: 1, write: write("blocks.1.hook_resid_pre") }),
    ].map(({ tensors }) => tensors.find((tensor) => tensor.name === "logits")?.data);
    expect(theirs).toEqual(ours);
    expect(
      largestError(
        ours ?? [],
        golden.get(`lens.${numLayers}`).data.subarray(2 * model.config.text.vocabSize, 3 * model.config.text.vocabSize),
      ),
    ).toBeGreaterThan(1e-3);
  });

  test("layers and rows that a lens and an attribution do not have are refused", async () => {
    await expect(logitLens(model, inputs, { layers: [9] })).rejects.toThrow(
      /^layers must be whole numbers from -1 .* got 9\.$/,
    );
    await expect(attributeLogit(model, inputs, { position: "0-2" })).rejects.toThrow(
      /^position: expected one row, got 3 with "0-2" \(0, 1, 2\)\.$/,
    );
    await expect(attributeLogit(model, inputs, { token: 9999 })).rejects.toThrow(
      /^token must be an id from 0 to \d+ or a text, got 9999\.$/,
    );
  });

  test.each([
    ["layers.*.nothing", /^layers\.0\.nothing is not a place that can be read: expected inputs_embeds, /],
    [
      "layers.9.hidden_states",
      /^layers\.9\.hidden_states: layers must be numbers and ranges from 0 to \d, such as 0,2-3, or \* for all, got 9\.$/,
    ],
    ["layers.0.attention_probs[9]", /heads must be numbers and ranges from 0 to \d, such as \[0,2-3\], got "9"\.$/],
    ["layers.0.hidden_states[0]", /^layers\.0\.hidden_states has no heads to select: leave out \[0\]\.$/],
    [
      "inputs_embeds@99",
      /^inputs_embeds@99: positions of the prompt are 0 to \d+ \(or -\d+ to -1\), and \d+ to \d+ of generated tokens that run, got 99\.$/,
    ],
    [
      "inputs_embeds@image[1]",
      /^inputs_embeds@image\[1\]: the prompt's pictures are image\[0\] to image\[0\], got image\[1\]\.$/,
    ],
    ['inputs_embeds@"word"', /the checkpoint has no tokenizer/],
    [
      "blocks.0.hook_resid_pre@somewhere",
      /positions must be numbers, ranges such as 4-9, last, prompt, image, .*got "somewhere"\.$/,
    ],
    ["blocks.0.attn.hook_q", /^blocks\.0\.attn\.hook_q is not a place that can be read/],
    ["two words", /^"two words" is not a read: expected PLACE\[HEADS\]@POSITIONS/],
  ])("refuses %s in one sentence, with what is possible", async (read, message) => {
    const asked = model.answer(inputs, { maxNewTokens: 3, read: [read] });
    await expect(asked).rejects.toThrow(InputError);
    await expect(asked).rejects.toThrow(message);
  });
});

test("weights in q4: parts add up too, and the last layer's lens gives the answer's logits", async () => {
  const quantized = await loadGoldenModel("llava-deep", { dtype: "q4" });
  const inputs = goldenInputs(quantized, await readTensorFile("reading/llava-deep.safetensors"));
  const { logit, sum, scale } = await attributeLogit(quantized, inputs);
  expect(Math.abs(sum - logit)).toBeLessThan(SUM);
  expect(scale).toBeGreaterThan(0);
  const place = `layers.${quantized.config.text.numHiddenLayers - 1}.logit_lens`;
  const { tensors } = await quantized.trace(inputs, { maxNewTokens: 1 });
  const { reads } = await quantized.answer(inputs, { maxNewTokens: 1, read: [place] });
  const logits = tensors.find((tensor) => tensor.name === "logits")?.data ?? [];
  expect(largestError(reads[0]?.data ?? [], logits)).toBeLessThan(PARITY.oracle);
  quantized.dispose();
});

/** What the parts of an attribution may add up to beside the logit. */
const SUM = 1e-4;

function valuesOf(
  { parts }: Attribution,
  name: "heads" | "mlp" | "bias" | "embedding",
  count: number,
): readonly number[] {
  const kind = { heads: "head", mlp: "mlp", bias: "attention-bias", embedding: "embedding" }[name];
  const values = parts.filter((part) => part.kind === kind).map(({ value }) => value);
  return values.length === 0 ? Array.from({ length: count }, () => 0) : values; // a model without biases has no such parts
}

function mostProbableOf(logits: Float32Array, k: number) {
  const sum = logits.reduce((total, logit) => total + Math.exp(logit), 0);
  const all = Array.from(logits, (logit, tokenId) => ({ tokenId, probability: Math.exp(logit) / sum }));
  return all.sort((a, b) => b.probability - a.probability).slice(0, k);
}
