// Answers that are JSON of a schema, whole, on the embedded checkpoint; Ajv 8 says whether they are.
import { join } from "node:path";
import { Ajv2020 } from "ajv/dist/2020.js";
import { beforeAll, describe, expect, test } from "vitest";
import type { AnswerOptions } from "../../src/answer.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import { InputError } from "../../src/errors.ts";
import { explain } from "../../src/explain.ts";
import type { JsonSchema } from "../../src/generate/grammar/json-schema.ts";
import { Llava } from "../../src/llava.ts";
import { readImageFile } from "../../src/preprocess/decode-image.node.ts";
import type { RgbImage } from "../../src/preprocess/image.ts";
import { tinySpatial } from "../cli/command.ts";
import { openTestDevice } from "../setup/device.ts";

const SCHEMA: JsonSchema = {
  type: "object",
  properties: {
    at: { enum: ["left", "right", "on", "under"] },
    n: { type: "integer", minimum: 0, maximum: 20 },
    words: { type: "array", items: { type: "string", maxLength: 3 }, maxItems: 2 },
  },
  required: ["at"],
};
const validate = new Ajv2020().compile(SCHEMA);
const question = "Where is the mug in relation to the dog? Answer with left, right, on or under.";

let model: Llava;
let image: RgbImage;

beforeAll(async () => {
  model = await Llava.load(fileSource(tinySpatial), { device: (await openTestDevice()).device });
  image = await readImageFile(join(tinySpatial, "demo", "mug_left_of_dog.jpeg"));
});

const ask = (options: AnswerOptions = {}) =>
  model.ask({ image, question, jsonSchema: SCHEMA, maxNewTokens: 100, ...options });

test.each<AnswerOptions>([
  {},
  { method: "adaptvis" },
  { method: "scaling", factor: 0.5 },
  { method: "vcd" },
  { method: "dola" },
  { sampling: { repetitionPenalty: 1.3 } },
  { sampling: { temperature: 0.7, topK: 5, topP: 0.9, seed: 2 }, topLogProbs: 3 },
])("with %j the answer ends and is valid", async (options) => {
  const answer = await ask(options);
  expect(answer.finishReason).toBe("eos");
  expect(validate(JSON.parse(answer.text)), answer.text).toBe(true);
  expect(answer.tokens.map(({ text }) => text).join("")).toBe(answer.text);
});

test("answers that decode together keep to the schema, the choices and the freedom of each", async () => {
  const sampling = { temperature: 0.9, seed: 7 };
  const variants: readonly AnswerOptions[] = [
    { jsonSchema: SCHEMA },
    { choices: ["on", "under"] },
    { jsonSchema: SCHEMA, sampling, topLogProbs: 2 },
    {},
    { choices: ["left of the dog", "right of the dog"], method: "adaptvis" },
    { jsonSchema: { enum: ["mug", "dog"] }, method: "scaling", factor: 0.5, rows: "generated" },
  ];
  const answers = variants.map(async (options) => {
    using session = model.session({ batched: true });
    const message = {
      role: "user",
      content: [
        { type: "image", image },
        { type: "text", text: question },
      ],
    } as const;
    return await session.ask(message, { maxNewTokens: 100, ...options }).answer;
  });
  for (const [index, answer] of (await Promise.all(answers)).entries()) {
    const expected = await model.ask({ image, question, maxNewTokens: 100, ...variants[index] });
    expect(answer.tokens.map(({ tokenId }) => tokenId)).toEqual(expected.tokens.map(({ tokenId }) => tokenId));
    expect(answer.text).toBe(expected.text);
  }
});

