// Parses RADV's output for a pipeline: statistics, instructions by basic block, and loops.
import { GpuError } from "../errors.ts";

/** One instruction. */
export interface Instruction {
  /** Its operations: two in a dual-issue instruction (v_dual_…). */
  readonly operations: readonly string[];
  readonly operands: string;
}

/** Instructions that run from the first to the last. */
export interface Block {
  readonly label: string;
  readonly instructions: readonly Instruction[];
}

/** Blocks [first, last]; the last one branches back to the first. */
export interface Loop {
  readonly first: number;
  readonly last: number;
  /** Loops around this one. */
  readonly depth: number;
}

/** Statistics reported by the driver. Registers are per lane, bytes per workgroup (`ldsBytes`) or per lane (`scratchBytes`). */
export interface CompilerStatistics {
  readonly vectorRegisters: number;
  readonly scalarRegisters: number;
  readonly spilledRegisters: number;
  readonly ldsBytes: number;
  readonly scratchBytes: number;
  /** Waves that a SIMD can hold at once. */
  readonly waves: number;
  readonly codeBytes: number;
  readonly numInstructions: number;
  /** The compiler's estimates for one wave, in cycles; every loop counts eight times. */
  readonly latency: number;
  readonly inverseThroughput: number;
}

/** A compiled pipeline. */
export interface Disassembly {
  readonly statistics: CompilerStatistics;
  readonly blocks: readonly Block[];
  /** The outer ones first. */
  readonly loops: readonly Loop[];
  /** Whether the instructions are those of the compiler's own last form: the disassembler does not know the GPU. */
  readonly isCompilerForm: boolean;
}

/**
 * Reads the driver's text. Where its disassembler does not know the GPU, the driver prints the compiler's form after its last
 * step instead, one line per machine instruction with names that all generations share; without either there are no blocks.
 * @throws GpuError `shader` when the text is not of the form that Mesa 25 prints.
 */
export function parseDisassembly(text: string): Disassembly {
  const [, unsupported, listing] =
    /^disasm:\n(Shader disassembly is not supported[^\n]*\n\n)?([\s\S]*?)\n\n/m.exec(text) ?? [];
  if (listing === undefined) throw new GpuError("shader", "The driver printed no instructions; Mesa 25 is needed.");
  const blocks = parseBlocks(listing);
  const isCompilerForm = unsupported !== undefined && blocks.length > 0;
  return { statistics: parseStatistics(text), blocks, loops: findLoops(blocks), isCompilerForm };
}

function parseStatistics(text: string): CompilerStatistics {
  const value = (name: string) => {
    const [, digits] = new RegExp(`^${name}: (\\d+)$`, "m").exec(text) ?? [];
    if (digits === undefined) throw new GpuError("shader", `The driver printed no "${name}"; Mesa 25 is needed.`);
    return Number(digits);
  };
  return {
    vectorRegisters: value("VGPRs"),
    scalarRegisters: value("SGPRs"),
    spilledRegisters: value("Spilled SGPRs") + value("Spilled VGPRs"),
    ldsBytes: value("LDS size"),
    scratchBytes: value("Scratch size"),
    waves: value("Subgroups per SIMD"),
    codeBytes: value("Code size"),
    numInstructions: value("Instructions"),
    latency: value("Latency"),
    inverseThroughput: value("Inverse Throughput"),
  };
}

function parseBlocks(listing: string): readonly Block[] {
  const blocks: { label: string; instructions: Instruction[] }[] = [];
  for (const line of listing.split("\n")) {
    const [, label] = /^(BB\d+):?$/.exec(line) ?? [];
    if (label !== undefined) blocks.push({ label, instructions: [] });
    const code = line.split(";")[0]?.trim() ?? "";
    // "(then repeated 5 times)" is about padding.
    if (line.startsWith("\t") && /^[a-z]/.test(code))
      blocks.at(-1)?.instructions.push(parseInstruction(plainForm(code)));
  }
  return blocks;
}

/** "v1: %81:v[32] = v_fma_f32 %28:v[28], (latekill)%245:v[12]" → "v_fma_f32 v[32], v[28], v[12]"; assembly stays as it is. */
function plainForm(code: string): string {
  const text = code.replaceAll(/\(\w+\)(?=%)/g, "").replaceAll(/%\d+:/g, "");
  const [, results, call] = /^((?:[sv]\d+(?:b|_linear)?: .*?)) = (.*)$/.exec(text) ?? [];
  if (results === undefined || call === undefined) return text.replaceAll("block:", "");
  const [operation = "", ...operands] = call.split(" ");
  const targets = results.replaceAll(/[sv]\d+(?:b|_linear)?: /g, "").replaceAll(/,\s+/g, ", ");
  return `${operation} ${[targets, operands.join(" ")].filter((part) => part !== "").join(", ")}`;
}

function parseInstruction(code: string): Instruction {
  const [first = ""] = code.split(/\s/);
  const operations = [
    first,
    ...code
      .split(" :: ")
      .slice(1)
      .map((half) => String(half.split(/\s/)[0])),
  ];
  return { operations, operands: code.slice(first.length).trim() };
}

/** Blocks are printed in the order of their addresses: a branch back closes a loop. */
function findLoops(blocks: readonly Block[]): readonly Loop[] {
  const lastOf = new Map<number, number>();
  for (const [index, { instructions }] of blocks.entries()) {
    for (const { operations, operands } of instructions) {
      const [, target] = /\bBB(\d+)\b/.exec(operands) ?? [];
      if (!operations.some((name) => /^s_c?branch/.test(name)) || target === undefined) continue;
      const first = blocks.findIndex(({ label }) => label === `BB${target}`);
      if (first >= 0 && first <= index) lastOf.set(first, Math.max(index, lastOf.get(first) ?? 0));
    }
  }
  const ranges = [...lastOf].map(([first, last]) => ({ first, last }));
  ranges.sort((a, b) => a.first - b.first || b.last - a.last);
  const contains = (a: (typeof ranges)[number], b: typeof a) => a !== b && a.first <= b.first && a.last >= b.last;
  return ranges.map((range) => ({
    ...range,
    depth: ranges.filter((other) => contains(other, range)).length,
  }));
}
