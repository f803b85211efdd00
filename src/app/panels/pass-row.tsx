// One pass: a line that opens to its inputs, its work, and the values that it wrote.

import { useLayoutEffect, useRef } from "preact/hooks";
import type { ExplainedKernel, ExplainedPass, PassTensor, PassValues } from "../../inspect/explained-pass.ts";
import { heatColor } from "../../inspect/heat-map.ts";
import type { KernelHeader } from "../../inspect/kernel-text.ts";
import { extent } from "../draw/pass-groups.ts";
import { byteSize, duration } from "../draw/words.ts";
import { explanation, openPass } from "../state.ts";
import { Fact } from "./controls.tsx";

interface PassProps {
  readonly pass: ExplainedPass;
  readonly kernel: ExplainedKernel | undefined;
}

/** A pass in the list. */
export function PassRow({ pass, kernel }: PassProps) {
  const isOpen = openPass.value === pass.index;
  const detailId = `pass-${pass.index}-detail`;
  return (
    <li id={`pass-${pass.index}`} class={isOpen ? "pass open" : "pass"}>
      <button
        type="button"
        class="pass-line"
        aria-expanded={isOpen}
        aria-controls={isOpen ? detailId : undefined}
        onClick={() => {
          openPass.value = isOpen ? undefined : pass.index;
        }}
      >
        <span class="pass-index number">{pass.index}</span>
        <span class="pass-what">{pass.what}</span>
        <span class="pass-kernel mono">{pass.kernel}</span>
        <span class="pass-cost number">
          {extent(pass.grid)} {pass.grid.every((size) => size === 1) ? "workgroup" : "workgroups"}
          {pass.gpuMs !== undefined && `, ${duration(pass.gpuMs)}`}
        </span>
      </button>
      {isOpen && (
        <div id={detailId} class="pass-detail stack">
          <PassDetail pass={pass} kernel={kernel} />
        </div>
      )}
    </li>
  );
}

function PassDetail({ pass, kernel }: PassProps) {
  const [x, y, z] = pass.grid;
  return (
    <>
      <Neighbours index={pass.index} />
      <dl class="facts number">
        <Fact name="Where in the model">
          <code>{pass.place}</code>
        </Fact>
        <Fact name="Workgroups">
          {extent(pass.grid)}
          {extent(pass.grid).includes("×") && ` = ${x * y * z}`}
        </Fact>
        <Fact name="Threads of each">{extent(pass.workgroupSize)}</Fact>
        {pass.gpuMs !== undefined && <Fact name="Time">{duration(pass.gpuMs)}</Fact>}
      </dl>
      {kernel !== undefined && <Header name={kernel.name} header={kernel.header} />}
      <h4>Output</h4>
      {pass.outputs.length === 0 && <p class="hint">Its values were not read back.</p>}
      <div class="outputs">
        {pass.outputs.map((values) => (
          <PassOutput key={values.label} values={values} />
        ))}
      </div>
      <Tensors tensors={pass.tensors} />
      <Numbers title="Parameters of this pass" numbers={pass.params} />
      <Numbers title="Constants compiled in" numbers={pass.constants} />
      {kernel !== undefined && <Source kernel={kernel} />}
    </>
  );
}

/** Buttons to the previous and next pass; if that is in another stage, the stage opens. */
function Neighbours({ index }: { readonly index: number }) {
  const last = (explanation.value?.passes.length ?? 0) - 1;
  const go = (to: number) => {
    openPass.value = to;
    requestAnimationFrame(() => document.getElementById(`pass-${to}`)?.scrollIntoView({ block: "nearest" }));
  };
  return (
    <div class="row">
      <button type="button" disabled={index === 0} onClick={() => go(index - 1)}>
        Previous pass
      </button>
      <button type="button" disabled={index === last} onClick={() => go(index + 1)}>
        Next pass
      </button>
    </div>
  );
}

const parts: readonly (readonly [key: keyof KernelHeader, title: string])[] = [
  ["formula", "Formula"],
  ["shapes", "Shapes"],
  ["workDivision", "Work division"],
  ["grid", "Grid"],
  ["errorBound", "Error bound"],
  ["source", "Source"],
];

function Header({ name, header }: { readonly name: string; readonly header: KernelHeader }) {
  return (
    <>
      <p>
        <code>{name}</code>: {header.summary}.
      </p>
      <dl class="kernel-parts">
        {parts.map(([key, title]) => (
          <div key={key}>
            <dt>{title}</dt>
            <dd class={key === "formula" ? "formula" : ""}>{header[key]}</dd>
          </div>
        ))}
      </dl>
    </>
  );
}

const accesses = { read: "reads", write: "writes", "read-write": "changes" } as const;

