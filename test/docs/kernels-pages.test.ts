// The pages of the kernels: complete, and true to the sources that they show.

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ENTRIES, GROUPS } from "../../tools/docs/kernels/groups.mjs";
import { kernelSidebar, writeKernelPages } from "../../tools/docs/kernels/make.mjs";
import { formulaOwner, readText, twinFile } from "../../tools/docs/kernels/sources.mjs";
import { BOUNDS } from "../setup/bounds.ts";
import { repositoryRoot } from "../setup/bundle.ts";

const folder = mkdtempSync(join(tmpdir(), "kernel-pages-"));
const kernels = readdirSync(join(repositoryRoot, "shaders"))
  .filter((file) => file.endsWith(".wgsl"))
  .map((file) => file.replace(/\.wgsl$/, ""));
const formulas: Readonly<Record<string, { readonly tex: string; readonly where: string }>> = JSON.parse(
  readText("tools/docs/kernels/formulas.json"),
);
const pageOf = (name: string) => readFileSync(join(folder, "kernels", `${name}.md`), "utf8");
let files: readonly string[] = [];

beforeAll(async () => {
  files = await writeKernelPages(folder);
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("every shader has a page, a place in the list, and a script for its live run", () => {
  const names = [...kernels, "index", "shared"];
  expect(files.toSorted()).toEqual(names.map((name) => `kernels/${name}.md`).toSorted());
  expect(GROUPS.flatMap((group) => Object.keys(group.kernels)).toSorted()).toEqual(kernels.toSorted());
  const listed = JSON.stringify(kernelSidebar());
  for (const name of kernels) expect(listed).toContain(`"/kernels/${name}"`);
  const scripts = readdirSync(join(folder, "public", "kernels-live"));
  for (const name of kernels) expect(scripts.filter((file) => file.startsWith(`${name}.test-`))).toHaveLength(1);
});

test("every kernel has a formula, its own or that of the kernel its header names, and every formula a kernel", () => {
  const owners = new Set(kernels.map(formulaOwner));
  expect(Object.keys(formulas).toSorted()).toEqual([...owners].toSorted());
  for (const [name, { tex, where }] of Object.entries(formulas)) {
    const count = (pattern: RegExp) => (tex + where).match(pattern)?.length ?? 0;
    expect(count(/(?<!\\)\{/g), `${name}: braces`).toBe(count(/(?<!\\)\}/g));
    expect(count(/\\left\b/g), `${name}: \\left and \\right`).toBe(count(/\\right\b/g));
    expect(count(/\\begin/g), `${name}: environments`).toBe(count(/\\end/g));
  }
  for (const name of kernels) expect(pageOf(name)).toContain(`$$\n${formulas[formulaOwner(name)]?.tex}\n$$`);
});

test("a page has the shader and the twin as they are", () => {
  for (const name of kernels) {
    expect(pageOf(name)).toContain(`\`\`\`wgsl\n${readText(`shaders/${name}.wgsl`).trim()}\n\`\`\``);
    expect(pageOf(name)).toContain(`\`\`\`ts\n${readText(twinFile(name)).trim()}\n\`\`\``);
  }
  expect(twinFile("gated-matvec-reduce")).toBe("test/reference/gated-matvec.ts");
  expect(twinFile("attention-decode-split-tiled")).toBe("test/reference/attention-decode-split-tiled.ts");
});

test("links lead to pages and to sections that are there", () => {
  for (const file of files) {
    const text = readFileSync(join(folder, file), "utf8");
    const links = [...text.replace(/^```.*?^```$/gms, "").matchAll(/\]\((\.\/[^)]+)\)/g)].map(([, to]) => String(to));
    for (const to of links) {
      const [path = "", anchor] = to.split("#");
      const target = join(folder, "kernels", path);
      expect(existsSync(target), `${file}: ${to}`).toBe(true);
      if (anchor !== undefined) expect(readFileSync(target, "utf8"), `${file}: ${to}`).toContain(`{#${anchor}}`);
    }
    // Anchors that the text names itself must not be named twice.
    const anchors = [...text.matchAll(/\{#([\w-]+)\}$/gm)].map(([, anchor]) => anchor);
    expect(new Set(anchors).size, file).toBe(anchors.length);
  }
});

test("the shared functions that a kernel appends are named", () => {
  expect(pageOf("rms-norm")).not.toContain("shared/");
  const matvec = pageOf("matvec");
  expect(matvec).toContain("- [shared/linear](./shared.md#linear)\n");
  expect(matvec).toMatch(/- \[shared\/weight-f32\]\(\.\/shared\.md#weight-f32\): weights in f32\n/);
  for (const part of readdirSync(join(repositoryRoot, "shaders", "shared"))) {
    expect(pageOf("shared"), part).toContain(`{#${part.replace(/\.wgsl$/, "")}}`);
  }
  expect(pageOf("shared")).not.toContain("Appended to .");
});

test("a page names the passes that run its kernel", () => {
  expect(pageOf("rms-norm")).toContain("It runs in the prefill and decode steps.");
  expect(pageOf("matmul-octet")).toContain("on CPU adapters with subgroups of eight threads.");
  expect(pageOf("gated-matvec-subgroup")).toContain("- step: `layers.mlp.gate_up_proj`");
  // Those that a plain question does not run say when they do.
  const recorded = kernels.filter((name) => /named as in `adaptvis explain`/.test(pageOf(name)));
  for (const name of kernels) expect(recorded.includes(name), name).toBe(ENTRIES.get(name)?.where === undefined);
});

test("the bounds of a page are those that the kernel's test uses", () => {
  for (const [name, { bounds }] of ENTRIES) {
    const own = readText(`test/kernels/${name}.test.ts`);
    const cases = [...own.matchAll(/"\.\/([\w-]+-cases)\.ts"/g)].map(([, file]) => readText(`test/kernels/${file}.ts`));
    const all = [own, ...cases].join("\n") + (cases.length > 0 ? readText("test/kernels/attention-cases.ts") : "");
    for (const bound of bounds) {
      expect(all, `${name}: ${bound}`).toContain(bound === "linear" ? "linearBound" : `BOUNDS.${bound}`);
    }
    for (const bound of Object.keys(BOUNDS)) {
      if (own.includes(`BOUNDS.${bound}`)) expect(bounds, name).toContain(bound);
    }
  }
});

test("figures of the compile lab stand beside the kernels that it compiles", () => {
  const { targets } = JSON.parse(readText("tools/isa/baseline.json"));
  const { waves, vectorRegisters, multiplyAddShare, clamps } = targets.navi31["rms-norm"];
  const share = Math.round(100 * multiplyAddShare);
  expect(pageOf("rms-norm")).toContain(`| only form | ${waves} | ${vectorRegisters} | ${share} % | ${clamps} |`);
  expect(pageOf("matmul-quad")).toContain("The compile lab has no figures for it");
});
