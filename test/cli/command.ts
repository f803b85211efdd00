// Runs the command as a checkout's user does, and makes the files its tests need.

import { spawn } from "node:child_process";
import { cp, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { adapterOfEnvironment } from "../setup/device.ts";
import { type ProgramResult, runProgram } from "../setup/run-program.ts";

/** The repository's root folder. */
export const root = fileURLToPath(new URL("../..", import.meta.url));

/** The embedded checkpoint. */
export const tinySpatial = join(root, "weights", "tiny-spatial");

/** A random checkpoint without tokenizer and what transformers computed on it. */
export const tinyLlava = join(root, "test", "golden", "tiny-llava");

/** Runs `adaptvis ARGS` on this test process's adapter. */
export function adaptvis(...args: readonly string[]): Promise<ProgramResult> {
  return runProgram(
    process.execPath,
    [join(root, "tools", "adaptvis.mjs"), "--adapter", adapterOfEnvironment(), ...args],
    {
      env: { NO_COLOR: "1", FORCE_COLOR: undefined },
    },
  );
}

/** Runs `adaptvis ARGS` as {@link adaptvis} does, with lines on its standard input. */
export function adaptvisWith(lines: readonly string[], ...args: readonly string[]): Promise<ProgramResult> {
  return runProgram(
    process.execPath,
    [join(root, "tools", "adaptvis.mjs"), "--adapter", adapterOfEnvironment(), ...args],
    {
      env: { NO_COLOR: "1", FORCE_COLOR: undefined },
      input: lines.map((line) => `${line}\n`).join(""),
    },
  );
}

/** Runs a program of ours and presses Ctrl-C in the middle of its work. @returns our own lines, and the exit code. */
export async function interrupted(program: string, args: readonly string[]) {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, NO_COLOR: "1" } });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    if (text.includes("running on")) setTimeout(() => child.kill("SIGINT"), 500);
  });
  // As a shell counts it: a command that a kernel's compilation keeps alive is ended by the signal itself.
  const code = await new Promise((resolve) => {
    child.on("close", (ended, signal) => resolve(ended ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
  return { lines: ownLines(stderr), code };
}

/** Our own lines of stderr: drivers print warnings of theirs there. */
export function ownLines(stderr: string): readonly string[] {
  return stderr
    .split("\n")
    .filter((line) => line.startsWith("adaptvis: ") && !line.startsWith("adaptvis: running on "));
}

/** The object that is all of stdout. */
export function jsonOf(result: ProgramResult): Record<string, unknown> {
  const value: unknown = JSON.parse(result.stdout);
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new Error(`no object: ${result.stdout}`);
  return { ...value };
}

/** A new folder; `removeFolders` removes them all. */
export async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-cli-"));
  folders.push(folder);
  return folder;
}

/** For a test file's afterAll. */
export async function removeFolders(): Promise<void> {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true, force: true });
}

const folders: string[] = [];

/** A picture with a mug, a left-hand relation and what it is about. */
export interface KnownPicture {
  readonly path: string;
  readonly file: string;
  readonly question: string;
  readonly answer: string;
}

/** Pictures of the embedded checkpoint's benchmark, one a relation where there is one. */
export async function knownPictures(): Promise<readonly KnownPicture[]> {
  const folder = join(tinySpatial, "benchmark", "test", "controlled_images");
  const files = (await readdir(folder)).sort();
  return ["left_of", "on", "under"].flatMap((relation) => {
    const file = files.find((name) => name.includes(`_${relation}_`));
    const [first, second] = file?.replace(".jpeg", "").split(`_${relation}_`) ?? [];
    if (file === undefined || first === undefined || second === undefined) return [];
    const question = `Where is the ${first} in relation to the ${second}? Answer with left, right, on or under.`;
    const answer = relation.replace("_of", "").replace(/^./, (letter) => letter.toUpperCase());
    return [{ path: join(folder, file), file, question, answer }];
  });
}

/** A copy of the embedded checkpoint that a test may spoil, with `files` written over it. */
export async function modelCopy(files: Readonly<Record<string, string | Uint8Array>> = {}): Promise<string> {
  const folder = join(await newFolder(), "model");
  await cp(tinySpatial, folder, { recursive: true, filter: (path) => !/[/\\](benchmark|demo)$/.test(path) });
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  return folder;
}
