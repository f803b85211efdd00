// What the kernels' pages report of a test that they run: the comparisons that expectClose made, good and bad.

import { afterAll, expect, test, vi } from "vitest";
import { recordCase } from "../../tools/docs/kernels/live/recorder.ts";
import { createRandom } from "../reference/random.ts";
import { rmsNorm } from "../reference/rms-norm.ts";
import { BOUNDS } from "../setup/bounds.ts";
import { expectClose } from "../setup/expect-close.ts";

// Other files of this process record their errors, before and after.
vi.hoisted(() => vi.resetModules());
vi.mock("../setup/record-error.ts", () => import("../../tools/docs/kernels/live/recorder.ts"));

afterAll(() => {
  vi.doUnmock("../setup/record-error.ts");
  vi.resetModules();
});

const random = createRandom(1);
const [input, weight] = [random.normals(3 * 64), random.normals(64)];
const twin = rmsNorm(input, weight, { eps: 1e-5 });
const shape = [3, 64];

test("a case within its bound passes, with the largest error", async () => {
  const { failure, comparisons } = await recordCase(() =>
    expectClose(Float32Array.from(twin), twin, BOUNDS.rmsNorm, { shape }),
  );
  expect(failure).toBeUndefined();
  expect(comparisons).toHaveLength(1);
  expect(comparisons[0]).toMatchObject({ bound: BOUNDS.rmsNorm, outside: 0, shape });
  expect(comparisons[0]?.ratio).toBeGreaterThan(0);
  expect(comparisons[0]?.ratio).toBeLessThan(1);
});

test("a kernel that disagrees with its twin fails, and the comparison says where", async () => {
  // One value off by 1e-5, as beside a wrong kernel.
  const perturbed = twin.map((value, index) => (index === 70 ? value * (1 + 1e-5) : value));
  const { failure, comparisons } = await recordCase(async () => {
    expectClose(Float32Array.from(twin), twin, BOUNDS.rmsNorm, { shape });
    expectClose(Float32Array.from(twin), perturbed, BOUNDS.rmsNorm, { shape });
  });
  expect(failure).toContain('1 of 192 values outside of bound "rmsNorm": the worst at [1, 6]');
  expect(comparisons.map(({ outside }) => outside)).toEqual([0, 1]);
  expect(comparisons[1]).toMatchObject({ index: 70 });
});

test("the next case begins with nothing recorded, and what is no Error is told, too", async () => {
  const { failure, comparisons, runs } = await recordCase(() => Promise.reject("the device is lost"));
  expect({ failure, comparisons, runs }).toEqual({ failure: "the device is lost", comparisons: [], runs: [] });
});
