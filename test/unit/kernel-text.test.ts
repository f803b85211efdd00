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
    expect(kernelHeader(kernelNamed("matvec")).errorBound).toBe(matmul.errorBound);
    expect(matmul.shapes).toMatch(/^input \[rows, K\] f32 · .*; K and N are multiples of 4/);
    expect(kernelHeader(kernelNamed("matvec")).shapes).toBe(`${matmul.shapes}, for the few rows of a decode step`);
    expect(kernelHeader(kernelNamed("rms-norm")).summary).toMatch(/^Scales each row/);
    expect(kernelHeader(kernelNamed("attention-prefill-quad")).formula).toMatch(/^output\[r, h\] = Σ_j softmax/);
  });

  /** A shader file whose header has these lines. */
  const adds = (lines: readonly string[]) => ({
    name: "adds",
    code: `${lines.map((line) => `//${line}\n`).join("")}\n@compute @workgroup_size(1)\nfn main() {}\n`,
  });
  const lines = [
    " Adds two rows",
    " Formula: a + b",
    " Shapes: [2]",
    " Work division: one thread",
    " Grid: 1",
    " Error bound: 0",
    " Source: none",
  ];
  const whole = {
    summary: "Adds two rows",
    formula: "a + b",
    shapes: "[2]",
    workDivision: "one thread",
    grid: "1",
    errorBound: "0",
    source: "none",
  };
  const withSource = (text: string) => adds([...lines.slice(0, -1), ` Source: ${text}`]);

  test("ends with its comment, and may follow directives and empty lines", () => {
    const { name, code } = adds(lines);
    expect(kernelHeader({ name, code })).toEqual(whole);
    expect(kernelHeader({ name, code: `enable f16;\n\nenable subgroups;\n${code}` })).toEqual(whole);
    expect(kernelHeader({ name, code: `${code}// and more\n` })).toEqual(whole);
    const late = { name, code: `const A = 1u;\n${code}` };
    expect(() => kernelHeader(late)).toThrow("adds.wgsl: the header lacks a summary in its first line.");
  });

  test("has one space for the end of a line and the white space around it", () => {
    const [first = "", ...others] = lines;
    const long = adds([` ${first}  `, "", "   and   more", ...others, "   at all: https://example.org // there"]);
    const source = "none at all: https://example.org // there";
    expect(kernelHeader(long)).toEqual({ ...whole, summary: "Adds two rows and   more", source });
  });

  test.each([
    "as no-kernel",
    "as matmul and others",
    "as matmul, but slower",
    "the same as matmul",
    "Adds; as matmul",
    "as  matmul",
    "as -matmul",
  ])("keeps %j, which does not refer to another kernel", (text) => {
    expect(kernelHeader(withSource(text)).source).toBe(text);
  });

  test.each(["", ", for two rows", "; two rows at once"])("puts a text in place of a name followed by %j", (rest) => {
    const name = "rms-norm";
    expect(kernelHeader(withSource(`as ${name}${rest}`)).source).toBe(
      `${kernelHeader(kernelNamed(name)).source}${rest}`,
    );
  });

  test.each([
    ["Formula", 1],
    ["Shapes", 2],
    ["Work division", 3],
    ["Grid", 4],
    ["Error bound", 5],
    ["Source", 6],
  ] as const)("that lacks or leaves empty %j is an error", (title, index) => {
    const error = new GpuError("shader", `adds.wgsl: the header lacks "${title}".`);
    expect(() => kernelHeader(adds(lines.toSpliced(index, 1)))).toThrow(error);
    expect(() => kernelHeader(adds(lines.with(index, ` ${title}: `)))).toThrow(error);
  });

  test("that lacks a summary is an error", () => {
    const bare = new GpuError("shader", "adds.wgsl: the header lacks a summary in its first line.");
    expect(() => kernelHeader(adds(lines.slice(1)))).toThrow(bare);
    expect(() => kernelHeader(adds([]))).toThrow(bare);
  });
});

