// The command in Deno: what it does in Node, on Deno's own WebGPU, beside Node's numbers on the same driver.

import { copyFile, mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, describe, expect, test } from "vitest";
import { driverEnvironment } from "../../src/gpu/hosts/vulkan-drivers.node.ts";
import { interrupted, jsonOf, newFolder, ownLines, removeFolders, root, tinySpatial } from "../cli/command.ts";
import { largestError, readTensorFile } from "../setup/golden.ts";
import { PARITY } from "../setup/parity-bounds.ts";
import { type ProgramResult, runProgram } from "../setup/run-program.ts";
import { deno, denoExecutable, usableDrivers } from "./deno.ts";

const PICTURE = join(tinySpatial, "demo", "ball_behind_robot.png");
const QUESTION = "Where is the ball in relation to the robot? Answer with left, right, front or behind.";
const PROMPT = "USER: <image> Where is the ball? ASSISTANT:";
const CLI = join(root, "dist", "cli.js");

/** Deno finds no adapter: no driver of Vulkan's, and OpenGL is not asked. */
const NO_ADAPTER = {
  VK_ICD_FILENAMES: "/nonexistent/icd.json",
  VK_DRIVER_FILES: "/nonexistent/icd.json",
  DENO_WEBGPU_BACKEND: "vulkan",
};

/** The faster one; parity.test.ts runs an answer on both. */
const drivers = (await usableDrivers()).slice(-1);

afterAll(removeFolders);

/** `deno run -A dist/cli.js ARGS`. */
function inDeno(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<ProgramResult> {
  return deno(["run", "-A", "--no-prompt", "--no-remote", CLI, ...args], { env });
}

function inNode(args: readonly string[]): Promise<ProgramResult> {
  return runProgram(process.execPath, [CLI, ...args], { env: { NO_COLOR: "1" } });
}

describe.each(drivers)("on %s", (driver) => {
  const on = (...args: readonly string[]) => ["--adapter", driver, ...args];

  test("ask prints the answer alone on stdout, and the facts on stderr", async () => {
    const { stdout, stderr, ending } = await inDeno(on("ask", "--image", PICTURE, QUESTION));
    expect({ stdout, ending }).toEqual({ stdout: "Left\n", ending: 0 });
    const lines = stderr.trim().split("\n");
    expect(lines[0]).toMatch(
      driver === "lavapipe" ? /^adaptvis: running on lavapipe/ : /^adaptvis: running on SwiftShader/,
    );
    expect(lines).toHaveLength(5); // the driver's and Deno's own lines would come on top
  });

  test("AdaptVis chooses as in Node, and draws its heat map", async () => {
    const heatmap = join(await newFolder(), "looked.png");
    const ask = on("ask", "--image", PICTURE, "--method", "adaptvis", "--json", QUESTION);
    const [actual, expected] = [jsonOf(await inDeno([...ask, "--heatmap", heatmap])), jsonOf(await inNode(ask))];
    expect(actual).toMatchObject({ answer: "Behind", method: "adaptvis", factor: 0.5, confidence: 0.56, heatmap });
    const compared = ["answer", "confidence", "factor", "finishReason", "promptTokens", "imageSpan", "model"];
    for (const key of compared) expect(actual[key], key).toEqual(expected[key]);
    expect(idsOf(actual)).toEqual(idsOf(expected));
    expect(actual.adapter).toMatchObject({ kind: driver, isSoftware: true });
    expect(await sharp(heatmap).metadata()).toMatchObject({ format: "png", width: 3 * 336 + 2 * 16 + 2 * 24 });
  });

  test("trace writes Node's tensors, from a picture and from --inputs under a factor", async () => {
    const folder = await newFolder();
    const files = ["node.safetensors", "deno.safetensors", "again.safetensors"].map((name) => join(folder, name));
    const [fromNode = "", fromDeno = "", again = ""] = files;
    const trace = on("trace", "--image", PICTURE, "--prompt", PROMPT, "--factor", "0.5", "--max-new-tokens", "3");
    expect((await inNode([...trace, "--out", fromNode])).ending).toBe(0);
    expect(await inDeno([...trace, "--out", fromDeno])).toMatchObject({ stdout: `${fromDeno}\n`, ending: 0 });
    const repeat = on("trace", "--inputs", fromDeno, "--factor", "0.5", "--max-new-tokens", "3", "--out", again);
    expect((await inDeno(repeat)).ending).toBe(0);
    const expected = await readTensorFile("node.safetensors", folder);
    for (const name of ["deno.safetensors", "again.safetensors"]) {
      const actual = await readTensorFile(name, folder);
      expect([...actual.tensors.keys()]).toEqual([...expected.tensors.keys()]);
      expect(actual.ids("generated_ids")).toEqual(expected.ids("generated_ids"));
      for (const [tensor, { data }] of expected.tensors) {
        expect(largestError(actual.get(tensor).data, data), tensor).toBeLessThan(PARITY.logits);
      }
    }
  });

  test("doctor tells Deno's adapter", async () => {
    const { stdout, stderr, ending } = await inDeno(on("doctor", "--json"));
    expect({ stderr, ending }).toEqual({ stderr: "", ending: 0 });
    expect(JSON.parse(stdout)).toMatchObject({
      adapter: { kind: driver, isSoftware: true, features: { timestampQuery: true }, gaps: expect.any(Array) },
      host: { deno: expect.stringMatching(/^\d+\.\d+\.\d+$/), platform: process.platform },
    });
  });
});

describe("without an adapter: one sentence, exit code 1", () => {
  test.each([
    ["drivers that give none", [], /^adaptvis: Adapter "auto": Deno found no adapter .* choose "swiftshader"\.$/],
    [
      "no GPU",
      ["--adapter", "gpu"],
      /^adaptvis: Adapter "gpu": expected a GPU .* found no adapter; install the driver/,
    ],
  ])("%s", async (_, args, sentence) => {
    const { stdout, stderr, ending } = await inDeno([...args, "ask", "--image", PICTURE, QUESTION], NO_ADAPTER);
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 1 });
    expect(stderr.trimEnd()).toMatch(sentence);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  });

  test("no SwiftShader either: doctor says what to install", async () => {
    const program = await packageWithout("@sparticuz");
    const args = ["run", "-A", "--no-prompt", "--no-remote", program, "--adapter", "swiftshader", "doctor", "--json"];
    const { stdout, stderr, ending } = await deno(args, { env: NO_ADAPTER });
    const sentence =
      "SwiftShader's package @sparticuz/chromium is not installed; run npm install @sparticuz/chromium tar-fs, or install Mesa's Vulkan drivers, 23 or newer (Debian, Ubuntu, Fedora: mesa-vulkan-drivers).";
    expect({ stderr, ending }).toEqual({ stderr: `adaptvis: ${sentence}\n`, ending: 1 });
    expect(JSON.parse(stdout)).toMatchObject({
      error: { reason: "no-adapter", message: sentence, host: { deno: expect.any(String) } },
    });
  });
});

