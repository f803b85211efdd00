// A fixed number of fuzzed inputs per kind, and every input that found something once. Longer runs: npm run fuzz.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bundleProgram, removePrograms, repositoryRoot } from "../setup/bundle.ts";
import { type DriverOptions, type Finding, fuzz } from "./driver.ts";

/** Inputs per kind: a few seconds of each on two idle cores. */
const NUM_INPUTS: Readonly<Record<string, number>> = {
  safetensors: 1000,
  config: 300,
  tokenizer: 500,
  templates: 500,
  pictures: 800,
  options: 50,
  http: 100,
  chat: 50,
};
const SEED = 1;
/** Far above what any input takes on a busy machine. */
const HANG_MS = 60_000;

/** A file of the corpus. */
interface CorpusFile {
  readonly kind: string;
  /** What went wrong with this input once. */
  readonly why: string;
  /** What it has to end in: "ok", or the name of the error. */
  readonly ending: string;
}

let options: DriverOptions;

beforeAll(async () => {
  process.env.FUZZ_ROOT = repositoryRoot;
  options = { worker: await bundleProgram("test/fuzz/worker.ts", "node"), hangMs: HANG_MS, maxFindings: 3 };
});

afterAll(removePrograms);

const kinds = Object.keys(NUM_INPUTS);
const folder = join(repositoryRoot, "test", "fuzz", "corpus");
const corpus = readdirSync(folder).map((name): CorpusFile & { readonly path: string } => {
  const path = join(folder, name);
  return { ...JSON.parse(readFileSync(path, "utf8")), path };
});

it("knows the kind of every corpus file", () => {
  expect(corpus.filter(({ kind }) => !kinds.includes(kind))).toEqual([]);
});

describe.each(kinds)("%s", (kind) => {
  it(`answers or refuses ${NUM_INPUTS[kind]} inputs`, async () => {
    const report = await fuzz({ kind, seed: SEED, start: 0, end: NUM_INPUTS[kind] ?? 0 }, options);
    expect(report.findings.map(shownFinding)).toEqual([]);
    // Inputs that are all refused, or all accepted, would try little.
    const { ok = 0 } = report.outcomes;
    expect(ok).toBeGreaterThan(report.inputs / 50);
    expect(ok).toBeLessThan(report.inputs * 0.9);
  });

  it("answers what once was found as expected", async () => {
    const files = corpus.filter((file) => file.kind === kind);
    const endings = new Map<string, string>();
    const onEnding = (index: number, outcome: string) => endings.set(files[index]?.path ?? "", outcome);
    const { findings } = await fuzz({ kind, cases: files.map(({ path }) => path), start: 0 }, { ...options, onEnding });
    expect(findings.map(shownFinding)).toEqual([]);
    expect(endings).toEqual(new Map(files.map(({ path, ending }) => [path, ending])));
  });
});

function shownFinding({ index, what, text, input }: Finding): string {
  return `${index}: ${what}: ${text.slice(0, 600)}\n${JSON.stringify(input).slice(0, 2000)}`;
}
