// The roofline's kernels compute what their headers say: a ceiling of a kernel that skips its work would be none.
import { describe, expect, test } from "vitest";
import {
  expectedFma,
  READ_PATTERNS,
  recordCopy,
  recordCountUp,
  recordFma,
  recordRead,
} from "../../src/bench/roofline.ts";
import { runKernel } from "../setup/run-kernel.ts";

describe("multiply-adds", () => {
  const variants = (["scalar", "vec4"] as const).flatMap((shape) =>
    [true, false].map((isFused) => ({ shape, isFused, workgroup: 32 })),
  );
  test.each(variants)("$shape, fused $isFused", async (variant) => {
    const numThreads = 64;
    const steps = 5;
    const { sums } = await runKernel(({ program, output }) => {
      const sums = output(numThreads);
      recordFma(program, variant, { output: sums, numThreads, steps });
      return { sums };
    });
    expect([...sums]).toEqual(Array.from({ length: numThreads }, (_, thread) => expectedFma(variant, thread, steps)));
  });
});

describe("reads", () => {
  test.each(READ_PATTERNS)("%s reads every number once", async (pattern) => {
    const numThreads = 64;
    const workgroup = 16;
    const numVectors = 4 * 4 * numThreads;
    const data = Float32Array.from({ length: numVectors * 4 }, (_, index) => (index * 7) % 13);
    const total = data.reduce((sum, value) => sum + value, 0);
    const { sums } = await runKernel(({ program, upload, output }) => {
      const sums = output(numThreads);
      recordRead(program, { pattern, workgroup, numThreads }, { data: upload(data), output: sums, numVectors });
      return { sums };
    });
    // All lanes of a workgroup read the same run: one of them stands for all.
    const counted = pattern === "run-per-workgroup" ? sums.filter((_, thread) => thread % workgroup === 0) : sums;
    expect(counted.reduce((sum, value) => sum + value, 0)).toBe(total);
  });
});

test("the copy copies everything", async () => {
  const source = Float32Array.from({ length: 64 * 4 * 4 }, (_, index) => index);
  const { copied } = await runKernel(({ program, upload, output }) => {
    const copied = output(source.length);
    recordCopy(program, { source: upload(source), target: copied, numVectors: 256, numThreads: 64, workgroup: 16 });
    return { copied };
  });
  expect([...copied]).toEqual([...source]);
});

test("dispatches wait for each other", async () => {
  const { counter } = await runKernel(({ program, output }) => {
    const counter = output(new Float32Array(4));
    recordCountUp(program, counter, 100);
    return { counter };
  });
  expect(new Uint32Array(counter.buffer)[0]).toBe(100);
});
