// The text of `adaptvis explain --isa`: what a compiler made of one pass, and its WGSL beside the instructions.
import type { OperationKind } from "../isa/instruction-mix.ts";
import { multiplyAddShare } from "../isa/lab.ts";
import type { IsaBlock, PassIsa, WgslLine } from "../isa/pass-isa.node.ts";
import { percent } from "../isa/report.ts";
import { WAVE_LANES } from "../isa/targets.ts";
import { field } from "./explain-text.ts";
import { styled, table } from "./session.ts";

/** Width of a line where the output is not a terminal. */
const FILE_WIDTH = 160;
/** The narrowest terminal with two columns. */
const LEAST_TWO_COLUMNS = 132;
const MOST_BAR = 24;

/** Short names of kinds, for the margin. */
const MARGIN: Readonly<Record<OperationKind, string>> = {
  "multiply-add": "mul-add",
  "other float": "float",
  transcendental: "special",
  conversion: "convert",
  clamp: "clamp",
  integer: "integer",
  compare: "compare",
  move: "move",
  "workgroup memory": "LDS",
  memory: "memory",
  scalar: "scalar",
  wait: "wait",
  barrier: "barrier",
  branch: "branch",
};

/** The lines about a compiled pass, for a terminal of `columns` characters; undefined for a file. */
export function isaLines(isa: PassIsa, columns: number | undefined = process.stdout.columns): readonly string[] {
  const { target, driver, isRobust, statistics, loops } = isa;
  const { vectorRegisters, scalarRegisters, spilledRegisters, ldsBytes, waves, numInstructions, codeBytes } =
    statistics;
  const clamps = isRobust ? "" : ", without Dawn's clamps";
  return [
    styled("bold", `Compiled for ${target.name} (${target.description}) by ${driver}${clamps}; not executed there`),
    ...field("kernels", "those for GPUs, which the model was loaded with; the values above are theirs on this adapter"),
    ...field("registers", `${vectorRegisters} vector per lane, ${scalarRegisters} scalar, ${spilledRegisters} spilled`),
    ...field("waves", `${waves} per SIMD at once, of ${WAVE_LANES} lanes each`),
    ...field("LDS", `${ldsBytes} bytes per workgroup`),
    ...field("instructions", `${numInstructions} in ${codeBytes} bytes`),
    ...(loops.length === 0
      ? field("loops", "unknown: this driver lists no instructions for the target")
      : mixLines(isa)),
    ...(loops.length === 0 ? [] : ["", ...listing(isa, columns ?? FILE_WIDTH)]),
  ];
}

function mixLines({ loops, isCompilerForm, ...isa }: PassIsa): readonly string[] {
  const [hot] = loops;
  const rows = loops.map(({ label, depth, share, mix }, index) => [
    `${label}${index === 0 && label !== "no loop" ? " (hot)" : ""}`,
    String(depth),
    percent(share),
    String(mix.vector),
    percent(multiplyAddShare(mix)),
    `${mix.ldsReads.count} + ${mix.ldsWrites.count}`,
    `${mix.loads.count} + ${mix.stores.count}`,
    String(mix.counts.clamp),
  ]);
  const head = [
    "loop",
    "loops around",
    "work",
    "vector",
    "multiply-adds",
    "LDS reads + writes",
    "loads + stores",
    "clamps",
  ];
  const counts = Object.entries(hot?.mix.counts ?? {}).filter(([, count]) => count > 0);
  counts.sort(([, a], [, b]) => b - a);
  const most = Math.max(...counts.map(([, count]) => count));
  return [
    ...(isCompilerForm ? field("names", "the compiler's own: Mesa's disassembler does not know this GPU") : []),
    ...field("prediction", predictionText(isa)),
    "",
    ...table(head, rows),
    "",
    styled("dim", hot?.label === "no loop" ? "The kernel's instructions" : `One iteration of ${hot?.label}`),
    ...counts.map(([kind, count]) => {
      return `  ${kind.padEnd(18)}${String(count).padStart(4)}  ${"█".repeat(Math.ceil((count / most) * MOST_BAR))}`;
    }),
  ];
}

