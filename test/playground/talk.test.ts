// What the playground's engine finds out beside the two answers: follow-ups, answers by any method, without a part of the picture, word
// by word, and through the logit lens. Each is what the library gives.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PlaygroundEngine } from "../../src/app/engine/engine.ts";
import { failureOf } from "../../src/app/engine/failure.ts";
import type { AskRequest, ChatRequest, MethodEvent } from "../../src/app/protocol.ts";
import { fileSource } from "../../src/checkpoint/file-source.node.ts";
import type { GeneratedToken } from "../../src/generate/generate.ts";
import { logitLens } from "../../src/lens.ts";
import { Llava } from "../../src/llava.ts";
import { decodeImage } from "../../src/preprocess/decode-image.node.ts";
import { tokenAttention } from "../../src/token-attention.ts";
import { repositoryRoot } from "../setup/bundle.ts";
import { openTestDevice } from "../setup/device.ts";
import { TestHost, tinySpatial } from "./host.ts";

const MODEL = join(repositoryRoot, "weights", "tiny-spatial");
const QUESTION = "Where is the ball in relation to the robot? Answer with left, right, front or behind.";
const SETTINGS = { alpha1: 0.5, alpha2: 1.2, beta: 0.6 };
const greedy = { name: "greedy", settings: {} } as const;
const ignore = () => undefined;

const host = new TestHost();
const engine = new PlaygroundEngine(host);
let model: Llava;
let request: AskRequest & { readonly image: NonNullable<AskRequest["image"]> };

const picture = async (name: string) => decodeImage(await readFile(join(MODEL, "demo", name)));
const idsOf = (tokens: readonly Pick<GeneratedToken, "tokenId">[]) => tokens.map(({ tokenId }) => tokenId);

beforeAll(async () => {
  const { device } = await openTestDevice();
  model = await Llava.load(fileSource(MODEL), { device });
  request = { image: await picture("ball_behind_robot.png"), question: QUESTION, settings: SETTINGS, maxNewTokens: 8 };
  await engine.load(await tinySpatial(), ignore);
});

afterAll(() => {
  model.dispose();
  for (const device of host.devices) device.destroy();
});

async function failure(work: Promise<unknown>) {
  return work.then(
    () => expect.fail("expected a failure"),
    (error: unknown) => failureOf(error),
  );
}

function followUp(question: string, more: Partial<ChatRequest> = {}): ChatRequest {
  return { question, image: undefined, method: greedy, maxNewTokens: 12, numKept: 0, after: "adaptvis", ...more };
}