function Tensors({ tensors }: { readonly tensors: readonly PassTensor[] }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, which by keyboard requires the focus
    <section class="scroll-across" tabIndex={0} aria-label="What it reads and writes">
      <table class="tensors">
        <caption>What it reads and writes</caption>
        <thead>
          <tr>
            <th scope="col">In the shader</th>
            <th scope="col" />
            <th scope="col">Tensor</th>
            <th scope="col">Shape</th>
            <th scope="col">Type</th>
            <th scope="col">Buffer</th>
          </tr>
        </thead>
        <tbody>
          {tensors.map(({ binding, access, label, shape, dtype, byteLength }) => (
            <tr key={binding}>
              <th scope="row" class="mono">
                {binding}
              </th>
              <td>{shape === undefined ? "not used" : accesses[access]}</td>
              <td class="mono tensor-name">{label}</td>
              <td class="number">{shape?.join(" × ") ?? "–"}</td>
              <td>{dtype ?? "–"}</td>
              <td class="number">{byteSize(byteLength)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Numbers(props: { readonly title: string; readonly numbers: Readonly<Record<string, number | boolean>> }) {
  const entries = Object.entries(props.numbers);
  if (entries.length === 0) return null;
  return (
    <p>
      <span class="label">{props.title}: </span>
      <span class="mono">
        {entries
          .map(([name, value]) => `${name} = ${typeof value === "number" ? Number(value.toPrecision(7)) : value}`)
          .join(", ")}
      </span>
    </p>
  );
}

function Source({ kernel }: { readonly kernel: ExplainedKernel }) {
  const numLines = kernel.wgsl.trimEnd().split("\n").length;
  return (
    <details>
      <summary>
        The shader: {kernel.name}.wgsl, {numLines} lines
      </summary>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and by keyboard only with the focus */}
      <section class="wgsl" tabIndex={0} aria-label={`Source of ${kernel.name}.wgsl`}>
        <pre>
          <code>{kernel.wgsl.trimEnd()}</code>
        </pre>
      </section>
    </details>
  );
}

/** An output tensor of a pass. */
export function PassOutput({ values }: { readonly values: PassValues }) {
  const { label, shape, picture } = values;
  const canvas = useRef<HTMLCanvasElement>(null);
  const { least, most } = rangeOf(picture.values);
  // A layout effect, since a later effect would show the figure blank for a moment.
  useLayoutEffect(() => {
    if (canvas.current !== null) paint(canvas.current, picture, { least, most });
  });
  const isAveraged = picture.values.length < shape.reduce((product, size) => product * size, 1);
  return (
    <figure class="output">
      <figcaption>
        <code>{label}</code> <span class="hint number">{shape.join(" × ")}</span>
      </figcaption>
      <canvas
        ref={canvas}
        class="tensor-picture"
        style={{ aspectRatio: `${picture.width} / ${picture.height}` }}
        role="img"
        aria-label={`Values of ${label} as colours, ${shortNumber(least)} to ${shortNumber(most)}`}
      />
      <div class="tensor-legend number">
        <span>{shortNumber(least)}</span>
        <span class="legend-bar" style={{ background: gradient }} />
        <span>{shortNumber(most)}</span>
      </div>
      {isAveraged && (
        <p class="hint">
          averaged down to {picture.height} × {picture.width} cells
        </p>
      )}
      <dl class="figures number">
        <Figure name="Least">{shortNumber(values.min)}</Figure>
        <Figure name="Most">{shortNumber(values.max)}</Figure>
        <Figure name="Mean">{shortNumber(values.mean)}</Figure>
        <Figure name="Root mean square">{shortNumber(values.rms)}</Figure>
        <Figure name="Zeros">{values.numZeros.toLocaleString("en")}</Figure>
        {values.numNonFinite > 0 && <Figure name="Not finite">{values.numNonFinite.toLocaleString("en")}</Figure>}
      </dl>
    </figure>
  );
}

function Figure({ name, children }: { readonly name: string; readonly children: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

const gradient = `linear-gradient(to right, ${Array.from(
  { length: 17 },
  (_, index) =>
    `rgb(${heatColor(index / 16)
      .map(Math.round)
      .join(" ")})`,
).join(", ")})`;

/** Four significant digits, in exponential notation for very small or large numbers. */
function shortNumber(value: number): string {
  const size = Math.abs(value);
  if (value !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(2);
  return Number(value.toPrecision(4)).toString();
}

function rangeOf(values: Float32Array): { readonly least: number; readonly most: number } {
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  return least > most ? { least: Number.NaN, most: Number.NaN } : { least, most };
}

/** One pixel per cell; cells with non-finite values are blue. */
function paint(
  canvas: HTMLCanvasElement,
  { width, height, values }: PassValues["picture"],
  { least, most }: { readonly least: number; readonly most: number },
): void {
  canvas.width = width;
  canvas.height = height;
  const pixels = new ImageData(width, height);
  for (const [cell, value] of values.entries()) {
    const share = most > least ? (value - least) / (most - least) : 0.5;
    const color = Number.isFinite(value) ? heatColor(share) : [0, 90, 255];
    pixels.data.set([...color.map(Math.round), 255], cell * 4);
  }
  canvas.getContext("2d")?.putImageData(pixels, 0, 0);
}
