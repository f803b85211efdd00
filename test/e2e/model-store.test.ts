// Real models in the page: looked up on a hub, planned, downloaded by ranges, resumed after a reload, kept, asked without a network,
// deleted; and what is said when there is no room, the bytes are wrong, or the page's policy forbids a server.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { CheckpointSpec } from "../../src/bench/random-checkpoint.ts";
import { decodeImage, fileSource, Llava } from "../../src/index.node.ts";
import { buildApp } from "../../tools/app.mjs";
import { openTestDevice } from "../setup/device.ts";
import { isWeights, type LocalHub, startLocalHub, weightBytesAsked } from "../setup/local-hub.ts";
import { checkpointOf, repositoryOf, SMALL } from "../store/fixtures.ts";
import { seriousFindings } from "./accessibility.ts";
import { layoutFaults } from "./layout.ts";
import { answerFile } from "./node-model.ts";
import { type Playground, Playgrounds, viewports, waitUntil } from "./playground.ts";

/** 40 MB in shards of one layer each. */
const SPEC: CheckpointSpec = {
  ...SMALL,
  name: "40-mb",
  decoder: { ...SMALL.decoder, hiddenSize: 384, intermediateSize: 1024, numHiddenLayers: 8, headDim: 96 },
  vision: { ...SMALL.vision, hiddenSize: 384, intermediateSize: 1536, numHiddenLayers: 4, numAttentionHeads: 4 },
};
const ID = "org/random-40-mb";
/** As the page asks for. */
const MAX_NEW_TOKENS = 24;
/** SwiftShader compiles the kernels of another model for a while, once in the page and once in Node. */
const SLOW_MS = 300_000;

let folder: string;
let hub: LocalHub;
let playgrounds: Playgrounds;
let playground: Playground;
let files: ReadonlyMap<string, Uint8Array>;
let shards: string[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "adaptvis-store-"));
  files = checkpointOf(SPEC);
  shards = [...files.keys()].filter((path) => path.endsWith(".safetensors")).sort();
  hub = await startLocalHub();
  hub.repos.set(ID, repositoryOf(files, "40-mb")).set("org/small", repositoryOf(checkpointOf(SMALL), "small"));
  const { out } = await buildApp({ out: join(folder, "app"), connect: ["http://127.0.0.1:*"] });
  playgrounds = await Playgrounds.start(out);
  playground = await playgrounds.open({ serviceWorkers: true, reducedMotion: "reduce" });
  await playground.waitUntilReady();
  await playground.page.getByText("Works offline").waitFor();
});

afterAll(async () => {
  await playgrounds.close();
  await hub.close();
  await rm(folder, { recursive: true });
});

async function openChooser(): Promise<void> {
  await playground.button("Change the model").click();
}

async function lookUp(text: string): Promise<void> {
  await playground.page.getByRole("textbox", { name: "Hub id, or address of a model" }).fill(text);
  await playground.button("Look up").click();
}

/** The row of the model that is kept in a form. */
function keptRow(form: string) {
  return playground.page.locator(".models li").filter({ hasText: `${ID}, ${form}` });
}

/** Waits until a model is in use. */
async function waitForModel(name: string): Promise<void> {
  await playground.page.locator("#model").getByRole("definition").filter({ hasText: name }).waitFor();
  await playground.waitUntilReady();
}

