// One pass: a line that opens to what the pass read, did and wrote.

import type { ExplainedKernel, ExplainedPass, PassTensor } from "../../inspect/explained-pass.ts";
import type { KernelHeader } from "../../inspect/kernel-text.ts";
import { extent } from "../draw/pass-groups.ts";
import { byteSize, duration } from "../draw/words.ts";
import { explanation, openPass } from "../state.ts";
import { Fact } from "./controls.tsx";
import { PassOutput } from "./pass-output.tsx";

interface PassProps {
  readonly pass: ExplainedPass;
  readonly kernel: ExplainedKernel | undefined;
}

/** A pass of the list. */
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
      <h4>What came out</h4>
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

/** To the passes before and after; they may lie in another stage, which then opens. */
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
  ["workDivision", "Who does what"],
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
    // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, and by keyboard only with the focus
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
