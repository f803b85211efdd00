// `npm run app`: the playground from the sources, and what its command line says to mistakes.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { repositoryRoot } from "../setup/bundle.ts";

const PROGRAM = join(repositoryRoot, "tools", "app.mjs");

function run(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [PROGRAM, ...args], { encoding: "utf8" });
  return { status, stdout, stderr };
}

test.each([
  [["--bogus"], /Unknown option '--bogus'/],
  [["serve", "--port", "bad"], /--port: expected a number from 1 to 65535, got bad/],
  [["serve", "--port", "0"], /got 0/],
  [["serve", "--port", "65536"], /got 65536/],
  [["paint"], /expected build or serve, got paint/],
  [
    ["build", "--connect", "example.org; script-src *"],
    /--connect: expected a server such as https:\/\/example\.org, got/,
  ],
  [["build", "serve"], /expected build or serve, got build serve/],
])("%j cannot be used: exit code 2, what is wrong, and the usage", (args, message) => {
  const { status, stdout, stderr } = run(...args);
  expect([status, stdout]).toEqual([2, ""]);
  expect(stderr).toMatch(message);
  expect(stderr).toContain("usage: node tools/app.mjs");
  expect(stderr).not.toMatch(/^ +at /m);
});

test("--help prints the usage", () => {
  expect(run("--help")).toMatchObject({ status: 0, stdout: expect.stringContaining("usage:"), stderr: "" });
});

test("a port in use is one sentence and exit code 1", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  await once(other, "listening");
  const { port } = other.address() as AddressInfo; // of a TCP server
  const child = spawn(process.execPath, [PROGRAM, "serve", "--port", String(port)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (text) => {
    stderr += text;
  });
  const [status] = await once(child, "close");
  other.close();
  expect(status).toBe(1);
  expect(stderr).toBe(`app: port ${port} is in use by another program: choose another one with --port\n`);
});

test("it prints its address, and the page, its worker and the checkpoint are there", async () => {
  const child = spawn(process.execPath, [PROGRAM, "serve"], { stdio: ["ignore", "pipe", "inherit"] });
  try {
    const [line] = await once(child.stdout, "data");
    const url = String(line).trim();
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
    for (const path of [
      "",
      "main.js",
      "style.css",
      "worker.js",
      "sprites/mug.webp",
      "weights/tiny-habit/config.json",
    ]) {
      const response = await fetch(url + path);
      expect(response.status, path).toBe(200);
      expect(response.headers.get("content-security-policy"), path).toMatch(/^default-src 'none'; script-src 'self';/);
    }
  } finally {
    child.kill("SIGTERM");
    await once(child, "close");
  }
});
