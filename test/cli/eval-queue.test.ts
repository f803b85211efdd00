// adaptvis eval --queue and adaptvis worker: four processes with a model each, two of which are killed.
import { type ChildProcess, spawn } from "node:child_process";
import { cp, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { adapterOfEnvironment } from "../setup/device.ts";
import { noRedis, type RedisServer, startRedis } from "../setup/redis-server.ts";
import type { ProgramResult } from "../setup/run-program.ts";
import { adaptvis, jsonOf, newFolder, ownLines, removeFolders, root, tinySpatial } from "./command.ts";

const DATA = join(tinySpatial, "benchmark", "test");
const NUM_QUESTIONS = 12;
const BROKEN = 5;
/** Four processes that compile their kernels at once may need a while, above all beside other tests. */
const SLOW = { timeout: 180_000 };

let server: RedisServer | undefined;
let folder = "";
/** A copy of the data in which a test may break a picture. */
let data = "";
const started: ChildProcess[] = [];

beforeAll(async () => {
  if (noRedis !== undefined) return;
  server = await startRedis();
  folder = await newFolder();
  data = join(folder, "data");
  await cp(DATA, data, { recursive: true, filter: (path) => !/(clevr|val2017|COCO|_B_)/.test(path) });
});
afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL");
});
afterAll(async () => {
  await server?.remove();
  await removeFolders();
});

interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<ProgramResult>;
  readonly stderr: () => string;
}

/** Starts the command itself, not a wrapper of it, so that a signal reaches it. */
function start(...args: readonly string[]): Started {
  const program = [join(root, "dist", "cli.js"), "--adapter", adapterOfEnvironment(), ...args];
  const child = spawn(process.execPath, program, { env: { ...process.env, NO_COLOR: "1" } });
  const output = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].setEncoding("utf8").on("data", (text: string) => {
      output[stream] += text;
    });
  }
  const ended = new Promise<ProgramResult>((resolve) => {
    child.on("close", (code, signal) => resolve({ ...output, ending: code ?? signal ?? 1 }));
  });
  started.push(child);
  return { child, ended, stderr: () => output.stderr };
}

/** Lines by question and method, without their times. */
async function linesOf(run: string): Promise<ReadonlyMap<string, object>> {
  const text = await readFile(join(run, "results.jsonl"), "utf8").catch(() => "");
  const lines = text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line) as Record<string, unknown>]));
  const entries = lines.map((line) => [`${line.doc_id} ${line.method}`, { ...line, time_ms: undefined }] as const);
  expect(new Set(entries.map(([key]) => key)).size, "a question is there once").toBe(entries.length);
  return new Map(entries.toSorted(([a], [b]) => a.localeCompare(b)));
}

