// Predictions, computed by hand from a loop's counts and a GPU's data sheet.
import { expect, test } from "vitest";
import { InputError } from "../../../src/errors.ts";
import { type InstructionMix, mixOf, sumOfMixes } from "../../../src/isa/instruction-mix.ts";
import { predict } from "../../../src/isa/prediction.ts";
import { ISA_TARGETS, isaTarget } from "../../../src/isa/targets.ts";

/** A loop with so many instructions of each name. */
function loop(counts: Readonly<Record<string, number>>): InstructionMix {
  return sumOfMixes(
    Object.entries(counts).map(([name, times]) => {
      return { mix: mixOf([{ label: "BB0", instructions: [{ operations: [name], operands: "" }] }]), times };
    }),
  );
}

const navi31 = isaTarget("navi31"); // 960 GB/s over 192 SIMDs at 2.5 GHz: 2 bytes per SIMD and cycle

test("a matrix times a vector is limited by memory", () => {
  const mix = loop({ v_fma_mix_f32: 32, v_add_nc_u32_e32: 15, buffer_load_b128: 6 });
  // 32 weights of 2 bytes · 64 lanes / 2 = 2048 cycles; 47 instructions of 2 cycles = 94; 96 bytes · 64 / 32 = 192.
  expect(predict(mix, navi31, { dtype: "f16", multiplyAddsPerWeight: 1 })).toEqual({
    limit: "memory",
    arithmeticShare: 64 / 2048,
    memoryShare: 1,
  });
});

test("a batch that shares each weight is limited by it less", () => {
  const mix = loop({ v_fma_mix_f32: 256, v_add_nc_u32_e32: 744, buffer_load_b128: 4 });
  // 256 / 8 weights: 2048 cycles again; 1000 instructions of 2 cycles = 2000.
  expect(predict(mix, navi31, { dtype: "f16", multiplyAddsPerWeight: 8 }).arithmeticShare).toBe(512 / 2048);
  // In q4, (0.5 + 1/16) bytes a weight: 576 cycles, so that 2000 is the most.
  expect(predict(mix, navi31, { dtype: "q4", multiplyAddsPerWeight: 8 })).toEqual({
    limit: "vector instructions",
    arithmeticShare: 512 / 2000,
    memoryShare: 576 / 2000,
  });
});

test("a matrix product is limited by its vector instructions", () => {
  const mix = loop({ v_fmac_f32_e32: 128, v_add_nc_u32_e32: 4, ds_load_b128: 2 });
  // 132 · 2 = 264 cycles; 32 bytes · 64 / 64 = 32.
  expect(predict(mix, navi31, undefined)).toEqual({
    limit: "vector instructions",
    arithmeticShare: 256 / 264,
    memoryShare: null,
  });
});

test("workgroup memory and the first cache can be the limit", () => {
  // 8 · 16 · 64 / 64 = 128 cycles, 20 · 2 = 40.
  expect(predict(loop({ v_fmac_f32_e32: 20, ds_load_b128: 8 }), navi31, undefined)).toMatchObject({
    limit: "workgroup memory",
    arithmeticShare: 40 / 128,
  });
  // 4 · 16 · 64 / 32 = 128 cycles.
  expect(predict(loop({ v_fmac_f32_e32: 20, buffer_load_b128: 4 }), navi31, undefined)).toMatchObject({
    limit: "first cache",
    arithmeticShare: 40 / 128,
  });
});

test("a transcendental costs four instructions, a dual instruction one", () => {
  // (10 + 4 · 5) · 2 cycles.
  expect(predict(loop({ v_fmac_f32_e32: 10, v_exp_f32_e32: 5 }), navi31, undefined).arithmeticShare).toBe(20 / 60);
  const dual = mixOf([
    { label: "BB0", instructions: [{ operations: ["v_dual_fmac_f32", "v_dual_fmac_f32"], operands: "" }] },
  ]);
  expect(predict(dual, navi31, undefined).arithmeticShare).toBe(2);
});

test("16 lanes take four cycles per instruction of a wave", () => {
  const mix = loop({ v_mac_f32_e32: 50, v_add_u32_e32: 50, ds_read_b128: 4 });
  // 100 · 4 = 400 cycles; 4 · 16 · 64 / 32 = 128.
  expect(predict(mix, isaTarget("vega10"), undefined).arithmeticShare).toBe(200 / 400);
});

test("a loop without instructions is not divided by zero", () => {
  expect(predict(loop({}), navi31, undefined)).toMatchObject({ arithmeticShare: 0 });
});

test("targets are found by name", () => {
  expect(ISA_TARGETS.map(({ name }) => isaTarget(name).name)).toEqual(["navi31", "navi21", "gfx1150", "vega10"]);
  expect(() => isaTarget("gtx1080")).toThrow(InputError);
  expect(() => isaTarget("gtx1080")).toThrow("expected one of navi31, navi21, gfx1150, vega10");
});
