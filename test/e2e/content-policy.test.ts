// What the page's Content-Security-Policy keeps: nothing leaves the machine, from the page or its worker, on hosts without headers
// and with stricter ones, and in sandboxed frames. That nothing of the page violates it, every other test here sees: browsers write
// violations to the console as errors.
import { join } from "node:path";
import type { Browser, Frame, Worker } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { launchChromium } from "../browser/launch.ts";
import { type StaticServer, startServer } from "../browser/static-server.ts";
import { repositoryRoot } from "../setup/bundle.ts";
import { answersOrNotice, FIRST_HASH, isAskEnabled, waitUntil } from "./playground.ts";

const APP = join(repositoryRoot, "dist", "app");
/** A host's own policy: no blobs, no framing by others, and no other Trusted Types policy than the page's. */
const STRICT = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "worker-src 'self'",
  "frame-src 'self'",
  "frame-ancestors 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types adaptvis",
].join("; ");
const QUESTION = "Where is the mug, said Zacharias?";

const closing: (() => void)[] = [];
/** Requests that reached another origin. */
const elsewhere: string[] = [];
let browser: Browser;
let other: StaticServer;

beforeAll(async () => {
  other = await startServer(
    ({ path }) => {
      elsewhere.push(path);
      return { text: "received", extension: ".html" };
    },
    { "access-control-allow-origin": "*" },
  );
  closing.push(other.close);
  browser = await launchChromium();
});

afterAll(async () => {
  await browser.close();
  for (const close of closing) close();
});

/** Serves the playground, and at /frame a page that has it in a sandboxed frame. */
async function serve(sandbox: string, headers: Readonly<Record<string, string>>) {
  const requests: string[] = [];
  const server = await startServer(({ path, query }) => {
    requests.push(path + query);
    if (path === "/frame")
      return {
        text: `<iframe sandbox="${sandbox}" width="1200" height="800" src="/${FIRST_HASH}"></iframe>`,
        extension: ".html",
      };
    return { file: join(APP, path === "/" ? "index.html" : path) };
  }, headers);
  closing.push(server.close);
  return { origin: server.origin, requests };
}

/** Opens the page with the frame. */
async function openFrame(origin: string) {
  const context = await browser.newContext();
  const page = await context.newPage();
  const problems: string[] = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  await page.goto(`${origin}/frame`);
  const [, frame] = page.frames();
  if (frame === undefined) throw new Error("The page has no frame.");
  return { page, frame, problems, close: () => context.close() };
}

/** What a program in the page or its worker gets from another origin: the response, or how it failed. */
async function reach(place: Frame | Worker): Promise<string> {
  const url = JSON.stringify(`${other.origin}/?q=secret`);
  const code = `fetch(${url}, { mode: "no-cors" }).then(() => "sent", (error) => error.name)`;
  // Either has its own overloads, which TypeScript cannot call as one.
  return "page" in place ? await place.evaluate<string>(code) : await place.evaluate<string>(code);
}

test.each([
  ["no headers", {}, /^blob:/],
  ["a stricter policy", { "content-security-policy": STRICT }, /\/worker-/],
] as const)("in a sandboxed frame with %s, it answers and can send nothing", async (_, headers, workerUrl) => {
  const { origin, requests } = await serve("allow-scripts allow-same-origin", headers);
  const { page, frame, problems, close } = await openFrame(origin);
  await waitUntil(frame, isAskEnabled);
  await frame.getByRole("radio", { name: "Free text" }).check();
  await frame.getByRole("textbox", { name: "Your question" }).fill(QUESTION);
  await frame.getByRole("button", { name: "Ask", exact: true }).click();
  expect(await waitUntil(frame, answersOrNotice)).toBe("answered");
  expect(problems).toEqual([]);
  const [worker] = page.workers();
  if (worker === undefined) throw new Error("The page has no worker.");
  expect(worker.url()).toMatch(workerUrl);
  expect(await reach(frame)).toBe("TypeError");
  expect(await reach(worker)).toBe("TypeError");
  expect(elsewhere).toEqual([]);
  // The question is in the frame's fragment, which is not sent, and nowhere else.
  expect(page.url()).toBe(`${origin}/frame`);
  expect(frame.url().split("#")[0]).toBe(`${origin}/`);
  expect(requests.filter((request) => /Zacharias|\?/.test(request))).toEqual([]);
  await close();
});

test("in a frame with an opaque origin, where workers have no WebGPU, it says so", async () => {
  const { origin } = await serve("allow-scripts", { "access-control-allow-origin": "*" });
  const { frame, problems, close } = await openFrame(origin);
  await frame.getByRole("alert").filter({ hasText: "give the frame allow-same-origin" }).waitFor();
  expect(problems).toEqual([]);
  await close();
});

test("where the host's policy refuses the page's Trusted Types policy, it says what to add", async () => {
  const headers = { "content-security-policy": "require-trusted-types-for 'script'; trusted-types another" };
  const { origin } = await serve("allow-scripts allow-same-origin", headers);
  const { frame, problems, close } = await openFrame(origin);
  await frame.getByRole("alert").filter({ hasText: "add adaptvis to its trusted-types" }).waitFor();
  expect(problems.filter((problem) => !problem.includes("TrustedTypePolicy"))).toEqual([]);
  await close();
});

test("without JavaScript the page says what it needs, and has nothing that could be sent", async () => {
  const { origin } = await serve("", {});
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(origin);
  await page.getByText("This page needs JavaScript and WebGPU.").waitFor();
  expect(await page.locator("form, input, textarea, button").count()).toBe(0);
  await context.close();
});
