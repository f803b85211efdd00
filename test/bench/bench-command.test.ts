// `adaptvis bench` as a user runs it: a short part of it, what it writes, and what it refuses.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { withReportFile } from "../../src/cli/bench.ts";
import { adaptvis, jsonOf, newFolder, ownLines, removeFolders } from "../cli/command.ts";

afterAll(removeFolders);

test("a quick part writes its table, JSON and HTML", async () => {
  const folder = await newFolder();
  const [json, html] = [join(folder, "bench.json"), join(folder, "bench.html")];
  const only = ["--only", "kernels/tiny-spatial", "--filter", "rms-norm"];
  const { stdout, ending, stderr } = await adaptvis("bench", "--quick", ...only, "--json", json, "--html", html);
  expect({ ending, errors: ending === 0 ? "" : stderr }).toEqual({ ending: 0, errors: "" });
  expect(stdout).toContain("streaming read");
  expect(stdout).toContain("tiny-spatial decode rms-norm 1 row");
  const report: unknown = JSON.parse(await readFile(json, "utf8"));
  expect(report).toMatchObject({
    stamp: { versions: { node: process.version }, adapter: { isSoftware: expect.any(Boolean) } },
    kernels: [{ name: "tiny-spatial decode rms-norm 1 row" }, { name: "tiny-spatial prefill rms-norm 96 rows" }],
    models: null,
    scaling: null,
    failures: [],
  });
  expect(report).toHaveProperty("ratios.8.name");
  const page = await readFile(html, "utf8");
  expect(page).toContain("<svg");
  expect(page).not.toMatch(/<script|(?:src|href)="http/);
}, 110_000);

test("--list names the parts, --json makes an object of them", async () => {
  const { parts } = jsonOf(await adaptvis("bench", "--list", "--json"));
  expect(parts).toEqual(expect.arrayContaining(["roofline", "shares", "models/llava-110m", "scaling/prompt"]));
});

describe("exit code 2 and one sentence", () => {
  test.each([
    ["an unknown part", ["--only", "everything"], /--only everything: unknown part/],
    ["no rounds", ["--rounds", "0"], /from 1 to 100/],
    ["an operand", ["fast"], /too many arguments/],
  ])("%s", async (_, args, message) => {
    const { stdout, stderr, ending } = await adaptvis("bench", ...args);
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 2 });
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
  });
});

test("--json takes a file behind bench only", () => {
  expect(withReportFile(["bench", "--json", "x.json"])).toEqual(["bench", "--report", "x.json"]);
  expect(withReportFile(["bench", "--json=x.json"])).toEqual(["bench", "--report", "x.json"]);
  expect(withReportFile(["bench", "--json", "--quick"])).toEqual(["bench", "--json", "--quick"]);
  expect(withReportFile(["--json", "bench", "--quick"])).toEqual(["--json", "bench", "--quick"]);
  expect(withReportFile(["--dawn-toggle", "x", "bench", "--json", "y"])).toEqual([
    "--dawn-toggle",
    "x",
    "bench",
    "--report",
    "y",
  ]);
  expect(withReportFile(["ask", "bench", "--json", "x"])).toEqual(["ask", "bench", "--json", "x"]);
});