/** The prediction in one sentence. */
export function predictionText({ prediction, target }: Pick<PassIsa, "prediction" | "target">): string {
  if (prediction === null) return "none without instructions";
  const { limit, arithmeticShare, memoryShare } = prediction;
  const shares = [
    ...(arithmeticShare > 0 ? [`do ${percent(arithmeticShare)} of the multiply-adds that it can`] : []),
    ...(memoryShare === null ? [] : [`read weights at ${percent(memoryShare)} of its memory bandwidth`]),
  ];
  const would = shares.length === 0 ? "" : `, and would ${shares.join(" and ")}`;
  return `if other waves hide all latencies, ${target.name} is limited by ${limit} in the hot loop and those around it${would}`;
}

/** The WGSL beside the instructions where the width allows it, else before them. */
function listing({ wgslLines, blocks }: PassIsa, width: number): readonly string[] {
  const isWide = width >= LEAST_TWO_COLUMNS;
  const [left, right] = isWide ? [Math.floor(width / 2) - 2, Math.ceil(width / 2) - 2] : [width, width];
  const wgsl = wgslColumn(wgslLines, left);
  const isa = isaColumn(blocks, right);
  const legend = styled(
    "dim",
    "Bars: loops around a line; thick: the hot loop. A WGSL loop without an ISA loop was unrolled.",
  );
  const [wgslTitle, isaTitle] = ["WGSL as compiled", "ISA"];
  if (!isWide) {
    return [legend, "", styled("bold", wgslTitle), ...wgsl, "", styled("bold", isaTitle), ...isa];
  }
  const numLines = Math.max(wgsl.length, isa.length);
  const lines = Array.from({ length: numLines }, (_, index) => {
    return `${(wgsl[index] ?? "").padEnd(left)} ‖ ${isa[index] ?? ""}`.trimEnd();
  });
  return [legend, "", `${styled("bold", wgslTitle.padEnd(left))} ‖ ${styled("bold", isaTitle)}`, ...lines];
}

function wgslColumn(lines: readonly WgslLine[], width: number): readonly string[] {
  const deepest = Math.max(0, ...lines.map(({ depth }) => depth));
  return lines.flatMap(({ text, depth }) => {
    const margin = `${"│".repeat(depth).padEnd(deepest)} `;
    return pieces(text, width - margin.length).map((piece) => margin + piece);
  });
}

function isaColumn(blocks: readonly IsaBlock[], width: number): readonly string[] {
  const deepest = Math.max(0, ...blocks.map(({ depth }) => depth));
  return blocks.flatMap(({ label, depth, isHot, instructions }) => {
    const margin = `${(isHot ? "┃" : "│").repeat(depth).padEnd(deepest)} `;
    const title = `${margin}${styled(isHot ? "bold" : "dim", `${label}:${isHot ? " hot" : ""}`)}`;
    const lines = instructions.flatMap(({ text, kind }) => {
      const indent = `${margin}${MARGIN[kind].padEnd(8)}`;
      const [first = "", ...others] = pieces(text, width - indent.length);
      return [indent + first, ...others.map((piece) => `${margin}${" ".repeat(10)}${piece}`)];
    });
    return [title, ...lines];
  });
}

/** A line in pieces of at most `width` characters, split between words where there are any. */
function pieces(text: string, width: number): readonly string[] {
  const indent = " ".repeat(Math.min(text.length - text.trimStart().length + 4, width >> 1));
  const lines: string[] = [];
  let rest = text;
  while (rest.length > width) {
    const cut = rest.lastIndexOf(" ", width);
    const end = rest.slice(0, cut).trim() === "" ? width : cut;
    lines.push(rest.slice(0, end));
    rest = indent + rest.slice(end).trim();
  }
  return [...lines, rest];
}
