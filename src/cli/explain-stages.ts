// The passes of an explained answer as one table, grouped by stage; layers that repeat the one before are one line.
import type { ExplainedPass, PassValues } from "../inspect/explained-pass.ts";
import { styled } from "./session.ts";
import { table } from "./table.ts";

const HEAD = ["pass", "place", "kernel", "workgroups", "GPU ms", "wrote", "what comes out"];

/** A stage and its rows, in order. */
interface Stage {
  readonly name: string;
  readonly passes: readonly ExplainedPass[];
}

/** The table's lines. */
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

/** Rows of which runs of equal layers are one. */
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

/** "vision.layers.3" of what belongs to a layer, else nothing. */
function layerOf(pass: ExplainedPass | undefined): string {
  return /^(?:vision\.)?layers\.\d+/.exec(pass?.place ?? "")?.[0] ?? "";
}

/** What two layers have in common that do the same. */
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
