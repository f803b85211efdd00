// What the page says of its answers: which one is right by how the scene is built, the sentence about both, times, and whom it tells
// what to do.
import { expect, test } from "vitest";
import { browserKind } from "../../src/app/draw/browser-kind.ts";
import { verdictOf } from "../../src/app/draw/verdict-words.ts";
import { timeInWords } from "../../src/app/draw/words.ts";
import type { AnswerView } from "../../src/app/protocol.ts";
import { DEFAULT_SCENE, type ObjectName, OPENING_OBJECTS, type Scene } from "../../src/app/scene/scene.ts";
import { rightAnswer } from "../../src/app/scene/truth.ts";

const DEPTH = "Where is the A in relation to the B? Answer with left, right, front or behind.";
const SIDE = "Where is the A in relation to the B? Answer with left, right, on or under.";
const PLACE = "Where is the A in the photo? Answer with left, right, top or bottom.";

function about(text: string, first: string, second = ""): string {
  return text.replace("A in", `${first} in`).replace("B?", `${second}?`);
}

function sceneOf(...objects: readonly (readonly [name: ObjectName, x: number, y: number, size: number])[]): Scene {
  return {
    background: "plain",
    objects: objects.map(([name, x, y, size]) => ({ name, x, y, size, flipped: false })),
  };
}

test("the right answer is read off the scene, and the inverse for the other object", () => {
  const [first = "", second = ""] = OPENING_OBJECTS;
  expect(rightAnswer(DEFAULT_SCENE, about(SIDE, first, second))).toBe("right");
  expect(rightAnswer(DEFAULT_SCENE, about(SIDE, second, first))).toBe("left");
  const behind = sceneOf(["plant", 0.223, 0.353, 0.377], ["dog", 0.343, 0.427, 0.405]);
  expect(rightAnswer(behind, about(DEPTH, "plant", "dog"))).toBe("behind");
  expect(rightAnswer(behind, about(DEPTH, "dog", "plant"))).toBe("front");
  const beside = sceneOf(["mug", 0.25, 0.6, 0.3], ["dog", 0.72, 0.6, 0.36]);
  expect(rightAnswer(beside, about(SIDE, "mug", "dog"))).toBe("left");
  expect(rightAnswer(beside, about(DEPTH, "dog", "mug"))).toBe("right");
  // The drum's top is at 0.502, and the foot of the ball, 0.295 high, a hundredth below it.
  const stacked = sceneOf(["drum", 0.5, 0.7, 0.4], ["ball", 0.52, 0.364, 0.3]);
  expect(rightAnswer(stacked, about(SIDE, "ball", "drum"))).toBe("on");
  expect(rightAnswer(stacked, about(SIDE, "drum", "ball"))).toBe("under");
  const alone = sceneOf(["clock", 0.5, 0.2, 0.3]);
  expect(rightAnswer(alone, about(PLACE, "clock"))).toBe("top");
});

test.each([
  ["two objects of the name", sceneOf(["mug", 0.2, 0.5, 0.2], ["mug", 0.5, 0.5, 0.2], ["dog", 0.8, 0.5, 0.2]), SIDE],
  ["one that is not there", sceneOf(["mug", 0.2, 0.5, 0.2]), SIDE],
  ["one above the other, not touching", sceneOf(["mug", 0.5, 0.2, 0.2], ["dog", 0.5, 0.8, 0.2]), SIDE],
  ["a diagonal", sceneOf(["mug", 0.2, 0.2, 0.2], ["dog", 0.8, 0.8, 0.2]), SIDE],
  ["no overlap to tell the depth by", sceneOf(["mug", 0.5, 0.2, 0.2], ["dog", 0.5, 0.8, 0.2]), DEPTH],
  ["the foot of the one behind lower", sceneOf(["mug", 0.5, 0.6, 0.3], ["dog", 0.55, 0.5, 0.3]), DEPTH],
  ["the middle of the picture", sceneOf(["mug", 0.5, 0.5, 0.3]), PLACE],
  ["a question of no form", sceneOf(["mug", 0.2, 0.5, 0.2], ["dog", 0.8, 0.5, 0.2]), "Where is the A, dear?"],
])("%s leaves the right answer open", (_, scene, question) => {
  expect(rightAnswer(scene, about(question, "mug", "dog"))).toBeUndefined();
});

function answers(greedy: string, adaptvis: string, factor: number) {
  const view = (text: string, used: number) => ({ text, factor: used }) as AnswerView; // all that the sentence reads
  return { greedy: view(greedy, 1), adaptvis: view(adaptvis, factor) };
}

test.each([
  [
    answers("Left", "Behind", 0.5),
    "behind",
    "Greedy says “Left”; with AdaptVis the model looks wider (factor 0.5) and says “Behind”, which is correct.",
  ],
  [
    answers("Left", "Right", 1.2),
    "left",
    "Greedy says “Left”, which is correct; with AdaptVis the model looks more narrowly (factor 1.2) and says “Right”.",
  ],
  [
    answers("Left", "Right", 0.5),
    "front",
    "Greedy says “Left”; with AdaptVis the model looks wider (factor 0.5) and says “Right”; the right answer is “Front”.",
  ],
  [
    answers("Left", "Right", 0.5),
    undefined,
    "Greedy says “Left”; with AdaptVis the model looks wider (factor 0.5) and says “Right”.",
  ],
  [
    answers("Left", "Left", 1.2),
    "left",
    "Both say “Left”, which is correct: with AdaptVis the model looks more narrowly (factor 1.2), and the answer stays.",
  ],
  [
    answers("Left", "Left", 1),
    "on",
    "Both say “Left”: with AdaptVis the model looks as before (factor 1), and the answer stays; the right answer is “On”.",
  ],
  [
    answers("A mug and a dog on a wooden floor before a wall", "A mug", 0.5),
    undefined,
    "The two answers differ: with AdaptVis the model looks wider (factor 0.5).",
  ],
])("the sentence about %j", (view, right, sentence) => {
  expect(verdictOf(view, right)).toBe(sentence);
});

test("a time says what it includes, and a recorded answer has none", () => {
  expect(timeInWords({ kind: "greedy", elapsedMs: 1500 })).toBe(" · 1.50\u00a0s with reading");
  expect(timeInWords({ kind: "adaptvis", elapsedMs: 20 })).toBe(" · 20.0\u00a0ms more, after greedy’s reading");
  expect(timeInWords({ kind: "greedy", elapsedMs: Number.NaN })).toBe("");
});

test.each([
  [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "chromium-linux",
  ],
  [
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36",
    "chromium",
  ],
  [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "chromium",
  ],
  ["Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "firefox"],
  [
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
    "safari",
  ],
  [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Mobile/15E148 Safari/604.1",
    "safari",
  ],
  ["Lynx/2.9.0", undefined],
])("%s is told what helps there", (userAgent, kind) => {
  expect(browserKind(userAgent)).toBe(kind);
});
