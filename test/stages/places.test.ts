// Places read and written against transformers (tools/goldens/hidden_patch.py): hidden states of one prompt put into another,
// vectors added, attention rows of the prompt and of a decode step.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AnswerOptions } from "../../src/answer.ts";
import { InputError } from "../../src/errors.ts";
import type { PlaceValues, PlaceWrite } from "../../src/inspect/places.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { goldenInputs, largestError, readTensorFile, type TensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { PARITY } from "../setup/parity-bounds.ts";
import { parityProblems, same, within } from "../setup/parity-check.ts";
import { topLogProbChecks } from "../setup/top-log-probs.ts";

const OPTIONS: AnswerOptions = { maxNewTokens: 4, ignoreEos: true };

describe.each(["llava-deep", "llama-text-tied"])("%s", (name) => {
  let model: Llava;
  let golden: TensorFile;
  let a: ModelInputs;
  let b: ModelInputs;
  beforeAll(async () => {
    model = await loadGoldenModel(name, { chunkRows: 7, lookahead: 4 }); // positions of one request are in different chunks
    golden = await readTensorFile(`hidden-patch/${name}.safetensors`);
    a = goldenInputs(model, golden, "a.");
    b = goldenInputs(model, golden, "b.");
  });
  afterAll(() => model.dispose());

  test.each(["a", "b"])("prompt %s unchanged", async (prompt) => {
    const inputs = prompt === "a" ? a : b;
    expect(await problemsOf(inputs, prompt, [])).toEqual([]);
  });

  test.each(["first", "first-last-row", "middle", "last"])(
    "hidden states of %s, read from a and put into b",
    async (patch) => {
      const place = placeOf(`patch.${patch}`);
      const readPositions = golden.ids(`patch.${patch}.read_positions`);
      const { reads } = await model.answer(a, { ...OPTIONS, read: [{ place, positions: readPositions }] });
      const values = inOrder(reads[0], readPositions);
      expect(largestError(values, golden.get(`patch.${patch}.hidden`).data)).toBeLessThan(PARITY.hiddenStates);
      const write = { place, positions: golden.ids(`patch.${patch}.write_positions`), values };
      expect(await problemsOf(b, `patch.${patch}`, [write])).toEqual([]);
    },
  );

  test.each(["first", "middle", "last"])("a vector added to the hidden state of %s", async (addition) => {
    const prefix = `add.${addition}`;
    const positions = golden.ids(`${prefix}.positions`);
    const values = golden.get(`${prefix}.vector`).data;
    expect(await problemsOf(b, prefix, [{ place: placeOf(prefix), positions, values, mode: "add" }])).toEqual([]);
  });

  test("writes of several places act together: a sum that cancels, and a row that is put back, change nothing", async () => {
    const { place, positions, values } = additionOf("middle");
    const negative = values.map((value) => -value);
    const [last] = (await model.answer(b, { ...OPTIONS, read: [{ place: "layers.1.hidden_states" }] })).reads;
    if (last === undefined) throw new Error("nothing was read");
    const writes: PlaceWrite[] = [
      { place, positions, values, mode: "add" },
      { place, positions, values: negative, mode: "add" },
      { place: last.place, positions: [b.inputIds.length - 1], values: last.data },
    ];
    expect(await problemsOf(b, "b", writes)).toEqual([]);
  });

  test("what is read at a written place is what was written", async () => {
    const { place, positions, values } = additionOf("last");
    const read = [{ place, positions }];
    const before = await model.answer(b, { ...OPTIONS, read });
    const after = await model.answer(b, { ...OPTIONS, read, write: [{ place, positions, values, mode: "add" }] });
    const difference = after.reads[0]?.data.map((value, index) => value - (before.reads[0]?.data[index] ?? 0)) ?? [];
    expect(largestError(difference, values)).toBeLessThan(1e-5); // one rounding of a sum of some tens
  });

  test("in one session, an answer behind each patch is the prompt's own again", async () => {
    using session = model.session();
    for (const addition of ["first", "middle", "last"]) {
      const changed = await session.answer(b, { ...OPTIONS, write: [additionOf(addition)] }).answer;
      expect(idsOf(changed.tokens), addition).toEqual(golden.ids(`add.${addition}.generated`));
      const [position = 0] = golden.ids(`add.${addition}.positions`);
      const unchanged = await session.answer(b, OPTIONS).answer;
      expect(idsOf(unchanged.tokens), addition).toEqual(golden.ids("b.generated"));
      expect(unchanged.reusedTokens, addition).toBeLessThanOrEqual(position);
    }
  });

  test("attention rows of several positions and of a decode step, in every layer", async () => {
    const rows = golden.ids("attention.rows");
    const step = b.inputIds.length;
    const layers = Array.from({ length: model.config.text.numHiddenLayers }, (_, layer) => layer);
    const read = layers.flatMap((layer) => [
      { place: `layers.${layer}.attention_probs`, positions: rows },
      { place: `layers.${layer}.attention_probs`, positions: [step] },
    ]);
    const { reads } = await model.answer(b, { ...OPTIONS, read });
    const checks = layers.flatMap((layer) => {
      const [prompt, generated] = reads.slice(2 * layer, 2 * layer + 2);
      const expected = golden.get(`attention.probs.${layer}`);
      expect(prompt?.shape).toEqual(expected.shape);
      expect(prompt?.positions).toEqual(rows);
      const expectedStep = golden.get(`attention.step.probs.${layer}`).data;
      return [
        within(`layer ${layer}`, PARITY.attentionProbs, [prompt?.data ?? [], expected.data]),
        within(`layer ${layer}, decode step`, PARITY.attentionProbs, [generated?.data ?? [], expectedStep]),
      ];
    });
    expect(parityProblems(checks)).toEqual([]);
  });

  test("reads name the positions that were run, and no others", async () => {
    const length = b.inputIds.length;
    const positions = [2, length, length + 1, length + 2, length + 3];
    const places = ["layers.0.hidden_states", "layers.1.attention_probs", "layers.0.mlp.act_fn"];
    const { tokens, reads } = await model.answer(b, {
      ...OPTIONS,
      read: places.map((place) => ({ place, positions })),
    });
    expect(tokens).toHaveLength(4);
    for (const read of reads) {
      expect(read.positions, read.place).toEqual(positions.slice(0, -1)); // the last token is chosen, but not run
      expect(read.shape[0], read.place).toBe(4);
      expect(read.data, read.place).toHaveLength(read.shape.reduce((product, size) => product * size, 1));
      const rowLength = read.data.length / 4;
      for (let row = 0; row < 4; row++) {
        expect(read.data.subarray(row * rowLength, (row + 1) * rowLength).some((value) => value !== 0)).toBe(true);
      }
    }
  });

  test("when the answer ends before the positions to read, the read has no rows", async () => {
    const first = (await model.answer(b, { ...OPTIONS, maxNewTokens: 1 })).tokens[0]?.tokenId;
    const processor: unknown = Object.create(model.processor, { eosTokenIds: { value: [first] } });
    const ending = Object.create(model, { processor: { value: processor } }) as Llava; // the same model with another end token
    const read = ["layers.0.hidden_states", "layers.1.attention_probs"].map((place) => {
      return { place, positions: [b.inputIds.length + 1] };
    });
    const answer = await ending.answer(b, { maxNewTokens: 4, read });
    expect(answer).toMatchObject({ finishReason: "eos", tokens: [{ tokenId: first }] });
    expect(answer.reads.map(({ positions }) => positions)).toEqual([[], []]);
    expect(answer.reads.map(({ shape, data }) => [shape[0], data.length])).toEqual([
      [0, 0],
      [0, 0],
    ]);
  });

  test("a read without positions returns the last prompt row, also when others are read at the same place", async () => {
    const last = b.inputIds.length - 1;
    for (const place of ["layers.1.hidden_states", "layers.1.attention_probs"]) {
      const read = [{ place }, { place, positions: [4, last + 2] }, { place, positions: [last] }];
      const [unnamed, several, named] = (await model.answer(b, { ...OPTIONS, read })).reads;
      expect(unnamed, place).toEqual(named);
      expect(unnamed?.positions, place).toEqual([last]);
      expect(several?.positions, place).toEqual([4, last + 2]);
    }
  });

  test.each([
    [
      "a layer too many",
      { read: [{ place: "layers.9.hidden_states" }] },
      /^layers\.9\.hidden_states: the decoder's layers are 0 to \d\.$/,
    ],
    [
      "no place",
      { read: [{ place: "layers.0.nothing" }] },
      /^layers\.0\.nothing is not a place that can be read: expected inputs_embeds, /,
    ],
    [
      "a position too far",
      { read: [{ place: "inputs_embeds", positions: [99] }] },
      /^inputs_embeds: positions must be whole numbers from 0 to \d+, at least one, got 99\.$/,
    ],
    ["no positions", { read: [{ place: "inputs_embeds", positions: [] }] }, /got none\.$/],
    [
      "attention to write",
      { write: [{ place: "layers.0.self_attn", positions: [0], values: new Float32Array(48) }] },
      /^layers\.0\.self_attn is not a place that can be written/,
    ],
    [
      "too few values",
      { write: [{ place: "inputs_embeds", positions: [0, 1], values: new Float32Array(48) }] },
      /^inputs_embeds: values must be a Float32Array of 2 × 48 numbers, got 48\.$/,
    ],
  ] as const)("%s is refused, and nothing stays allocated", async (_, options, message) => {
    await model.answer(b, OPTIONS);
    const before = model.gpu.allocatedBytes;
    const good = { place: "layers.0.hidden_states", positions: [1], values: new Float32Array(48) };
    const write = "write" in options ? [good, ...options.write] : [good];
    const refused = model.answer(b, { ...OPTIONS, ...options, write });
    await expect(refused).rejects.toThrow(InputError);
    await expect(refused).rejects.toThrow(message);
    expect(model.gpu.allocatedBytes).toBe(before);
    expect(await problemsOf(b, "b", [])).toEqual([]);
  });

  function additionOf(addition: string) {
    const prefix = `add.${addition}`;
    const [positions, values] = [golden.ids(`${prefix}.positions`), golden.get(`${prefix}.vector`).data];
    return { place: placeOf(prefix), positions, values, mode: "add" } as const;
  }

  /** What differs from the golden of this name when `write` is written. */
  async function problemsOf(inputs: ModelInputs, prefix: string, write: readonly PlaceWrite[]): Promise<string[]> {
    const trace = await model.trace(inputs, { ...OPTIONS, write });
    const logits = trace.tensors.find((tensor) => tensor.name === "logits")?.data ?? [];
    const reported = await model.answer(inputs, { ...OPTIONS, write, topLogProbs: 100 });
    const expected = golden.get(`${prefix}.logits`).data;
    const ids = golden.ids(`${prefix}.generated`);
    return parityProblems([
      within("logits", PARITY.logits, [logits, expected]),
      ...topLogProbChecks(reported.tokens, expected),
      same("traced ids", idsOf(trace.answer.tokens), ids),
      same("ids", idsOf(reported.tokens), ids),
    ]);
  }

  function placeOf(prefix: string): string {
    return `layers.${golden.ids(`${prefix}.layer`)[0]}.hidden_states`;
  }
});

