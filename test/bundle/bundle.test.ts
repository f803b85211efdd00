// tools/bundle: the archive's size and contents, and that it runs the bench and the command out of an empty folder, with nothing
// in its environment but PATH and a Vulkan driver.
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { driverEnvironment } from "../../src/gpu/hosts/vulkan-drivers.node.ts";
import { repositoryRoot } from "../setup/bundle.ts";
import { type ProgramResult, runProgram } from "../setup/run-program.ts";

const make = join(repositoryRoot, "tools", "bundle", "make.mjs");
// Newer Nodes are larger: with sharp they fit at the default level, which takes a minute, but not at the test's.
const hasPictures = Number(process.versions.node.split(".")[0]) <= 20;
const lacks = whatIsLacking();

let scratch: string;
let driver: string;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "adaptvis-bundle-test-"));
});

afterAll(async () => {
  await rm(scratch, { recursive: true, force: true });
});

// reason: the bundle holds native programs for one platform, an official Node among them, and is packed by xz
describe.skipIf(lacks !== undefined)(`the bundle${lacks === undefined ? "" : ` (skipped: ${lacks})`}`, () => {
  let made: ProgramResult;
  let folder: string;

  beforeAll(async () => {
    const archive = join(scratch, "bundle.tar.xz");
    // A low level, for time; what is smaller at this one is smaller at the default.
    const args = ["--level", "2", "--out", archive, ...(hasPictures ? [] : ["--without-pictures"])];
    made = await runProgram(process.execPath, [make, ...args]);
    if (made.ending !== 0) throw new Error(`The bundle was not made: ${made.stderr}`);
    expect((await stat(archive)).size).toBeLessThan(40 * 2 ** 20);
    const unpacked = await runProgram("tar", ["-xvJf", archive, "-C", scratch]);
    expect(unpacked).toMatchObject({ ending: 0, stderr: "" });
    const { version } = JSON.parse(await readFile(join(repositoryRoot, "package.json"), "utf8"));
    const name = `adaptvis-${version}-linux-x64`;
    // All in one folder: an entry for "." would change the mode of the folder that root unpacks it in.
    expect(unpacked.stdout.trim().split("\n")).not.toContainEqual(expect.not.stringContaining(name));
    folder = join(scratch, name);
    driver = (await driverEnvironment("swiftshader")).VK_DRIVER_FILES;
  });

  /** Runs a program of the bundle in the scratch folder with the environment of a bare machine that has a driver. */
  function run(name: string, ...args: readonly string[]): Promise<ProgramResult> {
    const variables = ["PATH=/usr/bin:/bin", `HOME=${scratch}`, `VK_DRIVER_FILES=${driver}`];
    return runProgram("env", ["-i", "-C", scratch, ...variables, join(folder, name), ...args]);
  }

  test("tells what it holds: Node, Dawn, engine, kernels, weights, licences", async () => {
    for (const part of ["bin", "app/dist", "app/node_modules", "app/shaders", "app/weights", "lib", "LICENSES.txt"]) {
      expect(made.stdout).toMatch(new RegExp(` MiB  ${part}\n`));
    }
    const licences = await readFile(join(folder, "LICENSES.txt"), "utf8");
    for (const name of ["adaptvis", "Node v", "Vulkan-Loader", "webgpu ", "vega ", "commander ", "@vitest/runner "]) {
      expect(licences).toContain(`==== ${name}`);
    }
    for (const file of ["app/shaders/matmul.wgsl", "app/weights/tiny-spatial/model.safetensors", "README.txt"]) {
      expect((await stat(join(folder, file))).size).toBeGreaterThan(0);
    }
    await expect(stat(join(folder, "app/weights/tiny-spatial/benchmark"))).rejects.toThrow("ENOENT");
  });

  test("run-bench --list names the parts", async () => {
    const { stdout, ending } = await run("run-bench", "--list");
    expect({ ending, lines: stdout.split("\n") }).toMatchObject({
      ending: 0,
      lines: expect.arrayContaining(["roofline", "models/llava-110m"]),
    });
  });

  test("run-bench measures, writes its reports, and hands Dawn's toggles on", async () => {
    const files = ["--json", "out.json", "--html", "out.html"];
    // This toggle shows in the adapter's features.
    const toggle = ["--dawn-toggle", "allow_unsafe_apis"];
    const { ending, stderr } = await run("run-bench", "--only", "roofline", "--quick", ...toggle, ...files);
    expect({ ending, errors: ending === 0 ? "" : stderr }).toEqual({ ending: 0, errors: "" });
    expect(JSON.parse(await readFile(join(scratch, "out.json"), "utf8"))).toMatchObject({
      stamp: {
        versions: { "webgpu (Dawn)": expect.stringMatching(/^\d/) },
        adapter: { kind: "swiftshader", features: expect.arrayContaining([expect.stringMatching(/^chromium-/)]) },
        options: { dawnToggles: ["allow_unsafe_apis"] },
      },
      roofline: { fma: { rate: { median: expect.any(Number) } } },
    });
    expect(await readFile(join(scratch, "out.html"), "utf8")).toContain("</html>");
  });

  test("run-adaptvis runs the command", async () => {
    const doctor = await run("run-adaptvis", "doctor", "--json");
    expect(JSON.parse(doctor.stdout)).toMatchObject({ adapter: { kind: "swiftshader" } });
  });

  test("decodes and draws a picture, or says in one sentence why not", async () => {
    const picture = join(repositoryRoot, "weights/tiny-spatial/demo/mug_left_of_dog.jpeg");
    const question = "Where is the mug in relation to the dog? Answer with left, right, on or under.";
    const ask = await run("run-adaptvis", "ask", "--image", picture, question, "--json", "--heatmap", "map.png");
    if (hasPictures) {
      expect(JSON.parse(ask.stdout)).toMatchObject({ answer: "Left" });
      expect((await stat(join(scratch, "map.png"))).size).toBeGreaterThan(1000);
    } else {
      expect(ask.ending).toBe(1);
      expect(JSON.parse(ask.stdout)).toMatchObject({ error: { message: expect.stringMatching(/^No picture is/) } });
    }
  });

  test("run-gpu-session runs every step within its time and merges what they found", async () => {
    const budget = ["--budget", "14", "--out", "session", "--json"];
    const { ending, stdout, stderr } = await run("run-gpu-session", "--any-adapter", ...budget);
    expect({ ending, errors: ending === 0 ? "" : stderr }).toEqual({ ending: 0, errors: "" });
    const { file } = JSON.parse(stdout);
    const session = JSON.parse(await readFile(join(scratch, file), "utf8"));
    expect(session).toMatchObject({
      format: 1,
      doctor: { adapter: { kind: "swiftshader" } },
      bars: expect.arrayContaining([expect.objectContaining({ name: "decode-7b-f16-share-of-read" })]),
    });
    const steps: readonly { readonly name: string; readonly ending: string; readonly message: string }[] =
      session.steps;
    expect(steps.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["kernel tests", "roofline", "7B slice, q4", "sweeps, disable_robustness"]),
    );
    // What does not end in time is stopped; nothing fails or crashes, and only peers are missing.
    expect(steps.filter(({ ending: how }) => how === "failed" || how === "crashed")).toEqual([]);
    expect(steps.find(({ name }) => name === "peers")).toMatchObject({ ending: "left out" });
    expect(await readFile(join(scratch, "session", "log.txt"), "utf8")).toContain("== --adapter auto doctor --json");
  });

  test("the kernels' tests run without vitest", async () => {
    const kernelTests = join(folder, "app", "dist", "kernel-tests.mjs");
    const args = [kernelTests, "--adapter", "auto", "--only", "add-rows", "tests.jsonl"];
    const { ending, stderr } = await run("bin/node", ...args);
    expect({ ending, errors: ending === 0 ? "" : stderr }).toEqual({ ending: 0, errors: "" });
    const line = JSON.parse(await readFile(join(scratch, "tests.jsonl"), "utf8"));
    expect(line).toMatchObject({ kind: "tests", result: { file: "test/kernels/add-rows.test.ts", failed: 0 } });
    expect(line.result.passed).toBeGreaterThan(0);
  });

  test("run-gpu-session without a GPU says what is missing", async () => {
    const variables = ["PATH=/usr/bin:/bin", `HOME=${scratch}`, "VK_DRIVER_FILES=/nonexistent.json"];
    const args = ["-i", "-C", scratch, ...variables, join(folder, "run-gpu-session"), "--out", "no-session"];
    const { ending, stderr, stdout } = await runProgram("env", args);
    expect({ ending, stdout }).toEqual({ ending: 1, stdout: "" });
    expect(stderr.trim().split("\n").at(-1)).toMatch(/^adaptvis: Adapter "gpu": expected a GPU .*NVIDIA/);
  });

  test("a toggle that Dawn does not have: exit code 2 and one sentence", async () => {
    const { ending, stderr } = await run("run-bench", "--dawn-toggle", "vulkan_enable_f17_on_nvidia");
    expect(ending).toBe(2);
    expect(stderr).toMatch(/^adaptvis: Dawn toggle "vulkan_enable_f17_on_nvidia": this Dawn has none such; [^\n]*\n$/);
  });
});