/** The ids of the page's two answers, and those of Node's with the model loaded in a form. */
async function answers(dtype: "q4" | undefined) {
  await playground.askAndWait();
  const image = await decodeImage(await playground.download("Download picture (PNG)"));
  const { question, greedy, adaptvis } = await answerFile(playground);
  const place = await mkdtemp(join(folder, "node-"));
  for (const [path, bytes] of files) await writeFile(join(place, path), bytes);
  // It keeps what it compiled: what both forms have in common, they compile once.
  const { device } = await openTestDevice();
  const model = await Llava.load(fileSource(place), { device, ...(dtype && { dtype }) });
  try {
    const inputs = model.prepare({ image, question });
    const plain = await model.answer(inputs, { method: "greedy", maxNewTokens: MAX_NEW_TOKENS });
    const steered = await model.answer(inputs, {
      method: "adaptvis",
      ...adaptvis.settings,
      maxNewTokens: MAX_NEW_TOKENS,
    });
    return {
      page: [greedy, adaptvis].map(({ tokens }) => tokens.map(({ id }) => id)),
      node: [plain, steered].map(({ tokens }) => tokens.map(({ tokenId }) => tokenId)),
    };
  } finally {
    model.dispose();
  }
}

/** Faults of layout and accessibility at 320 pixels and at a desk. */
async function faults(state: string): Promise<string[]> {
  const { page } = playground;
  const found: string[] = [];
  for (const viewport of [viewports.enlarged, viewports.desktop]) {
    await page.setViewportSize(viewport);
    found.push(...(await layoutFaults(page)));
    await page.setViewportSize({ ...viewport, height: 4000 });
    found.push(...(await seriousFindings(page)));
  }
  await page.setViewportSize(viewports.desktop);
  return found.map((fault) => `${state}: ${fault}`);
}

test("before anything large is fetched, the page says size, licence, memory and what fits", async () => {
  const { page } = playground;
  await openChooser();
  expect(await faults("suggestions")).toEqual([]);
  await lookUp(`${hub.url}/${ID}`);
  const offer = page.locator(".offer");
  await offer.waitFor();
  const text = await offer.innerText();
  expect(text).toMatch(/4\d\sMiB, \d+ files, F16/);
  expect(text).toContain("apache-2.0");
  expect(text).toMatch(/It fits: as in its files it needs \d+\sMiB of the 8\sGiB stated/);
  expect(await offer.getByRole("radio").count()).toBe(4);
  expect(weightBytesAsked(hub.calls)).toBeLessThan(200_000);
  expect(await faults("a model found")).toEqual([]);
});

test(
  "a download goes on after a reload with the missing bytes only, and its answers are Node's",
  async () => {
    const { page } = playground;
    const stalled = shards[5] ?? "";
    hub.fault = (call) => (isWeights(call) && call.path === stalled ? { stallAfter: 1_000_000 } : undefined);
    hub.calls.length = 0;
    await playground.button(/^Download 4\d\sMiB$/).click();
    const download = page.locator(".download");
    await download.getByText(/\sMiB of 4\d\sMiB/).waitFor();
    // Small files come first, then one shard after the other.
    const total = [...files.values()].reduce((sum, { length }) => sum + length, 0);
    const later = shards.slice(5).reduce((sum, path) => sum + (files.get(path)?.length ?? 0), 0);
    const hasCome = (numBytes: number) =>
      waitUntil(
        page,
        `document.querySelector(".download progress").value >= ${(total - later + numBytes - 1) / total}`,
      );
    await hasCome(1_000_000);
    expect(await faults("while it downloads")).toEqual([]);
    // Paused, it is in the list; resumed, it stalls again; then the page goes away without a word.
    await playground.button("Pause").click();
    await playground.button("Resume the download").click();
    await hasCome(2_000_000);
    await setTimeout(1500); // what has come is recorded every half second
    await page.reload();
    await playground.waitUntilReady();
    await page.getByText("a download is unfinished").waitFor();
    await openChooser();
    hub.fault = () => undefined;
    hub.calls.length = 0;
    await playground.button(/^Resume .*as in its files/).click();
    await waitForModel(ID);
    const asked = hub.calls.filter(isWeights);
    expect(asked.map(({ path }) => path)).toEqual(shards.slice(5));
    expect(asked[0]?.range).toBe(`bytes=2000000-${(files.get(stalled)?.length ?? 0) - 1}`);
    expect(weightBytesAsked(hub.calls)).toBe(later - 2_000_000);
    const { page: ids, node } = await answers(undefined);
    expect(ids[0]?.length).toBeGreaterThan(0);
    expect(ids).toEqual(node);
  },
  SLOW_MS,
);

