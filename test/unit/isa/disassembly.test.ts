// What RADV prints, as data. The .txt files are its output for kernels of LLaVA-1.5-7B, unchanged (Mesa 25.0.7-2~bpo12+1, RADV_DEBUG
// asm,shaderstats); `adaptvis isa` prints the same for the same kernels.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { GpuError } from "../../../src/errors.ts";
import { parseDisassembly } from "../../../src/isa/disassembly.ts";
import { loopParts, nestMix } from "../../../src/isa/hot-loops.ts";
import { mixOf } from "../../../src/isa/instruction-mix.ts";

const printed = (name: string) => readFileSync(new URL(`${name}.txt`, import.meta.url), "utf8");
const ranges = (text: string) => {
  const { blocks, loops } = parseDisassembly(text);
  return loops.map(({ first, last, depth }) => `${blocks[first]?.label} to ${blocks[last]?.label}, depth ${depth}`);
};

const WITHOUT_ISA = `Compute Shader
disasm:
Shader disassembly is not supported in the current configuration

`;
const STATISTICS = printed("rms-norm-navi31").slice(printed("rms-norm-navi31").indexOf("Compute Shader:"));

/** The text of a kernel with one block of these instructions. */
const oneBlock = (...lines: readonly string[]) =>
  `disasm:\nBB0:\n${lines.map((line) => `\t${line.padEnd(60)}; 7e000280\n`).join("")}\n${STATISTICS}`;

test("statistics are the driver's", () => {
  expect(parseDisassembly(printed("attention-decode-reduce-navi31")).statistics).toEqual({
    vectorRegisters: 24,
    scalarRegisters: 128,
    spilledRegisters: 0,
    ldsBytes: 0,
    scratchBytes: 0,
    waves: 32,
    codeBytes: 668,
    numInstructions: 144,
    latency: 16422,
    inverseThroughput: 2053,
  });
});

test("spilled registers are those of both kinds", () => {
  const text = printed("rms-norm-navi31").replace("Spilled SGPRs: 0", "Spilled SGPRs: 2");
  expect(parseDisassembly(text.replace("Spilled VGPRs: 0", "Spilled VGPRs: 5")).statistics.spilledRegisters).toBe(7);
});

test("loops are branches back, those inside others deeper", () => {
  expect(ranges(printed("attention-decode-reduce-navi31"))).toEqual([
    "BB1 to BB4, depth 0",
    "BB6 to BB9, depth 0",
    "BB11 to BB24, depth 0",
    "BB20 to BB23, depth 1",
  ]);
  expect(ranges(printed("rms-norm-navi31"))).toEqual([
    "BB7 to BB15, depth 0",
    "BB17 to BB17, depth 0",
    "BB22 to BB30, depth 0",
  ]);
});

test("the hot loop runs the most multiply-adds; each loop is without those inside it", () => {
  const parts = loopParts(parseDisassembly(printed("attention-decode-reduce-navi31")));
  const seen = parts.map(({ label, depth, mix }) => [label, depth, mix.vector, mix.multiplyAdds]);
  // Counted by hand in the file: BB20 and BB23, then BB11, BB12, BB19 and BB24.
  expect(seen.slice(0, 2)).toEqual([
    ["BB20–BB23", 1, 8, 4],
    ["BB11–BB24", 0, 12, 0],
  ]);
  expect(parts.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1);
  // (8 + 4 loads) · 64; (12 + 1 load + 1 store) · 8; (1 + 2 loads) · 8; (4 + 2 loads) · 8.
  expect(parts[0]?.share).toBeCloseTo(768 / (768 + 112 + 24 + 48));
});

test("the nest is the outermost loop with inner ones eight times", () => {
  const nest = nestMix(parseDisassembly(printed("attention-decode-reduce-navi31")));
  expect(nest).toMatchObject({ vector: 12 + 8 * 8, multiplyAdds: 8 * 4, stores: { count: 1, bytes: 16 } });
  expect(nest?.loads).toEqual({ count: 8, bytes: 8 * 16, numWide: 8 });
});