test("10 seeds at temperature 1.5: every answer that ends is valid, every other one begins as JSON does", async () => {
  const texts = new Set<string>();
  let numEnded = 0;
  for (let seed = 0; seed < 10; seed++) {
    const sampling = { temperature: 1.5, seed };
    const answer = await model.ask({ question, jsonSchema: SCHEMA, maxNewTokens: 40, sampling });
    texts.add(answer.text);
    expect(answer.text).toMatch(/^\{"at": "/);
    if (answer.finishReason === "length") {
      expect(answer.tokens).toHaveLength(40);
      continue;
    }
    numEnded++;
    expect(validate(JSON.parse(answer.text)), answer.text).toBe(true);
  }
  expect(numEnded).toBeGreaterThan(3);
  expect(texts.size).toBeGreaterThan(5);
});

test("the first token is the most probable that is allowed, with its log-probability among those", async () => {
  const free = await model.ask({ image, question, maxNewTokens: 1, topLogProbs: 100 });
  const { tokens } = await ask({ jsonSchema: { enum: ["left", "right"] }, topLogProbs: 5 });
  const [first] = tokens;
  // Only tokens that begin a string may come, and those that are ruled out are not reported.
  expect(first?.top.length).toBeGreaterThanOrEqual(1);
  expect(first?.top.every(({ tokenId }) => model.processor.textOf([tokenId]).startsWith('"'))).toBe(true);
  expect(first?.tokenId).toBe(first?.top[0]?.tokenId);
  const sum = first?.top.reduce((total, { logProb }) => total + Math.exp(logProb), 0);
  expect(sum).toBeGreaterThan(0.99);
  expect(sum).toBeLessThan(1.001);
  expect(free.tokens[0]?.top.length).toBe(100);
});

test("the answer is over with its JSON: no step runs for an end token", async () => {
  const answer = await ask({ jsonSchema: { const: "left" } });
  expect(answer.text).toBe('"left"');
  expect(answer.finishReason).toBe("eos");
  expect(answer.tokens.every(({ tokenId }) => !model.processor.eosTokenIds.includes(tokenId))).toBe(true);
});

test("a number may go on, so that an end token ends it", async () => {
  const answer = await ask({ jsonSchema: { type: "integer", minimum: 0, maximum: 99 } });
  expect(answer.text).toMatch(/^\d{1,2}$/);
  expect(answer.finishReason).toBe("eos");
});

test("an explanation lists the mask of every token: what it rules out, and the same answer", async () => {
  const options = { jsonSchema: SCHEMA, maxNewTokens: 3 };
  const inputs = model.prepare({ image, question });
  const { passes, answer } = await explain(model, inputs, { ...options, values: true });
  expect(answer.text).toBe((await model.answer(inputs, options)).text);
  const masks = passes.filter(({ place }) => place === "token_mask");
  expect(masks.map(({ stage }) => stage)).toEqual(["mask of token 0", "mask of token 1", "mask of token 2"]);
  for (const { kernel, outputs } of masks) {
    expect(kernel).toContain("mask-tokens");
    expect(outputs).toEqual([expect.objectContaining({ binding: "logits", min: -1e9, max: -1e9 })]);
  }
  const [first] = masks;
  expect(first?.outputs[0]?.shape[0]).toBeGreaterThan(400); // all but the tokens that begin with {
});

test("stop texts and the length end it before", async () => {
  const stopped = await ask({ stop: ['": '] });
  expect(stopped).toMatchObject({ text: '{"at', finishReason: "stop" });
  const cut = await ask({ maxNewTokens: 2 });
  expect(cut.finishReason).toBe("length");
  expect(cut.tokens).toHaveLength(2);
  const whole = await ask();
  const exact = await ask({ maxNewTokens: whole.tokens.length });
  expect(exact).toMatchObject({ text: whole.text, finishReason: "eos" });
});

test("sessions go on behind it", async () => {
  const session = model.session();
  const prompt = { image, question };
  const first = await session.ask(
    [
      {
        role: "user",
        content: [
          { type: "image", image },
          { type: "text", text: question },
        ],
      },
    ],
    {
      jsonSchema: SCHEMA,
      maxNewTokens: 100,
    },
  ).answer;
  expect(validate(JSON.parse(first.text))).toBe(true);
  const next = await session.ask("And now?", { maxNewTokens: 3 }).answer;
  expect(next.reusedTokens).toBeGreaterThanOrEqual(first.promptTokens);
  session.close();
  expect((await model.ask({ ...prompt, maxNewTokens: 3 })).text).toBe(
    (await model.ask({ ...prompt, maxNewTokens: 3 })).text,
  );
});

describe("refused", () => {
  test.each<[AnswerOptions, RegExp]>([
    [{ choices: ["left"] }, /jsonSchema and choices exclude each other: omit one/],
    [{ ignoreEos: true }, /jsonSchema: the answer needs a token that ends it/],
    [{ jsonSchema: "object" as unknown as JsonSchema }, /jsonSchema must be a JSON schema \(an object, or true\)/],
    [{ jsonSchema: { not: {} } }, /jsonSchema: the schema uses not, which is not supported/],
    [{ jsonSchema: { enum: ["x".repeat(70_000)] } }, /jsonSchema must have at most 65536 characters of JSON, got 700/],
    [{ jsonSchema: { type: "array", items: { type: "string", maxLength: 1e5 }, maxItems: 1e6 } }, /from 0 to 100000/],
  ])("%o", async (options, message) => {
    await expect(ask(options)).rejects.toThrow(message);
    await expect(ask(options)).rejects.toThrow(InputError);
  });
});
