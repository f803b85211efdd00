// Sessions against transformers (tools/goldens/multi_picture.py): several pictures, turns that run only what is new, answers
// side by side; and what a session that is stopped, closed or left leaves behind.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AnswerOptions, AnswerStage } from "../../src/answer.ts";
import type { AnswerStream } from "../../src/answer-stream.ts";
import { AbortError, CheckpointError, InputError } from "../../src/errors.ts";
import type { Llava } from "../../src/llava.ts";
import type { ModelInputs } from "../../src/models/inputs.ts";
import { readTensorFile, type TensorFile } from "../setup/golden.ts";
import { loadGoldenModel } from "../setup/golden-model.ts";
import { PARITY } from "../setup/parity-bounds.ts";
import { parityProblems, same, within } from "../setup/parity-check.ts";
import { topLogProbChecks } from "../setup/top-log-probs.ts";

const TURNS = ["turn.0", "turn.1", "turn.2"];
const NEW_TOKENS = 8;
const OPTIONS: AnswerOptions = { maxNewTokens: NEW_TOKENS, ignoreEos: true };

let model: Llava;
let golden: TensorFile;
beforeAll(async () => {
  model = await loadGoldenModel("llava-biases", { lookahead: 4 }); // steps of one session are on their way when another runs
  golden = await readTensorFile("multi-picture/expected.safetensors");
});
afterAll(() => model.dispose());

/** The inputs of a prompt of the golden. @param order which of its two pictures come first and second */
function inputsOf(name: string, order: readonly number[] = [0, 1]): ModelInputs {
  const [numPictures = 0] = golden.get(`${name}.runs`).shape;
  const pixels = golden.get("pixel_values");
  const size = pixels.data.length / 2;
  const pixelValues = new Float32Array(numPictures * size);
  for (const [index, picture] of order.slice(0, numPictures).entries()) {
    pixelValues.set(pixels.data.subarray(picture * size, (picture + 1) * size), index * size);
  }
  return model.processor.fromTensors({ inputIds: golden.ids(`${name}.input_ids`), pixelValues });
}

function idsOf(tokens: readonly { readonly tokenId: number }[]): number[] {
  return tokens.map(({ tokenId }) => tokenId);
}

/** Takes a token of each stream in turn until all have ended. */
async function alternate(streams: readonly AnswerStream[]): Promise<number[][]> {
  const readers = streams.map((stream) => ({ tokens: stream[Symbol.asyncIterator](), ids: [] as number[] }));
  const open = new Set(readers);
  while (open.size > 0) {
    for (const reader of open) {
      const next = await reader.tokens.next();
      if (next.done === true) open.delete(reader);
      else reader.ids.push(next.value.tokenId);
    }
  }
  return readers.map(({ ids }) => ids);
}

