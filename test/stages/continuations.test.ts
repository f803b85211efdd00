// Log-probabilities of given texts as the answer: those of the answer's own tokens, and of texts that were not generated.
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { AnswerOptions } from "../../src/answer.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { InputError } from "../../src/errors.ts";
import { Llava } from "../../src/llava.ts";
import { readImageFile } from "../../src/preprocess/decode-image.node.ts";
import type { RgbImage } from "../../src/preprocess/image.ts";
import { openTestDevice } from "../setup/device.ts";

const MODEL = fileURLToPath(new URL("../../weights/tiny-spatial", import.meta.url));
const QUESTION = "What is in the picture?";
const OPTIONS = [" Left", " Right", " Front", " Behind"];

let model: Llava;
let image: RgbImage;

beforeAll(async () => {
  const { device } = await openTestDevice();
  model = await Llava.load(fileSource(MODEL), { device });
  image = await readImageFile(`${MODEL}/demo/ball_behind_robot.png`);
});

afterAll(() => model.dispose());

const METHODS: readonly AnswerOptions[] = [
  {},
  { method: "scaling", factor: 0.5 },
  { method: "adaptvis", alpha1: 0.5, alpha2: 1.5, beta: 0.9 },
  { method: "pai" },
  { method: "vcd" },
  { method: "dola", earlyLayers: [1, 2] },
];

describe.each(METHODS)("with %j", (method) => {
  test("an answer's own text has the log-probability of its tokens, and the answer stays what it was", async () => {
    const plain = await model.ask({ ...method, image, question: QUESTION });
    const own = plain.text;
    const answer = await model.ask({ ...method, image, question: QUESTION, continuations: [own, "left"] });
    expect(answer.tokens).toEqual(plain.tokens);
    const [same, other] = answer.continuations;
    const said = plain.tokens.slice(0, same?.tokenIds.length);
    expect(said.length).toBeGreaterThan(3);
    expect(same?.tokenIds).toEqual(said.map(({ tokenId }) => tokenId));
    const sum = said.reduce((total, { logProb }) => total + logProb, 0);
    expect(Math.abs((same?.logProb ?? Number.NaN) - sum)).toBeLessThan(1e-4);
    expect(Math.abs((same?.firstLogProb ?? Number.NaN) - (said[0]?.logProb ?? 0))).toBeLessThan(1e-4);
    expect(other?.text).toBe("left");
    expect(other?.logProb).toBeLessThan(same?.firstLogProb ?? 0);
  });
});

test("texts that are not the answer are scored as a whole prompt with them is", async () => {
  const question = "Where is the ball in relation to the robot? Answer with left, right, front or behind.";
  const inputs = model.prepare({ image, question });
  const answer = await model.answer(inputs, { continuations: [...OPTIONS, " The ball is left"] });
  for (const { text, tokenIds, logProb, firstLogProb } of answer.continuations) {
    const inputIds = Int32Array.from([...inputs.inputIds, ...tokenIds]);
    const scores = (await model.score({ ...inputs, inputIds })).subarray(inputs.inputIds.length - 1);
    expect(scores).toHaveLength(tokenIds.length);
    expect(Math.abs(logProb - scores.reduce((sum, score) => sum + score, 0)), text).toBeLessThan(1e-4);
    expect(Math.abs(firstLogProb - (scores[0] ?? Number.NaN)), text).toBeLessThan(1e-4);
  }
  const best = answer.continuations.slice(0, 4).reduce((a, b) => (b.logProb > a.logProb ? b : a));
  expect(best.text).toBe(answer.text);
});

test("a conversation goes on as if nothing had been scored", async () => {
  const ask = async (continuations: readonly string[] | undefined) => {
    using session = model.session();
    await session.ask(
      {
        role: "user",
        content: [
          { type: "image", image },
          { type: "text", text: QUESTION },
        ],
      },
      { continuations },
    ).answer;
    return await session.ask(QUESTION).answer;
  };
  const [plain, scored] = [await ask(undefined), await ask(["a cat and a dog", "Left"])];
  // Not to the bit: without the answer's keys and values, its tokens run as a part of the prompt.
  expect(scored.tokens.map(({ tokenId }) => tokenId)).toEqual(plain.tokens.map(({ tokenId }) => tokenId));
  for (const [index, { logProb }] of scored.tokens.entries()) {
    expect(Math.abs(logProb - (plain.tokens[index]?.logProb ?? Number.NaN))).toBeLessThan(1e-4);
  }
});

test.each([
  ["Left", /continuations must be a list of texts, got "Left"/],
  [[1], /continuations\[0\] must be a text, got 1/],
  [[""], /continuations: expected texts with at least one token, got ""/],
  [["left ".repeat(2000)], /continuations: expected at most \d+ tokens behind the prompt of \d+, got \d{4}/],
])("%j is refused", async (continuations, message) => {
  const asked = model.ask({ image, question: QUESTION, continuations: continuations as string[] }); // untyped callers
  await expect(asked).rejects.toThrow(InputError);
  await expect(asked).rejects.toThrow(message);
});

describe("choices", () => {
  const question = "Where is the ball in relation to the robot? Answer with left, right, front or behind.";

  test.each([{}, { method: "scaling", factor: 0.5 }, { method: "vcd" }] satisfies AnswerOptions[])(
    "with %j the answer is the most probable of them, told apart by the first token",
    async (method) => {
      const choices = ["Right", "Front", "Left"];
      const spelled = choices.flatMap((text) => [text, ` ${text}`]);
      const { continuations } = await model.ask({ ...method, image, question, continuations: spelled });
      const best = continuations.reduce((most, each) => (each.firstLogProb > most.firstLogProb ? each : most));
      const answer = await model.ask({ ...method, image, question, choices });
      expect(answer.text).toBe(best.text);
      expect(answer.finishReason).toBe("eos");
      const among = continuations.reduce((sum, { firstLogProb }) => sum + Math.exp(firstLogProb), 0);
      expect(answer.tokens[0]?.logProb).toBeCloseTo(best.firstLogProb - Math.log(among), 4);
    },
  );

  test("of several words, one that begins another, and drawn ones too", async () => {
    const choices = ["The ball is", "The ball is left of the robot", "The ball is behind"];
    const answer = await model.ask({ image, question, choices });
    expect(choices).toContain(answer.text.trim());
    const sampling = { temperature: 5, seed: 3 };
    const drawn = await model.ask({ image, question, choices: ["Left", "under the robot"], sampling });
    expect(["Left", "under the robot"]).toContain(drawn.text.trim());
  });

  test.each([
    [{ choices: [] }, /choices must be a list of at least one text/],
    [{ choices: [""] }, /choices: a text is empty/],
    [{ choices: ["Left"], ignoreEos: true }, /choices: the answer needs a token that ends it/],
  ] satisfies [AnswerOptions, RegExp][])("%j is refused", async (options, message) => {
    await expect(model.ask({ image, question, ...options })).rejects.toThrow(message);
    await expect(model.ask({ image, question, ...options })).rejects.toThrow(InputError);
  });
});