describe("SwiftShader", () => {
  test("is loaded on a machine without a Vulkan loader", async () => {
    const folder = await newFolder();
    await writeFile(join(folder, "libvulkan.so.1"), ""); // found first, and no library
    const { stdout, ending } = await inDeno(["--adapter", "swiftshader", "doctor"], { LD_LIBRARY_PATH: folder });
    expect({ stdout, ending }).toMatchObject({ stdout: expect.stringContaining("adapter SwiftShader"), ending: 0 });
  });

  test("is what auto takes when the user's variables name it", async () => {
    const { stdout } = await inDeno(["doctor"], { ...(await driverEnvironment("swiftshader")) });
    expect(stdout).toContain("adapter SwiftShader");
  });
});

describe("one sentence and its exit code", () => {
  test.each<readonly [what: string, args: readonly string[], ending: number, sentence: RegExp]>([
    ["a toggle of Dawn's", ["--dawn-toggle", "x", "doctor"], 2, /Deno's WebGPU is not Dawn/],
    ["an unknown option", ["ask", "--colour", "blue"], 2, /unknown option '--colour'/],
    ["no such picture", ["ask", "--image", "nope.png", QUESTION], 1, /nope\.png cannot be read: there is no such file/],
    ["no picture", ["ask", "--image", CLI, QUESTION], 1, /cli\.js is not a picture/],
    [
      "no such model",
      ["ask", "--model", "nope", "--image", PICTURE, QUESTION],
      1,
      /^adaptvis: nope does not exist, and is not an id on the hub: expected a folder/,
    ],
  ])("%s", async (_, args, ending, sentence) => {
    const result = await inDeno(args);
    expect(result).toMatchObject({ stdout: "", ending });
    expect(ownLines(result.stderr)).toEqual([expect.stringMatching(sentence)]);
  });

  test.each<readonly [permissions: readonly string[], sentence: RegExp]>([
    [[], /Requires read access to .* run again with the --allow-read flag, or with -A\.$/],
    [
      ["--allow-read", "--allow-env", "--allow-sys"],
      /sharp cannot be loaded: .*Requires ffi access .* --allow-ffi flag\.$/,
    ],
  ])("permissions %j do not do", async (permissions, sentence) => {
    const result = await deno(["run", "--no-prompt", ...permissions, CLI, "ask", "--image", PICTURE, QUESTION]);
    expect(result).toMatchObject({ stdout: "", ending: 1 });
    expect(ownLines(result.stderr)).toEqual([expect.stringMatching(sentence)]);
  });

  test("Ctrl-C stops it with exit code 130, and leaves nothing behind", async () => {
    const folder = await newFolder();
    const ask = ["--adapter", "swiftshader", "ask", "--image", PICTURE, "--ignore-eos", "--max-new-tokens", "900"];
    const command = ["run", "-A", "--no-prompt", CLI, ...ask, "--heatmap", join(folder, "looked.png"), QUESTION];
    expect(await interrupted(denoExecutable(), command)).toEqual({ lines: ["adaptvis: stopped."], code: 130 });
    expect(await readdir(folder)).toEqual([]);
  });
});

test("--help shows how Deno runs it", async () => {
  const { stdout, ending } = await inDeno(["ask", "--help"]);
  expect({ stdout, ending }).toMatchObject({
    stdout: expect.stringMatching(/\$ deno run -A \S*dist\/cli\.js ask /),
    ending: 0,
  });
});

function idsOf(report: Record<string, unknown>): readonly unknown[] {
  const { tokens } = report;
  return Array.isArray(tokens) ? tokens.map((token: { readonly id: number }) => token.id) : [];
}

/** The command in a folder whose node_modules lacks one package. @returns the program's path */
async function packageWithout(name: string): Promise<string> {
  const folder = await newFolder();
  await mkdir(join(folder, "dist"));
  await mkdir(join(folder, "node_modules"));
  await copyFile(CLI, join(folder, "dist", "cli.js"));
  await copyFile(join(root, "package.json"), join(folder, "package.json"));
  const names = (await readdir(join(root, "node_modules"))).filter((entry) => entry !== name && !entry.startsWith("."));
  for (const entry of names) await symlink(join(root, "node_modules", entry), join(folder, "node_modules", entry));
  return join(folder, "dist", "cli.js");
}
