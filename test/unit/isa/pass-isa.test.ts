// A pass's WGSL beside its instructions: what is marked, how it is laid out, and why a machine may not be able to compile.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { isaLines, predictionText } from "../../../src/cli/isa-text.ts";
import { type CompilerMachine, missingCompiler } from "../../../src/isa/compile-jobs.node.ts";
import { readPassIsa, wgslLines } from "../../../src/isa/pass-isa.node.ts";
import { isaTarget } from "../../../src/isa/targets.ts";

const wgsl = readFileSync(new URL("../../../shaders/rms-norm.wgsl", import.meta.url), "utf8");
const isaOf = (name: "navi31" | "vega10" | "gfx1150", change: (text: string) => string = (text) => text) =>
  readPassIsa(
    { constants: {} },
    { name: "rms-norm", wgsl, weightDtype: undefined },
    {
      target: isaTarget(name),
      driver: "radv: Mesa 25.0.7-2~bpo12+1",
      isRobust: true,
      text: change(readFileSync(new URL(`rms-norm-${name}.txt`, import.meta.url), "utf8")),
    },
  );

describe("WGSL", () => {
  test("is shown without the header, with the loops around each line", () => {
    const text = [
      "enable f16;",
      "// Sums.",
      "// Formula: none",
      "",
      "fn main() {",
      "  for (var i = 0u; i < 4u; i++) { // {",
      "    while (true) {",
      "      x += 1;",
      "    }",
      "    y += 1;",
      "  }",
      "  loop { break; }",
      "  z += 1;",
      "}",
    ].join("\n");
    expect(wgslLines(text).map(({ text: line, depth }) => `${depth} ${line.trim()}`)).toEqual([
      "0 enable f16;",
      "0 fn main() {",
      "1 for (var i = 0u; i < 4u; i++) { // {",
      "2 while (true) {",
      "2 x += 1;",
      "2 }",
      "1 y += 1;",
      "1 }",
      "1 loop { break; }",
      "0 z += 1;",
      "0 }",
    ]);
  });

  test("of a kernel has its loops", () => {
    const depths = isaOf("navi31")
      .wgslLines.filter(({ text }) => /\bfor \(/.test(text))
      .map(({ depth }) => depth);
    expect(depths).toEqual([1, 1, 1]);
  });
});

describe("instructions", () => {
  test("are marked by kind, loops and the hot loop", () => {
    const { blocks, loops } = isaOf("navi31");
    expect(loops.map(({ label }) => label)).toEqual(["BB7–BB15", "BB22–BB30", "BB17"]);
    expect(blocks.filter(({ isHot }) => isHot).map(({ label }) => label)).toEqual(["BB7", "BB8", "BB15"]);
    expect(blocks.filter(({ depth }) => depth === 0).map(({ label }) => label)).toEqual([
      "BB0",
      "BB1",
      "BB6",
      "BB16",
      "BB21",
      "BB31",
    ]);
    expect(blocks.find(({ label }) => label === "BB15")?.instructions).toContainEqual({
      text: "v_fmac_f32_e32 v1, v7, v7",
      kind: "multiply-add",
    });
  });

  test("of a kernel without loops have no hot block", () => {
    const straight = isaOf("navi31", (text) => text.replaceAll(/^\ts_c?branch.*\n/gm, ""));
    expect(straight.loops).toMatchObject([{ label: "no loop", share: 1 }]);
    expect(straight.blocks.some(({ isHot }) => isHot)).toBe(false);
  });
});

describe("the text", () => {
  test("has two columns where 132 characters fit, and lines that fit", () => {
    const lines = isaLines(isaOf("navi31"), 132);
    expect(lines[0]).toBe(
      "Compiled for navi31 (RDNA 3, Radeon RX 7900 XTX) by radv: Mesa 25.0.7-2~bpo12+1; not executed there",
    );
    const both = lines.filter((line) => line.includes(" ‖ "));
    expect(both.some((line) => /^│ {3}for \(var i = lane.* ‖ /.test(line))).toBe(true);
    expect(both.some((line) => / ‖ ┃ BB15: hot$/.test(line))).toBe(true);
    expect(both.some((line) => / ‖ ┃ mul-add v_fmac_f32_e32 v1, v7, v7$/.test(line))).toBe(true);
    expect(both.some((line) => / ‖ │ LDS {5}ds_load_b32 v2, v2$/.test(line))).toBe(true);
    expect(both.every((line) => line.length <= 132)).toBe(true);
  });

  test("is one column in a narrower terminal, with every instruction", () => {
    const lines = isaLines(isaOf("navi31"), 80);
    expect(lines.some((line) => line.includes("‖"))).toBe(false);
    const listing = lines.slice(lines.indexOf("WGSL as compiled"));
    expect(listing.every((line) => line.length <= 80)).toBe(true);
    expect(listing.filter((line) => /^[ │┃] (BB\d+):/.test(line))).toHaveLength(isaOf("navi31").blocks.length);
  });

  test("states registers, waves, loops and the hot loop's mix", () => {
    const text = isaLines(isaOf("navi31"), 160).join("\n");
    expect(text).toMatch(/^registers {6}24 vector per lane, 128 scalar, 0 spilled$/m);
    expect(text).toMatch(/^waves {10}32 per SIMD at once, of 64 lanes each$/m);
    expect(text).toMatch(/^LDS {12}512 bytes per workgroup$/m);
    expect(text).toMatch(/^BB7–BB15 \(hot\) +0 +30 % +7 +57 % +0 \+ 0 +1 \+ 0 +0$/m);
    expect(text).toMatch(/^One iteration of BB7–BB15$/m);
    expect(text).toMatch(/^ {2}multiply-add +4 {2}█+$/m);
    expect(text).not.toMatch(/compiler's own/);
  });

  test("says where names are the compiler's own, and where there are no instructions", () => {
    expect(isaLines(isaOf("gfx1150"), 160).join("\n")).toMatch(/^names +the compiler's own: /m);
    const none = isaLines(
      isaOf("gfx1150", (text) => text.replace(/After lowering[\s\S]*?\n\n/, "")),
      160,
    );
    expect(none.at(-1)).toMatch(/^loops +unknown: this driver lists no instructions/);
  });

  test("says when clamps are left out", () => {
    expect(isaLines({ ...isaOf("vega10"), isRobust: false }, 160)[0]).toMatch(/, without Dawn's clamps; not executed/);
  });
});

test("the prediction is one sentence", () => {
  const target = isaTarget("navi31");
  const prediction = { limit: "memory", arithmeticShare: 0.031, memoryShare: 1 } as const;
  expect(predictionText({ target, prediction })).toBe(
    "if other waves hide all latencies, navi31 is limited by memory in the hot loop and those around it, and would do 3 % of the multiply-adds that it can and read weights at 100 % of its memory bandwidth",
  );
  expect(predictionText({ target, prediction: { ...prediction, arithmeticShare: 0, memoryShare: null } })).toMatch(
    /those around it$/,
  );
  expect(predictionText({ target, prediction: null })).toBe("none without instructions");
});

describe("a machine can compile", () => {
  const able: CompilerMachine = { isDeno: false, platform: "linux", arch: "x64", hasShim: true, hasDriver: true };

  test("on Linux with both packages", () => expect(missingCompiler(able)).toBeUndefined());

  test.each<[string, Partial<CompilerMachine>, RegExp]>([
    ["Deno", { isDeno: true }, /run the command in Node$/],
    ["macOS", { platform: "darwin" }, /^it needs Linux on x86-64$/],
    ["ARM", { arch: "arm64" }, /^it needs Linux on x86-64$/],
    ["no shim", { hasShim: false }, /install Debian's package mesa-drm-shim/],
    ["no driver", { hasDriver: false }, /install mesa-vulkan-drivers/],
  ])("but not with %s", (_, change, message) => {
    expect(missingCompiler({ ...able, ...change })).toMatch(message);
  });
});
