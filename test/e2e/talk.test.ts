// What can be found out after the first answer: follow-ups, words, compared methods, and patches. Each is what the library gives in Node.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import type { AnswerJson } from "../../src/answer.ts";
import { wordInWords } from "../../src/app/draw/word-map.ts";
import { visibleToken } from "../../src/app/draw/words.ts";
import { decodeImage, type RgbImage } from "../../src/index.node.ts";
import { wordsOf } from "../../src/inspect/answer-words.ts";
import { INTERVENTIONS } from "../../src/interventions/registry.ts";
import { logitLens } from "../../src/lens.ts";
import type { Llava } from "../../src/llava.ts";
import { tokenAttention } from "../../src/token-attention.ts";
import { seriousFindings } from "./accessibility.ts";
import { PICTURES, SETTINGS } from "./fixtures.ts";
import { layoutFaults } from "./layout.ts";
import { openNodeModel } from "./node-model.ts";
import { openPages } from "./open-pages.ts";
import { type Playground, viewports, waitUntil } from "./playground.ts";

const { openLoaded } = openPages();
const QUESTION = "What is in the picture?";
const FIRST = join(PICTURES, "demo", "ball_behind_robot.png");
const SECOND = join(PICTURES, "demo", "gift_behind_guitar.png");
const WIDTH = 12; // patches

let model: Llava;
let pictures: readonly [RgbImage, RgbImage];
let playground: Playground;

beforeAll(async () => {
  model = await openNodeModel();
  pictures = [await decodeImage(await readFile(FIRST)), await decodeImage(await readFile(SECOND))];
});

/** The question about the first picture, asked once for all tests unless something else was asked meanwhile. */
beforeEach(async () => {
  playground = await openLoaded();
  const { page } = playground;
  await playground.goTo(new URLSearchParams({ q: QUESTION }).toString());
  await choosePicture(FIRST);
  const shown = page.locator("#answers .asked");
  const isAsked = (await page.locator("#compare").count()) > 0 && (await shown.innerText()) === QUESTION;
  if (!isAsked) await playground.askAndWait();
  await page.locator("#compare").waitFor();
});

/** The page is shared with other files: what stays when it starts over goes back to what it was. */
afterAll(async () => {
  const { page } = playground;
  await page
    .locator("#compare")
    .getByRole("group", { name: "B", exact: true })
    .getByLabel("Method")
    .selectOption("adaptvis");
  await page.getByRole("radio", { name: "Hide a part" }).check();
  await page.locator("#patches").getByRole("button", { name: "Clear" }).click();
  expect(
    await page
      .locator("#patches")
      .getByText(`0 of ${WIDTH ** 2} patches marked`)
      .count(),
  ).toBe(1);
});