describe("a conversation", () => {
  test("goes on as the library's session does, with another picture in a later turn and what was computed before", async () => {
    const { adaptvis, promptTokens } = await engine.ask(request, ignore);
    const other = await picture("gift_behind_guitar.png");
    using session = model.session();
    const start = [
      {
        role: "user",
        content: [
          { type: "image", image: request.image },
          { type: "text", text: QUESTION },
        ],
      },
      { role: "assistant", content: adaptvis.text },
    ] as const;
    const settings = { factor: 2 };
    const expected = [
      await session.ask([...start, { role: "user", content: "What is in the picture?" }], { maxNewTokens: 12 }).answer,
      await session.ask(
        {
          role: "user",
          content: [
            { type: "image", image: other },
            { type: "text", text: "Where is the gift?" },
          ],
        },
        { maxNewTokens: 12, method: "scaling", ...settings },
      ).answer,
    ];
    const events: MethodEvent[] = [];
    const first = await engine.chat(followUp("What is in the picture?"), (event) => events.push(event));
    expect(idsOf(first.tokens)).toEqual(idsOf(expected[0]?.tokens ?? []));
    expect(first.promptTokens).toBe(expected[0]?.promptTokens);
    expect(first.reusedTokens).toBeGreaterThanOrEqual(promptTokens - 1);
    expect(first.reusedTokens).toBeLessThan(first.promptTokens);
    const streamed = events.map((event) => (event.kind === "token" ? event.text : "")).join("");
    expect(streamed.trim()).toBe(first.text);
    const scaled = { name: "scaling", settings };
    const asked = { image: other, method: scaled, numKept: 1 };
    const second = await engine.chat(followUp("Where is the gift?", asked), ignore);
    expect(idsOf(second.tokens)).toEqual(idsOf(expected[1]?.tokens ?? []));
    expect(second.factor).toBe(2);
    expect(second.reusedTokens).toBeGreaterThanOrEqual(first.promptTokens - 1);
    expect(second.pictures.map(({ width }) => width)).toEqual([request.image.width, other.width]);

    // Each word's map is of its own turn, over both pictures.
    const { words, pictures } = await engine.words(1, 2);
    expect(words.map(({ word }) => word).join(" ")).toBe(second.text.split(/\s+/).join(" "));
    expect(pictures).toHaveLength(2);
    const total = (index: number) => pictures[index]?.tokens[0]?.shares.reduce((sum, share) => sum + share, 0);
    expect(total(0)).toBeGreaterThan(0);
    expect(total(1)).not.toBe(total(0));
  });

  test("begins anew, drops later turns, survives a stop and a lost device", async () => {
    await engine.ask(request, ignore);
    expect(await failure(engine.chat(followUp("And now?", { numKept: 1 }), ignore))).toMatchObject({ kind: "input" });
    const before = await engine.chat(followUp("What is in the picture?"), ignore);
    const stopped = engine.chat(followUp("What else?", { numKept: 1 }), () => void engine.stop());
    expect(await failure(stopped)).toMatchObject({ kind: "stopped" });
    // The turn that was stopped is not part of the conversation.
    expect(await failure(engine.words(1, 2))).toMatchObject({ kind: "input" });
    const recovered = new Promise<void>((resolve) => {
      void engine.watch(({ kind }) => kind === "recovered" && resolve());
    });
    const next = followUp("Where is the ball?", { numKept: 1 });
    const undisturbed = await engine.chat(next, ignore);
    host.device.destroy();
    await recovered;
    const again = await engine.chat(next, ignore);
    expect(again.tokens).toEqual(undisturbed.tokens);
    const anew = await engine.chat(followUp("What is in the picture?"), ignore);
    expect(idsOf(anew.tokens)).toEqual(idsOf(before.tokens));
    await engine.ask({ ...request, image: undefined }, ignore);
    expect(await failure(engine.words(0, 2))).toMatchObject({ kind: "input" });
    expect((await engine.words("greedy", 2)).pictures).toEqual([]);
  });
});

