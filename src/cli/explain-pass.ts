// Everything about one pass of an explained answer, for people.
import type { Explanation } from "../explain.ts";
import type { PassTensor, PassValues } from "../inspect/explained-pass.ts";
import { sizeText } from "./explain-stages.ts";
import { styled, UsageError } from "./session.ts";
import { table } from "./table.ts";
import { textPicture } from "./text-picture.ts";

const LABEL_WIDTH = 15;
const MOST_COLUMNS = 120;

/** The lines about pass `index`. @throws UsageError when there is no such pass. */
export function passLines(
  { passes, kernels }: Explanation,
  options: { readonly index: number; readonly withSource: boolean },
): readonly string[] {
  const pass = passes[options.index];
  const kernel = pass && kernels[pass.kernel];
  if (pass === undefined || kernel === undefined) throw new UsageError(`There is no pass ${options.index}.`);
  const { header } = kernel;
  const time =
    pass.gpuMs === undefined ? "not known: the adapter has no timestamp queries" : `${pass.gpuMs.toFixed(3)} ms`;
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
      ? ["", styled("bold", `WGSL as compiled (${kernel.name} and what it calls)`), kernel.wgsl.trimEnd()]
      : []),
  ];
}

function field(label: string, text: string): readonly string[] {
  const [first = "", ...others] = wrapped(text === "" ? "none" : text, LABEL_WIDTH);
  return [
    `${styled("dim", label.padEnd(LABEL_WIDTH))}${first}`,
    ...others.map((line) => " ".repeat(LABEL_WIDTH) + line),
  ];
}

/** Breaks text between words, so that it fits beside `indent` columns. */
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
  const title = `Wrote ${label} [${shape.join(", ")}] ${dtype}`;
  const statistics = `min ${shortNumber(min)}, max ${shortNumber(max)}, mean ${shortNumber(mean)}, rms ${shortNumber(rms)}`;
  const counts = `${numZeros} zeros, ${numNonFinite} not finite`;
  const isSingle = shape.reduce((product, size) => product * size, 1) === 1;
  const lines = isSingle
    ? [`  ${shortNumber(min)}`]
    : [`  ${statistics}, ${counts}`, ...textPicture(picture).map((line) => `  ${line}`)];
  return ["", styled("bold", title), ...lines];
}

/** At most six digits; whole numbers as they are. */
function shortNumber(value: number): string {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
}
