// The playground's static folder: complete, without addresses that bind it to a host or a path, and the same each time.
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildApp } from "../../tools/app.mjs";

const folder = mkdtempSync(join(tmpdir(), "adaptvis-app-"));
let built: Awaited<ReturnType<typeof buildApp>>;
const read = (file: string) => readFileSync(join(folder, "a", file), "utf8");

beforeAll(async () => {
  built = await buildApp({ out: join(folder, "a") });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("holds what the page needs, and not the benchmark", () => {
  const names = built.files.map((file) => file.replace(/-[A-Z0-9]{8}\./, "."));
  for (const name of [
    "index.html",
    "main.js",
    "style.css",
    "worker.js",
    "service-worker.js",
    "LICENSE",
    "licences.txt",
    "sprites/mug.webp",
    "sprites/LICENSE-fluent-emoji",
    "weights/tiny-habit/config.json",
    "weights/tiny-habit/tokenizer.json",
    "weights/tiny-habit/model.safetensors",
    "weights/tiny-habit/adaptvis.json",
    "weights/tiny-habit/demo/demo.json",
    "weights/tiny-habit/demo/guitar_under_drum.jpeg",
  ]) {
    expect(names).toContain(name);
  }
  expect(names.filter((name) => name.includes("benchmark"))).toEqual([]);
  const bytes = built.files.reduce((sum, file) => sum + statSync(join(folder, "a", file)).size, 0);
  expect(bytes).toBeLessThan(8 * 2 ** 20);
});

test("works below any path: every address in index.html is relative and names a file", () => {
  const addresses = [...read("index.html").matchAll(/(?:src|href)="([^"]*)"/g)].map(([, address]) => address ?? "");
  expect(addresses.length).toBeGreaterThanOrEqual(3);
  for (const address of addresses.filter((text) => !text.startsWith("#"))) {
    expect(address).toMatch(/^\.\//);
    expect(built.files).toContain(address.slice("./".length));
  }
});

test("the page sets a policy that lets nothing out, before anything is loaded", () => {
  const html = read("index.html");
  const [, policy = ""] = /http-equiv="Content-Security-Policy"\s+content="([^"]+)"/.exec(html) ?? [];
  const directives = policy.split(";").map((directive) => directive.trim().replaceAll(/\s+/g, " "));
  expect(directives).toEqual([
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self' https://huggingface.co https://*.huggingface.co https://*.hf.co",
    "worker-src 'self' blob:",
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types adaptvis",
  ]);
  expect(html.indexOf("Content-Security-Policy")).toBeLessThan(html.search(/<(?:script|link)/));
  expect(html).not.toMatch(/<style|style=|<script[^>]*>[^<]|\son\w+=/);
});

test("further servers are added to the policy where the builder names them, and nowhere else", async () => {
  const { out } = await buildApp({ out: join(folder, "c"), connect: ["https://models.example.org"] });
  const html = readFileSync(join(out, "index.html"), "utf8");
  expect(html).toContain("https://*.hf.co https://models.example.org;");
  expect(html.replace(" https://models.example.org", "")).toBe(read("index.html"));
});

test("the service worker keeps every file but itself", () => {
  const text = read("service-worker.js");
  for (const file of built.files) expect(text.includes(JSON.stringify(file)), file).toBe(file !== "service-worker.js");
  expect(text).toContain(built.version);
});

test("is the same for the same sources, and another for another label", async () => {
  const again = await buildApp({ out: join(folder, "b") });
  expect([again.version, again.files]).toEqual([built.version, built.files]);
  const labelled = await buildApp({ out: join(folder, "b"), version: "next" });
  expect(labelled.files).toEqual(built.files);
  expect(labelled.version).not.toBe(built.version);
});

test("the licences of what is bundled come along", () => {
  const text = read("licences.txt");
  for (const name of ["@huggingface/tokenizers", "@huggingface/jinja", "comlink", "preact"])
    expect(text).toContain(name);
});
