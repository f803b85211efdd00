// The playground in headless Chromium: a static server over dist/app under a sub-path, as any host would serve it, one
// browser for its pages, and what a person does on the page.

import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import type { Browser, BrowserContext, Frame, Locator, Page, Worker } from "playwright-core";
import { encodeHash } from "../../src/app/url-state.ts";
import { MUG_AND_DOG } from "../app/mug-and-dog.ts";
import { launchChromium } from "../browser/launch.ts";
import { type StaticServer, startServer } from "../browser/static-server.ts";

const TIMEOUT_MS = 60_000;
/** The address of the scene and question that a page of the tests has at first; with it, nothing is asked by itself. */
export const FIRST_HASH = encodeHash({
  scene: MUG_AND_DOG,
  question: "Where is the mug in relation to the dog? Answer with left, right, on or under.",
});

/** Widths and heights that people have, CSS pixels. */
export const viewports = {
  phone: { width: 390, height: 844 },
  narrow: { width: 320, height: 640 },
  /** A desktop's window enlarged to 400 %, which WCAG 2.2 asks for (1.4.10). */
  enlarged: { width: 320, height: 256 },
  desktop: { width: 1280, height: 900 },
} as const;

/** How a page is opened; a plain desktop page in light colours unless said. */
export interface PageOptions {
  readonly viewport?: { readonly width: number; readonly height: number };
  readonly colorScheme?: "light" | "dark";
  readonly reducedMotion?: "reduce" | "no-preference";
  readonly hasTouch?: boolean;
  /** What stands after "#" in the address; a mug beside a dog unless given. */
  readonly hash?: string;
  /** Opens the plain address, as a visitor does: the opening scene is asked about by itself. */
  readonly isOpening?: boolean;
  /** Lets the page install its service worker; it then serves the page's files instead of the server. */
  readonly serviceWorkers?: boolean;
  /** Is told the address of everything that the page and its worker fetch. */
  readonly onRequest?: (url: string) => void;
  /** Script that runs in the page before its own. */
  readonly pagePrelude?: string;
  /** Script that stands in front of the worker's own. */
  readonly workerPrelude?: string;
}

/** A browser and a server for the pages of one test file. */
export class Playgrounds {
  private readonly preludes: (string | undefined)[] = [];
  private readonly server: StaticServer;
  private readonly browser: Browser;

  private constructor(server: StaticServer, browser: Browser) {
    this.server = server;
    this.browser = browser;
  }

  /** @param app the folder that `npm run build:app` makes. */
  static async start(app: string): Promise<Playgrounds> {
    const opened: Playgrounds[] = [];
    const server = await startServer(({ path }) => {
      // Every page has a folder of its own, so that none meets another's service worker, cache or prelude.
      const [, index, rest] = /^\/some\/folder-(\d+)\/(.*)$/.exec(path) ?? [];
      if (index === undefined || rest === undefined) return undefined;
      const prelude = rest.startsWith("worker-") ? opened[0]?.preludes[Number(index)] : undefined;
      return { file: join(app, rest === "" ? "index.html" : rest), before: prelude };
    });
    try {
      const playgrounds = new Playgrounds(server, await launchChromium());
      opened.push(playgrounds);
      return playgrounds;
    } catch (error) {
      server.close();
      throw error;
    }
  }

  /** Opens the page in a profile of its own and does not wait for the model. */
  async open(options: PageOptions = {}): Promise<Playground> {
    const index = this.preludes.push(options.workerPrelude) - 1;
    const context = await this.browser.newContext({
      viewport: options.viewport ?? viewports.desktop,
      colorScheme: options.colorScheme ?? "light",
      reducedMotion: options.reducedMotion ?? "no-preference",
      hasTouch: options.hasTouch ?? false,
      serviceWorkers: options.serviceWorkers === true ? "allow" : "block",
      acceptDownloads: true,
    });
    await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: this.server.origin });
    if (options.pagePrelude !== undefined) await context.addInitScript({ content: options.pagePrelude });
    const { onRequest } = options;
    if (onRequest !== undefined) context.on("request", (request) => onRequest(request.url()));
    const playground = new Playground(context, await context.newPage());
    const hash = options.isOpening === true ? "" : options.hash === undefined ? FIRST_HASH : `#${options.hash}`;
    await playground.page.goto(`${this.server.origin}/some/folder-${index}/${hash}`);
    return playground;
  }

  /** Ends the server: every page is offline from then on. */
  switchOff(): void {
    this.server.close();
  }

  async close(): Promise<void> {
    await this.browser.close();
    this.server.close();
  }
}

