// What RADV prints of a pipeline, as data: its statistics, its instructions by basic block, and its loops.
import { GpuError } from "../errors.ts";

/** One instruction. */
export interface Instruction {
  /** Its operations: two where the compiler packed a pair into one (v_dual_…). */
  readonly operations: readonly string[];
  readonly operands: string;
}

/** Instructions that run from the first to the last. */
export interface Block {
  readonly label: string;
  readonly instructions: readonly Instruction[];
}

/** Blocks [first, last], from whose last one control returns to the first. */
export interface Loop {
  readonly first: number;
  readonly last: number;
  /** Loops around this one. */
  readonly depth: number;
  readonly isInnermost: boolean;
}

/** What the driver counts itself. Registers are per lane, bytes per workgroup (`ldsBytes`) or per lane (`scratchBytes`). */
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
}

/**
 * Reads the driver's text. There are no blocks where its disassembler does not know the GPU.
 * @throws GpuError `shader` when the text is not of the form that Mesa 25 prints.
 */
export function parseDisassembly(text: string): Disassembly {
  const [, listing] = /^disasm:\n([\s\S]*?)\n\n/m.exec(text) ?? [];
  if (listing === undefined) throw new GpuError("shader", "The driver printed no instructions; Mesa 25 is needed.");
  const blocks = parseBlocks(listing);
  return { statistics: parseStatistics(text), blocks, loops: findLoops(blocks) };
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
    const [, label] = /^(BB\d+):/.exec(line) ?? [];
    if (label !== undefined) blocks.push({ label, instructions: [] });
    const code = line.split(";")[0]?.trim() ?? "";
    if (line.startsWith("\t") && code !== "") blocks.at(-1)?.instructions.push(parseInstruction(code));
  }
  return blocks;
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
    isInnermost: !ranges.some((other) => contains(range, other)),
  }));
}
