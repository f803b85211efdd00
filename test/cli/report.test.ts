// adaptvis report: its files and messages, from made-up runs. The numbers are tested in test/evaluate, the page in test/e2e.
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type MadeUpRuns, writeMadeUpRuns } from "../setup/made-up-runs.ts";
import { adaptvis, jsonOf, newFolder, ownLines, removeFolders } from "./command.ts";

let folder: string;
let runs: MadeUpRuns;

beforeAll(async () => {
  folder = await newFolder();
  runs = await writeMadeUpRuns(folder);
});

afterAll(removeFolders);

const report = (...args: readonly string[]) => adaptvis("report", ...args);

test("page, CSV and Markdown of two runs, and what was written as JSON", async () => {
  const [out, csv, markdown] = [join(folder, "r.html"), join(folder, "tables"), join(folder, "r.md")];
  const result = await report(
    runs.controlledA,
    runs.vsr,
    "--out",
    out,
    "--csv",
    csv,
    "--markdown",
    markdown,
    "--gallery",
    "10",
    "--json",
  );
  expect(result.ending).toBe(0);
  expect(ownLines(result.stderr)).toEqual([
    expect.stringMatching(
      /^adaptvis: \d pictures? of the gallery .* not found, such as val2017\/\d{12}\.png: .*--data-dir\.$/,
    ),
  ]);
  const value = jsonOf(result);
  expect(value).toMatchObject({
    runs: [
      { label: "Controlled_A · llava-1.5-7b-hf", dataSet: "Controlled_A", model: "llava-1.5-7b-hf", n: 330 },
      { label: "VSR · other-model", dataSet: "VSR", n: 60 },
    ],
    gallery: { numShown: 10 },
  });
  expect(value.files).toEqual(
    expect.arrayContaining([out, markdown, join(csv, "accuracy.csv"), join(csv, "yes-no.csv")]),
  );
  expect(await readFile(out, "utf8")).toMatch(/^<!doctype html>[\s\S]*data:image\/jpeg;base64,[\s\S]*<\/html>\n$/);
  expect(await readFile(markdown, "utf8")).toMatch(
    /^# Evaluation\n[\s\S]*### Beside the published numbers\n[\s\S]*## Definitions\n/,
  );
});

test("--help names every option", async () => {
  const { stdout, ending } = await report("--help");
  expect(ending).toBe(0);
  for (const part of ["runs...", "--out", "--csv", "--markdown", "--data-dir", "--gallery"])
    expect(stdout).toContain(part);
});

describe("one sentence", () => {
  test.each<readonly [string, number, () => readonly string[], RegExp]>([
    ["no run", 2, () => [], /missing required argument 'runs'/],
    ["a run twice", 2, () => [runs.vsr, `${runs.vsr}/`], /is given twice: give each run once/],
    ["one file for two things", 2, () => [runs.vsr, "--out", "x", "--markdown", "./x"], /are both x/],
    [
      "over a run's file",
      2,
      () => [runs.vsr, "--out", join(runs.vsr, "results.jsonl")],
      /would overwrite an input file/,
    ],
    ["a folder that is no run", 1, () => [folder, "--out", join(folder, "x.html")], /has no manifest\.json/],
    [
      "no such data folder",
      1,
      () => [runs.vsr, "--data-dir", join(folder, "none")],
      /none of --data-dir is not a folder/,
    ],
  ])("%s", async (_, code, args, message) => {
    const { stdout, stderr, ending } = await report(...args());
    expect({ stdout, ending }).toEqual({ stdout: "", ending: code });
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
  });

  test("a question file that has moved, and one that is given in its place", async () => {
    const [before, after] = [join(folder, "VSR_questions.jsonl"), join(folder, "moved.jsonl")];
    await rename(before, after);
    const missing = await report(runs.vsr, "--out", join(folder, "x.html"));
    expect(ownLines(missing.stderr)).toEqual([
      expect.stringMatching(/VSR_questions\.jsonl cannot be read: give .* --questions/),
    ]);
    const given = await report(runs.vsr, "--questions", after, "--out", join(folder, "x.html"), "--gallery", "0");
    expect(given.ending).toBe(0);
    await writeFile(after, "{}\n");
    const other = await report(runs.vsr, "--questions", after, "--out", join(folder, "x.html"));
    expect(ownLines(other.stderr)).toEqual([
      expect.stringMatching(/is not the question file that the run was answered with/),
    ]);
  });
});
