// What a kernel's WGSL text says about itself: the parts of its header, and the size of its workgroups.
import { at, GpuError } from "../errors.ts";
import type { Constant, Kernel } from "../gpu/kernel.ts";
import { ALL_KERNELS } from "../gpu/ops/kernels.ts";

/** The header of a shader file, without comment marks; what stands there as "as matmul" is matmul's text. */
export interface KernelHeader {
  /** In plain words. */
  readonly summary: string;
  readonly formula: string;
  readonly shapes: string;
  readonly workDivision: string;
  /** Workgroups. */
  readonly grid: string;
  readonly errorBound: string;
  /** Paper or reference code, and the shared texts appended. */
  readonly source: string;
}

const TITLES = {
  formula: "Formula",
  shapes: "Shapes",
  workDivision: "Work division",
  grid: "Grid",
  errorBound: "Error bound",
  source: "Source",
} as const;

/** @throws GpuError `shader` when a part is missing. */
export function kernelHeader(kernel: Pick<Kernel, "name" | "code">): KernelHeader {
  // Directives stand before the header, where defineKernel collected them.
  const comment = /^(?:enable \w+;\n|\n)*((?:\/\/.*\n)+)/.exec(kernel.code)?.[1] ?? "";
  const text = comment.replace(/^\/\/ */gm, "");
  const parts = text.split(new RegExp(`^(${Object.values(TITLES).join("|")}): `, "m")).map(joinLines);
  const read = (key: keyof typeof TITLES): string => {
    const title = TITLES[key];
    const part = parts.includes(title) ? parts[parts.indexOf(title) + 1] : undefined;
    if (part === undefined || part === "") {
      throw new GpuError("shader", `${kernel.name}.wgsl: the header lacks "${title}".`);
    }
    return resolved(part, key);
  };
  const summary = at(parts, 0);
  if (summary === "")
    throw new GpuError("shader", `${kernel.name}.wgsl: the header lacks a summary in its first line.`);
  return {
    summary,
    formula: read("formula"),
    shapes: read("shapes"),
    workDivision: read("workDivision"),
    grid: read("grid"),
    errorBound: read("errorBound"),
    source: read("source"),
  };
}

/** "as matmul, for the few rows of a decode step" → matmul's text, and the rest. */
function resolved(part: string, key: keyof typeof TITLES): string {
  const name = /^as ([a-z][a-z-]*)(?=$|;|, for)/.exec(part)?.[1];
  const other = ALL_KERNELS.find((each) => each.name === name);
  return other === undefined ? part : kernelHeader(other)[key] + part.slice(`as ${other.name}`.length);
}

function joinLines(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, " ");
}

/**
 * Threads of a workgroup in x, y, z under these override values; undefined when they depend on an override without one.
 * @throws GpuError `shader` when the kernel has no entry point.
 */
export function workgroupSize(
  kernel: Pick<Kernel, "name" | "code">,
  constants: Readonly<Record<string, Constant>>,
): readonly [number, number, number] | undefined {
  const sizes = /@workgroup_size\(([^\n]*)\)\n/.exec(kernel.code)?.[1];
  if (sizes === undefined) throw new GpuError("shader", `${kernel.name}.wgsl: no @workgroup_size was found.`);
  const [x = Number.NaN, y = 1, z = 1] = sizes.split(",").map((size) => numberOf(size, kernel.code, constants));
  return [x, y, z].every(Number.isInteger) ? [x, y, z] : undefined;
}

/** As {@link workgroupSize}; undefined when it depends on any override. @throws as there. */
export function fixedWorkgroupSize(
  kernel: Pick<Kernel, "name" | "code">,
): readonly [number, number, number] | undefined {
  const lines = kernel.code.split("\n").filter((line) => !line.startsWith("override "));
  return workgroupSize({ name: kernel.name, code: lines.join("\n") }, {});
}

/** The value of a WGSL expression of numbers, overrides, products, quotients and selects; NaN when it is not known. */
function numberOf(expression: string, code: string, constants: Readonly<Record<string, Constant>>): number {
  const text = expression.trim();
  const value = (part: string | undefined) => numberOf(String(part), code, constants);
  if (/^\d+u?$/.test(text)) return Number.parseInt(text, 10);
  if (text === "true" || text === "false") return Number(text === "true");
  // The last operator of a chain is applied last.
  const operation = /^([\w */]+) ([*/]) (.+)$/.exec(text);
  if (operation !== null) {
    const [, left, sign, right] = operation;
    return sign === "*" ? value(left) * value(right) : Math.floor(value(left) / value(right));
  }
  const select = /^select\((\w+), (\w+), (\w+)\)$/.exec(text);
  if (select !== null) {
    const [, no, yes, condition] = select;
    const chosen = value(condition);
    return Number.isNaN(chosen) ? Number.NaN : value(chosen === 0 ? no : yes);
  }
  const constant = constants[text];
  if (constant !== undefined) return Number(constant);
  const definition = new RegExp(`^(?:override|const) ${text}\\b[^=;]*=\\s*([^;]+);`, "m").exec(code)?.[1];
  return definition === undefined ? Number.NaN : value(definition);
}
