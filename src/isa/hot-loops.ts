// Where a kernel spends its time. How often a loop runs is not in its instructions; as in the compiler's own estimates, each counts
// as eight iterations, those inside another as eight for each of its iterations.
import type { Block, Disassembly, Loop } from "./disassembly.ts";
import { type InstructionMix, mixOf, sumOfMixes, workOf } from "./instruction-mix.ts";

/** Iterations that a loop counts as. */
const ITERATIONS = 8;

/** A loop without the loops inside it. */
export interface LoopPart {
  /** Its first and last block, "BB18–BB21"; "no loop" for a kernel without one, of which this is the whole. */
  readonly label: string;
  /** Indices of its blocks, those of inner loops left out. */
  readonly blocks: readonly number[];
  /** Loops around it. */
  readonly depth: number;
  /** One iteration. */
  readonly mix: InstructionMix;
  /** Its share of the instructions that all loops of the kernel run, from 0 to 1. */
  readonly share: number;
}

/** A loop as reports show it. */
export type HotLoop = Omit<LoopPart, "blocks">;

/** A loop for a report. */
export function hotLoop({ blocks: _, ...loop }: LoopPart): HotLoop {
  return loop;
}

/**
 * Every loop without its inner loops: first the hot loop, which runs the most multiply-adds, or without any the most instructions;
 * then the others, those that run the most instructions first. Empty only without blocks.
 */
export function loopParts({ blocks, loops }: Disassembly): readonly LoopPart[] {
  if (blocks.length === 0) return [];
  if (loops.length === 0) {
    return [{ label: "no loop", blocks: blocks.map((_, index) => index), depth: 0, mix: mixOf(blocks), share: 1 }];
  }
  const parts = loops.map((loop) => {
    const own = ownBlocks(blocks, loop, loops);
    const mix = mixOf(own.flatMap((index) => blocks[index] ?? []));
    return { label: labelOf(blocks, loop), blocks: own, depth: loop.depth, mix };
  });
  const times = ({ depth }: { readonly depth: number }) => ITERATIONS ** (depth + 1);
  const total = parts.reduce((sum, part) => sum + workOf(part.mix) * times(part), 0);
  const shared = parts.map((part) => ({ ...part, share: total === 0 ? 0 : (workOf(part.mix) * times(part)) / total }));
  const byWork = shared.sort((a, b) => b.share - a.share);
  const most = Math.max(...byWork.map((part) => part.mix.multiplyAdds * times(part)));
  const hot = byWork.filter((part) => part.mix.multiplyAdds * times(part) === most).slice(0, 1);
  return [...hot, ...byWork.filter((part) => !hot.includes(part))];
}

/**
 * What one iteration of the outermost loop around the hottest one runs, its inner loops {@link ITERATIONS} times each: staging,
 * barriers and reductions count too. Of a kernel without loops, all of it; null without blocks.
 */
export function nestMix(disassembly: Disassembly): InstructionMix | null {
  const parts = loopParts(disassembly);
  const [hottest] = parts;
  if (hottest === undefined) return null;
  const [inside = -1] = hottest.blocks;
  const outermost = disassembly.loops.find(
    ({ depth, first, last }) => depth === 0 && first <= inside && inside <= last,
  );
  if (outermost === undefined) return hottest.mix;
  const isInNest = ({ blocks: [first = -1] }: LoopPart) => outermost.first <= first && first <= outermost.last;
  return sumOfMixes(parts.filter(isInNest).map(({ mix, depth }) => ({ mix, times: ITERATIONS ** depth })));
}

function ownBlocks(blocks: readonly Block[], loop: Loop, loops: readonly Loop[]): readonly number[] {
  const inner = loops.filter(
    ({ first, last, depth }) => depth > loop.depth && first >= loop.first && last <= loop.last,
  );
  const isOwn = (index: number) => !inner.some(({ first, last }) => first <= index && index <= last);
  return blocks.map((_, index) => index).filter((index) => index >= loop.first && index <= loop.last && isOwn(index));
}

function labelOf(blocks: readonly Block[], { first, last }: Loop): string {
  const [from, to] = [blocks[first]?.label, blocks[last]?.label];
  return from === to ? String(from) : `${from}–${to}`;
}