describe("the workgroup size", () => {
  test.each(ALL_KERNELS.map((kernel) => [kernel.name, kernel] as const))("of %s is known", (_, kernel) => {
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
  });

  /** A shader file with a workgroup of this size and these lines before it. */
  const sized = (size: string, ...lines: readonly string[]) => ({
    name: "none",
    code: `// None\n${lines.join("\n")}\n@compute @workgroup_size(${size})\nfn main() {}\n`,
  });

  test.each<[string, readonly number[]]>([
    ["12", [12, 1, 1]],
    ["16u", [16, 1, 1]],
    ["2, 3u, 4", [2, 3, 4]],
    ["4 * 16u", [64, 1, 1]],
    ["20u / 8u", [2, 1, 1]],
    ["64u / 4u / 2u", [8, 1, 1]],
    ["12u / 4u * 2u", [6, 1, 1]],
  ])("of %s is a matter of numbers", (size, expected) => {
    expect(workgroupSize(sized(size), {})).toEqual(expected);
  });

  test.each<[string, readonly string[], Record<string, number | boolean>, readonly number[] | undefined]>([
    ["a constant", ["const N = 8;"], {}, [8, 1, 1]],
    ["an override's default", ["override N: u32 = 32u; // 32 or 64"], {}, [32, 1, 1]],
    ["an override's value", ["override N: u32 = 32u; // 32 or 64"], { N: 64 }, [64, 1, 1]],
    ["an override without a value", ["override N: u32;"], {}, undefined],
    ["an override without a default", ["override N: u32;"], { N: 64 }, [64, 1, 1]],
    ["a constant with a longer name", ["const N2 = 8;"], {}, undefined],
    ["a constant of a function", ["  const N = 8;"], {}, undefined],
    ["a name that ends like a number", ["override N: u32 = X4;"], {}, undefined],
    ["a product of names", ["const N = SIDE * SIDE;", "const SIDE = 8u;"], {}, [64, 1, 1]],
    ["a quotient of an unknown name", ["override N: u32 = 64u / SIDE;"], {}, undefined],
    ["a choice that is true", ["const N = select(4u, 8u, true);"], {}, [8, 1, 1]],
    ["a choice that is false", ["const N = select(4u, 8u, false);"], {}, [4, 1, 1]],
    ["a choice by default", ["override WIDE: bool = true;", "override N: u32 = select(4u, 8u, WIDE);"], {}, [8, 1, 1]],
    [
      "a choice by value",
      ["override WIDE: bool = true;", "override N: u32 = select(4u, 8u, WIDE);"],
      { WIDE: false },
      [4, 1, 1],
    ],
    ["a choice that is not known", ["override WIDE: bool;", "override N: u32 = select(4u, 8u, WIDE);"], {}, undefined],
    ["a quotient by a choice", ["const N = 64u / select(4u, 8u, true);"], {}, [8, 1, 1]],
    ["a sum", ["const N = 8u + 4u * 2u;"], {}, undefined],
    ["a sum that begins with a choice", ["const N = select(4u, 8u, true) + 1u;"], {}, undefined],
    ["a sum that ends with a choice", ["const N = 1u + select(4u, 8u, true);"], {}, undefined],
    ["a product over several lines", ["const N = 2u * 4u", "  * 8u;"], {}, undefined],
  ])("of %s", (_, lines, constants, expected) => {
    expect(workgroupSize(sized("N", ...lines), constants)).toEqual(expected);
  });

  test("is not known where one of its sides is not", () => {
    expect(workgroupSize(sized("N, 8"), {})).toBeUndefined();
    expect(workgroupSize(sized("8, N"), {})).toBeUndefined();
    expect(workgroupSize(sized("8, 1, N"), {})).toBeUndefined();
  });

  test("is a kernel's own where only constants change it", () => {
    expect(fixedWorkgroupSize(sized("N", "const N /* no override */ = 8u;"))).toEqual([8, 1, 1]);
    expect(fixedWorkgroupSize(sized("N", "override N: u32 = 8u;"))).toBeUndefined();
    const choice = sized("N", "const N = select(4u, 8u, WIDE);", "override WIDE: bool = true;");
    expect(fixedWorkgroupSize(choice)).toBeUndefined();
  });

  test("of a file without an entry point is an error", () => {
    const kernel = { name: "helper", code: "fn help() {}\n" };
    const error = new GpuError("shader", "helper.wgsl: no @workgroup_size was found.");
    expect(() => workgroupSize(kernel, {})).toThrow(error);
    expect(() => fixedWorkgroupSize(kernel)).toThrow(error);
  });
});

test("the dtype of a kernel's weights is known", () => {
  expect(kernelNamed("matmul", "q4").weightDtype).toBe("q4");
  expect(kernelNamed("matvec-reduce", "bf16").weightDtype).toBe("bf16");
  expect(kernelNamed("rms-norm").weightDtype).toBeUndefined();
});
