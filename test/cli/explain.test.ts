// `adaptvis explain`: the passes of the answer that `ask` gives, one of them in full, and what it refuses.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { adaptvis, jsonOf, ownLines, root, tinySpatial } from "./command.ts";

const picture = join(tinySpatial, "demo", "ball_behind_robot.png");
const question = "Where is the ball in relation to the robot? Answer with left, right, front or behind.";
const asked = ["--image", picture, "--method", "adaptvis", question];

interface Pass {
  readonly index: number;
  readonly stage: string;
  readonly place: string;
  readonly kernel: string;
  readonly outputs: readonly { readonly label: string; readonly shape: readonly number[]; readonly picture?: object }[];
}

const FIELDS = [
  "kernel",
  "formula",
  "shapes",
  "work division",
  "grid",
  "error bound",
  "source",
  "workgroups",
  "GPU time",
  "constants",
  "params",
];

let report: Record<string, unknown>;
let passes: readonly Pass[];

beforeAll(async () => {
  const result = await adaptvis("explain", "--json", ...asked);
  expect(result.ending).toBe(0);
  report = jsonOf(result);
  passes = report.passes as readonly Pass[]; // checked below
});

test("--json has the answer of `ask`, every pass without pictures, and every kernel without source", async () => {
  const {
    heatmap: _,
    question: __,
    prompt,
    timings: ___,
    attention,
    ...answer
  } = jsonOf(await adaptvis("ask", "--json", "--max-new-tokens", "3", ...asked));
  expect(report).toMatchObject({ ...answer, prompt, question, numPasses: passes.length });
  expect(attention).not.toBeNull();
  expect(report.timings).toEqual({ loadMs: expect.any(Number), explainMs: expect.any(Number) });
  expect(passes.map(({ index }) => index)).toEqual(passes.map((_pass, index) => index));
  expect(passes.every(({ outputs }) => outputs.length > 0)).toBe(true);
  expect(passes.some(({ outputs }) => outputs.some((output) => "picture" in output))).toBe(false);
  const kernels = report.kernels as Record<string, object>;
  expect(Object.keys(kernels).sort()).toEqual([...new Set(passes.map(({ kernel }) => kernel))].sort());
  for (const kernel of Object.values(kernels)) {
    expect(kernel).toMatchObject({ header: { formula: expect.any(String), source: expect.any(String) } });
    expect(kernel).not.toHaveProperty("wgsl");
  }
});

test("the list has a line a pass and folds equal layers; --all-layers does not", async () => {
  const { stdout, stderr, ending } = await adaptvis("explain", ...asked);
  expect(ending).toBe(0);
  const lines = stdout.trimEnd().split("\n");
  expect(lines[0]).toMatch(/^pass +place +kernel +workgroups +GPU ms +output shape +output$/);
  const stages = lines.filter((line) => /^\D.*: \d+ pass(es)?(,|$)/.test(line)).map((line) => line.split(":")[0]);
  expect(stages).toEqual([...new Set(passes.map(({ stage }) => stage))]);
  expect(stdout).toMatch(/^\d+–\d+ +layers\.1 to 3 .* as layers\.0$/m);
  expect(stdout).toMatch(/^\d+ +vision\.layers\.0\.mlp\.fc1 .* through quick_gelu$/m);
  expect(stdout).toMatch(/in position 90 the scores of \d+ keys times 0\.5$/m);
  expect(stderr).toMatch(/^Answer: Behind$/m);
  expect(stderr).toMatch(/^AdaptVis: confidence .*factor 0\.5/m);
  const whole = await adaptvis("explain", "--all-layers", ...asked);
  const [list = "", compared = ""] = whole.stdout.split(/^AdaptVis beside the unedited passes: .*$/m);
  const indices = [...list.matchAll(/^(\d+) {2,}/gm)].map(([, index]) => Number(index));
  expect(indices).toEqual(passes.map(({ index }) => index));
  // Only the extra step differs, from the first attention on.
  const { changed } = report.comparison as { changed: readonly Pass[] };
  const step = passes.filter(({ stage }) => stage === "adaptvis step").slice(2);
  const last = passes.find(({ stage }) => stage === "choose token 0");
  expect(changed.map(({ index }) => index)).toEqual([...step, last].map((pass) => pass?.index));
  const rows = [...compared.matchAll(/^(\d+) {2,}/gm)].map(([, index]) => Number(index));
  expect(rows.slice(0, changed.length)).toEqual(changed.map(({ index }) => index));
  expect(stdout).toMatch(/^… and \d+ more in later layers \(--all-layers lists them\)$/m);
  expect(stdout).toMatch(/^Attention of row 90, the last prompt token, in layer 2, head 0$/m);
  expect(stdout).toMatch(
    /^On the image [\d.]+ % → [\d.]+ %, entropy there [\d.]+ → [\d.]+ bits; [\d.]+ % of the scores negative; factor 0\.5: /m,
  );
  expect(stdout).toMatch(/^\d+ +image 0 +([\d.-]+ +){2}[\d.]+ +[\d.]+ % +[\d.]+ %$/m);
});

