// How an op chooses among its kernels: the first that supports the call, or the one that the caller names.
import { describe, expect, test } from "vitest";
import { GpuError } from "../../src/errors.ts";
import { Gpu, type KernelContext } from "../../src/gpu/device.ts";
import { chooseEntry } from "../../src/gpu/ops/kernel-list.ts";
import { GATED_MATVEC_KERNELS } from "../../src/gpu/ops/linear.ts";
import { LINEAR_KERNELS, type LinearShape } from "../../src/gpu/ops/linear-kernels.ts";
import type { WeightDtype } from "../../src/gpu/tensor.ts";
import { openTestDevice } from "../setup/device.ts";

/** A device of either class, with subgroups of this many threads; 0 for none. */
async function contextOf(isSoftware: boolean, subgroupSize: number): Promise<KernelContext> {
  const gpu = new Gpu((await openTestDevice()).device, { isSoftware });
  const { limits } = gpu.device;
  const features = new Set<string>(subgroupSize > 0 ? ["subgroups"] : []);
  const adapterInfo = { subgroupMinSize: subgroupSize, subgroupMaxSize: subgroupSize };
  return Object.create(gpu, { device: { value: { limits, features, adapterInfo } } }) as KernelContext;
}

function shapeOf(
  numRows: number,
  options: { rowStable?: boolean; dtype?: WeightDtype; hasQuantizedInput?: boolean } = {},
): LinearShape {
  const { rowStable = false, dtype = "f16", hasQuantizedInput } = options;
  return { weight: { dtype, columns: 64 }, numRows, columns4: 16, rowStable, hasQuantizedInput, choice: undefined };
}

describe("a linear layer's kernel", () => {
  test.each([
    [true, 4, shapeOf(1), "matvec"],
    [true, 4, shapeOf(1, { dtype: "q4" }), "matvec-quad"],
    [true, 4, shapeOf(1, { rowStable: true, dtype: "q4" }), "matmul-quad"],
    [true, 4, shapeOf(2), "matmul-quad"],
    [true, 8, shapeOf(2), "matmul-octet"],
    [true, 8, shapeOf(1), "matvec"],
    [true, 8, shapeOf(1, { rowStable: true }), "matmul-octet"],
    [true, 16, shapeOf(2), "matmul-quad"],
    [true, 0, shapeOf(4, { dtype: "q8" }), "matvec"],
    [true, 0, shapeOf(5), "matmul"],
    [true, 0, shapeOf(1, { rowStable: true }), "matmul"],
    [false, 32, shapeOf(32), "matvec-subgroup"],
    [false, 0, shapeOf(32), "matvec-reduce"],
    [false, 32, shapeOf(33), "matmul-tiled"],
    [false, 0, shapeOf(1, { rowStable: true }), "matmul-tiled"],
    [false, 32, shapeOf(1, { dtype: "q8", hasQuantizedInput: true }), "matvec-subgroup-int8"],
    [false, 0, shapeOf(6, { dtype: "q4", hasQuantizedInput: true }), "matvec-reduce-int8"],
    [true, 8, shapeOf(1, { dtype: "q4", hasQuantizedInput: true }), "matvec-reduce-int8"],
  ] as const)("CPU adapter %s, subgroups of %s, %j: %s", async (isSoftware, subgroupSize, shape, expected) => {
    const gpu = await contextOf(isSoftware, subgroupSize);
    expect(chooseEntry<LinearShape>(LINEAR_KERNELS, gpu, { shape, name: undefined }).name).toBe(expected);
  });

  test("is the one that the caller names", async () => {
    const gpu = await contextOf(true, 4);
    expect(chooseEntry<LinearShape>(LINEAR_KERNELS, gpu, { shape: shapeOf(1), name: "matmul-tiled" }).name).toBe(
      "matmul-tiled",
    );
    expect(() => chooseEntry<LinearShape>(LINEAR_KERNELS, gpu, { shape: shapeOf(1), name: "conv" })).toThrow(
      new GpuError(
        "shader",
        "No kernel computes this call: expected one of matvec-subgroup-int8, matvec-reduce-int8, matmul-octet, matmul-quad, matvec-quad, matmul-tiled, matvec-subgroup, matvec-reduce, matvec, matmul, got conv.",
      ),
    );
  });
});

test("a kernel for quantised weights refuses others", () => {
  const quad = GATED_MATVEC_KERNELS.find(({ name }) => name === "gated-matvec-quad");
  const weight = { name: "test", dtype: "f16", rows: 8, columns: 8, pieces: [] } as const;
  expect(() => quad?.kernel({ weight })).toThrow(new GpuError("shader", "This kernel does not read weights in f16."));
});