describe("make refuses in one sentence", () => {
  test.each([
    ["a level that is none", ["--level", "best"], 2, /--level best: expected a digit/],
    ["an unknown option", ["--tiny"], 2, /Unknown option '--tiny'/],
    [
      "peers beside an archive of another name",
      ["--peers", "--out", "x.zip"],
      2,
      /--out x\.zip: with --peers it must end/,
    ],
    ["a Node that is not there", ["--node", "/nonexistent/node"], 1, /\/nonexistent\/node is no Node that runs here/],
  ])("%s", async (_, args, code, message) => {
    const out = join(scratch, "refused.tar.xz");
    const { stdout, stderr, ending } = await runProgram(process.execPath, [make, "--out", out, ...args]);
    expect({ stdout, ending }).toEqual({ stdout: "", ending: code });
    expect(stderr.trim().split("\n")).toEqual([expect.stringMatching(message)]);
    await expect(stat(out)).rejects.toThrow("ENOENT");
  });
});

/** Why no bundle can be made here, undefined where one can. */
function whatIsLacking(): string | undefined {
  if (process.platform !== "linux" || process.arch !== "x64") return "it is for linux x64";
  const tool = ["xz", "tar"].find((name) => spawnSync(name, ["--version"], { stdio: "ignore" }).status !== 0);
  if (tool !== undefined) return `${tool} is not installed`;
  // A distribution's Node often links to libraries of its own, and then make refuses it.
  const module = join(repositoryRoot, "tools", "bundle", "node-binary.mjs");
  const probe = `const { inspectNode } = await import(${JSON.stringify(module)});
    try { inspectNode(process.execPath, { least: "20" }); } catch (error) { process.stdout.write(error.message); }`;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", probe], { encoding: "utf8" });
  return stdout === "" ? undefined : stdout;
}