describe("pictures and turns", () => {
  test.each(["two", ...TURNS])(
    "%s as a whole: positions, features, hidden states, logits and greedy ids",
    async (name) => {
      const inputs = inputsOf(name);
      const every = Array.from(inputs.inputIds, (_, position) => position);
      const [numRows = 0] = golden.get(`${name}.hidden.0`).shape;
      const positions = every.slice(-numRows);
      const places = ["inputs_embeds", "layers.0.hidden_states", "layers.1.hidden_states"];
      const read = places.map((place) => ({ place, positions }));
      const { tensors, answer } = await model.trace(inputs, { ...OPTIONS, read });
      const traced = new Map(tensors.map((tensor) => [tensor.name, tensor.data]));
      const features = golden.get("image_features").data.subarray(0, traced.get("image_features")?.length);
      expect(
        parityProblems([
          same("expanded ids", inputs.inputIds, golden.ids(`${name}.expanded_ids`)),
          same(
            "runs",
            inputs.images.flatMap(({ runs }) => runs.flat()),
            golden.ids(`${name}.runs`),
          ),
          within("image features", PARITY.hiddenStates, [traced.get("image_features") ?? [], features]),
          ...answer.reads.map((values, index) => {
            return within(values.place, PARITY.hiddenStates, [values.data, golden.get(`${name}.hidden.${index}`).data]);
          }),
          within("logits", PARITY.logits, [traced.get("logits") ?? [], golden.get(`${name}.logits`).data]),
          same("ids", idsOf(answer.tokens), golden.ids(`${name}.generated`)),
        ]),
      ).toEqual([]);
      expect(inputs.images).toHaveLength(golden.get(`${name}.runs`).shape[0] ?? 0);
    },
  );

  test.each([
    ["greedy steps", 0],
    ["steps that report alternatives", 100],
  ])("a conversation of three turns, %s: each runs its own rows and its own picture only", async (_, topLogProbs) => {
    model.clearCaches();
    using session = model.session();
    let numHeld = 0;
    for (const [index, name] of TURNS.entries()) {
      const stages: AnswerStage[] = [];
      const inputs = inputsOf(name);
      const onStage = (stage: AnswerStage) => stages.push(stage);
      const answer = await session.answer(inputs, { ...OPTIONS, topLogProbs, onStage }).answer;
      expect(idsOf(answer.tokens), name).toEqual(golden.ids(`${name}.generated`));
      if (topLogProbs > 0) {
        expect(parityProblems(topLogProbChecks(answer.tokens, golden.get(`${name}.logits`).data))).toEqual([]);
      }
      expect(answer.reusedTokens, name).toBe(numHeld);
      expect(answer.promptTokens, name).toBe(inputs.inputIds.length);
      expect(
        stages.filter((stage) => stage === "vision"),
        name,
      ).toHaveLength(index < 2 ? 1 : 0);
      numHeld = inputs.inputIds.length + NEW_TOKENS - 1; // the last token is chosen, but not run
    }
    expect(session.messages).toEqual([]);
  });

  test("another picture in the place of the second or the first: rows from that picture on run again", async () => {
    const [firstRun, , secondRun] = golden.ids("turn.2.runs");
    using session = model.session();
    await session.answer(inputsOf("turn.2"), OPTIONS).answer;
    for (const [order, numReused] of [
      [[0, 0], secondRun],
      [[1, 0], firstRun],
      [[1, 1], secondRun],
      [[0, 1], firstRun],
    ] as const) {
      const inputs = inputsOf("turn.2", order);
      const answer = await session.answer(inputs, OPTIONS).answer;
      const alone = await model.answer(inputs, { ...OPTIONS, reusePrefix: false });
      expect(idsOf(answer.tokens), `pictures ${order}`).toEqual(idsOf(alone.tokens));
      expect(answer.reusedTokens, `pictures ${order}`).toBe(numReused);
    }
    const last = await session.answer(inputsOf("turn.2"), OPTIONS).answer;
    expect(idsOf(last.tokens)).toEqual(golden.ids("turn.2.generated"));
  });

  test("two pictures with room for none, and one picture twice", async () => {
    const tight = await loadGoldenModel("llava-biases", { cacheBytes: 0 });
    const answer = await tight.answer(inputsOf("two"), OPTIONS);
    expect(idsOf(answer.tokens)).toEqual(golden.ids("two.generated"));
    const twice = await tight.answer(inputsOf("two", [0, 0]), OPTIONS);
    const roomy = await model.answer(inputsOf("two", [0, 0]), OPTIONS);
    expect(idsOf(twice.tokens)).toEqual(idsOf(roomy.tokens));
    tight.dispose();
    expect(tight.gpu.allocatedBytes).toBe(0);
  });

  test("picture tokens and pictures that do not pair up are refused", () => {
    const pixelValues = golden.get("pixel_values").data;
    const inputIds = golden.ids("turn.0.input_ids");
    expect(() => model.processor.fromTensors({ inputIds, pixelValues })).toThrow(InputError);
    const one = pixelValues.slice(0, pixelValues.length / 2);
    expect(() => model.processor.fromTensors({ inputIds: golden.ids("two.input_ids"), pixelValues: one })).toThrow(
      InputError,
    );
  });
});

