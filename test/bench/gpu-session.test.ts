// A GPU session: steps that crash, hang or fail leave the others' results; what bars and tuning table are made of.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { partNames } from "../../src/bench/bench.ts";
import {
  cardName,
  parseSteps,
  SESSION_STEPS,
  type SessionStep,
  type StepResult,
  sessionBars,
  sessionTuning,
} from "../../src/bench/gpu-session.ts";
import { runSession } from "../../src/bench/gpu-session-run.node.ts";
import type { SweepFigure } from "../../src/bench/sweeps.ts";
import { adaptvis, newFolder, ownLines, removeFolders } from "../cli/command.ts";

afterAll(removeFolders);

/** A command line whose steps end in every way there is. */
const PROGRAM = `
import { appendFileSync } from "node:fs";
const args = process.argv.slice(2);
const lines = args[args.indexOf("--lines") + 1];
const line = (value) => appendFileSync(lines, JSON.stringify(value) + "\\n");
if (args.includes("doctor")) console.log(JSON.stringify({ adapter: { device: "Test Card 1" } }));
if (args.includes("good")) line({ kind: "stamp", result: { tuningKey: "key" } });
if (args.includes("crash")) { line({ kind: "stamp", result: {} }); process.abort(); }
if (args.includes("hang")) { line({ kind: "stamp", result: {} }); setInterval(() => undefined, 1000); }
if (args.includes("part")) line({ kind: "failure", result: { part: "x", message: "It broke." } });
if (args.includes("fail")) { console.error("adaptvis: No such thing."); process.exitCode = 1; }
`;

describe("a session", () => {
  let folder: string;
  let results: readonly StepResult[];

  beforeAll(async () => {
    folder = await newFolder();
    const program = join(folder, "program.mjs");
    await writeFile(program, PROGRAM);
    const step = (name: string, more: Partial<SessionStep> = {}): SessionStep => ({
      name,
      weight: 10,
      args: [name],
      ...more,
    });
    const steps = [
      step("crash"),
      step("hang", { weight: 1 }),
      step("fail"),
      step("part"),
      step("elsewhere", { program: "missing.mjs" }),
      step("good"),
    ];
    const options = { steps, program, adapter: "lavapipe", folder: join(folder, "out"), budgetSeconds: 400 };
    results = (await runSession(options)).session.steps;
  });

  test("keeps the results of steps that crash or do not end, and runs the rest", () => {
    expect(results.map(({ name, ending, results: lines }) => [name, ending, lines.length])).toEqual([
      ["crash", "crashed", 1],
      ["hang", "time", 1],
      ["fail", "failed", 0],
      ["part", "failed", 1],
      ["elsewhere", "left out", 0],
      ["good", "done", 1],
    ]);
    expect(results.map(({ message }) => message)).toEqual([
      expect.stringMatching(/^It ended with SIGABRT/),
      expect.stringMatching(/time was used up/),
      "adaptvis: No such thing.",
      "x: It broke.",
      expect.stringMatching(/no missing\.mjs/),
      "",
    ]);
  });

  test("writes one file with the card's name, which reads back", async () => {
    const json: unknown = JSON.parse(await readFile(join(folder, "out", "test-card-1.json"), "utf8"));
    expect(parseSteps(json)).toEqual(results);
  });
});

test("the steps of a dtype are all of decode's sweeps", () => {
  const filters = SESSION_STEPS.flatMap(({ args }) =>
    args.includes("sweeps/decode") ? [args.at(args.indexOf("--filter") + 1)] : [],
  );
  expect(filters).toEqual([" f16", " q4", " q8", " f32"]);
});

test("every step's parts exist", () => {
  const parts = partNames(false);
  for (const { name, args } of SESSION_STEPS) {
    const asked = args.slice(args.indexOf("--only") + 1).filter((arg) => !arg.startsWith("--"));
    if (!args.includes("--only")) continue;
    for (const part of asked) {
      expect(
        parts.some((each) => each === part || each.startsWith(`${part}/`)),
        `${name}: ${part}`,
      ).toBe(true);
    }
  }
});

test("a card's name is a file's", () => {
  expect(cardName("NVIDIA H100 80GB HBM3")).toBe("nvidia-h100-80gb-hbm3");
  expect(cardName("../x (y)")).toBe("x-y");
  expect(cardName("")).toBe("unknown-card");
});

const spread = (value: number) => ({
  median: value,
  min: value,
  max: value,
  lowerQuartile: value,
  upperQuartile: value,
  numSamples: 1,
});

/** A decode sweep of 1 GB in f16 whose candidates take so many ms; null is one whose numbers are wrong. */
function sweep(name: string, times: Readonly<Record<"128" | "64" | "256", number | null>>): SweepFigure {
  const variants = (["128", "64", "256"] as const).map((threads) => ({
    name: threads,
    kernel: "matvec-subgroup",
    choice: { SUBGROUPS: true, THREADS: Number(threads), COLUMNS4: 1 },
    ms: spread(times[threads] ?? 0.001),
    gflops: spread(1),
    gbps: spread(1),
    limit: "memory" as const,
    share: spread(1),
    difference: 0,
    isSame: times[threads] !== null,
  }));
  const work = { flops: 1e9, bytes: 1e9 };
  return { name, group: "decode", dtype: "f16", tunable: "matvec f16", uses: 1, ...work, variants, failures: [] };
}

function stepOf(name: string, results: readonly object[], args: readonly string[] = []): StepResult {
  return parseSteps({
    format: 1,
    steps: [{ name, args, ending: "done", message: "", seconds: 1, limitSeconds: 1, results }],
  })[0] as StepResult;
}

