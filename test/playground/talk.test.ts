// What the playground's engine does after the two answers: that a conversation computes only what is new, what ends or breaks it, and
// what is refused. That its answers, words and patches are the library's, test/e2e/talk.test.ts tests in the page.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PlaygroundEngine } from "../../src/app/engine/engine.ts";
import { failureOf } from "../../src/app/engine/failure.ts";
import type { AskRequest, ChatRequest, MethodEvent } from "../../src/app/protocol.ts";
import { decodeImage } from "../../src/preprocess/decode-image.node.ts";
import { repositoryRoot } from "../setup/bundle.ts";
import { TestHost, tinySpatial } from "./host.ts";

const DEMO = join(repositoryRoot, "weights", "tiny-spatial", "demo");
const QUESTION = "Where is the ball in relation to the robot? Answer with left, right, front or behind.";
const greedy = { name: "greedy", settings: {} } as const;
const ignore = () => undefined;

const host = new TestHost();
const engine = new PlaygroundEngine(host);
let request: AskRequest & { readonly image: NonNullable<AskRequest["image"]> };

const picture = async (name: string) => decodeImage(await readFile(join(DEMO, name)));

beforeAll(async () => {
  const settings = { alpha1: 0.5, alpha2: 1.2, beta: 0.6 };
  request = { image: await picture("ball_behind_robot.png"), question: QUESTION, settings, maxNewTokens: 8 };
  await engine.load(await tinySpatial(), ignore);
});

afterAll(() => {
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

test("before a question there is nothing to go on from", async () => {
  expect(await failure(engine.chat(followUp("And now?"), ignore))).toMatchObject({ kind: "input" });
  expect(await failure(engine.words("greedy", 1))).toMatchObject({ kind: "input" });
  expect(await failure(engine.lens(1))).toMatchObject({ kind: "input" });
});

test("a follow-up computes what is new alone, streams, and shows words over every picture of its turn", async () => {
  const { promptTokens } = await engine.ask(request, ignore);
  host.labels = [];
  const events: MethodEvent[] = [];
  const first = await engine.chat(followUp("What is in the picture?"), (event) => events.push(event));
  expect(host.labels).not.toContain("vision");
  expect(first.reusedTokens).toBeGreaterThanOrEqual(promptTokens - 1);
  expect(first.reusedTokens).toBeLessThan(first.promptTokens);
  const streamed = events.map((event) => (event.kind === "token" ? event.text : "")).join("");
  expect(streamed.trim()).toBe(first.text);

  const other = await picture("gift_behind_guitar.png");
  host.labels = [];
  const second = await engine.chat(followUp("Where is the gift?", { image: other, numKept: 1 }), ignore);
  expect(host.labels.filter((label) => label === "vision")).toHaveLength(1); // the new picture's
  expect(second.reusedTokens).toBeGreaterThanOrEqual(first.promptTokens - 1);
  expect(second.pictures.map(({ width }) => width)).toEqual([request.image.width, other.width]);
  const { words, pictures } = await engine.words(1, 2);
  expect(words.map(({ word }) => word).join(" ")).toBe(second.text.split(/\s+/).join(" "));
  const totals = pictures.map(({ tokens }) => tokens[0]?.shares.reduce((sum, share) => sum + share, 0));
  expect(totals).toHaveLength(2);
  expect(totals[0]).toBeGreaterThan(0);
  expect(totals[1]).not.toBe(totals[0]);
});

test("a setting is refused in the library's words", async () => {
  const by = (name: string, settings: Record<string, unknown>) => failure(engine.answerBy({ name, settings }, ignore));
  expect(await by("scaling", { factor: "much" })).toEqual({
    kind: "input",
    message: 'factor must be a number from 0 to 10000, got "much".',
  });
  expect((await by("scaling", { alpha1: 1 })).message).toContain("alpha1 is not a setting of method scaling");
  expect((await by("scalar", {})).message).toContain("method must be one of greedy, scaling");
  expect(await failure(engine.cut({ name: "knock-out", settings: {} }, [], ignore))).toMatchObject({ kind: "input" });
  expect(await failure(engine.words("greedy", 4))).toMatchObject({ kind: "input" });
  expect(await failure(engine.lens(64))).toMatchObject({ kind: "input" });
});

test("a conversation begins anew, loses a turn that was stopped, and goes on after a lost device", async () => {
  await engine.ask(request, ignore);
  expect(await failure(engine.chat(followUp("And now?", { numKept: 1 }), ignore))).toMatchObject({ kind: "input" });
  const before = await engine.chat(followUp("What is in the picture?"), ignore);
  const stopped = engine.chat(followUp("What else?", { numKept: 1 }), () => void engine.stop());
  expect(await failure(stopped)).toMatchObject({ kind: "stopped" });
  expect(await failure(engine.words(1, 2))).toMatchObject({ kind: "input" });
  const next = followUp("Where is the ball?", { numKept: 1 });
  const undisturbed = await engine.chat(next, ignore);

  const recovered = new Promise<void>((resolve) => {
    void engine.watch(({ kind }) => kind === "recovered" && resolve());
  });
  host.device.destroy();
  await recovered;
  const again = await engine.chat(next, ignore);
  expect([again.text, again.promptTokens, again.reusedTokens]).toEqual([undisturbed.text, undisturbed.promptTokens, 0]);
  expect((await engine.chat(followUp("What is in the picture?"), ignore)).text).toBe(before.text);

  await engine.ask({ ...request, image: undefined }, ignore);
  expect(await failure(engine.words(0, 2))).toMatchObject({ kind: "input" });
  expect((await engine.words("greedy", 2)).pictures).toEqual([]);
});
