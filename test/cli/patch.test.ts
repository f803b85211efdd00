// `adaptvis patch` on the embedded checkpoint: what its grids say, its page, and what it refuses.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { adaptvis, jsonOf, newFolder, ownLines, removeFolders, tinySpatial } from "./command.ts";

const folder = join(tinySpatial, "benchmark", "test", "controlled_clevr");
const behind = join(folder, "apple_behind_dog.jpeg");
const left = join(folder, "apple_left_of_dog.jpeg");
const question = "Where is the apple in relation to the dog? Answer with left, right, front or behind.";
const tokens = ["--token", "Behind", "--against", "Left"];

afterAll(removeFolders);

test("hidden states of the last position: the answer comes back in the layers behind which the question is answered", async () => {
  const html = join(await newFolder(), "grid.html");
  const args = ["--image", behind, "--corrupt-image", left, question, ...tokens, "--html", html, "--json"];
  const report = jsonOf(await adaptvis("patch", ...args));
  const answer = (text: string) => ({ id: expect.any(Number), text: JSON.stringify(` ${text}`) });
  expect(report).toMatchObject({
    question,
    corrupt: { image: [left], question: null, prompt: null },
    at: "hidden",
    measure: "logit-difference",
    token: answer("Behind"),
    against: answer("Left"),
    clean: { value: expect.any(Number), answer: answer("Behind") },
    corrupted: { value: expect.any(Number), answer: answer("Left") },
    layers: [0, 1, 2, 3],
    positions: [{ label: '90 ":"', positions: [90], picture: null }],
    heads: null,
    joint: false,
  });
  const { recovered, answers } = report as { recovered: number[][]; answers: unknown[][] };
  expect(recovered.map(([value]) => Number(value).toFixed(1))).toEqual(["0.0", "0.0", "0.8", "1.0"]);
  expect(answers.at(-1)).toEqual([answer("Behind")]);
  const page = await readFile(html, "utf8");
  expect(page).toContain("default-src 'none'"); // nothing is fetched
  expect(page).toMatch(/<svg [^>]*aria-label="recovered part of the logit difference: a heat map of 4 × 1 cells/);
  expect(page).toContain("logit of &quot; Behind&quot; minus logit of &quot; Left&quot;");
});

test("ablate and knock-out print a table, the largest change and the answers", async () => {
  const ablated = await adaptvis("patch", "ablate", "--image", behind, question, ...tokens, "--layers", "2,3");
  expect(ablated.stdout.split("\n").slice(0, 8)).toEqual([
    'measure: logit of " Behind" minus logit of " Left"',
    expect.stringMatching(/^unchanged: \d+\.\d{3}, answer " Behind"$/),
    "change of the logit difference when a head's output is 0:",
    "",
    'position 90 ":"',
    "         head 0  head 1  head 2  head 3",
    expect.stringMatching(/^layer 2( +-?\d\.\d{3}){4}$/),
    expect.stringMatching(/^layer 3( +-?\d\.\d{3}){4}$/),
  ]);
  expect(ablated.stdout).toMatch(/\nLargest change: -\d\.\d{3} at layer 2, head 0\.\nAnswers?: " Behind" in /);
  const cut = ["--rows", "after-image", "--window", "2", "--layers", "0", "--columns", "image"];
  const knocked = await adaptvis("patch", "knock-out", "--image", behind, question, "--token", "Behind", ...cut);
  expect(knocked.stdout).toMatch(/^rows cut: 26 from 65 to 90$/m);
  expect(knocked.stdout).toMatch(
    /attention to a position is cut in 2 layers around a layer:\n\n {9}picture\nlayer 0 {2}-?\d\.\d{3}\n/,
  );
});

describe("refuses with exit code 2", () => {
  const asked = ["--image", "none.png", "where?", ...tokens];
  test.each<[string, readonly string[], RegExp]>([
    [
      "one run only",
      asked,
      /The corrupted run is missing: give --corrupt-image, --corrupt-question or --corrupt-prompt\.$/,
    ],
    [
      "two pictures for one",
      [...asked, "--corrupt-image", "a.png", "--corrupt-image", "b.png"],
      /as often as --image, 1 time, got 2/,
    ],
    [
      "an unknown place",
      [...asked, "--at", "query"],
      /'query' is invalid\. Allowed choices are hidden, attention, mlp, head/,
    ],
    [
      "positions that are none",
      [...asked, "--positions", "first"],
      /'first' is invalid.*last, image, after-image, all, or positions/,
    ],
    [
      "pictures for a mean that is not taken",
      ["ablate", ...asked, "--mean-image", "a.png"],
      /--mean-image needs --mode mean/,
    ],
    [
      "a corrupted question of another length",
      ["--image", behind, question, ...tokens, "--corrupt-question", "Where?"],
      /The clean prompt has 91 positions, the corrupted one \d+: patching needs prompts of equal length/,
    ],
  ])("%s", async (_, args, message) => {
    const { stdout, stderr, ending } = await adaptvis("patch", ...args);
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 2 });
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
  });
});
