// `adaptvis patch` on the embedded checkpoint: what its grids say, its page, and what it refuses.
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { largestError } from "../setup/golden.ts";
import { adaptvis, jsonOf, newFolder, ownLines, removeFolders, root, tinySpatial } from "./command.ts";

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

test.each(guideCommands())("the guide's command prints what the guide shows: %s", async (_, args, shown) => {
  const out = join(await newFolder(), "heads.png");
  const { stdout, ending } = await adaptvis(...args.map((arg) => (arg === "heads.png" ? out : arg)));
  expect(ending).toBe(0);
  if (args.includes("heads.png")) expect((await readFile(out)).subarray(1, 4).toString()).toBe("PNG");
  // Other adapters sum in another order.
  const isNumber = /-?\d+\.\d{3}/g;
  expect(stdout.trimEnd().replace(/ +/g, " ").replace(isNumber, "#")).toBe(
    shown.replace(/ +/g, " ").replace(isNumber, "#"),
  );
  const numbersOf = (text: string) => Array.from(text.matchAll(isNumber), Number);
  expect(largestError(numbersOf(stdout), numbersOf(shown))).toBeLessThan(0.01);
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
  ])("%s", async (_, args, message) => {
    const { stdout, stderr, ending } = await adaptvis("patch", ...args);
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 2 });
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
  });
});

/** The commands of the guide's section on causal experiments, with what the guide shows of each. */
function guideCommands(): (readonly [name: string, args: readonly string[], shown: string])[] {
  const guide = readFileSync(join(root, "tools", "docs", "guide", "causal.md"), "utf8");
  const blocks = guide.matchAll(/```sh\nnpm run -s adaptvis -- ([^\n]*)\n```\n\n```\n(.*?)\n```/gs);
  const commands = Array.from(blocks, ([, line = "", shown = ""]) => {
    const args = Array.from(line.matchAll(/"([^"]*)"|(\S+)/g), ([, quoted, word]) => quoted ?? word ?? "");
    const name = args.filter((arg) => !arg.includes("/") && !arg.includes(" ")).join(" ");
    return [name, args, shown] as const;
  });
  if (commands.length !== 5) throw new Error(`expected 5 commands in the guide, found ${commands.length}`);
  return commands;
}