describe("the last question", () => {
  beforeAll(() => engine.ask(request, ignore));

  test.each([
    { name: "constant-add", settings: { heads: [0, 3] } },
    { name: "adaptvis", settings: SETTINGS },
  ])("is answered by $name as the library does", async (method) => {
    const answer = await engine.answerBy(method, ignore);
    const expected = await model.ask({
      image: request.image,
      question: QUESTION,
      maxNewTokens: 8,
      method: method.name as "greedy", // a name of the registry
      settings: method.settings,
      topLogProbs: 20,
      attention: true,
    });
    expect(idsOf(answer.tokens)).toEqual(idsOf(expected.tokens));
    expect(answer.settings).toEqual(expected.settings);
    expect(answer.tokens[0]?.alternatives).toHaveLength(20);
    expect(answer.tokens[0]?.probability).toBeCloseTo(Math.exp(expected.tokens[0]?.logProb ?? Number.NaN), 4);
    expect(answer.attention?.shares[9]).toBeCloseTo(expected.attention?.used({ layer: 2, head: 1 }).share ?? 0, 4);
  });

  test("refuses settings in the library's words", async () => {
    const by = (name: string, settings: Record<string, unknown>) =>
      failure(engine.answerBy({ name, settings }, ignore));
    expect(await by("scaling", { factor: "much" })).toEqual({
      kind: "input",
      message: 'factor must be a number from 0 to 10000, got "much".',
    });
    expect((await by("scaling", { alpha1: 1 })).message).toContain("alpha1 is not a setting of method scaling");
    expect((await by("scalar", {})).message).toContain("method must be one of greedy, scaling");
  });

  test("is answered without a part of the picture as the library's knock-out of the same columns does", async () => {
    const cells = [9, 10, 17, 18]; // of a picture of 8 × 8 patches: columns 1 and 2 of rows 1 and 2
    const settings = { rows: "last" } as const;
    const { answer, patches } = await engine.cut({ name: "knock-out", settings }, cells, ignore);
    const side = request.image.width / 8;
    const box = [side, side, 3 * side, 3 * side] as const;
    const asked = { image: request.image, question: QUESTION, maxNewTokens: 8, topLogProbs: 20 };
    const [start] = (await model.ask(asked)).imageSpan;
    const expected = await model.ask({ ...asked, method: "knock-out", ...settings, box });
    const byColumn = await model.ask({
      ...asked,
      method: "knock-out",
      ...settings,
      columns: patches.map((p) => start + p),
    });
    expect(idsOf(answer.tokens)).toEqual(idsOf(expected.tokens));
    expect(answer.tokens[0]?.probability).toBeCloseTo(Math.exp(expected.tokens[0]?.logProb ?? Number.NaN), 4);
    expect(byColumn.tokens[0]?.logProb).toBeCloseTo(expected.tokens[0]?.logProb ?? Number.NaN, 5);
    const plain = await engine.answerBy(greedy, ignore);
    expect(answer.tokens[0]?.probability).not.toBeCloseTo(plain.tokens[0]?.probability ?? 0, 4);
    expect(await failure(engine.cut({ name: "knock-out", settings }, [], ignore))).toMatchObject({ kind: "input" });
  });

  test("shows for each word where it looked, as the library does, and another place per word", async () => {
    const { greedy: asked } = await engine.ask({ ...request, question: "What is in the picture?" }, ignore);
    const { words, layer, pictures } = await engine.words("greedy", 1);
    const inputs = model.prepare({ image: request.image, question: "What is in the picture?" });
    const expected = await tokenAttention(model, inputs, { mapLayers: [1], maxNewTokens: 8 });
    expect(layer).toBe(1);
    expect(words.map(({ word }) => word).join(" ")).toBe(asked.text);
    expect(words.length).toBeGreaterThan(2);
    const { tokens = [] } = pictures[0] ?? {};
    for (const word of words) {
      for (const token of word.tokens) {
        const map = expected.map([token], { head: 3 });
        const view = tokens[token];
        expect(view?.shares[3]).toBeCloseTo(map.share, 4);
        view?.values.subarray(3 * 64, 4 * 64).forEach((value, cell) => {
          expect(value).toBeCloseTo(map.values[cell] ?? Number.NaN, 4);
        });
      }
    }
    const first = tokens[words[0]?.tokens[0] ?? 0]?.values;
    const last = tokens[words.at(-1)?.tokens[0] ?? 0]?.values;
    expect(last).not.toEqual(first);
    expect(await failure(engine.words("greedy", 4))).toMatchObject({ kind: "input" });
  });

  test("shows through the lens what the library shows of that position", async () => {
    await engine.ask(request, ignore);
    const { position, rows } = await engine.lens(20);
    const inputs = model.prepare({ image: request.image, question: QUESTION });
    expect(position).toBe((inputs.images[0]?.runs[0]?.[0] ?? Number.NaN) + 20);
    const expected = await logitLens(model, inputs, { positions: [position] });
    expect(rows.map(({ layer }) => layer)).toEqual([-1, 0, 1, 2, 3]);
    expect(rows.map(({ tokens }) => idsOf(tokens))).toEqual(expected.rows.map(({ tokens }) => idsOf(tokens)));
    expect(rows[4]?.tokens[0]?.probability).toBeCloseTo(expected.rows[4]?.tokens[0]?.probability ?? Number.NaN, 4);
    expect(await failure(engine.lens(64))).toMatchObject({ kind: "input" });
  });
});
