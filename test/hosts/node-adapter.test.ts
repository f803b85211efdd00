// The adapter on any machine. Each case is a process of its own: drivers stay loaded, and how a process ends is part of the case.

import { chmod, cp, mkdir, mkdtemp, readdir, rm, stat, symlink, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { driverEnvironment } from "../../src/gpu/hosts/vulkan-drivers.node.ts";
import { bundleProgram, removePrograms, repositoryRoot } from "../setup/bundle.ts";
import { type ProgramResult, runProgram } from "../setup/run-program.ts";

/** Makes the Vulkan loader find no driver of the system's. */
const noDrivers = { VK_ICD_FILENAMES: "/nonexistent/icd.json", VK_DRIVER_FILES: "/nonexistent/icd.json" };

const swiftShaderOutput = { kind: "swiftshader", isSoftware: true, wrongSums: 0, environmentKept: true };

let program: string;
let scratch: string;

beforeAll(async () => {
  program = await bundleProgram("test/hosts/add-arrays.node.ts", "node");
  scratch = await mkdtemp(join(tmpdir(), "adaptvis-adapter-"));
});

afterAll(async () => {
  await removePrograms();
  await rm(scratch, { recursive: true, force: true });
});

/** Runs the program; it must end by itself and well, with nothing but one JSON object on stdout. */
async function outputOf(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>> = {},
  path = program,
) {
  const result = await runProgram(process.execPath, [path, ...args], { env });
  return parse(result);
}

function parse({ ending, stdout, stderr }: ProgramResult): Record<string, unknown> {
  if (ending !== 0) throw new Error(`The program ended with ${ending}:\n${stderr}`);
  const value: unknown = JSON.parse(stdout);
  return { ...(value instanceof Object ? value : { value }) };
}

describe("openNodeAdapter", () => {
  test("swiftshader computes, and leaves the environment as it was", async () => {
    expect(await outputOf(["swiftshader"])).toMatchObject(swiftShaderOutput);
  });

  test("lavapipe computes where the system has one, and says what to install where not", async (context) => {
    const output = await outputOf(["lavapipe"]);
    if ("reason" in output) {
      expect(output).toMatchObject({ reason: "no-adapter", message: expect.stringMatching(/Mesa/) });
      context.skip("no lavapipe on this machine that Dawn accepts");
    }
    expect(output).toMatchObject({ kind: "lavapipe", isSoftware: true, wrongSums: 0, environmentKept: true });
  });

  test("auto takes SwiftShader where the system has no driver", async () => {
    expect(await outputOf(["auto"], noDrivers)).toMatchObject(swiftShaderOutput);
  });

  test("auto takes what the user's Vulkan variables name", async () => {
    expect(await outputOf(["auto"], { ...(await driverEnvironment("swiftshader")) })).toMatchObject(swiftShaderOutput);
  });

  test("gpu is refused where there is none", async () => {
    expect(await outputOf(["gpu"], noDrivers)).toMatchObject({
      reason: "no-adapter",
      message: expect.stringMatching(/expected a GPU .* found no adapter/),
    });
  });

  test("a process ends by itself and without a crash, 20 times out of 20", async () => {
    for (let run = 0; run < 20; run++) expect(await outputOf(["swiftshader"])).toMatchObject(swiftShaderOutput);
  });

  test("a worker thread is told the variables to start its program with, and works with them", async () => {
    const variables = await driverEnvironment("swiftshader");
    const refused = await outputOf(["swiftshader", "worker"], noDrivers);
    expect(refused).toMatchObject({ reason: "no-adapter" });
    for (const [name, value] of Object.entries(variables)) expect(refused.message).toContain(`${name}=${value}`);
    expect(await outputOf(["swiftshader", "worker"], { ...variables })).toMatchObject(swiftShaderOutput);
  });
});

describe("unpacking SwiftShader", () => {
  test("three processes at once fill one cache folder and leave nothing else", async () => {
    const cache = join(scratch, "cache");
    const outputs = await Promise.all([1, 2, 3].map(() => outputOf(["swiftshader"], { XDG_CACHE_HOME: cache })));
    for (const output of outputs) expect(output).toMatchObject(swiftShaderOutput);
    const names = await readdir(join(cache, "adaptvis"));
    expect(names).toEqual([expect.stringMatching(/^swiftshader-\d+\.\d+\.\d+$/)]);
    const folder = join(cache, "adaptvis", names.join());
    expect((await readdir(folder)).sort()).toEqual([
      ".contents.json",
      "libvk_swiftshader.so",
      "libvulkan.so.1",
      "vk_swiftshader_icd.json",
    ]);
    // A process that is loading a shortened library dies by SIGBUS.
    const { size } = await stat(join(folder, "libvk_swiftshader.so"));
    await truncate(join(folder, "libvk_swiftshader.so"), 4096);
    expect(await outputOf(["swiftshader"], { XDG_CACHE_HOME: cache })).toMatchObject(swiftShaderOutput);
    expect((await stat(join(folder, "libvk_swiftshader.so"))).size).toBe(size);
    await rm(folder, { recursive: true });
    await mkdir(folder); // as a cleaner of old files leaves it
    expect(await outputOf(["swiftshader"], { XDG_CACHE_HOME: cache })).toMatchObject(swiftShaderOutput);
  });

  test("does not use a folder that others can write to, or that a link of theirs points to", async () => {
    const temporary = join(scratch, "shared");
    const trap = join(scratch, "trap");
    for (const folder of [temporary, trap]) await mkdir(folder);
    await chmod(trap, 0o777);
    await symlink(trap, join(temporary, `adaptvis-${process.getuid?.()}`));
    const output = await outputOf(["swiftshader"], { XDG_CACHE_HOME: join(program, "no"), TMPDIR: temporary });
    expect(output).toMatchObject(swiftShaderOutput);
    expect(await readdir(trap)).toEqual([]);
    expect(await readdir(temporary)).toHaveLength(1); // what it used instead is gone
  });

  test("says which folders it tried where none can be written to", async () => {
    const output = await outputOf(["swiftshader"], {
      XDG_CACHE_HOME: join(program, "no"),
      TMPDIR: "/proc",
      HOME: "/proc",
    });
    expect(output).toMatchObject({
      reason: "no-adapter",
      message: expect.stringMatching(
        /no folder can be written among .*\(ENOTDIR\), .*\/proc \(ENOENT\); set XDG_CACHE_HOME/,
      ),
    });
  });

  test("goes to the temporary folder where the home cannot be written to", async () => {
    const folder = join(scratch, "tmp");
    await mkdir(folder);
    const output = await outputOf(["swiftshader"], { XDG_CACHE_HOME: join(program, "not-a-folder"), TMPDIR: folder });
    expect(output).toMatchObject(swiftShaderOutput);
    expect(await readdir(folder)).toEqual([expect.stringMatching(/^adaptvis-\d+$/)]);
  });

  test("without the optional package the error says so", async () => {
    const folder = join(scratch, "without-optional");
    await mkdir(join(folder, "node_modules"), { recursive: true });
    await symlink(join(repositoryRoot, "node_modules", "webgpu"), join(folder, "node_modules", "webgpu"));
    await cp(program, join(folder, "program.mjs"));
    const output = await outputOf(["auto"], noDrivers, join(folder, "program.mjs"));
    expect(output).toMatchObject({
      reason: "no-adapter",
      message: expect.stringContaining("@sparticuz/chromium is not installed"),
    });
  });
});
