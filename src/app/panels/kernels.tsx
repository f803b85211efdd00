// The panel "What the kernels do": every GPU pass of the last answer, on demand.

import { useEffect, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import type { ExplainedKernel } from "../../inspect/explained-pass.ts";
import { type PassGroup, type PassStage, stagesOf, timeOf } from "../draw/pass-groups.ts";
import { decimal, duration } from "../draw/words.ts";
import type { ExplanationView } from "../protocol.ts";
import { explainAnswer, stop } from "../session.ts";
import { asked, explanation, hadPicture, openPass, running } from "../state.ts";
import { Panel } from "./controls.tsx";
import { PassRow } from "./pass-row.tsx";

/** The panel of the passes. */
export function Kernels() {
  if (asked.value === undefined) return null;
  const done = explanation.value;
  const now = running.value;
  return (
    <Panel
      id="kernels"
      title="What the kernels do"
      lead={`Every GPU pass that made the ${hadPicture.value ? "AdaptVis " : ""}answer, in order: what it computes, its shader, and its output values.`}
    >
      {now?.kind === "explain" ? (
        <div class="ask-progress">
          <span id="explain-stage">
            {now.numPasses === 0 ? "Running the answer again, pass by pass" : `Pass ${now.numPasses}: ${now.stage}`}
          </span>
          <div class="ask-row">
            <progress aria-labelledby="explain-stage" />
            <button type="button" onClick={() => void stop()}>
              Stop
            </button>
          </div>
        </div>
      ) : (
        done === undefined && (
          <div>
            <button type="button" disabled={now !== undefined} onClick={() => void explainAnswer()}>
              Show the passes
            </button>
          </div>
        )
      )}
      {done !== undefined && now?.kind !== "explain" && <Passes explanation={done} />}
    </Panel>
  );
}

function Passes({ explanation: { passes, kernels, text, factor } }: { readonly explanation: ExplanationView }) {
  const stages = useMemo(() => stagesOf(passes), [passes]);
  const total = timeOf(passes);
  const isWhole = text === asked.value?.answers.adaptvis.text;
  const numKernels = Object.keys(kernels).length;
  const missing = openPass.value !== undefined && openPass.value >= passes.length ? openPass.value : undefined;
  // A pass named by the address is shown, even in a closed stage.
  useEffect(() => {
    if (openPass.value !== undefined) document.getElementById(`pass-${openPass.value}`)?.scrollIntoView();
  }, [passes]);
  return (
    <>
      <p>
        {passes.length} passes of {numKernels} kernels
        {total === undefined
          ? ". This browser or GPU does not measure their times."
          : `, ${duration(total)} of GPU time.`}{" "}
        {text === ""
          ? "They gave an empty answer"
          : `${isWhole ? "They gave" : "They began the answer with"} “${text}”`}
        {hadPicture.value && ` under factor ${decimal(factor)}`}.
      </p>
      {missing !== undefined && (
        <p role="status">
          The address names pass {missing}, but the last pass of this answer is {passes.length - 1}.
        </p>
      )}
      <div class="stages">
        {stages.map((stage) => (
          <Stage key={stage.groups[0]?.passes[0]?.index} stage={stage} kernels={kernels} />
        ))}
      </div>
    </>
  );
}

function holds(group: PassGroup): boolean {
  return group.passes.some(({ index }) => index === openPass.value);
}

function Stage(props: { readonly stage: PassStage; readonly kernels: Readonly<Record<string, ExplainedKernel>> }) {
  const { stage, kernels } = props;
  return (
    <details class="pass-stage" ref={useOpening(stage.groups.some(holds))}>
      <summary>
        <h3>{stage.title}</h3>
        <span class="stage-words">{stageInWords(stage.title)}</span>
        <Count numPasses={stage.numPasses} gpuMs={stage.gpuMs} />
      </summary>
      {stage.groups.map((group) =>
        group.title === "" ? (
          <Rows key={group.passes[0]?.index} group={group} kernels={kernels} />
        ) : (
          <Layer key={group.passes[0]?.index} group={group} kernels={kernels} />
        ),
      )}
    </details>
  );
}

function Layer(props: { readonly group: PassGroup; readonly kernels: Readonly<Record<string, ExplainedKernel>> }) {
  const { group, kernels } = props;
  return (
    <details class="pass-layer" ref={useOpening(holds(group))}>
      <summary>
        <h4>{group.title}</h4>
        <Count numPasses={group.passes.length} gpuMs={timeOf(group.passes)} />
      </summary>
      <Rows group={group} kernels={kernels} />
    </details>
  );
}

/** Opens a `<details>` when the open pass is in it; only the user closes it. */
function useOpening(isWanted: boolean) {
  const details = useRef<HTMLDetailsElement>(null);
  useLayoutEffect(() => {
    if (isWanted && details.current !== null) details.current.open = true;
  }, [isWanted]);
  return details;
}

/** Purpose of a stage. */
function stageInWords(title: string): string {
  if (title.startsWith("vision")) return "the picture becomes image features";
  if (title === "embed prompt") return "every position of the prompt becomes a vector";
  if (title.startsWith("prefill")) return "all positions of the prompt go through the decoder in one pass";
  if (title === "confidence") return "the unmodified first token and its probability";
  if (title.startsWith("adaptvis"))
    return "the last position again, with the picture’s scores multiplied by the factor";
  if (title.startsWith("choose")) return "the most probable token";
  if (title.startsWith("decode step")) return "the chosen token goes through the decoder";
  return "";
}

function Count({ numPasses, gpuMs }: { readonly numPasses: number; readonly gpuMs: number | undefined }) {
  return (
    <span class="hint number">
      {numPasses === 1 ? "1 pass" : `${numPasses} passes`}
      {gpuMs !== undefined && `, ${duration(gpuMs)}`}
    </span>
  );
}

function Rows(props: { readonly group: PassGroup; readonly kernels: Readonly<Record<string, ExplainedKernel>> }) {
  return (
    <ol class="passes">
      {props.group.passes.map((pass) => (
        <PassRow key={pass.index} pass={pass} kernel={props.kernels[pass.kernel]} />
      ))}
    </ol>
  );
}
