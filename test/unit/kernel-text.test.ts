// What shader files say about themselves: every one has a whole header and a workgroup size.
import { readdirSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { GpuError } from "../../src/errors.ts";
import { ALL_KERNELS, kernelNamed } from "../../src/gpu/ops/kernels.ts";
import { fixedWorkgroupSize, kernelHeader, workgroupSize } from "../../src/inspect/kernel-text.ts";

const FILES = readdirSync(new URL("../../shaders", import.meta.url))
  .filter((name) => name.endsWith(".wgsl"))
  .map((name) => name.replace(".wgsl", ""));

describe("the header", () => {
  test.each(FILES)("of %s is whole in every variant", (name) => {
    const variants = ALL_KERNELS.filter((kernel) => kernel.name === name);
    expect(variants.length).toBeGreaterThan(0);
    const headers = variants.map(kernelHeader);
    for (const [key, text] of Object.entries(headers[0] ?? {})) {
      expect(text, key).not.toMatch(/\/\/|\n|^as [a-z-]+($|;)/);
      expect(text.trim(), key).not.toBe("");
    }
    for (const header of headers) expect(header).toEqual(headers[0]);
  });

  test("joins the lines of a part and puts another kernel's text in place of its name", () => {
    const header = kernelHeader(kernelNamed("matmul-quad"));
    const matmul = kernelHeader(kernelNamed("matmul"));
    expect(header.shapes).toBe(matmul.shapes);
    expect(header.errorBound).toBe(matmul.errorBound);
    expect(matmul.shapes).toMatch(/^input \[rows, K\] f32 · .*; K and N are multiples of 4/);
    expect(kernelHeader(kernelNamed("matvec")).shapes).toBe(`${matmul.shapes}, for the few rows of a decode step`);
    expect(kernelHeader(kernelNamed("rms-norm")).summary).toMatch(/^Scales each row/);
    expect(kernelHeader(kernelNamed("attention-prefill-quad")).formula).toMatch(/^output\[r, h\] = Σ_j softmax/);
  });

  test("that lacks a part is an error", () => {
    const code = "// Adds\n// Formula: a + b\n\n@compute @workgroup_size(1)\nfn main() {}\n";
    const error = new GpuError("shader", 'adds.wgsl: the header lacks "Shapes".');
    expect(() => kernelHeader({ name: "adds", code })).toThrow(error);
    const bare = new GpuError("shader", "adds.wgsl: the header lacks a summary in its first line.");
    expect(() => kernelHeader({ name: "adds", code: code.slice("// Adds\n".length) })).toThrow(bare);
  });
});

describe("the workgroup size", () => {
  test.each(ALL_KERNELS.map((kernel) => [kernel.name, kernel] as const))("of %s can be told", (_, kernel) => {
    const constants = Object.fromEntries(
      [...kernel.overrides]
        .filter(([, { hasDefault }]) => !hasDefault)
        .map(([name, { type }]) => [name, type === "bool" ? true : 4]),
    );
    const [x = 0, y = 0, z = 0] = workgroupSize(kernel, constants) ?? [];
    expect(x * y * z).toBeGreaterThanOrEqual(4);
    expect(x * y * z).toBeLessThanOrEqual(256);
  });

  test.each<[string, Record<string, number | boolean>, readonly number[]]>([
    ["matmul", {}, [8, 8, 1]],
    ["rms-norm", {}, [64, 1, 1]],
    ["attention-prefill-quad", { ROWS: 4 }, [8, 1, 1]],
    ["attention-prefill", { ROWS: 32 }, [32, 1, 1]],
    ["attention-decode-split", {}, [32, 1, 1]],
    ["attention-decode-split-tiled", {}, [128, 1, 1]],
    ["matvec-reduce", { THREADS: 256 }, [256, 1, 1]],
    ["matmul-tiled", { TILE: 64, WIDE: true }, [64, 1, 1]],
    ["matmul-tiled", { TILE: 32, WIDE: false }, [64, 1, 1]],
    ["matmul-tiled", { TILE: 128, WIDE: true }, [256, 1, 1]],
  ])("of %s with %j", (name, constants, expected) => {
    expect(workgroupSize(kernelNamed(name), constants)).toEqual(expected);
  });

  test("is no kernel's own where an override changes it", () => {
    expect(fixedWorkgroupSize(kernelNamed("matmul"))).toEqual([8, 8, 1]);
    expect(fixedWorkgroupSize(kernelNamed("attention-decode-split-tiled"))).toEqual([128, 1, 1]);
    expect(fixedWorkgroupSize(kernelNamed("attention-prefill"))).toBeUndefined();
    expect(fixedWorkgroupSize(kernelNamed("matmul-tiled"))).toBeUndefined();
    expect(workgroupSize({ name: "none", code: "@compute @workgroup_size(SIZE)\nfn main() {}" }, {})).toBeUndefined();
  });
});

test("the dtype of a kernel's weights is known", () => {
  expect(kernelNamed("matmul", "q4").weightDtype).toBe("q4");
  expect(kernelNamed("matvec-reduce", "bf16").weightDtype).toBe("bf16");
  expect(kernelNamed("rms-norm").weightDtype).toBeUndefined();
});
