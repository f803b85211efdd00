// The text of `adaptvis explain`: the list of passes, one pass in full, and tensors drawn in block characters.

import { at } from "../errors.ts";
import type { Explanation } from "../explain.ts";
import type { ExplainedPass, PassTensor, PassValues } from "../inspect/explained-pass.ts";
import type { ValuePicture } from "../inspect/tensor-values.ts";
import { styled, table, UsageError } from "./session.ts";

const HEAD = ["pass", "place", "kernel", "workgroups", "GPU ms", "output shape", "output"];

/** A stage of an answer with its passes, in order. */
interface Stage {
  readonly name: string;
  readonly passes: readonly ExplainedPass[];
}

/** The lines of the table of passes, grouped by stage. */
export function stageLines(
  passes: readonly ExplainedPass[],
  options: { readonly withAllLayers: boolean },
): readonly string[] {
  const stages = stagesOf(passes);
  const rows = stages.map((stage) => (options.withAllLayers ? stage.passes.map(rowOf) : foldedRows(stage.passes)));
  const [head = "", ...lines] = table(HEAD, rows.flat());
  let next = 0;
  return stages.flatMap(({ name, passes: own }, index) => {
    const numRows = rows[index]?.length ?? 0;
    const shown = lines.slice(next, next + numRows);
    next += numRows;
    return [...(index === 0 ? [head] : []), styled("bold", stageTitle(name, own)), ...shown];
  });
}

function stagesOf(passes: readonly ExplainedPass[]): readonly Stage[] {
  const stages: { name: string; passes: ExplainedPass[] }[] = [];
  for (const pass of passes) {
    const last = stages.at(-1);
    if (last?.name === pass.stage) last.passes.push(pass);
    else stages.push({ name: pass.stage, passes: [pass] });
  }
  return stages;
}

function stageTitle(name: string, passes: readonly ExplainedPass[]): string {
  const count = passes.length === 1 ? "1 pass" : `${passes.length} passes`;
  const gpuMs = totalMs(passes);
  return `${name}: ${count}${gpuMs === undefined ? "" : `, ${gpuMs.toFixed(2)} ms on the GPU`}`;
}

/** Rows in which a run of layers that repeat the layer before is one row. */
function foldedRows(passes: readonly ExplainedPass[]): readonly (readonly string[])[] {
  const rows: (readonly string[])[] = [];
  let model: readonly ExplainedPass[] = [];
  let folded: ExplainedPass[] = [];
  const flush = () => {
    if (folded.length > 0) rows.push(foldedRow(folded, layerOf(model[0])));
    folded = [];
  };
  for (const group of layerGroups(passes)) {
    if (layerOf(group[0]) !== "" && signatureOf(group) === signatureOf(model)) {
      folded.push(...group);
      continue;
    }
    flush();
    model = group;
    rows.push(...group.map(rowOf));
  }
  flush();
  return rows;
}

function layerGroups(passes: readonly ExplainedPass[]): readonly (readonly ExplainedPass[])[] {
  const groups: ExplainedPass[][] = [];
  for (const pass of passes) {
    const last = groups.at(-1);
    if (last !== undefined && layerOf(last[0]) === layerOf(pass)) last.push(pass);
    else groups.push([pass]);
  }
  return groups;
}

/** The layer that a pass belongs to, such as "vision.layers.3"; "" outside of layers. */
function layerOf(pass: ExplainedPass | undefined): string {
  return /^(?:vision\.)?layers\.\d+/.exec(pass?.place ?? "")?.[0] ?? "";
}

/** A key that is equal for layers that run the same passes. */
function signatureOf(passes: readonly ExplainedPass[]): string {
  return JSON.stringify(
    passes.map((pass) => [pass.place.slice(layerOf(pass).length), pass.kernel, pass.grid, pass.what]),
  );
}

function foldedRow(passes: readonly ExplainedPass[], model: string): readonly string[] {
  const [first, last] = [passes[0], passes.at(-1)];
  const layers = [...new Set(passes.map(layerOf))];
  const place = layers.length === 1 ? layerOf(first) : `${layerOf(first)} to ${layerOf(last).replace(/^.*\./, "")}`;
  return [`${first?.index}–${last?.index}`, place, "", "", millisecondsText(totalMs(passes)), "", `as ${model}`];
}

function rowOf(pass: ExplainedPass): readonly string[] {
  const { index, place, kernel, grid, workgroupSize, gpuMs, outputs, what } = pass;
  return [
    String(index),
    place,
    kernel,
    `${sizeText(grid)} of ${sizeText(workgroupSize)}`,
    millisecondsText(gpuMs),
    wroteText(outputs),
    what,
  ];
}

/** 3 × 16 × 1 → "3×16". */
export function sizeText(size: readonly [number, number, number]): string {
  const [x, y, z] = size;
  return (z > 1 ? [x, y, z] : y > 1 ? [x, y] : [x]).join("×");
}

function wroteText(outputs: readonly PassValues[]): string {
  const [first, ...others] = outputs;
  if (first === undefined) return "";
  const rest = others.length === 0 ? "" : ` and ${others.length} more`;
  return `[${first.shape.join(", ")}]${rest}`;
}

function totalMs(passes: readonly ExplainedPass[]): number | undefined {
  const times = passes.flatMap(({ gpuMs }) => (gpuMs === undefined ? [] : [gpuMs]));
  return times.length === 0 ? undefined : times.reduce((sum, time) => sum + time, 0);
}

function millisecondsText(gpuMs: number | undefined): string {
  return gpuMs === undefined ? "–" : gpuMs.toFixed(3);
}

const LABEL_WIDTH = 15;
const MOST_COLUMNS = 120;