test("follow-ups go on with the picture or another one, as the library's session does", async () => {
  const { page } = playground;
  const panel = page.locator("#conversation");
  await panel.getByRole("radio", { name: /^Greedy: / }).check();
  await panel.getByLabel("Your follow-up").fill("Where is the ball?");
  await panel.getByLabel("Your follow-up").press("Enter");
  await panel.locator(".turn .hint").first().waitFor();
  await idle();

  await choosePicture(SECOND);
  await panel.getByRole("checkbox", { name: /^Show it another picture/ }).check();
  await panel.getByLabel("Your follow-up").fill("Where is the gift in relation to the guitar?");
  await panel.getByRole("radio", { name: "B: AdaptVis" }).check();
  await playground.button("Ask this too").click();
  await panel.locator(".turn .hint").nth(1).waitFor();
  await idle();

  using session = model.session();
  const shown = (image: RgbImage, text: string) =>
    ({
      role: "user",
      content: [
        { type: "image", image },
        { type: "text", text },
      ],
    }) as const;
  const options = { maxNewTokens: 24 };
  const expected = [
    await session.ask(shown(pictures[0], QUESTION), options).answer,
    await session.ask("Where is the ball?", options).answer,
    await session.ask(shown(pictures[1], "Where is the gift in relation to the guitar?"), {
      ...options,
      method: "adaptvis",
      ...SETTINGS,
    }).answer,
  ];
  const file = JSON.parse(String(await playground.download("Download the conversation (JSON)"))) as {
    readonly turns: readonly { readonly answer: AnswerJson }[]; // the page's own format
  };
  expect(file.turns.map(({ answer }) => answer.tokens.map(({ id }) => id))).toEqual(
    expected.map(({ tokens }) => tokens.map(({ tokenId }) => tokenId)),
  );
  expect(file.turns.map(({ answer }) => answer.answer)).toEqual(
    (await panel.locator(".turn-answer").evaluateAll(texts)).map((text) => text.replace(/^The model: /, "")),
  );
  expect(file.turns[2]?.answer.factor).toBe(expected[2]?.factor);

  // A stop leaves the conversation as it was.
  await playground.worker.evaluate("gate.hold()");
  await panel.getByLabel("Your follow-up").fill("And now?");
  await playground.button("Ask this too").click();
  await panel.getByRole("button", { name: "Stop" }).click();
  await playground.worker.evaluate("gate.release()");
  await idle();
  expect(await panel.locator(".turn").count()).toBe(3);
  expect(await panel.getByLabel("Your follow-up").inputValue()).toBe("And now?");
  await panel.getByRole("button", { name: "Begin anew" }).click();
  expect(await panel.locator(".turn").count()).toBe(0);
});

test("each word has its own map, reached by keys, and a sentence that says what it shows", async () => {
  const { page } = playground;
  const panel = page.locator("#words");
  await panel.getByLabel("Words of which answer").selectOption("Greedy");
  const inputs = model.prepare({ image: pictures[0], question: QUESTION });
  const expected = await tokenAttention(model, inputs, { maxNewTokens: 24 });
  const words = wordsOf(expected.answer.tokens);
  await panel
    .getByRole("button", { name: words[0]?.word ?? "", exact: true })
    .first()
    .focus();
  await page.keyboard.press("End");
  await page.keyboard.press("Home");
  const maps: unknown[] = [];
  for (const { word, tokens } of words) {
    await panel
      .locator("figcaption")
      .getByText(wordInWords(word, expected.map(tokens)))
      .waitFor();
    expect(await panel.locator("button.word[aria-pressed=true]").innerText()).toBe(word);
    maps.push(await panel.locator("canvas").evaluate((canvas) => (canvas as HTMLCanvasElement).toDataURL()));
    await page.keyboard.press("ArrowRight");
  }
  expect(words.length).toBeGreaterThan(3);
  expect(new Set(maps).size).toBe(words.length);
});