describe("pictures", () => {
  test("the vision tower is read also where its picture's keys and values are held", async () => {
    const model = await loadGoldenModel("llava-deep");
    const golden = await readTensorFile("llava-deep/expected.safetensors");
    const inputs = goldenInputs(model, golden);
    using session = model.session();
    const read = [{ place: "vision.hidden_states.1" }];
    for (const turn of ["first", "second"]) {
      const { reads } = await session.answer(inputs, { ...OPTIONS, read }).answer;
      const expected = golden.get("vision_hidden.1");
      expect(reads[0]?.shape, turn).toEqual([1, ...expected.shape]);
      expect(largestError(reads[0]?.data ?? [], expected.data), turn).toBeLessThan(PARITY.hiddenStates);
    }
    model.dispose();
  });
});

function idsOf(tokens: readonly { readonly tokenId: number }[]): number[] {
  return tokens.map(({ tokenId }) => tokenId);
}

/** The rows of what was read, which is ascending, in the order of these positions. */
function inOrder(read: PlaceValues | undefined, positions: readonly number[]): Float32Array<ArrayBuffer> {
  if (read?.positions === undefined) throw new Error("nothing was read");
  const [, width = 0] = read.shape;
  const values = new Float32Array(positions.length * width);
  for (const [row, position] of positions.entries()) {
    const at = read.positions.indexOf(position) * width;
    values.set(read.data.subarray(at, at + width), row * width);
  }
  return values;
}