/** The lines about one pass. @throws UsageError when the pass does not exist. */
export function passLines(
  { passes, kernels }: Explanation,
  options: { readonly index: number; readonly withSource: boolean },
): readonly string[] {
  const pass = passes[options.index];
  const kernel = pass && kernels[pass.kernel];
  if (pass === undefined || kernel === undefined) throw new UsageError(`Pass ${options.index} does not exist.`);
  const { header } = kernel;
  const time =
    pass.gpuMs === undefined
      ? "unknown: the adapter does not support timestamp queries"
      : `${pass.gpuMs.toFixed(3)} ms`;
  return [
    styled("bold", `Pass ${pass.index} (0 to ${passes.length - 1}): ${pass.stage}, ${pass.place}`),
    ...wrapped(pass.what, 0),
    "",
    ...field("kernel", `shaders/${kernel.name}.wgsl: ${header.summary}`),
    ...field("formula", header.formula),
    ...field("shapes", header.shapes),
    ...field("work division", header.workDivision),
    ...field("grid", header.grid),
    ...field("error bound", header.errorBound),
    ...field("source", header.source),
    "",
    ...field("workgroups", `${sizeText(pass.grid)} of ${sizeText(pass.workgroupSize)} threads`),
    ...field("GPU time", time),
    ...field("constants", namedValues(pass.constants)),
    ...field("params", namedValues(pass.params)),
    "",
    ...table(["binding", "access", "shape", "dtype", "bytes", "buffer"], pass.tensors.map(tensorRow)),
    ...pass.outputs.flatMap(valuesLines),
    ...(options.withSource
      ? ["", styled("bold", `WGSL as compiled (${kernel.name} and the functions it calls)`), kernel.wgsl.trimEnd()]
      : []),
  ];
}

/** A labelled text, wrapped to the width of the terminal. */
export function field(label: string, text: string): readonly string[] {
  const [first = "", ...others] = wrapped(text === "" ? "none" : text, LABEL_WIDTH);
  return [
    `${styled("dim", label.padEnd(LABEL_WIDTH))}${first}`,
    ...others.map((line) => " ".repeat(LABEL_WIDTH) + line),
  ];
}

/** Wraps text between words to the width of the terminal minus `indent`. */
function wrapped(text: string, indent: number): readonly string[] {
  const width = Math.max(40, Math.min(MOST_COLUMNS, process.stdout.columns ?? MOST_COLUMNS) - indent);
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

function namedValues(values: Readonly<Record<string, number | boolean>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name} ${typeof value === "number" ? shortNumber(value) : value}`)
    .join(", ");
}

function tensorRow({ binding, access, shape, dtype, byteLength, label }: PassTensor): readonly string[] {
  return [
    binding,
    access,
    shape === undefined ? "–" : `[${shape.join(", ")}]`,
    dtype ?? "–",
    String(byteLength),
    label,
  ];
}

function valuesLines(values: PassValues): readonly string[] {
  const { label, shape, dtype, min, max, mean, rms, numZeros, numNonFinite, picture } = values;
  const title = `Output ${label} [${shape.join(", ")}] ${dtype}`;
  const statistics = `min ${shortNumber(min)}, max ${shortNumber(max)}, mean ${shortNumber(mean)}, rms ${shortNumber(rms)}`;
  const counts = `${numZeros} zeros, ${numNonFinite} not finite`;
  const isSingle = shape.reduce((product, size) => product * size, 1) === 1;
  const lines = isSingle
    ? [`  ${shortNumber(min)}`]
    : [`  ${statistics}, ${counts}`, ...textPicture(picture).map((line) => `  ${line}`)];
  return ["", styled("bold", title), ...lines];
}

/** At most six significant digits; whole numbers in full. */
function shortNumber(value: number): string {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
}

const BARS = "▁▂▃▄▅▆▇█";
const SHADES = " ░▒▓█";
const NOT_FINITE = "?";

/** Maximum number of lines of a picture, so that several fit on a screen. */
const MOST_LINES = 16;

/** Draws a tensor in at most 16 lines of 64 characters, followed by a line with the scale: one row as bars, several as shades. */
export function textPicture({ width, height, values }: ValuePicture): readonly string[] {
  const isWide = height > 1 && width <= 32; // a character is about twice as high as wide
  const rowsPerLine = Math.ceil(height / MOST_LINES);
  const numLines = Math.ceil(height / rowsPerLine);
  const lines = Array.from({ length: numLines }, (_, line) =>
    Array.from({ length: width }, (_cell, x) => {
      const rows = Array.from({ length: rowsPerLine }, (_row, row) => Math.min(height - 1, line * rowsPerLine + row));
      return rows.reduce((sum, y) => sum + at(values, y * width + x), 0) / rows.length;
    }),
  );
  const finite = lines.flat().filter(Number.isFinite);
  const least = finite.reduce((low, value) => Math.min(low, value), Number.POSITIVE_INFINITY);
  const most = finite.reduce((high, value) => Math.max(high, value), Number.NEGATIVE_INFINITY);
  const levels = height === 1 ? BARS : SHADES;
  const characterOf = (value: number): string => {
    if (!Number.isFinite(value)) return NOT_FINITE;
    const share = most > least ? (value - least) / (most - least) : 0;
    return levels[Math.min(levels.length - 1, Math.floor(share * levels.length))] ?? NOT_FINITE;
  };
  const scale = finite.length === 0 ? "no finite values" : scaleText(levels, least, most);
  return [...lines.map((line) => line.map((value) => characterOf(value).repeat(isWide ? 2 : 1)).join("")), scale];
}

function scaleText(levels: string, least: number, most: number): string {
  const low = levels[0] === " " ? "blank" : levels[0];
  return `${low} ${Number(least.toPrecision(3))} to ${levels.at(-1)} ${Number(most.toPrecision(3))}`;
}
