// What counts as worse than the baseline, and the file.
import { readFileSync, statSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import { baselineOf, baselineText, parseBaseline, regressions } from "../../../src/isa/baseline.ts";
import type { CompilerStatistics } from "../../../src/isa/disassembly.ts";
import { mixOf, sumOfMixes } from "../../../src/isa/instruction-mix.ts";
import { type IsaKernel, type IsaReport, isaName } from "../../../src/isa/lab.ts";
import { ISA_TARGETS, isaTarget } from "../../../src/isa/targets.ts";

const STATISTICS: CompilerStatistics = {
  vectorRegisters: 48,
  scalarRegisters: 128,
  spilledRegisters: 0,
  ldsBytes: 512,
  scratchBytes: 0,
  waves: 16,
  codeBytes: 1400,
  numInstructions: 250,
  latency: 2400,
  inverseThroughput: 400,
};

/** A nest of 100 vector instructions. */
function nestOf(numMultiplyAdds: number) {
  const mix = (name: string) => mixOf([{ label: "BB0", instructions: [{ operations: [name], operands: "" }] }]);
  return sumOfMixes([
    { mix: mix("v_fmac_f32_e32"), times: numMultiplyAdds },
    { mix: mix("v_add_nc_u32_e32"), times: 100 - numMultiplyAdds },
  ]);
}

function kernel(
  changes: Partial<Pick<IsaKernel, "kernel" | "constants" | "nest" | "numClamps">> & {
    readonly statistics?: Partial<CompilerStatistics>;
  } = {},
): IsaKernel {
  return {
    kernel: "matvec",
    weightDtype: "f16",
    activationDtype: null,
    constants: { THREADS: 128, HAS_BIAS: false },
    passes: [],
    loops: [],
    numLoops: 1,
    nest: nestOf(70),
    numClamps: 1,
    prediction: null,
    ...changes,
    statistics: { ...STATISTICS, ...changes.statistics },
  };
}

function report(kernels: readonly IsaKernel[], driver = "radv: Mesa 25.0.7"): IsaReport {
  return { format: 1, driver, isRobust: true, targets: [{ target: isaTarget("navi31"), kernels }] };
}

const baseline = baselineOf(report([kernel()]));

describe("worse than the baseline is", () => {
  test.each<[string, Parameters<typeof kernel>[0], string]>([
    ["a spilled register", { statistics: { spilledRegisters: 3 } }, "3 registers are spilled"],
    ["scratch memory", { statistics: { scratchBytes: 64 } }, "64 bytes of scratch memory per lane"],
    ["one wave fewer", { statistics: { waves: 15 } }, "15 waves per SIMD, before 16"],
    ["one clamp more", { numClamps: 2 }, "2 clamps in its loops, before 1"],
    ["3 % fewer multiply-adds", { nest: nestOf(67) }, "67 % of its hot loops are multiply-adds, before 70 %"],
  ])("%s", (_, changes, problem) => {
    expect(regressions(report([kernel(changes)]), baseline)).toEqual([
      `matvec f16 (THREADS 128) on navi31: ${problem}.`,
    ]);
  });

  test.each<[string, Parameters<typeof kernel>[0]]>([
    ["the same", {}],
    ["more waves", { statistics: { waves: 20 } }],
    ["more registers with as many waves", { statistics: { vectorRegisters: 60 } }],
    ["no clamps", { numClamps: 0 }],
    ["2 % fewer multiply-adds", { nest: nestOf(68) }],
    ["a target whose instructions are not listed", { nest: null, numClamps: null }],
  ])("not %s", (_, changes) => {
    expect(regressions(report([kernel(changes)]), baseline)).toEqual([]);
  });
});

test("a pipeline that the baseline lacks may not spill, and is not judged otherwise", () => {
  const other = { kernel: "new-kernel", numClamps: 50 };
  expect(regressions(report([kernel(other)]), baseline)).toEqual([]);
  expect(regressions(report([kernel({ ...other, statistics: { spilledRegisters: 1 } })]), baseline)).toEqual([
    "new-kernel f16 (THREADS 128) on navi31: 1 registers are spilled.",
  ]);
});

test("another driver's results are judged by spills and scratch alone", () => {
  const worse = kernel({ numClamps: 9, statistics: { waves: 1, scratchBytes: 4 } });
  expect(regressions(report([worse], "radv: Mesa 26.0.0"), baseline)).toEqual([
    "matvec f16 (THREADS 128) on navi31: 4 bytes of scratch memory per lane.",
  ]);
});

test("of pipelines with one name, the worst is kept", () => {
  const both = [
    kernel({ statistics: { waves: 10 }, nest: nestOf(80), numClamps: 0 }),
    kernel({ constants: { THREADS: 128, HAS_BIAS: true }, statistics: { vectorRegisters: 90 }, nest: nestOf(60) }),
  ];
  expect(baselineOf(report(both)).targets).toEqual({
    navi31: {
      "matvec f16 (THREADS 128)": { waves: 10, vectorRegisters: 90, multiplyAddShare: 0.6, clamps: 1 },
    },
  });
});

test("a name has the constants that change loops, and true ones by name alone", () => {
  const named = {
    ...kernel({ kernel: "attention", constants: { CAUSAL: true, EDIT: false, SLICES: 4, NUM_HEADS: 32 } }),
  };
  expect(isaName({ ...named, weightDtype: null })).toBe("attention (CAUSAL, SLICES 4)");
  expect(isaName({ ...named, constants: {} })).toBe("attention f16");
});

describe("the file", () => {
  test("is read as it was written, sorted by name, one line per pipeline", () => {
    const two = baselineOf(report([kernel({ kernel: "b" }), kernel({ kernel: "a" })]));
    const text = baselineText(two);
    expect(parseBaseline(text, "x.json")).toEqual(two);
    const lines = text.split("\n").filter((line) => line.includes("waves"));
    expect(lines.map((line) => line.trim()[1])).toEqual(["a", "b"]);
  });

  test.each([
    [
      "not JSON",
      "{",
      "x.json is not a baseline: expected JSON as --write-baseline writes it, got text that is not JSON.",
    ],
    ["a list", "[]", "x.json is not a baseline: expected JSON as --write-baseline writes it."],
    ["another format", '{"format":2,"driver":"","targets":{}}', "x.json is not a baseline"],
    ["without targets", '{"format":1,"driver":""}', "x.json is not a baseline"],
  ])("%s is refused", (_, text, message) => {
    expect(() => parseBaseline(text, "x.json")).toThrow(InputError);
    expect(() => parseBaseline(text, "x.json")).toThrow(message);
  });

  test("that is committed has every target and is small", () => {
    const url = new URL("../../../tools/isa/baseline.json", import.meta.url);
    const committed = parseBaseline(readFileSync(url, "utf8"), "baseline.json");
    expect(Object.keys(committed.targets).sort()).toEqual(ISA_TARGETS.map(({ name }) => name).sort());
    expect(baselineText(committed)).toBe(readFileSync(url, "utf8"));
    expect(statSync(url).size).toBeLessThan(150_000);
  });
});
