// The playground in headless Chromium: a static server over dist/app under a sub-path, as any host would serve it, one
// browser for all pages of a test file, and what a person does on the page.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Browser, BrowserContext, Locator, Page, Worker } from "playwright-core";
import { launchChromium } from "../browser/launch.ts";
import { type StaticServer, startServer } from "../browser/static-server.ts";

/** Widths and heights that people have, CSS pixels. */
export const viewports = {
  phone: { width: 390, height: 844 },
  narrow: { width: 360, height: 740 },
  desktop: { width: 1280, height: 900 },
} as const;

/** How a page is opened; a plain desktop page in light colours unless said. */
export interface PageOptions {
  readonly viewport?: { readonly width: number; readonly height: number };
  readonly colorScheme?: "light" | "dark";
  readonly reducedMotion?: "reduce" | "no-preference";
  readonly hasTouch?: boolean;
  /** What stands after "#" in the address. */
  readonly hash?: string;
  /** Lets the page install its service worker; it then serves the page's files instead of the server. */
  readonly serviceWorkers?: boolean;
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
    const server = await startServer(({ path, destination }) => {
      // Every page has a folder of its own, so that none meets another's service worker, cache or prelude.
      const [, index, rest] = /^\/some\/folder-(\d+)\/(.*)$/.exec(path) ?? [];
      if (index === undefined || rest === undefined) return undefined;
      const prelude = destination === "worker" ? opened[0]?.preludes[Number(index)] : undefined;
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
    const playground = new Playground(context, await context.newPage());
    const hash = options.hash === undefined ? "" : `#${options.hash}`;
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

  constructor(context: BrowserContext, page: Page) {
    this.context = context;
    this.page = page;
    page.setDefaultTimeout(60_000);
    page.on("pageerror", (error) => this.problems.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error") this.problems.push(`${message.text()} (${message.location().url})`);
    });
  }

  button(name: string | RegExp): Locator {
    return this.page.getByRole("button", { name, exact: true });
  }

  /** The engine's worker. @throws when the page has none. */
  get worker(): Worker {
    const [worker] = this.page.workers();
    if (worker === undefined) throw new Error("The page has no worker.");
    return worker;
  }

  /** Waits until a question can be asked. */
  async waitUntilReady(): Promise<void> {
    await this.page.waitForFunction(isAskEnabled);
  }

  /** Asks what the page's form says and waits for both answers. */
  async askAndWait(): Promise<void> {
    await this.button("Ask").click();
    await this.waitUntilReady();
    await this.button("Download answer (JSON)").waitFor();
  }

  /** Takes a picture of the whole page, whatever its height. @returns the file. */
  async screenshot(folder: string, name: string): Promise<string> {
    await mkdir(folder, { recursive: true });
    const path = join(folder, `${name}.png`);
    await this.page.screenshot({ path, fullPage: true, animations: "disabled" });
    return path;
  }

  async close(): Promise<void> {
    await this.context.close();
  }
}

/** In the page, as text, so that the bundler of the tests leaves it as it is. */
const isAskEnabled = `[...document.querySelectorAll("button")].some(
  (button) => button.textContent.trim() === "Ask" && !button.disabled && button.ariaDisabled !== "true")`;
