// `--profile`: tables on stderr, fields in --json, a trace file that validates; a bad place is refused before the work.

import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { traceProblems } from "../setup/trace-format.ts";
import { adaptvis, jsonOf, type KnownPicture, knownPictures, newFolder, ownLines, removeFolders } from "./command.ts";

let picture: KnownPicture;
let folder: string;

beforeAll(async () => {
  const [first] = await knownPictures();
  if (first === undefined) throw new Error("the benchmark of weights/tiny-spatial has no pictures");
  picture = first;
  folder = await newFolder();
});

afterAll(removeFolders);

async function readTrace(file: string): Promise<readonly Record<string, unknown>[]> {
  const { traceEvents } = JSON.parse(await readFile(file, "utf8"));
  expect(traceProblems(traceEvents)).toEqual([]);
  return traceEvents;
}

test("ask --profile FILE prints tables on stderr, writes a trace, and answers the same", async () => {
  const file = join(folder, "ask.json");
  const { stdout, stderr, ending } = await adaptvis(
    "ask",
    "--profile",
    file,
    "--image",
    picture.path,
    picture.question,
  );
  expect({ stdout, ending }).toEqual({ stdout: `${picture.answer}\n`, ending: 0 });
  expect(stderr).toMatch(/^phase +times +wall ms +upload ms +uploaded$/m);
  expect(stderr).toMatch(/^load +1 +[\d.]+ +[\d.]+ +[\d.]+ MiB$/m);
  expect(stderr).toMatch(/^stage +submits +kernels +record +pipelines +encode +GPU +readback$/m);
  expect(stderr).toMatch(/^vision +1 +\d+( +\d+\.\d\d){5}$/m);
  expect(stderr).toMatch(/^choose +\d+ +\d+( +\d+\.\d\d){5}$/m);
  expect(stderr).toMatch(/^vision: matmul(-quad|-octet)? +\d+ +[\d.]+ +[\d.]+ +[\d.]+ +[\d.]+ % /m);
  expect(stderr).toContain(`Trace: ${file} (open it in ui.perfetto.dev`);
  const events = await readTrace(file);
  expect(events.filter(({ args }) => "gpuNs" in Object(args)).length).toBeGreaterThan(50);
});

test("--json has the report; a trace beside it has each kernel call", async () => {
  const file = join(folder, "sweep.json");
  const args = ["--image", picture.path, "--json", picture.question, "--profile"];
  const { profile, ...asked } = jsonOf(await adaptvis("ask", ...args));
  expect(asked).toMatchObject({ answer: picture.answer });
  const stage = { stage: "vision", numSubmits: 1, gpuMs: expect.any(Number), readbackMs: expect.any(Number) };
  expect(profile).toMatchObject({ file: null, hasGpuTimes: true, numMissing: 0, numClamped: 0 });
  expect(profile).toMatchObject({ stages: expect.arrayContaining([expect.objectContaining(stage)]) });

  const swept = jsonOf(await adaptvis("sweep", ...args, file, "--max-new-tokens", "2"));
  expect(swept.profile).toMatchObject({ file, phases: [{ phase: "load" }, { phase: "sweep", count: 1 }] });
  const { kernels } = Object(swept.profile);
  const numCalls = kernels.reduce((total: number, { count }: { count: number }) => total + count, 0);
  expect((await readTrace(file)).filter(({ args }) => "gpuNs" in Object(args))).toHaveLength(numCalls);
});

test("trace --profile as well", async () => {
  const [file, out] = [join(folder, "trace.json"), join(folder, "trace.safetensors")];
  const prompt = "USER: <image> What is in the picture? ASSISTANT:";
  const args = ["--image", picture.path, "--prompt", prompt, "--max-new-tokens", "2"];
  const { stdout, stderr, ending } = await adaptvis("trace", ...args, "--out", out, "--profile", file);
  expect({ stdout, ending }).toEqual({ stdout: `${out}\n`, ending: 0 });
  expect(stderr).toMatch(/^trace +1 /m);
  await readTrace(file);
});

test("a place that cannot be written ends the command before the work, with one sentence and exit code 1", async () => {
  const file = join(folder, "none", "profile.json");
  const { stdout, stderr, ending } = await adaptvis("ask", "--profile", file, "--image", picture.path, "where?");
  expect({ stdout, ending }).toEqual({ stdout: "", ending: 1 });
  expect(ownLines(stderr)).toEqual([
    `adaptvis: ${file} cannot be written: its folder does not exist; choose another place.`,
  ]);
  expect(stderr).not.toContain("running on");
});

test("a question is not taken for the file, nor a file that is written otherwise", async () => {
  const asked = await adaptvis("ask", "--image", picture.path, "--profile", "Where is it?");
  expect(asked).toMatchObject({ stdout: "", ending: 2 });
  expect(ownLines(asked.stderr)).toEqual([expect.stringMatching(/ends in \.json.*--profile after the question/)]);
  const file = join(folder, "same.json");
  const traced = await adaptvis("trace", "--out", file, "--prompt", "x", "--profile", file);
  expect(traced).toMatchObject({ stdout: "", ending: 2 });
  expect(ownLines(traced.stderr)).toEqual([expect.stringMatching(/would overwrite an input file/)]);
  expect(existsSync(file)).toBe(false);
});