/** One open page. */
export class Playground {
  readonly page: Page;
  /** Errors of the page and its worker, and what they wrote to the console as errors: a good page has none. */
  readonly problems: string[] = [];
  private readonly context: BrowserContext;
  private numVisits = 0;

  constructor(context: BrowserContext, page: Page) {
    this.context = context;
    this.page = page;
    page.setDefaultTimeout(TIMEOUT_MS);
    page.on("pageerror", (error) => this.problems.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error") this.problems.push(`${message.text()} (${message.location().url})`);
    });
  }

  button(name: string | RegExp): Locator {
    return this.page.getByRole("button", { name, exact: true });
  }

  /** The scene's square; its objects are buttons in it. */
  get scene(): Locator {
    return this.page.getByLabel("Scene", { exact: true }).and(this.page.locator(":has(canvas)"));
  }

  /** The engine's worker. @throws when the page has none. */
  get worker(): Worker {
    const [worker] = this.page.workers();
    if (worker === undefined) throw new Error("The page has no worker.");
    return worker;
  }

  /** Waits until a question can be asked. @throws with what the page says when that takes too long. */
  async waitUntilReady(): Promise<void> {
    try {
      await waitUntil(this.page, isAskEnabled);
    } catch (cause) {
      const status: unknown = await this.page.evaluate(`[...document.querySelectorAll(".load-strip, .notice")]
        .map(({ innerText }) => innerText).join("; ")`);
      const message = `No question can be asked; the page says "${status}" and has ${this.page.workers().length} workers.`;
      throw new Error(message, { cause });
    }
  }

  /**
   * Brings a loaded page back to the first scene and question, by its address, with no notice open, nothing asked by itself and the
   * focus nowhere. Stays: the last answer, the user's picture and text, and settings.
   */
  async startOver(): Promise<void> {
    await this.page.getByRole("checkbox", { name: "Ask on every change" }).uncheck();
    const close = this.page.getByRole("button", { name: /^Close the notice/ });
    while ((await close.count()) > 0) await close.first().click();
    await this.page.setViewportSize(viewports.desktop);
    await this.page.evaluate(`document.activeElement.blur(); scrollTo(0, 0)`);
    await this.goTo(FIRST_HASH);
  }

  /** Changes the fragment of the page's address as a followed link does; the page has read it when this returns. */
  async goTo(hash: string): Promise<void> {
    // The page reads an address that changes; a parameter that it does not know makes each one another.
    this.numVisits++;
    const other = JSON.stringify(`${hash.replace(/^#/, "")}&visit=${this.numVisits}`);
    await this.page.evaluate(`new Promise((resolve) => {
      addEventListener("hashchange", resolve, { once: true });
      location.hash = ${other};
    }).then(() => undefined)`);
  }

  /** Asks what the page's form says and waits for both answers. @throws with the notice's text when there is none. */
  async askAndWait(): Promise<void> {
    await this.page.evaluate(markAnswers);
    await this.button("Ask").click();
    await this.waitForAnswers();
  }

  /** Waits for both answers to a question that was asked after {@link markAnswers} ran. @throws as {@link askAndWait}. */
  async waitForAnswers(): Promise<void> {
    const notice = String(await waitUntil(this.page, answersOrNotice));
    if (notice !== "answered") throw new Error(`No answer, but a notice: ${notice}`);
    await this.waitUntilReady();
  }

  /** The answer's card. */
  card(kind: "Greedy" | "AdaptVis" | "Your factor"): Locator {
    return this.page.getByRole("article", { name: `${kind} answer` });
  }

  /** What an answer says. */
  async answer(kind: "Greedy" | "AdaptVis" | "Your factor"): Promise<string> {
    return (await this.card(kind).locator(".answer-text").innerText()).trim();
  }

  /** The text of the first notice that contains `text`, once it is there. */
  async notice(text: string | RegExp): Promise<string> {
    const notice = this.page.locator(".notice").filter({ hasText: text }).first();
    await notice.waitFor();
    return await notice.innerText();
  }

  /** Presses a button that downloads. @returns the file's bytes. */
  async download(name: string): Promise<Buffer> {
    const [download] = await Promise.all([this.page.waitForEvent("download"), this.button(name).click()]);
    return await readFile(await download.path());
  }

  /** Shows the passes of the last answer and waits for them. */
  async showPasses(): Promise<void> {
    await this.button("Show the passes").click();
    await this.page.getByRole("region", { name: "What the kernels do" }).locator("details").first().waitFor();
  }

  /** Kills the browser's GPU process, as a crashing driver does; the browser starts another. */
  async killGpuProcess(): Promise<void> {
    const session = await this.page.context().browser()?.newBrowserCDPSession();
    const { processInfo = [] } = (await session?.send("SystemInfo.getProcessInfo")) ?? {};
    const gpu = processInfo.find(({ type }) => type === "GPU");
    if (gpu === undefined) throw new Error("The browser has no GPU process.");
    process.kill(gpu.id, "SIGKILL");
  }

  /** Takes a picture of the whole page, whatever its height, or of the window as it is. @returns the file. */
  async screenshot(folder: string, name: string, fullPage = true): Promise<string> {
    await mkdir(folder, { recursive: true });
    const path = join(folder, `${name}.png`);
    if (fullPage) await this.page.evaluate("scrollTo(0, 0)"); // what sticks to the window's edge is where it is at first
    await this.page.screenshot({ path, fullPage, animations: "disabled" });
    return path;
  }

  async close(): Promise<void> {
    await this.context.close();
  }
}

