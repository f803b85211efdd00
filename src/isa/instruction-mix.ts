// Classifies and counts the instructions of a loop, for GCN and RDNA.
import type { Block, Instruction } from "./disassembly.ts";
import { WAVE_LANES } from "./targets.ts";

/** Kinds of operations that the vector ALUs execute. Integer ones compute addresses, unpack weights and pack masks. */
const VECTOR_KINDS = [
  "multiply-add",
  "other float",
  "transcendental",
  "conversion",
  "clamp",
  "integer",
  "compare",
  "move",
] as const;

/** Kinds of operations. */
export const OPERATION_KINDS = [
  ...VECTOR_KINDS,
  "workgroup memory",
  "memory",
  "scalar",
  "wait",
  "barrier",
  "branch",
] as const;

/** One of {@link OPERATION_KINDS}. */
export type OperationKind = (typeof OPERATION_KINDS)[number];

/** Operations by kind, and bytes that one lane moves. */
export interface InstructionMix {
  readonly counts: Readonly<Record<OperationKind, number>>;
  /** Of them, those that the vector ALUs execute. */
  readonly vector: number;
  /** Dual-issue instructions. */
  readonly numDual: number;
  readonly loads: MemoryAccess;
  readonly stores: MemoryAccess;
  readonly ldsReads: MemoryAccess;
  readonly ldsWrites: MemoryAccess;
  /** Multiply-adds of one lane: a dot product counts each of its terms. */
  readonly multiplyAdds: number;
}

/** Accesses to memory. */
export interface MemoryAccess {
  readonly count: number;
  /** Bytes that one lane moves. */
  readonly bytes: number;
  /** Of the count, those of 16 bytes. */
  readonly numWide: number;
}

const PATTERNS: readonly (readonly [OperationKind, RegExp])[] = [
  ["workgroup memory", /^ds_(?!bpermute|permute|swizzle|nop)/],
  [
    "move",
    /^(v_(dual_|pk_|accvgpr_)?(mov|swap)|v_readlane|v_readfirstlane|v_writelane|v_permlane|ds_(b?permute|swizzle))/,
  ],
  ["barrier", /^(s_barrier|buffer_(gl|inv|wb)|s_dcache)/],
  ["memory", /^(buffer|global|flat|scratch|s_load|s_buffer_load|s_store)/],
  ["wait", /^s_(waitcnt|wait_|nop|delay_alu|sleep|clause|inst_prefetch|setprio|code_end|set_inst)/],
  ["branch", /^s_(c?branch|endpgm|sendmsg|setpc|call|getpc)/],
  ["scalar", /^s_/],
  [
    "multiply-add",
    /^v_(dual_|pk_)?(fma|fmac|fmaak|fmamk|mad|mac|madak|madmk)_(f32|f16|mix|legacy|dx9|mixlo|mixhi)|^v_dual_dot|^v_dot\d|^v_wmma/,
  ],
  ["clamp", /^v_(dual_)?(min|max|med3|minmax|maxmin|min3|max3)_[ui]/],
  ["transcendental", /^v_(exp|log|rcp|rsq|sqrt|sin|cos)_/],
  ["conversion", /^v_cvt_/],
  ["compare", /^v_(dual_)?(cmpx?|cndmask)/],
  ["other float", /^v_(dual_|pk_)?\w+_(f16|f32|f64)(_|$)/],
  ["integer", /^v_/],
];

/** Kind of an operation. @param operands as printed; v_fma_mix with 1.0 only widens an f16 */
export function kindOf(operation: string, operands = ""): OperationKind {
  if (operation.startsWith("v_fma_mix") && /, 1\.0, neg\(0\)/.test(operands)) return "conversion";
  return PATTERNS.find(([, pattern]) => pattern.test(operation))?.[0] ?? "integer";
}

/** Counts the operations of some blocks. */
export function mixOf(blocks: readonly Block[]): InstructionMix {
  const counts = Object.fromEntries(OPERATION_KINDS.map((kind) => [kind, 0])) as Record<OperationKind, number>;
  const access = { loads: nothing(), stores: nothing(), ldsReads: nothing(), ldsWrites: nothing() };
  let multiplyAdds = 0;
  let numDual = 0;
  for (const { operations, operands } of blocks.flatMap(({ instructions }) => instructions)) {
    if (operations.length > 1) numDual++;
    for (const operation of operations) {
      const kind = kindOf(operation, operands);
      counts[kind]++;
      if (kind === "multiply-add") multiplyAdds += termsOf(operation);
      const target = accessOf(operation, access);
      if (target !== undefined) addAccess(target, operation);
    }
  }
  const vector = VECTOR_KINDS.reduce((sum, kind) => sum + counts[kind], 0);
  return { counts, vector, numDual, multiplyAdds, ...access };
}

