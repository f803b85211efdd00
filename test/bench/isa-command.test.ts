// `adaptvis isa` and `explain --isa` as a user runs them: every kernel for every GPU, against the committed baseline.
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AbortError } from "../../src/errors.ts";
import { baselineText, parseBaseline } from "../../src/isa/baseline.ts";
import { compileJobs, missingCompiler } from "../../src/isa/compile-jobs.node.ts";
import type { IsaKernel, IsaReport } from "../../src/isa/lab.ts";
import type { PassIsa } from "../../src/isa/pass-isa.node.ts";
import { adaptvis, jsonOf, newFolder, ownLines, removeFolders, root } from "../cli/command.ts";

afterAll(removeFolders);

const missing = missingCompiler();
const committed = join(root, "tools", "isa", "baseline.json");
const keyOf = ({ kernel, weightDtype, constants }: IsaKernel) => JSON.stringify([kernel, weightDtype, constants]);

// reason: needs mesa-vulkan-drivers and mesa-drm-shim, which not every machine has
describe.skipIf(missing !== undefined)("where the packages are", () => {
  let folder: string;
  let report: IsaReport;
  let stdout: string;

  beforeAll(async () => {
    folder = await newFolder();
    const outputs = ["--report", join(folder, "isa.json"), "--html", join(folder, "isa.html")];
    const result = await adaptvis("isa", "--dtype", "f16", "q4", "--baseline", committed, ...outputs);
    expect({ ending: result.ending, errors: ownLines(result.stderr) }).toEqual({ ending: 0, errors: [] });
    report = JSON.parse(await readFile(join(folder, "isa.json"), "utf8"));
    stdout = result.stdout;
  }, 300_000);

  test("no kernel is worse than the baseline, none spills on any GPU", () => {
    expect(report.targets.map(({ target }) => target.name)).toEqual(["navi31", "navi21", "gfx1150", "vega10"]);
    for (const { kernels } of report.targets) {
      expect(kernels.length).toBeGreaterThan(40);
      const spilling = kernels.filter(({ statistics }) => statistics.spilledRegisters + statistics.scratchBytes > 0);
      expect(spilling.map(keyOf)).toEqual([]);
      expect(kernels.filter(({ loops }) => loops.length === 0).map(keyOf)).toEqual([]);
    }
  });

  test("the table has a line a pipeline, with what the columns mean in --help", async () => {
    const lines = stdout.split("\n");
    expect(lines[0]).toBe("navi31, RDNA 3, Radeon RX 7900 XTX");
    expect(lines[1]).toMatch(/^kernel +waves +registers +spills +LDS +instructions +hot loop +multiply-adds/);
    const numKernels = report.targets.reduce((sum, { kernels }) => sum + kernels.length, 0);
    expect(lines.filter((line) => /^[a-z].* \d+ {2,}\d+ {2,}0 {2,}\d+ /.test(line))).toHaveLength(numKernels);
    const help = (await adaptvis("isa", "--help")).stdout;
    expect(help).toMatch(/hot loop:.*nest:/s);
  });

  test("the page has a table and a plot for every GPU and loads nothing", async () => {
    const page = await readFile(join(folder, "isa.html"), "utf8");
    expect(page.match(/<svg/g)).toHaveLength(4);
    expect(page.match(/<table/g)).toHaveLength(4);
    expect(page).not.toMatch(/<script|(?:src|href)="http/);
  });

  const part = ["--target", "navi31", "--dtype", "f16", "--kernel", "attention-decode-split"];

  test("without robustness no kernel has more clamps, and some fewer", async () => {
    const result = jsonOf(await adaptvis("isa", "--json", "--no-robustness", ...part));
    expect(result).toMatchObject({ format: 1, isRobust: false, problems: [] });
    const { targets } = result as unknown as IsaReport;
    const clamps = new Map(report.targets[0]?.kernels.map((kernel) => [keyOf(kernel), Number(kernel.numClamps)]));
    const differences = targets.flatMap(({ kernels }) =>
      kernels.map((kernel) => Number(clamps.get(keyOf(kernel))) - Number(kernel.numClamps)),
    );
    expect(differences.length).toBeGreaterThan(0);
    expect(Math.min(...differences)).toBeGreaterThanOrEqual(0);
    const instructions = (kernels: readonly IsaKernel[] = []) =>
      kernels
        .filter(({ kernel }) => kernel.startsWith("attention-decode-split"))
        .reduce((sum, { statistics }) => sum + statistics.numInstructions, 0);
    expect(instructions(targets[0]?.kernels)).toBeLessThan(instructions(report.targets[0]?.kernels));
  });

  test("a kernel that is worse is exit code 1 and a sentence; another driver is a note", async () => {
    const baseline = parseBaseline(await readFile(committed, "utf8"), committed);
    const better = Object.fromEntries(
      Object.entries(baseline.targets.navi31 ?? {}).map(([name, entry]) => [name, { ...entry, waves: 99 }]),
    );
    const file = join(folder, "better.json");
    await writeFile(file, baselineText({ ...baseline, driver: report.driver, targets: { navi31: better } }));
    const worse = await adaptvis("isa", "--baseline", file, "--json", ...part);
    expect(worse.ending).toBe(1);
    expect(jsonOf(worse)).toMatchObject({
      error: { name: "InputError", message: expect.stringContaining("results are worse") },
      problems: expect.arrayContaining([expect.stringContaining("before 99")]),
    });
    expect(worse.stderr).toMatch(/^attention-decode-split-tiled \(EDIT\) on navi31: \d+ waves per SIMD, before 99\.$/m);
    expect(ownLines(worse.stderr)).toEqual([
      expect.stringMatching(/\d+ results are worse than .*better\.json \(above\): change the kernels/),
    ]);
    await writeFile(file, baselineText({ ...baseline, driver: "another", targets: { navi31: better } }));
    const other = await adaptvis("isa", "--baseline", file, ...part);
    expect(other.ending).toBe(0);
    expect(other.stderr).toMatch(/was written with another, this is radv.*: only spills and scratch are judged/);
  });

  test("a kernel that does not compile is named, with the line", async () => {
    const job = { name: "broken", code: "fn main() { nonsense }", constants: {} };
    const program = join(root, "dist", "cli.js");
    await expect(compileJobs([job], { target: "navi31", program })).rejects.toThrow(
      /^Compiling for navi31: pipeline 1 of 1 failed \(exit code 1; Kernel broken, line 1: .*nonsense/s,
    );
  });

  test("stopped, it is an AbortError; a driver that does not start is an error with what it printed", async () => {
    const program = join(root, "dist", "cli.js");
    await expect(compileJobs([], { target: "navi31", program, signal: AbortSignal.abort() })).rejects.toThrow(
      AbortError,
    );
    await expect(compileJobs([], { target: "navi31", program: join(folder, "none.js") })).rejects.toThrow(
      /^Compiling for navi31: the driver did not start \(exit code 1; .*Node\.js/s,
    );
  });

  const asked = ["explain", "--text-only", "--max-new-tokens", "1", "--pass", "1", "Where is it?"];

  test("explain --isa shows a pass's WGSL beside its instructions, of the kernels for GPUs", async () => {
    const { stdout: shown, ending } = await adaptvis(...asked, "--isa");
    expect(ending).toBe(0);
    expect(shown).toMatch(/^Pass 1 .*: prefill, layers\.0\.input_layernorm$/m);
    expect(shown).toMatch(/^Compiled for navi31 \(RDNA 3, Radeon RX 7900 XTX\) by radv: Mesa .*; not executed there$/m);
    expect(shown).toMatch(/^kernels +those for GPUs/m);
    expect(shown).toMatch(/^BB\d+–BB\d+ \(hot\) +0 +\d+ % /m);
    expect(shown).toMatch(/^│ {3}for \(var .* ‖ /m);
    expect(shown).toMatch(/ ‖ ┃ mul-add v_fmac_f32/m);
  });

  test("explain --isa with --json has both, for another GPU", async () => {
    const result = jsonOf(await adaptvis(...asked, "--isa", "gfx1150", "--json"));
    const { isa, kernels } = result as unknown as { isa: PassIsa; kernels: Record<string, { wgsl: string }> };
    expect(Object.values(kernels)).toEqual([expect.objectContaining({ wgsl: expect.stringContaining("fn main(") })]);
    expect(isa).toMatchObject({ target: { name: "gfx1150" }, isCompilerForm: true, isRobust: true });
    expect(isa.statistics.waves).toBeGreaterThan(0);
    expect(isa.blocks.some(({ isHot, instructions }) => isHot && instructions.length > 0)).toBe(true);
    expect(isa.wgslLines.some(({ depth }) => depth === 1)).toBe(true);
  });
});

// reason: only where the packages are missing
describe.skipIf(missing === undefined)("where the packages are missing", () => {
  test.each([
    ["isa", ["isa"]],
    ["explain --isa", ["explain", "--text-only", "--pass", "1", "--isa", "navi31", "Where is it?"]],
  ])("%s is exit code 1 and one sentence", async (_, args) => {
    const { stdout, stderr, ending } = await adaptvis(...args);
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 1 });
    expect(ownLines(stderr)).toEqual([expect.stringContaining(String(missing))]);
  });
});

describe("wrong usage is exit code 2 and one sentence", () => {
  const question = ["--text-only", "Where is it?"];
  test.each<[string, readonly string[], RegExp]>([
    ["an unknown GPU", ["isa", "--target", "gtx1080"], /'gtx1080' is invalid.*navi31, navi21, gfx1150, vega10/],
    ["an unknown dtype", ["isa", "--dtype", "q5"], /'q5' is invalid.*f32, f16/],
    ["an empty filter", ["isa", "--kernel", ""], /Expected non-empty text/],
    ["a kernel that does not exist", ["isa", "--kernel", "conv2d"], /--kernel conv2d: no kernel's name contains this/],
    ["an operand", ["isa", "matvec"], /too many arguments/],
    [
      "a baseline of a part",
      ["isa", "--write-baseline", "x.json", "--target", "navi31"],
      /--write-baseline writes every/,
    ],
    ["a baseline without clamps", ["isa", "--write-baseline", "x.json", "--no-robustness"], /omit .*--no-robustness/],
    ["one file for both outputs", ["isa", "--report", "x", "--html", "x"], /--html x would overwrite/],
    ["no pass", ["explain", "--isa", "navi31", ...question], /--isa shows the instructions of one pass.*--pass N/],
    ["a pass for an unknown GPU", ["explain", "--pass", "1", "--isa", "x", ...question], /'x' is invalid.*navi31/],
  ])("%s", async (_, args, message) => {
    const { stdout, stderr, ending } = await adaptvis(...args);
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 2 });
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
  });
});

describe("files that cannot be used are exit code 1 and one sentence", () => {
  test.each<[string, readonly string[], RegExp]>([
    ["a baseline that does not exist", ["--baseline", "none.json"], /--baseline none\.json cannot be read/],
    ["a baseline that is none", ["--baseline", "package.json"], /package\.json is not a baseline/],
    ["a report in no folder", ["--report", "none/isa.json"], /its folder does not exist/],
  ])("%s", async (_, args, message) => {
    const { stdout, stderr, ending } = await adaptvis("isa", ...args);
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 1 });
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
  });
});