test("a kernel without loops is one part", () => {
  const disassembly = parseDisassembly(oneBlock("v_fma_f32 v1, v2, v3, v4", "s_endpgm"));
  expect(disassembly.loops).toEqual([]);
  expect(loopParts(disassembly)).toMatchObject([{ label: "no loop", share: 1, mix: { vector: 1, multiplyAdds: 1 } }]);
  expect(nestMix(disassembly)).toMatchObject({ vector: 1 });
});

test.each(["attention-decode-reduce-navi31", "rms-norm-navi31", "rms-norm-vega10", "rms-norm-gfx1150"])(
  "%s: as many vector instructions as the driver counts",
  (name) => {
    const text = printed(name);
    expect(mixOf(parseDisassembly(text).blocks).vector).toBe(Number(/^VALU: (\d+)$/m.exec(text)?.[1]));
  },
);

describe("the compiler's own form", () => {
  const text = printed("rms-norm-gfx1150");
  const { blocks, isCompilerForm, statistics } = parseDisassembly(text);

  test("stands in for a disassembly that does not exist", () => {
    expect(isCompilerForm).toBe(true);
    expect(parseDisassembly(printed("rms-norm-navi31")).isCompilerForm).toBe(false);
    expect(blocks.reduce((sum, { instructions }) => sum + instructions.length, 0)).toBe(statistics.numInstructions);
    expect(ranges(text)).toEqual(["BB7 to BB15, depth 0", "BB17 to BB17, depth 0", "BB22 to BB30, depth 0"]);
  });

  test("reads as assembly: operation, results, operands", () => {
    const of = (label: string) => {
      const block = blocks.find((each) => each.label === label);
      return block?.instructions.map(({ operations, operands }) => `${operations[0]} ${operands}`.trim()) ?? [];
    };
    expect(of("BB8")).toEqual([
      "s_delay_alu salu_cycle_1",
      "s_andn2_b64 s[10-11], scc, s[10-11], exec",
      "s_cbranch_scc0 BB16",
    ]);
    expect(of("BB15")).toContain("v_fmac_f32 v[1], v[7], v[7], v[1]");
    expect(of("BB16")).toContain("ds_write_b32 v[2], v[1] storage:shared");
    expect(of("BB16")).toContain("v_lshlrev_b32 v[2], 2, v[0]");
  });
});

test("two operations in one instruction are two", () => {
  const dual = "v_dual_fmac_f32 v1, v2, v3 :: v_dual_mul_f32 v4, v5, v6";
  const { blocks } = parseDisassembly(oneBlock(dual));
  expect(blocks[0]?.instructions).toEqual([
    { operations: ["v_dual_fmac_f32", "v_dual_mul_f32"], operands: "v1, v2, v3 :: v_dual_mul_f32 v4, v5, v6" },
  ]);
  expect(mixOf(blocks)).toMatchObject({ vector: 2, numDual: 1, multiplyAdds: 1, counts: { "other float": 1 } });
});

test("padding that is repeated is not an instruction", () => {
  const { blocks } = parseDisassembly(oneBlock("s_nop 0", "(then repeated 5 times)", "s_endpgm"));
  expect(blocks[0]?.instructions).toHaveLength(2);
});

test("without any listing there are statistics alone", () => {
  const { blocks, loops, statistics } = parseDisassembly(WITHOUT_ISA + STATISTICS);
  expect({ blocks, loops }).toEqual({ blocks: [], loops: [] });
  expect(statistics.numInstructions).toBe(114);
  expect(loopParts(parseDisassembly(WITHOUT_ISA + STATISTICS))).toEqual([]);
  expect(nestMix(parseDisassembly(WITHOUT_ISA + STATISTICS))).toBeNull();
});

test.each([
  ["no listing", "LLVM ERROR: out of memory", /printed no instructions; Mesa 25/],
  ["no statistics", WITHOUT_ISA, /printed no "VGPRs"; Mesa 25/],
])("%s is an error", (_, text, message) => {
  expect(() => parseDisassembly(text)).toThrow(GpuError);
  expect(() => parseDisassembly(text)).toThrow(message);
});