describe("--pass", () => {
  test("tells all of one pass; --source its WGSL as the file has it", async () => {
    const chosen = passes.find(({ stage, place }) => stage === "adaptvis step" && place === "layers.0.mlp.down_proj");
    const { stdout, ending } = await adaptvis("explain", ...asked, "--pass", String(chosen?.index), "--source");
    expect(ending).toBe(0);
    const title = `Pass ${chosen?.index} (0 to ${passes.length - 1}): adaptvis step, layers.0.mlp.down_proj`;
    expect(stdout.split("\n")[0]).toBe(title);
    for (const label of FIELDS) expect(stdout).toMatch(new RegExp(`^${label} {2,}\\S`, "m"));
    expect(stdout).toMatch(/^input +read +\[1, 384\] +f32 +\d+ +decoder inner$/m);
    expect(stdout).toMatch(/^output +read-write +\[1, 128\] +f32 +\d+ +decoder hiddenStates$/m);
    expect(stdout).toMatch(
      /^Output decoder hiddenStates \[1, 128\] f32\n {2}min .*, max .*, mean .*, rms .*, 0 zeros/m,
    );
    expect(stdout).toMatch(/^ {2}[▁▂▃▄▅▆▇█]{64}$/m);
    const file = readFileSync(join(root, "shaders", `${chosen?.kernel}.wgsl`), "utf8");
    expect(stdout).toContain(file.slice(file.indexOf("@compute")).trimEnd());
  });

  test("with --json is that pass alone, with pictures; --source adds the WGSL", async () => {
    const result = jsonOf(await adaptvis("explain", "--json", ...asked, "--pass", "3", "--source"));
    expect(result.numPasses).toBe(passes.length);
    const [pass, ...others] = result.passes as readonly Pass[];
    expect(others).toEqual([]);
    expect(pass).toMatchObject({ index: 3, place: "vision.pre_layrnorm" });
    expect(pass?.outputs[0]).toMatchObject({ shape: [65, 128], picture: { width: 64, height: 64 } });
    expect(Object.entries(result.kernels as object)).toEqual([
      ["layer-norm", expect.objectContaining({ name: "layer-norm", wgsl: expect.stringContaining("fn main(") })],
    ]);
  });

  test("that the answer lacks is one sentence with exit code 2", async () => {
    const { stdout, stderr, ending } = await adaptvis("explain", ...asked, "--pass", "9999");
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 2 });
    const message = `adaptvis: --pass must be a whole number from 0 to ${passes.length - 1}, the passes of this answer, got 9999.`;
    expect(ownLines(stderr)).toEqual([message]);
  });
});

describe("refuses with exit code 2, before a model is loaded", () => {
  const none = ["--image", "none.png", "where?"];
  test.each<[string, readonly string[], RegExp]>([
    ["a pass that is not a number", ["--pass", "first", ...none], /'first' is invalid.*whole number of at least 0/],
    ["a negative pass", ["--pass", "-1", ...none], /'-1' is invalid/],
    ["a source of no pass", ["--source", ...none], /--source prints the WGSL of one pass: select it with --pass N/],
    ["all layers of one pass", ["--all-layers", "--pass", "1", ...none], /--all-layers .* omit one/],
    ["no question", ["--image", "none.png"], /The question is missing.* explain --image/],
    ["no picture", ["where?"], /The picture is missing/],
    ["a picture and none", ["--text-only", ...none], /--image and --text-only exclude each other/],
    ["a factor for AdaptVis", ["--method", "adaptvis", "--factor", "1", ...none], /cannot be combined with adaptvis/],
    [
      "a row that nothing changes",
      ["--head", "1", ...none],
      /--head is of the row that a method changed: give a --method/,
    ],
    ["no new tokens", ["--max-new-tokens", "0", ...none], /at least 1/],
  ])("%s", async (_, args, message) => {
    const { stdout, stderr, ending } = await adaptvis("explain", ...args);
    expect({ stdout, ending }).toEqual({ stdout: "", ending: 2 });
    expect(ownLines(stderr)).toEqual([expect.stringMatching(message)]);
  });
});

test("a layer that the model lacks is exit code 2, a picture that is not there exit code 1", async () => {
  const refused = await adaptvis("explain", ...asked, "--layers", "9");
  expect(refused.ending).toBe(2);
  expect(ownLines(refused.stderr)).toEqual([expect.stringMatching(/layers .* 0 to 3, got 9/)]);
  const missing = await adaptvis("explain", "--json", "--image", "none.png", "where?");
  expect(missing.ending).toBe(1);
  expect(jsonOf(missing)).toMatchObject({ error: { name: "InputError" } });
});