const stamp = { kind: "stamp", result: { tuningKey: "a key" } };
const sweepLine = (figure: SweepFigure) => ({ kind: "sweep", result: figure });

describe("the tuning table", () => {
  const choiceOf = (...figures: readonly SweepFigure[]) =>
    sessionTuning([stepOf("s", [stamp, ...figures.map(sweepLine)])])?.choices["matvec f16"]?.THREADS;

  test("names the candidate that is fastest over all shapes, relative to the default", () => {
    expect(choiceOf(sweep("a", { 128: 10, 64: 5, 256: 9 }), sweep("b", { 128: 1, 64: 1.8, 256: 0.6 }))).toBe(256);
  });

  test("keeps the default where none is clearly faster, and never takes wrong numbers", () => {
    expect(choiceOf(sweep("a", { 128: 10, 64: 9.8, 256: 12 }))).toBe(128);
    expect(choiceOf(sweep("a", { 128: 10, 64: null, 256: 9 }))).toBe(256);
  });

  test("has the key of the run, and is null without sweeps", () => {
    expect(sessionTuning([stepOf("s", [stamp, sweepLine(sweep("a", { 128: 1, 64: 1, 256: 1 }))])])?.key).toBe("a key");
    expect(sessionTuning([stepOf("s", [stamp])])).toBeNull();
  });

  test("leaves out what was measured with a toggle", () => {
    const toggled = stepOf(
      "t",
      [stamp, sweepLine(sweep("a", { 128: 1, 64: 1, 256: 1 }))],
      ["--dawn-toggle", "disable_robustness"],
    );
    expect(sessionTuning([toggled])).toBeNull();
  });
});

describe("bars", () => {
  const roofline = { kind: "roofline", result: { read: { rate: spread(200) }, fma: { rate: spread(1000) } } };
  const barsOf = (...steps: readonly StepResult[]) =>
    Object.fromEntries(sessionBars(steps).map((bar) => [bar.name, bar]));

  test("a share is that of the whole token, under the best right candidates", () => {
    // 5 GB in 5 + 15 + 3 · 10 ms are 100 GB/s.
    const figures = [
      sweep("a", { 128: 10, 64: 5, 256: null }),
      sweep("b", { 128: 15, 64: 20, 256: 30 }),
      ...["c", "d", "e"].map((name) => sweep(name, { 128: 10, 64: 11, 256: 11 })),
    ];
    const bars = barsOf(stepOf("roofline", [roofline]), stepOf("s", figures.map(sweepLine)));
    expect(bars["decode-7b-f16-share-of-read"]).toMatchObject({ ours: 100, ratio: 0.5, wanted: 0.7, isMet: false });
    expect(bars["decode-7b-q4-share-of-read"]).toMatchObject({ ratio: null, isMet: null });
    const part = barsOf(stepOf("roofline", [roofline]), stepOf("s", figures.slice(1).map(sweepLine)));
    expect(part["decode-7b-f16-share-of-read"]).toMatchObject({
      isMet: null,
      reason: expect.stringMatching(/^Only 4 of 5/),
    });
  });

  test("parity names what differs", () => {
    const check = (name: string, isEqual: boolean) => ({ name, got: "1", expected: "2", isEqual });
    const result = { name: "parity/demo", checks: [check("good", true), check("bad", false)] };
    expect(barsOf(stepOf("s", [{ kind: "parity", result }])).parity).toMatchObject({
      ratio: 0.5,
      isMet: false,
      reason: "Different: bad.",
    });
  });

  test("kernels' tests are counted, and files with failures named", () => {
    const tests = (file: string, failed: number) => ({
      kind: "tests",
      result: { file, passed: 9, failed, skipped: 0, failures: [] },
    });
    expect(barsOf(stepOf("s", [tests("good", 0), tests("bad", 2)]))["kernel-tests"]).toMatchObject({
      ratio: 0.9,
      isMet: false,
      reason: "Failures in bad.",
    });
    expect(barsOf(stepOf("s", [tests("good", 0)]))["kernel-tests"]).toMatchObject({ ratio: 1, isMet: true });
  });

  test("without shader-f16 is compared case by case", () => {
    const plain = stepOf("s", [sweepLine(sweep("a", { 128: 10, 64: 10, 256: 10 }))]);
    const other = stepOf(
      "sweeps, vulkan_enable_f16_on_nvidia",
      [sweepLine(sweep("a", { 128: 8, 64: 8, 256: 8 }))],
      ["--dawn-toggle", "x"],
    );
    expect(barsOf(plain, other)["without-shader-f16-over-with"]).toMatchObject({ ratio: 0.8, isMet: false });
  });
});

test.each([
  ["a list", [], /expected an object/],
  ["another format", { format: 2 }, /expected format 1, got 2/],
  ["no steps", { format: 1 }, /expected a list steps/],
  ["a step without results", { format: 1, steps: [{ name: "x" }] }, /expected steps of/],
])("%s is not a session's file", (_, json, message) => {
  expect(() => parseSteps(json)).toThrow(message);
});

describe("refuses in one sentence", () => {
  test.each([
    ["a file that is not there", ["--judge", "/nonexistent.json"], 1, /nonexistent\.json cannot be read/],
    ["a budget of nothing", ["--budget", "0"], 2, /at least 10/],
  ])("%s", async (_, args, code, message) => {
    const { stdout, stderr, ending } = await adaptvis("gpu-session", ...args);
    expect({ stdout, ending }).toEqual({ stdout: "", ending: code });
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
  });
});
