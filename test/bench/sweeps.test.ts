// Sweeps of tuning's candidates and parity with stored ids, on this machine's adapter.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { countWrong } from "../../src/bench/parity.ts";
import { NUM_LINEAR_LAYERS, sweepCases } from "../../src/bench/sweep-cases.ts";
import { differenceOf, measureSweep } from "../../src/bench/sweeps.ts";
import { Gpu } from "../../src/gpu/device.ts";
import { TUNABLE_NAMES, usableCandidates } from "../../src/gpu/ops/tuning.ts";
import { adaptvis, jsonOf } from "../cli/command.ts";
import { openTestDevice } from "../setup/device.ts";

let gpu: Gpu;

beforeAll(async () => {
  const { device, isSoftware } = await openTestDevice();
  gpu = new Gpu(device, { isSoftware });
});

afterAll(() => gpu.dispose());

test("every choice of tuning has a sweep of all candidates that the device can run", () => {
  const cases = sweepCases(gpu);
  expect(new Set(cases.map(({ name }) => name)).size).toBe(cases.length);
  for (const name of TUNABLE_NAMES) {
    const swept = cases.filter(({ tunable }) => tunable === name);
    expect(swept.length, name).toBeGreaterThan(0);
    for (const { variants } of swept) {
      expect(variants.map(({ choice }) => choice)).toEqual(
        expect.arrayContaining([...usableCandidates(name, gpu.device)]),
      );
    }
  }
});

test("a token and a prompt have as many linear layers in each dtype as the bars expect", () => {
  const count = (group: string, dtype: string) =>
    sweepCases(gpu).filter((each) => each.group === group && each.dtype === dtype && each.uses > 0).length;
  for (const dtype of ["f16", "q8", "q4"]) {
    expect({ decode: count("decode", dtype), prefill: count("prefill", dtype) }).toEqual(NUM_LINEAR_LAYERS);
  }
});

describe("a sweep", () => {
  const ceilings = { gflops: 10, gbps: 5 };
  const rounds = { rounds: 1, budgetMs: 0 };

  test("measures every candidate, and all compute the same", async () => {
    const found = sweepCases(gpu).find(({ name }) => name === "decode o_proj 4096→4096 q4");
    if (found === undefined) throw new Error("no such case");
    const small = { ...found, coldBytes: 0 };
    const { variants, failures } = await measureSweep(gpu, small, { ceilings, rounds, isQuick: true });
    expect(failures).toEqual([]);
    expect(variants).toHaveLength(found.variants.length);
    for (const { isSame, ms, gbps } of variants) {
      expect(isSame).toBe(true);
      expect(gbps.median).toBeCloseTo(found.bytes / (ms.median * 1e6), 6);
    }
  });

  test("a candidate that does not compute, or something else, is told apart from the others", async () => {
    const found = sweepCases(gpu).find(({ name }) => name === "decode o_proj 4096→4096 q4");
    const [first] = found?.variants ?? [];
    if (found === undefined || first === undefined) throw new Error("no such case");
    const idle = { ...first, name: "idle" };
    const unknown = { ...first, name: "unknown", kernel: "no-such-kernel" };
    const spoiled = {
      ...found,
      coldBytes: 0,
      variants: [first, idle, unknown],
      prepare: (operands: Parameters<typeof found.prepare>[0]) => {
        const run = found.prepare(operands);
        return {
          ...run,
          record: (...[program, variant]: Parameters<typeof run.record>) => {
            if (variant !== idle) run.record(program, variant);
          },
        };
      },
    };
    const { variants, failures } = await measureSweep(gpu, spoiled, { ceilings, rounds, isQuick: true });
    expect(variants.map(({ name, isSame }) => [name, isSame])).toEqual([
      [first.name, true],
      ["idle", false],
    ]);
    expect(failures).toEqual([{ variant: "unknown", message: expect.stringMatching(/No kernel computes this call/) }]);
  });
});

test("differences are relative to the largest number; not finite, or all zero, is wrong", () => {
  const of = (...values: readonly number[]) => Float32Array.from(values);
  expect(differenceOf(of(1, 3), of(2, 4))).toBe(0.25);
  expect(differenceOf(of(1, Number.NaN), of(1, 4))).toBe(Number.POSITIVE_INFINITY);
  expect(differenceOf(of(0, 0), of(0, 0))).toBe(Number.POSITIVE_INFINITY);
});

test("half-precision numbers: small ones may be flushed, others not", () => {
  const of = (...values: readonly number[]) => Float32Array.from(values);
  expect(countWrong(of(1, 0, 0, 5), of(1, 2 ** -15, 2 ** -13, Number.POSITIVE_INFINITY))).toBe(1);
});

test("this adapter computes the stored ids of the demo, and half-precision numbers", async () => {
  const result = await adaptvis("bench", "--quick", "--only", "parity/halves,parity/demo", "--json");
  const { parity, failures } = jsonOf(result);
  expect(failures).toEqual([]);
  const parts = parity as { readonly checks: readonly { readonly name: string; readonly isEqual: boolean }[] }[];
  const checks = parts.flatMap((part) => part.checks);
  expect(checks.length).toBeGreaterThanOrEqual(9);
  expect(checks.filter(({ isEqual }) => !isEqual)).toEqual([]);
});
