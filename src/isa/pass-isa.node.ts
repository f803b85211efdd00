// One pass of an explained answer as compiled for a GPU: its instructions by block and its WGSL, both with their loops.
import type { ExplainedKernel, ExplainedPass } from "../inspect/explained-pass.ts";
import { type CompileOptions, compileJobs } from "./compile-jobs.node.ts";
import { type CompilerStatistics, type Disassembly, parseDisassembly } from "./disassembly.ts";
import { type HotLoop, hotLoop, type LoopPart, loopParts, nestMix } from "./hot-loops.ts";
import { type InstructionMix, instructionKind, type OperationKind } from "./instruction-mix.ts";
import { weightUse } from "./lab.ts";
import { type Prediction, predict } from "./prediction.ts";
import type { IsaTarget } from "./targets.ts";

/** A pass as compiled for one GPU. */
export interface PassIsa {
  readonly target: IsaTarget;
  /** The driver's version, as it describes itself. */
  readonly driver: string;
  /** False where Dawn was told not to clamp indices. */
  readonly isRobust: boolean;
  /** Whether the instructions have the compiler's own names, since the disassembler does not know the GPU. */
  readonly isCompilerForm: boolean;
  readonly statistics: CompilerStatistics;
  /** Every loop without the loops inside it, the hot one first; one of the whole for a kernel without loops. */
  readonly loops: readonly HotLoop[];
  /** The hot loop with those around and beside it; null where the driver lists no instructions. */
  readonly nest: InstructionMix | null;
  readonly prediction: Prediction | null;
  readonly blocks: readonly IsaBlock[];
  readonly wgslLines: readonly WgslLine[];
}

/** Instructions that run from the first to the last. */
export interface IsaBlock {
  readonly label: string;
  /** Loops around it. */
  readonly depth: number;
  /** Whether it belongs to the hot loop itself. */
  readonly isHot: boolean;
  readonly instructions: readonly { readonly text: string; readonly kind: OperationKind }[];
}

/** A line of a kernel's text. */
export interface WgslLine {
  readonly text: string;
  /** Loops around it, a loop's own first line included. */
  readonly depth: number;
}

/**
 * Compiles the pipeline of a pass.
 * @throws GpuError `no-adapter` where the compiler is missing, `shader` when the pass does not compile for the target; AbortError.
 */
export async function passIsa(
  pass: Pick<ExplainedPass, "constants">,
  kernel: Pick<ExplainedKernel, "name" | "wgsl" | "weightDtype">,
  options: { readonly target: IsaTarget } & Omit<CompileOptions, "target">,
): Promise<PassIsa> {
  const { target, isRobust = true } = options;
  const job = { name: kernel.name, code: kernel.wgsl, constants: pass.constants };
  const { driver, texts } = await compileJobs([job], { ...options, target: target.name });
  return readPassIsa(pass, kernel, { target, isRobust, driver, text: String(texts[0]) });
}

/** Reads what a driver printed of a pass. @param compiled `text` as in `CompiledJobs` @throws as parseDisassembly. */
export function readPassIsa(
  { constants }: Pick<ExplainedPass, "constants">,
  kernel: Pick<ExplainedKernel, "name" | "wgsl" | "weightDtype">,
  compiled: Pick<PassIsa, "target" | "driver" | "isRobust"> & { readonly text: string },
): PassIsa {
  const { target, driver, isRobust, text } = compiled;
  const disassembly = parseDisassembly(text);
  const parts = loopParts(disassembly);
  const nest = nestMix(disassembly);
  return {
    target,
    driver,
    isRobust,
    isCompilerForm: disassembly.isCompilerForm,
    statistics: disassembly.statistics,
    loops: parts.map(hotLoop),
    nest,
    prediction: nest && predict(nest, target, weightUse(kernel, constants)),
    blocks: isaBlocks(disassembly, parts),
    wgslLines: wgslLines(kernel.wgsl),
  };
}

function isaBlocks({ blocks, loops }: Disassembly, parts: readonly LoopPart[]): readonly IsaBlock[] {
  const hot = loops.length === 0 ? [] : (parts[0]?.blocks ?? []);
  return blocks.map(({ label, instructions }, index) => ({
    label,
    depth: loops.filter(({ first, last }) => first <= index && index <= last).length,
    isHot: hot.includes(index),
    instructions: instructions.map((instruction) => {
      const text = `${instruction.operations[0]} ${instruction.operands}`.trim();
      return { text, kind: instructionKind(instruction) };
    }),
  }));
}

/** A kernel's lines without its header, each with the number of loops around it. */
export function wgslLines(wgsl: string): readonly WgslLine[] {
  // Directives stand before the header, where defineKernel collected them.
  const text = wgsl.replace(/^((?:enable \w+;\n|\s*\n)*)(?:\/\/.*\n|\s*\n)+/, "$1").trim();
  /** Braces that are open at each enclosing loop's first line. */
  const loops: number[] = [];
  let numOpen = 0;
  return text.split("\n").map((line) => {
    const code = line.replace(/\/\/.*$/, "");
    if (/^\s*(for|while|loop)\b/.test(code)) loops.push(numOpen);
    const depth = loops.length;
    numOpen += code.split("{").length - code.split("}").length;
    while (loops.length > 0 && numOpen <= Number(loops.at(-1))) loops.pop();
    return { text: line, depth };
  });
}
