// The bench's start: fresh processes in turns, with the driver's cache empty and filled, and what they report.
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import {
  type DriverCache,
  measureStart,
  START_PARTS,
  type StartFigures,
  type StartSample,
} from "../../src/bench/start.ts";
import { openStarter } from "../../src/bench/start-process.node.ts";
import { AbortError } from "../../src/errors.ts";
import { newFolder, removeFolders, root, tinySpatial } from "../cli/command.ts";
import { adapterOfEnvironment } from "../setup/device.ts";
import { runProgram } from "../setup/run-program.ts";

afterAll(removeFolders);

const sample = (ms: number): StartSample => ({
  imported: ms,
  device: ms + 1,
  loaded: ms + 2,
  compiled: ms + 3,
  firstToken: ms + 4,
  process: ms + 5,
});

test("one start fills the cache and does not count; then empty and filled take turns", async () => {
  const runs: (readonly [string, DriverCache])[] = [];
  const start = async (folder: string, cache: DriverCache) => {
    runs.push([folder, cache]);
    return sample(runs.length);
  };
  const figures = await measureStart("start/small", "small", { start, rounds: { rounds: 3, budgetMs: 1e6 } });
  expect(runs.map(([, cache]) => cache)).toEqual(["kept", "empty", "kept", "empty", "kept", "empty", "kept"]);
  expect(new Set(runs.map(([folder]) => folder))).toEqual(new Set(["small"]));
  expect(figures).toMatchObject({
    name: "start/small",
    first: { imported: { min: 2, median: 4, max: 6, numSamples: 3 }, process: { median: 9 } },
    repeat: { imported: { min: 3, median: 5, max: 7, numSamples: 3 }, firstToken: { median: 9 } },
  });
});

test("bench --only start/tiny-spatial measures each part in its order and writes table and JSON", async () => {
  const file = join(await newFolder(), "start.json");
  // Always on SwiftShader: without its cache, lavapipe takes several times as long.
  const command = [join(root, "tools", "adaptvis.mjs"), "--adapter", "swiftshader", "bench", "--quick"];
  const args = ["--only", "start/tiny-spatial", "--rounds", "1", "--json", file];
  const options = { env: { NO_COLOR: "1", FORCE_COLOR: undefined } };
  const { stdout, stderr, ending } = await runProgram(process.execPath, [...command, ...args], options);
  expect({ ending, errors: ending === 0 ? "" : stderr }).toEqual({ ending: 0, errors: "" });
  for (const title of ["modules loaded", "device open", "first token", "whole process"])
    expect(stdout).toContain(title);
  const report: { start: StartFigures[]; failures: unknown[]; models: unknown } = JSON.parse(
    await readFile(file, "utf8"),
  );
  expect(report).toMatchObject({ failures: [], models: null, start: [{ name: "start/tiny-spatial" }] });
  const [figures] = report.start;
  for (const state of ["first", "repeat"] as const) {
    const medians = START_PARTS.map((part) => figures?.[state][part].median ?? Number.NaN);
    const [imported, device, loaded, compiled, firstToken, whole] = medians;
    const inOrder = [0, imported, device, loaded, firstToken, whole];
    expect(inOrder).toEqual(inOrder.toSorted((a = 0, b = 0) => a - b));
    expect(compiled).toBeGreaterThan(device ?? Number.NaN);
    expect(figures?.[state].process.numSamples).toBe(1);
  }
}, 180_000);

/** A command that is a program of ours in place of dist/cli.js. */
async function starterOf(code: string, signal?: AbortSignal) {
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-start-test-"));
  const command = join(folder, "command.mjs");
  await writeFile(command, code);
  const starter = await openStarter({ command, options: ["--adapter", "x"], picture: "p", question: "q", signal });
  const close = async () => {
    await starter.close();
    await rm(folder, { recursive: true });
  };
  return { start: starter.start, close };
}

test("the driver's cache is a folder that is empty, or the same every time, and gone at the end", async () => {
  // Reports how many files it finds in its cache, and leaves one more.
  const { start, close } = await starterOf(`
    import { readdirSync, writeFileSync } from "node:fs";
    const folder = process.env.MESA_SHADER_CACHE_DIR;
    if (folder !== process.env.__GL_SHADER_DISK_CACHE_PATH) throw new Error("two folders");
    const numFiles = readdirSync(folder).length;
    writeFileSync(folder + "/" + numFiles, folder);
    if (process.argv.slice(2, 6).join(" ") !== "--adapter x --json ask") throw new Error(process.argv.join(" "));
    const start = { imported: numFiles, device: 1, loaded: 2, compiled: 3, firstToken: 4 };
    console.log(JSON.stringify({ timings: { start } }));
  `);
  const filesIn = async (cache: DriverCache) => (await start("model", cache)).imported;
  expect(await filesIn("kept")).toBe(0);
  expect(await filesIn("kept")).toBe(1);
  expect(await filesIn("empty")).toBe(0);
  expect(await filesIn("empty")).toBe(0);
  expect(await filesIn("kept")).toBe(2);
  await close();
});

test("a start that fails is told with its last words; one that reports nothing, and a command that is not there, too", async () => {
  const failing = await starterOf(`console.error("first\\nadaptvis: no such model."); process.exitCode = 1;`);
  await expect(failing.start("model", "kept")).rejects.toThrow(
    "A start of model ended with 1: adaptvis: no such model.",
  );
  await failing.close();
  const silent = await starterOf(`console.log('{"timings": {"start": {"imported": 1}}}');`);
  await expect(silent.start("model", "kept")).rejects.toThrow("lacks timings.start.device");
  await silent.close();
  const missing = await openStarter({ command: "/nowhere/cli.js", options: [], picture: "p", question: "q" });
  await expect(missing.start("model", "empty")).rejects.toThrow("/nowhere/cli.js does not exist");
  await missing.close();
});

test("a signal ends the process that runs", async () => {
  const controller = new AbortController();
  const { start, close } = await starterOf("setInterval(() => undefined, 1000);", controller.signal);
  setTimeout(() => controller.abort(), 300);
  await expect(start("model", "kept")).rejects.toThrow(AbortError);
  await close();
});

test("the command itself reports its start, and a model that is not there", async () => {
  const command = join(root, "dist", "cli.js");
  expect(existsSync(command)).toBe(true); // built by the runs above
  const starter = await openStarter({
    command,
    options: ["--adapter", adapterOfEnvironment()],
    picture: join(tinySpatial, "demo", "ball_behind_robot.png"),
    question: "Where is the ball?",
  });
  await expect(starter.start(join(root, "no-model"), "kept")).rejects.toThrow("does not exist");
  await starter.close();
});