describe("answers side by side", () => {
  test("two sessions that take tokens in turn give the ids that each gives alone, through all turns", async () => {
    using left = model.session();
    using right = model.session();
    for (const name of TURNS) {
      const swapped = inputsOf(name, [1, 0]);
      const alone = await model.answer(swapped, OPTIONS);
      const ids = await alternate([left.answer(inputsOf(name), OPTIONS), right.answer(swapped, OPTIONS)]);
      expect(ids, name).toEqual([golden.ids(`${name}.generated`), idsOf(alone.tokens)]);
    }
  });

  test("a longer prompt, a sweep, edits and a trace between two tokens change nothing", async () => {
    using session = model.session();
    const stream = session.answer(inputsOf("turn.0"), OPTIONS);
    const length = model.config.text.maxPositionEmbeddings;
    const longer = { inputIds: Int32Array.from({ length }, (_, index) => 3 + (index % 100)), images: [] };
    const between = [
      () => model.answer(longer, { maxNewTokens: 1 }),
      () => model.sweep(inputsOf("two"), [1, 0.5, 2], { maxNewTokens: 2 }),
      () => model.answer(inputsOf("turn.2"), { method: "scaling", factor: 2, rows: "after-image", maxNewTokens: 2 }),
      () => model.trace(inputsOf("turn.1"), { maxNewTokens: 1 }),
      () => model.score(inputsOf("turn.0")),
      async () => model.clearCaches(),
    ];
    const ids: number[] = [];
    for await (const { tokenId } of stream) {
      ids.push(tokenId);
      await between[ids.length - 1]?.();
    }
    expect(ids).toEqual(golden.ids("turn.0.generated"));
    expect(idsOf((await stream.answer).tokens)).toEqual(ids);
  });

  test("a second question in the same session is refused while one is answered, in every form", async () => {
    using session = model.session();
    const inputs = inputsOf("two");
    const stream = session.answer(inputs, OPTIONS);
    const message = "The session is answering already: wait for that answer, or open another session.";
    const ids: number[] = [];
    for await (const { tokenId } of stream) {
      ids.push(tokenId);
      if (ids.length !== 2) continue;
      await expect(session.answer(inputs, OPTIONS).answer).rejects.toThrow(new InputError(message));
      await expect(session.answer(inputs, OPTIONS)[Symbol.asyncIterator]().next()).rejects.toThrow(
        new InputError(message),
      );
      await expect(session.trace(inputs)).rejects.toThrow(new InputError(message));
      await expect(session.sweep(inputs, [1])).rejects.toThrow(new InputError(message));
      await expect(session.score(inputs)).rejects.toThrow(new InputError(message));
    }
    expect(ids).toEqual(golden.ids("two.generated"));
    const [first, second] = [session.answer(inputs, OPTIONS).answer, session.answer(inputs, OPTIONS).answer];
    await expect(second).rejects.toThrow(new InputError(message));
    expect(idsOf((await first).tokens)).toEqual(ids);
  });

  test("an answer is iterated over once, and its whole is there afterwards", async () => {
    using session = model.session();
    const stream = session.answer(inputsOf("two"), OPTIONS);
    expect(await alternate([stream])).toEqual([golden.ids("two.generated")]);
    expect(idsOf((await stream.answer).tokens)).toEqual(golden.ids("two.generated"));
    await expect(stream[Symbol.asyncIterator]().next()).rejects.toThrow(InputError);
  });
});