/**
 * Waits until an expression in the page is truthy. Playwright's waitForFunction would evaluate it in the page's own time, which the
 * page's Content-Security-Policy forbids.
 * @returns its value
 * @throws when that takes longer than a minute.
 */
export async function waitUntil(page: Page | Frame, expression: string): Promise<unknown> {
  for (const endMs = performance.now() + TIMEOUT_MS; ; ) {
    const value: unknown = await page.evaluate(expression);
    if (value) return value;
    if (performance.now() > endMs) throw new Error(`For a minute it was ${String(value)}: ${expression}`);
    await setTimeout(50);
  }
}

/** Whether a question can be asked: in the page, as text, so that the bundler of the tests leaves it as it is. */
export const isAskEnabled = `[...document.querySelectorAll("button")].some(
  (button) => button.textContent.trim() === "Ask" && !button.disabled && button.ariaDisabled !== "true")`;

/** The numbers under the two answers come anew with each question, so those of before can be told by a mark. */
export const markAnswers = `for (const numbers of document.querySelectorAll(".answer .number")) numbers.isOfBefore = true;
  for (const notice of document.querySelectorAll(".notice")) notice.isOfBefore = true;`;

/** "answered", or the text of a notice that came since, or false as long as there is neither. */
export const answersOrNotice = `(() => {
  const notice = [...document.querySelectorAll(".notice")].find(({ isOfBefore }) => !isOfBefore);
  if (notice) return notice.innerText;
  const numbers = [...document.querySelectorAll("[aria-label='Greedy answer'] .number, [aria-label='AdaptVis answer'] .number")];
  return numbers.length === 2 && numbers.every(({ isOfBefore }) => !isOfBefore) && "answered";
})()`;
