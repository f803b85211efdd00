// `adaptvis chat` on the embedded checkpoint, with lines from a pipe and with Ctrl-C in the middle.
import { spawn } from "node:child_process";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, describe, expect, test } from "vitest";
import { adapterOfEnvironment } from "../setup/device.ts";
import { GOLDEN } from "../setup/golden.ts";
import { adaptvisWith, jsonOf, modelCopy, newFolder, ownLines, removeFolders, root, tinySpatial } from "./command.ts";

interface ChatGolden {
  readonly turns: readonly {
    readonly images: readonly string[];
    readonly text: string;
    readonly promptIds: readonly number[];
    readonly generated: readonly number[];
    readonly answer: string;
  }[];
}

const golden: ChatGolden = JSON.parse(await readFile(join(GOLDEN, "multi-picture", "chat.json"), "utf8"));
const mug = join(tinySpatial, "demo", "mug_left_of_dog.jpeg");
const ball = join(tinySpatial, "demo", "ball_behind_robot.png");
const [first] = golden.turns;

afterAll(removeFolders);

test("five turns with two pictures have transformers' ids; methods, blocks, heat maps, files, and what is wrong", async () => {
  const folder = await newFolder();
  const broken = join(folder, "broken.png");
  await writeFile(broken, "no picture");
  const [map, five] = [join(folder, "left.png"), join(folder, "five.json")];
  const [json, markdown] = [join(folder, "c.json"), join(folder, "c d.md")];
  const question = first?.text ?? "";
  const { stdout, stderr, ending } = await adaptvisWith(
    [
      "/again",
      ...golden.turns.flatMap(({ images, text }, turn) => [
        ...(turn === 0 ? [] : images.map((file) => `/image ${join(tinySpatial, file)}`)),
        text,
      ]),
      `/save ${five}`,
      "/clear",
      `/image ${mug}`,
      `/image ${join(folder, "none.png")}`,
      `/image ${broken}`,
      "/system Be brief.",
      question,
      "/method scaling:factor=1.5",
      "/again",
      `/heatmap left ${map}`,
      "/heatmap purple",
      "/methd greedy",
      "/method magic",
      "/method adaptvis:alpha1=x",
      `/save ${mug}`,
      '"""Where is the dog',
      'in relation to the mug?"""',
      `/image "${ball}"`,
      "and \\",
      "the ball?",
      `/save ${json}`,
      `/save "${markdown}"`,
      "mug ".repeat(1200),
      "/history",
      "/clear",
      `/heatmap left ${map}`,
      "mug ".repeat(1200),
      "/quit",
      "never asked",
    ],
    "chat",
    "--image",
    mug,
  );
  expect(ending).toBe(0);
  expect(ownLines(stderr)).toEqual([
    "adaptvis: There is no question yet that could be asked again.",
    `adaptvis: The picture ${join(folder, "none.png")} cannot be read: there is no such file.`,
    expect.stringMatching(/broken\.png is not a picture/),
    expect.stringMatching(/no place for a system message/),
    'adaptvis: No answer of this conversation has the word "purple": give one that it has.',
    "adaptvis: /methd is not a command: did you mean /method?",
    expect.stringMatching(/method must be one of greedy, .*got "magic"/),
    expect.stringMatching(/alpha1: expected a number/),
    expect.stringMatching(/^adaptvis: \/save .* would overwrite an input file/),
    expect.stringMatching(
      /^adaptvis: The prompt has \d+ tokens \(\d+ of text, 128 of 2 pictures\), but the model's context has 1024: \/clear begins a new conversation\.$/,
    ),
    "adaptvis: There is no answer yet whose words could be mapped.",
    expect.stringMatching(/but the model's context has 1024: shorten the text\.$/),
  ]);
  checkFive(JSON.parse(await readFile(five, "utf8")));
  expect(stderr).toMatch(
    /^91 of 91 prompt tokens new, \d+\.\d s to the first token, 2 tokens, [\d.]+ tokens\/s, confidence \d\.\d\d$/m,
  );
  expect(stderr).toMatch(/^1 of 91 prompt tokens new, .*, factor 1\.5$/m);
  expect(stderr).toMatch(/left\.png: “left” of answer 1, [\d.]+ % of its attention on the picture$/m);
  expect(stdout.split("\n").slice(0, 7)).toEqual([...golden.turns.map(({ answer }) => answer), "Left", "Left"]);
  expect(stdout).toContain(
    `1. [${mug}] ${question}\n   Greedy, confidence 1: Left\n   ScalingVis, confidence 1, factor 1.5: Left`,
  );
  expect(stdout).not.toContain("never asked");
  // Two panels of 336, a gap of 16 and two margins of 24.
  expect(await sharp(map).metadata()).toMatchObject({ format: "png", width: 2 * 336 + 16 + 2 * 24 });

  const saved = JSON.parse(await readFile(json, "utf8"));
  expect(saved.turns).toHaveLength(8); // those before /clear, too
  expect({ ...saved, turns: saved.turns.slice(5) }).toMatchObject({
    system: null,
    messages: [
      {
        role: "user",
        content: [
          { type: "image", file: mug },
          { type: "text", text: question },
        ],
      },
      { role: "assistant", content: [{ type: "text", text: "Left" }] },
      { role: "user", content: [{ type: "text", text: "Where is the dog\nin relation to the mug?" }] },
      { role: "assistant" },
      {
        role: "user",
        content: [
          { type: "image", file: ball },
          { type: "text", text: "and \nthe ball?" },
        ],
      },
      { role: "assistant" },
    ],
    turns: [
      { answers: [{ method: "greedy" }, { method: "scaling", factor: 1.5, confidence: expect.any(Number) }] },
      { answers: [{ method: "scaling", tokens: expect.any(Array) }] },
      { images: [ball] },
    ],
    heatMaps: [{ word: "left", file: map, turn: 0, picture: 0, layer: 2 }],
    model: tinySpatial,
  });
  const text = await readFile(markdown, "utf8");
  expect(text).toContain(`![mug_left_of_dog.jpeg](<${mug}>)\n\n> ${question}\n\n**Greedy, confidence 1**\n\n> Left\n`);
});

/** Turns against transformers' ids; each runs only what is new. */
function checkFive({ turns, messages }: Record<string, unknown>): void {
  expect(messages).toHaveLength(10);
  let numHeld = 0;
  const expected = golden.turns.map(({ images, text, promptIds, generated, answer }) => {
    const newTokens = promptIds.length - numHeld;
    numHeld = promptIds.length + generated.length - 1; // the last token is chosen, but not run
    const tokens = generated.map((id) => expect.objectContaining({ id }));
    const facts = { answer, method: "greedy", promptTokens: promptIds.length, newTokens, tokens };
    return {
      conversation: 0,
      question: text,
      images: images.map((file) => join(tinySpatial, file)),
      answers: [expect.objectContaining(facts)],
    };
  });
  expect(turns).toEqual(expected);
}

test("Ctrl-C ends an answer, and the next line is answered; at the prompt, the second one ends the program", async () => {
  const args = ["chat", "--ignore-eos", "--max-new-tokens", "900"];
  const child = spawn(process.execPath, [join(root, "dist", "cli.js"), "--adapter", adapterOfEnvironment(), ...args], {
    env: { ...process.env, NO_COLOR: "1" },
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const closed = new Promise((resolve) => child.on("close", resolve));
  const numInterrupted = () => stderr.match(/, interrupted$/gm)?.length;
  for (const [index, question] of [first?.text, "And the dog?"].entries()) {
    const before = stdout.length;
    child.stdin.write(`${question}\n`);
    await expect.poll(() => stdout.length, { interval: 5 }).toBeGreaterThan(before);
    child.kill("SIGINT");
    await expect.poll(numInterrupted, { interval: 5 }).toBe(index + 1);
  }
  child.kill("SIGINT");
  await expect.poll(() => stderr, { interval: 5 }).toMatch(/Ctrl-C once more, or Ctrl-D, ends the program\./);
  child.kill("SIGINT");
  expect(await closed).toBe(130);
  expect(ownLines(stderr)).toEqual(["adaptvis: stopped."]);
});

describe("a checkpoint without a chat template", () => {
  test("has that of its repository, with a line on stderr", async () => {
    const model = await modelCopy();
    const known = join(model, "..", "llava-1.5-7b-hf");
    await rename(model, known);
    await rm(join(known, "chat_template.jinja"));
    const chat = await adaptvisWith(["where?"], "chat", "--model", known, "--json", "--system", "Be brief.");
    expect(jsonOf(chat)).toMatchObject({
      chatTemplate: "llava-1.5",
      system: "Be brief.",
      turns: [{ question: "where?", images: [], answers: [{ finishReason: expect.any(String) }] }],
      problems: [],
    });
    expect(ownLines(chat.stderr)).toEqual([
      "adaptvis: llava-1.5-7b-hf has no chat template: using llava-1.5, as llava-1.5-7b-hf does (--chat-template chooses another)",
    ]);
  });

  test.each([
    [
      "a name that is none",
      "vicunna",
      2,
      /--chat-template vicunna is neither a built-in template \(llava-1\.5, .*\) nor a file/,
    ],
    ["a file that is not a template", "{% for %}", 1, /--chat-template: .* is not a Jinja template/],
    ["a template without the question", "nothing", 1, /--chat-template: .* has no place for <image> and the question/],
  ])("%s is refused before the model is loaded", async (_, content, code, message) => {
    const file = join(await newFolder(), "x.jinja");
    await writeFile(file, content);
    const { stderr, ending } = await adaptvisWith([], "chat", "--chat-template", code === 2 ? content : file);
    expect(ending).toBe(code);
    expect(stderr).toMatch(message);
    expect(stderr).not.toContain("running on");
  });
});