/** Products that one lane adds up: four bytes of v_dot4, two halves of v_dot2 and packed operations, a wave's share of v_wmma. */
function termsOf(operation: string): number {
  const [, m, n, k] = /^v_wmma_\w+?_(\d+)x(\d+)x(\d+)/.exec(operation) ?? [];
  if (m !== undefined) return (Number(m) * Number(n) * Number(k)) / WAVE_LANES;
  const [, terms] = /dot(\d)/.exec(operation) ?? [];
  if (terms !== undefined) return Number(terms);
  return operation.startsWith("v_pk_") ? 2 : 1;
}

type Counted = { -readonly [Key in keyof MemoryAccess]: MemoryAccess[Key] };

function nothing(): Counted {
  return { count: 0, bytes: 0, numWide: 0 };
}

/** Scalar loads are not counted: one serves a whole wave. */
function accessOf<T>(
  operation: string,
  access: Readonly<Record<"loads" | "stores" | "ldsReads" | "ldsWrites", T>>,
): T | undefined {
  if (/^(buffer|global|flat|scratch)_load/.test(operation)) return access.loads;
  if (/^(buffer|global|flat|scratch)_store/.test(operation)) return access.stores;
  if (/^ds_(load|read)/.test(operation)) return access.ldsReads;
  if (/^ds_(store|write)/.test(operation)) return access.ldsWrites;
  return undefined;
}

function addAccess(target: Counted, operation: string): void {
  const bytes = bytesOf(operation);
  target.count++;
  target.bytes += bytes;
  if (bytes >= 16) target.numWide++;
}

/** Bytes of one lane: "ds_load_b128" 16, "buffer_load_dwordx2" 8, "ds_read2_b32" 8, "buffer_load_d16_b16" 2. */
function bytesOf(operation: string): number {
  const [, dwords] = /dwordx(\d)/.exec(operation) ?? [];
  if (dwords !== undefined) return Number(dwords) * 4;
  const [, bits] = /_[biu](\d+)/.exec(operation) ?? [];
  const single =
    bits === undefined ? (/_(ubyte|sbyte)/.test(operation) ? 1 : /short/.test(operation) ? 2 : 4) : Number(bits) / 8;
  return /2(addr|st64)?_|_2addr/.test(operation) && operation.startsWith("ds_") ? single * 2 : single;
}

/** An instruction's kind: that of its first operation. */
export function instructionKind({ operations: [first = ""], operands }: Instruction): OperationKind {
  return kindOf(first, operands);
}

/** Instructions executed by vector ALUs, workgroup memory and memory. */
export function workOf({ vector, counts }: InstructionMix): number {
  return vector + counts["workgroup memory"] + counts.memory;
}

/** The sum of mixes, each counted `times` times. */
export function sumOfMixes(parts: readonly { readonly mix: InstructionMix; readonly times: number }[]): InstructionMix {
  const sum = (value: (mix: InstructionMix) => number) =>
    parts.reduce((total, { mix, times }) => total + times * value(mix), 0);
  const access = (value: (mix: InstructionMix) => MemoryAccess): MemoryAccess => ({
    count: sum((mix) => value(mix).count),
    bytes: sum((mix) => value(mix).bytes),
    numWide: sum((mix) => value(mix).numWide),
  });
  const counts = OPERATION_KINDS.map((kind) => [kind, sum((mix) => mix.counts[kind])]);
  return {
    counts: Object.fromEntries(counts) as Record<OperationKind, number>, // one of every kind
    vector: sum(({ vector }) => vector),
    numDual: sum(({ numDual }) => numDual),
    loads: access(({ loads }) => loads),
    stores: access(({ stores }) => stores),
    ldsReads: access(({ ldsReads }) => ldsReads),
    ldsWrites: access(({ ldsWrites }) => ldsWrites),
    multiplyAdds: sum(({ multiplyAdds }) => multiplyAdds),
  };
}