test("every method of the registry can be compared, with its settings; what is refused is said at its field", async () => {
  const { page } = playground;
  const panel = page.locator("#compare");
  const sideB = panel.getByRole("group", { name: "B", exact: true });
  const titles = await sideB.getByLabel("Method").locator("option").allInnerTexts();
  expect(titles).toEqual(INTERVENTIONS.map(({ title }) => title));
  await sideB.getByLabel("Method").selectOption("constant-add");
  const method = INTERVENTIONS.find(({ name }) => name === "constant-add");
  await sideB.getByText("Where it acts").click();
  for (const name of Object.keys(method?.parameters ?? {})) await sideB.getByLabel(name, { exact: true }).waitFor();
  const layers = sideB.getByLabel("layers", { exact: true });
  await layers.fill("1-9");
  await layers.blur();
  const refusal = "layers must be whole numbers from 0 to 5, got 6.";
  expect(await sideB.getByRole("alert").innerText()).toBe(refusal);
  expect(await layers.getAttribute("aria-invalid")).toBe("true");
  // What only the prompt decides, the engine says, at the same place.
  await layers.fill("1-3");
  const patches = sideB.getByLabel("patches", { exact: true });
  await patches.fill(`143-${WIDTH ** 2}`);
  await patches.blur();
  await panel.getByRole("button", { name: "Compare" }).click();
  await sideB.getByRole("alert").waitFor();
  expect(await sideB.getByRole("alert").innerText()).toMatch(/^patches must be numbers of the prompt's image tokens/);
  await patches.fill("0-31");
  await patches.blur();
  await panel.getByRole("button", { name: "Compare" }).click();
  await panel.getByRole("article", { name: "Answer B" }).waitFor();
  await idle();
  expect(await playground.page.evaluate("location.hash")).toMatch(/&B=constant-add&B\.layers=1-3&B\.patches=0-31/);

  const inputs = model.prepare({ image: pictures[0], question: QUESTION });
  const options = { maxNewTokens: 24, topLogProbs: 20 };
  const patchNumbers = Array.from({ length: 32 }, (_, patch) => patch);
  const a = await model.answer(inputs, options);
  const b = await model.answer(inputs, {
    ...options,
    method: "constant-add",
    layers: [1, 2, 3],
    patches: patchNumbers,
  });
  const file = JSON.parse(String(await playground.download("Download both answers (JSON)"))) as Record<
    "A" | "B",
    AnswerJson
  >;
  for (const [answer, other] of [
    [file.A, a],
    [file.B, b],
  ] as const) {
    expect(answer.tokens.map(({ id }) => id)).toEqual(other.tokens.map(({ tokenId }) => tokenId));
    expect(answer.tokens[0]?.logProb).toBeCloseTo(other.tokens[0]?.logProb ?? Number.NaN, 3);
  }
  const rows = await panel.locator("table.numbers tbody th").evaluateAll(texts);
  expect(rows).toContain(visibleToken(file.A.tokens[0]?.text ?? ""));
  expect(await panel.getByRole("img", { name: /^Heat map of [AB]: looked most at/ }).count()).toBe(2);
  expect(await panel.getByRole("img", { name: /^Difference of the maps, B minus A/ }).count()).toBe(1);
});

test("a part that is drawn on the picture is knocked out as in Node, and keys mark the same", async () => {
  const { page } = playground;
  const panel = page.locator("#patches");
  const stage = panel.getByRole("button", { name: /patches marked/ });
  await stage.scrollIntoViewIfNeeded();
  const box = await stage.boundingBox();
  if (box === null) throw new Error("the picture is not shown");
  const at = (column: number, row: number) =>
    [box.x + ((column + 0.5) / WIDTH) * box.width, box.y + ((row + 0.5) / WIDTH) * box.height] as const;
  await page.mouse.move(...at(5, 4));
  await page.mouse.down();
  await page.mouse.move(...at(2, 1), { steps: 3 });
  await page.mouse.up();
  const cells = [1, 2, 3, 4].flatMap((row) => [2, 3, 4, 5].map((column) => row * WIDTH + column));
  await panel.getByText(`16 of ${WIDTH ** 2} patches marked`).waitFor();
  await waitUntil(page, `location.hash.endsWith("&cut=${cells.join(",")}")`);
  await panel.getByRole("button", { name: "Answer without them" }).click();
  await panel.getByRole("article", { name: "Answer without the marked part" }).waitFor();
  await idle();
  const file = JSON.parse(String(await playground.download("Download the answer without them (JSON)"))) as {
    readonly patches: readonly number[];
    readonly answer: AnswerJson; // the page's own format
  };
  expect(file.patches).toEqual(cells);
  const inputs = model.prepare({ image: pictures[0], question: QUESTION });
  const [start] = inputs.images[0]?.runs[0] ?? [Number.NaN];
  const options = { maxNewTokens: 24, method: "knock-out", rows: "after-image" } as const;
  const expected = await model.answer(inputs, { ...options, columns: cells.map((cell) => start + cell) });
  expect(file.answer.tokens.map(({ id }) => id)).toEqual(expected.tokens.map(({ tokenId }) => tokenId));
  expect(file.answer.tokens[0]?.logProb).toBeCloseTo(expected.tokens[0]?.logProb ?? Number.NaN, 3);
  // It is another answer than that about the whole picture, in its words or how sure the model is of them.
  const plain = await model.answer(inputs, { maxNewTokens: 24 });
  const sureness = ({ tokens }: typeof plain) => tokens.reduce((sum, { logProb }) => sum + logProb, 0);
  expect(Math.abs(sureness(plain) - sureness(expected))).toBeGreaterThan(0.01);

  await panel.getByRole("button", { name: "Clear" }).click();
  await stage.focus();
  // From where the pointer was: to the upper left corner, then a rectangle of two columns and three rows.
  for (let press = 0; press < WIDTH; press++) await page.keyboard.press("ArrowLeft");
  for (let press = 0; press < WIDTH; press++) await page.keyboard.press("ArrowUp");
  await page.keyboard.press("Shift+ArrowRight");
  for (let press = 0; press < 2; press++) await page.keyboard.press("Shift+ArrowDown");
  await page.keyboard.press("Space");
  await waitUntil(page, `location.hash.endsWith("&cut=0,1,12,13,24,25")`);
});

test("a patch that is tapped shows the library's logit lens", async () => {
  const { page } = playground;
  const panel = page.locator("#patches");
  await panel.getByRole("radio", { name: "Look into a patch" }).check();
  const stage = panel.getByRole("button", { name: /patches chosen/ });
  const box = await stage.boundingBox();
  const { width = 0, height = 0 } = box ?? {};
  await stage.click({ position: { x: (3.5 / WIDTH) * width, y: (5.5 / WIDTH) * height } });
  const table = panel.locator("table.lens");
  await table.waitFor();
  await idle();
  const inputs = model.prepare({ image: pictures[0], question: QUESTION });
  const position = Number(inputs.images[0]?.runs[0]?.[0]) + 5 * WIDTH + 3;
  const expected = await logitLens(model, inputs, { positions: [position] });
  expect(await table.locator("tbody > tr > th").evaluateAll(texts)).toEqual(["input", "0", "1", "2", "3", "4", "5"]);
  const rows = await table.locator(".lens-tokens").count();
  for (let row = 0; row < rows; row++) {
    const shown = await table.locator(".lens-tokens").nth(row).locator(".mono").evaluateAll(texts);
    expect(shown).toEqual(expected.rows[row]?.tokens.map(({ text = "" }) => visibleToken(text)));
  }
});

test("with all of it on the page, nothing is cut off or hard to read, on a phone and a desk, in light and dark", async () => {
  const { page } = playground;
  await page.locator("#conversation").getByLabel("Your follow-up").fill("Where is the ball?");
  await playground.button("Ask this too").click();
  await page.locator("#conversation .turn .hint").first().waitFor();
  await idle();
  await page.emulateMedia({ reducedMotion: "reduce" });
  const shown = ["#conversation .turn", "#words .word", "#compare .trio canvas", "#patches table.lens"];
  for (const selector of shown) expect(await page.locator(selector).count(), selector).toBeGreaterThan(0);
  try {
    for (const [width, colorScheme] of [
      [1280, "light"],
      [390, "dark"],
      [320, "light"],
    ] as const) {
      await page.setViewportSize({ width, height: 844 });
      await page.emulateMedia({ colorScheme });
      expect([...(await seriousFindings(page)), ...(await layoutFaults(page))], `${width} pixels`).toEqual([]);
    }
  } finally {
    await page.emulateMedia({ colorScheme: "light", reducedMotion: null });
    await page.setViewportSize(viewports.desktop);
  }
});

async function choosePicture(path: string): Promise<void> {
  const { page } = playground;
  await page.getByRole("radio", { name: "Your picture" }).check();
  const name = path.split("/").at(-1) ?? "";
  const shown = page.getByRole("img", { name: new RegExp(`^Your picture ${name}`) });
  if ((await shown.count()) > 0) return;
  await page.getByLabel("Choose a picture").setInputFiles(path);
  await shown.waitFor();
}

/** Waits until nothing runs. */
async function idle(): Promise<void> {
  await waitUntil(playground.page, `document.querySelector("#compare .primary").ariaDisabled === "false"`);
}

/** Texts of elements, in the page. */
function texts(elements: readonly Element[]): string[] {
  return elements.map(({ textContent }) => textContent?.trim() ?? "");
}