/** The summary of --json, whatever the folder. */
function withoutPaths({ stdout }: ProgramResult): unknown {
  return JSON.parse(stdout.replaceAll(/"[^"]*\/(alone|queue)(\/[^"]*)?"/g, '"run"'));
}

test("four workers, two of them killed, give what one process gives", async (context) => {
  if (server === undefined) return context.skip(noRedis ?? "no redis-server");
  const { url } = server;
  const asked = [
    "eval",
    "--dataset",
    "Controlled_A",
    "--data-dir",
    data,
    "--split",
    "all",
    "--limit",
    `${NUM_QUESTIONS}`,
  ];
  const methods = ["--method", "greedy", "--method", "adaptvis:alpha1=0.5:alpha2=1.5:beta=1"];
  const alone = join(folder, "alone");
  const whole = await adaptvis(...asked, ...methods, "--out", alone, "--json");
  const expected = await linesOf(alone);
  expect(expected.size).toBe(2 * NUM_QUESTIONS);

  const rows: readonly { readonly image_path: string }[] = JSON.parse(
    await readFile(join(data, "Controlled_A_annotations.json"), "utf8"),
  );
  const picture = join(data, String(rows[BROKEN]?.image_path).replace(/^data\//, ""));
  const intact = await readFile(picture);
  await writeFile(picture, intact.subarray(0, 100));
  const out = join(folder, "queue");
  const running = start(...asked, ...methods, "--out", out, "--queue", url, "--json");
  const worker = ["worker", "--queue", url, "--claim-seconds", "4"];
  const [first, second, third, fourth] = [0, 1, 2, 3].map(() => start(...worker));
  if (!(first && second && third && fourth)) throw new Error("no workers");
  for (const [index, { child, ended, stderr }] of [first, second].entries()) {
    await expect.poll(stderr, SLOW).toContain("answering questions of run-");
    await expect.poll(async () => (await linesOf(out)).size, SLOW).toBeGreaterThan(2 * index);
    child.kill("SIGKILL");
    expect((await ended).ending).toBe("SIGKILL");
  }
  const partly = await running.ended;
  expect(partly.ending).toBe(1);
  expect(ownLines(partly.stderr).at(-1)).toMatch(
    /^adaptvis: 1 of 12 questions could not be answered: 5 \(.*\.jpeg.*\); the others are kept, and the same command asks these again\.$/,
  );
  expect(jsonOf(partly)).toMatchObject({ files: [{ n: NUM_QUESTIONS - 1 }], error: { name: "InputError" } });
  const others = [...expected].filter(([key]) => !key.startsWith(`${BROKEN} `));
  expect([...(await linesOf(out))]).toEqual(others);

  await writeFile(picture, intact);
  const again = await adaptvis(...asked, ...methods, "--out", out, "--queue", url, "--json");
  expect(again.stderr).toContain("11 of 12 questions are answered already");
  expect([...(await linesOf(out))]).toEqual([...expected]);
  expect(withoutPaths(again)).toEqual(withoutPaths(whole));
  let numAnswered = 0;
  for (const { child, ended } of [third, fourth]) {
    child.kill("SIGTERM");
    const { ending, stdout } = await ended;
    expect(ending).toBe(143);
    numAnswered += Number(/^(\d+) questions answered/.exec(stdout)?.[1]);
  }
  expect(numAnswered).toBeGreaterThan(NUM_QUESTIONS / 4);
}, 400_000);

test("a worker with another model, other data or another server does not begin", async (context) => {
  if (server === undefined) return context.skip(noRedis ?? "no redis-server");
  const { url } = server;
  const asked = ["eval", "--dataset", "Controlled_A", "--data-dir", data, "--split", "all", "--limit", "4"];
  const command = [...asked, "--method", "greedy", "--out", join(folder, "other"), "--queue", url];
  const waiting = start(...command);
  await expect.poll(waiting.stderr).toMatch(/4 questions are on redis:\S+ as run-/);
  const refusals: readonly (readonly [readonly string[], RegExp])[] = [
    [
      ["--dtype", "q8"],
      /run-\w+ is a run with dtype "f16" instead of "q8": give the worker the checkpoint, data and dtypes/,
    ],
    [["--kv", "q8"], /kvDtype "f32" instead of "q8"/],
    [["--model", join(root, "test", "golden", "tiny-llava")], /is a run with .*model "\w+" instead of/],
    [["--data-dir", join(root, "src")], /src of --data-dir has no file with Controlled_A's questions/],
    [
      ["--questions", join(DATA, "Controlled_B_questions.jsonl")],
      /Controlled_B_questions\.jsonl|questions "\w+" instead of/,
    ],
  ];
  const refused = refusals.map(async ([args, message]) => {
    const { ending, stderr } = await adaptvis("worker", "--queue", url, ...args);
    expect({ ending, said: ownLines(stderr).at(-1) }).toEqual({ ending: 1, said: expect.stringMatching(message) });
  });
  await Promise.all(refused);
  waiting.child.kill("SIGINT");
  const { ending, stderr } = await waiting.ended;
  expect({ ending, said: ownLines(stderr).at(-1) }).toEqual({ ending: 130, said: "adaptvis: stopped." });
});

test.each([["eval", "--dataset", "Controlled_A", "--data-dir", DATA, "--out", "never"], ["worker"]])(
  "%s without a server is one sentence",
  async (...command) => {
    const { ending, stderr } = await adaptvis(...command, "--queue", "redis://127.0.0.1:1");
    expect(ending).toBe(1);
    expect(ownLines(stderr).at(-1)).toMatch(/^adaptvis: redis:\/\/127\.0\.0\.1:1 of --queue cannot be used \(connect/);
  },
);

test.each([
  [["worker"], /--queue <url>' not specified/],
  [["worker", "--queue", "http://host"], /expected redis:\/\/host:port/],
  [["eval", "--queue", "localhost"], /expected redis:\/\/host:port/],
])("%j is wrong usage", async (args, message) => {
  const { ending, stderr } = await adaptvis(...args);
  expect(ending).toBe(2);
  expect(ownLines(stderr).at(-1)).toMatch(message);
});

test("worker --help", async () => {
  const { ending, stdout } = await adaptvis("worker", "--help");
  expect(ending).toBe(0);
  expect(stdout).toContain("Usage: adaptvis worker");
});