test(
  "quantised on arrival it takes a third, and its answers are Node's in the same form",
  async () => {
    const { page } = playground;
    await lookUp(`${hub.url}/${ID}`);
    await page.getByRole("radio", { name: /^in q4 / }).check();
    await playground.button(/^Download 4\d\sMiB$/).click();
    await page.getByRole("definition").filter({ hasText: "q4" }).waitFor();
    await waitForModel(ID);
    const kept = await keptRow("in q4").innerText();
    expect(Number(/(\d+)\sMiB/.exec(kept)?.[1])).toBeLessThan(18);
    const { page: ids, node } = await answers("q4");
    expect(ids).toEqual(node);
  },
  SLOW_MS,
);

test("bytes with a wrong hash are refused in one sentence, and nothing of them is kept", async () => {
  const { page } = playground;
  hub.fault = (call) => (isWeights(call) ? { isDamaged: true } : undefined);
  await lookUp(`${hub.url}/org/small`);
  // The headers are damaged too, unless they are read before.
  expect(await playground.notice("could not be looked up")).toMatch(/model-\d+-of-\d+\.safetensors/);
  hub.fault = () => undefined;
  await lookUp(`${hub.url}/org/small`);
  await page.locator(".offer").waitFor();
  hub.fault = (call) => (isWeights(call) ? { isDamaged: true } : undefined);
  await playground.button(/^Download \S+ [KM]iB$/).click();
  expect(await playground.notice("could not be downloaded")).toMatch(
    /arrived damaged \(its sha256 is .* was thrown away/,
  );
  hub.fault = () => undefined;
});

test("a model that there is no room for is refused before it is fetched", async () => {
  const { page } = playground;
  const session = await page.context().newCDPSession(page);
  const origin = new URL(page.url()).origin;
  await session.send("Storage.overrideQuotaForOrigin", { origin, quotaSize: 70e6 });
  await lookUp(`${hub.url}/${ID}`);
  await page.getByRole("radio", { name: /^in q8 / }).check();
  hub.calls.length = 0;
  await playground.button(/^Download 4\d\sMiB$/).click();
  expect(await playground.notice("could not be downloaded")).toMatch(
    /needs \S+ MiB more, and \S+ MiB are free for this page: delete/,
  );
  expect(weightBytesAsked(hub.calls)).toBeLessThan(200_000);
  await session.send("Storage.overrideQuotaForOrigin", { origin });
  await playground.button(/^Delete .*in q8/).click();
  await playground.button(/^Delete .* for good .*in q8/).click();
  await keptRow("in q8").waitFor({ state: "detached" });
});

test("a server that the page's policy does not name is refused with what to do", async () => {
  const elsewhere = hub.url.replace("127.0.0.1", "localhost");
  await lookUp(`${elsewhere}/${ID}`);
  expect(await playground.notice("may not load models from http://localhost")).toContain("--connect");
  expect(playground.problems.every((problem) => /Content Security Policy|Failed to load/.test(problem))).toBe(true);
  playground.problems.length = 0;
});

test("without any network, a kept model loads and answers; and a deleted one is gone", async () => {
  const { page } = playground;
  playgrounds.switchOff();
  await hub.close();
  await page.reload();
  await playground.waitUntilReady();
  await openChooser();
  await playground.button(new RegExp(`^Load .*${ID}, in q4`)).click();
  await waitForModel(ID);
  await playground.askAndWait();
  await playground.button(new RegExp(`^Delete .*${ID}, as in its files`)).click();
  await playground.button(/^Delete .* for good/).click();
  await keptRow("as in its files").waitFor({ state: "detached" });
  expect(await keptRow("in q4").count()).toBe(1);
  expect(playground.problems).toEqual([]);
});