describe("endings", () => {
  test.each(["before it begins", "at the second token"])(
    "an answer that is aborted %s leaves the session as it was",
    async (when) => {
      using session = model.session();
      await session.answer(inputsOf("turn.0"), OPTIONS).answer;
      const controller = new AbortController();
      if (when === "before it begins") controller.abort();
      let numTokens = 0;
      const onToken = () => {
        numTokens++;
        if (numTokens === 2) controller.abort();
      };
      const aborted = session.answer(inputsOf("turn.1"), { ...OPTIONS, signal: controller.signal, onToken });
      await expect(aborted.answer).rejects.toThrow(AbortError);
      expect(numTokens).toBe(when === "before it begins" ? 0 : 2);
      for (const name of TURNS.slice(1)) {
        const answer = await session.answer(inputsOf(name), OPTIONS).answer;
        expect(idsOf(answer.tokens), name).toEqual(golden.ids(`${name}.generated`));
      }
    },
  );

  test("a question that cannot be put to the model leaves the session as it was, however it is asked", async () => {
    using session = model.session();
    await session.answer(inputsOf("turn.0"), OPTIONS).answer;
    // This checkpoint has no chat template.
    await expect(session.ask("where?").answer).rejects.toThrow(CheckpointError);
    const iterated = session.ask("where?");
    await expect(iterated[Symbol.asyncIterator]().next()).rejects.toThrow(CheckpointError);
    await expect(iterated.answer).rejects.toThrow(CheckpointError);
    const answer = await session.answer(inputsOf("turn.1"), OPTIONS).answer;
    expect(idsOf(answer.tokens)).toEqual(golden.ids("turn.1.generated"));
  });

  test("an iteration that is left, or whose reader throws, leaves the session as it was", async () => {
    using session = model.session();
    const left = session.answer(inputsOf("turn.0"), OPTIONS);
    for await (const _token of left) break;
    await expect(left.answer).rejects.toThrow(AbortError);
    const thrown = session.answer(inputsOf("turn.0"), {
      ...OPTIONS,
      onToken: () => {
        throw new RangeError("the reader's own");
      },
    });
    await expect(thrown.answer).rejects.toThrow("the reader's own");
    for (const name of TURNS) {
      const answer = await session.answer(inputsOf(name), OPTIONS).answer;
      expect(idsOf(answer.tokens), name).toEqual(golden.ids(`${name}.generated`));
    }
  });

  test("a session is closed twice, and refuses questions from then on", async () => {
    const session = model.session();
    await session.answer(inputsOf("two"), OPTIONS).answer;
    session.close();
    session.close();
    const message = "The session is closed: open another with model.session().";
    await expect(session.answer(inputsOf("two"), OPTIONS).answer).rejects.toThrow(new InputError(message));
    await expect(session.trace(inputsOf("two"))).rejects.toThrow(new InputError(message));
    const answer = await model.answer(inputsOf("two"), OPTIONS);
    expect(idsOf(answer.tokens)).toEqual(golden.ids("two.generated"));
  });

  test("a session that is closed between two tokens rejects its answer and gives its keys and values back", async () => {
    await model.answer(inputsOf("two"), OPTIONS);
    model.clearCaches();
    const before = model.gpu.allocatedBytes;
    const session = model.session();
    const stream = session.answer(inputsOf("two"), OPTIONS);
    const read = async () => {
      for await (const _token of stream) session.close();
    };
    await expect(read()).rejects.toThrow(AbortError);
    await expect(stream.answer).rejects.toThrow("its session was closed");
    model.clearCaches();
    expect(model.gpu.allocatedBytes).toBe(before);
  });

  test("200 sessions, some of them open together, leave GPU memory as it was", async () => {
    const ask = async (first: number, count: number) => {
      const sessions = Array.from({ length: count }, () => model.session());
      for (const [index, session] of sessions.entries()) {
        const inputIds = Int32Array.of(1, 3 + ((first + index) % 100), 7, 9);
        const inputs = (first + index) % 5 === 0 ? inputsOf("two") : { inputIds, images: [] };
        await session.answer(inputs, { maxNewTokens: 1 }).answer;
      }
      const held = model.gpu.allocatedBytes;
      for (const session of sessions) session.close();
      model.clearCaches();
      return held;
    };
    await ask(0, 1);
    const before = model.gpu.allocatedBytes;
    for (let first = 0; first < 200; first += 10) {
      expect(await ask(first, 10)).toBeGreaterThan(before);
      expect(model.gpu.allocatedBytes, `after session ${first + 10}`).toBe(before);
    }
  });
});
