// Patch by patch: a part of the picture that is marked by drawing is cut out of the model's sight (knock-out), and a patch that is
// tapped shows which words the model holds there (the logit lens).
import { useMemo, useState } from "preact/hooks";
import { mapOf } from "../draw/attention-view.ts";
import { marked, rectangle } from "../draw/patch-marks.ts";
import { percent, visibleToken } from "../draw/words.ts";
import type { AttentionView, CutView, LensView } from "../protocol.ts";
import { asked, running } from "../state.ts";
import { cutOut, methodOf, readCell } from "../talk.ts";
import { cutAnswer, cutForm, lens, markedCells, refusals } from "../talk-state.ts";
import { NumberField, Panel, Segmented } from "./controls.tsx";
import { SettingFields } from "./method-fields.tsx";
import { PatchStage } from "./patch-stage.tsx";
import { SaveFindings, StudyRow } from "./study-row.tsx";

type Mode = "cut" | "read";

/** The panel of patches; nothing for a question without a picture. */
export function PatchesPanel() {
  const [mode, setMode] = useState<Mode>("cut");
  const answers = asked.value?.answers;
  const picture = answers?.picture;
  const attention = answers?.greedy.attention;
  if (picture === undefined || attention === undefined) return null;
  const { gridWidth: width, gridHeight: height, view } = attention;
  const grid = { width, height, view };
  const cells = markedCells.value.filter((cell) => cell < width * height);
  return (
    <Panel
      id="patches"
      title="Patch by patch"
      lead={`The model sees the picture as ${width} × ${height} patches. Hide some of them from it, or look into one.`}
    >
      <Segmented<Mode>
        legend="What to do with patches"
        choices={[
          { value: "cut", label: "Hide a part" },
          { value: "read", label: "Look into a patch" },
        ]}
        value={mode}
        onChange={setMode}
      />
      <PatchStage
        picture={picture}
        grid={grid}
        cells={mode === "cut" ? cells : lens.value === undefined ? [] : [lens.value.cell]}
        isDrawing={mode === "cut"}
        onCells={(added) => {
          const [cell] = added;
          if (mode === "cut") markedCells.value = marked(cells, added);
          else if (cell !== undefined && running.value === undefined) void readCell(cell);
        }}
      />
      {mode === "cut" ? (
        <Cut cells={cells} grid={grid} plain={answers?.greedy.text ?? ""} />
      ) : (
        <Read attention={attention} seen={lens.value} />
      )}
    </Panel>
  );
}

function Cut(props: {
  readonly cells: readonly number[];
  readonly grid: { readonly width: number; readonly height: number };
  readonly plain: string;
}) {
  const { cells, grid, plain } = props;
  const done = cutAnswer.value;
  return (
    <>
      <p class="hint">
        Draw on the picture to mark patches; tap one to take it away.{" "}
        <span class="for-keys">
          By keyboard: arrows move, <kbd>Space</kbd> marks, with <kbd>Shift</kbd> a whole rectangle.
        </span>
      </p>
      <ByNumbers
        grid={grid}
        isRectangle
        onCells={(added) => {
          markedCells.value = marked(cells, added);
        }}
      />
      <p class="number" role="status">
        {cells.length} of {grid.width * grid.height} patches marked
      </p>
      <SettingFields
        method={methodOf(cutForm.value)}
        form={cutForm.value}
        refusal={refusals.value.cut}
        summary="Who cannot see them (rows, layers, heads)"
        without={["columns", "patches", "box"]}
        onChange={(form) => {
          cutForm.value = form;
          refusals.value = { ...refusals.value, cut: undefined };
        }}
      />
      {refusals.value.cut !== undefined && <p class="refusal">{refusals.value.cut}</p>}
      <StudyRow of="cut" label="Answer without them" isDisabled={cells.length === 0} onStart={() => void cutOut()}>
        <button
          type="button"
          disabled={cells.length === 0}
          onClick={() => {
            markedCells.value = [];
          }}
        >
          Clear
        </button>
      </StudyRow>
      {done !== undefined && <CutResult cut={done} plain={plain} />}
      {done !== undefined && (
        <SaveFindings
          label="Download the answer without them (JSON)"
          name="adaptvis-cut.json"
          findings={() => ({ patches: done.patches, answer: done.answer.json })}
        />
      )}
    </>
  );
}

/** Fields for patches by number, for those who do not draw or point. */
function ByNumbers(props: {
  readonly grid: { readonly width: number; readonly height: number };
  /** Whether a rectangle is given, rather than one patch. */
  readonly isRectangle: boolean;
  readonly onCells: (cells: readonly number[]) => void;
}) {
  const { grid, isRectangle, onCells } = props;
  const { width, height } = grid;
  const [from, setFrom] = useState({ column: 1, row: 1 });
  const [to, setTo] = useState({ column: width, row: height });
  const end = isRectangle ? to : from;
  const cell = ({ column, row }: typeof from) => (Math.min(row, height) - 1) * width + Math.min(column, width) - 1;
  const fields = [
    { label: isRectangle ? "First column" : "Column", of: from, key: "column", set: setFrom, max: width },
    { label: isRectangle ? "First row" : "Row", of: from, key: "row", set: setFrom, max: height },
    { label: "Last column", of: to, key: "column", set: setTo, max: width },
    { label: "Last row", of: to, key: "row", set: setTo, max: height },
  ] as const;
  return (
    <details>
      <summary>{isRectangle ? "Mark by numbers" : "Choose by numbers"}</summary>
      <div class="rectangle">
        {fields.slice(0, isRectangle ? 4 : 2).map(({ label, of, key, set, max }) => (
          <NumberField
            key={label}
            label={label}
            value={Math.min(of[key], max)}
            min={1}
            max={max}
            step={1}
            onChange={(value) => set({ ...of, [key]: value })}
          />
        ))}
        <button type="button" onClick={() => onCells(rectangle({ ...grid, view: undefined }, cell(from), cell(end)))}>
          {isRectangle ? "Mark this rectangle" : "Look into this patch"}
        </button>
      </div>
    </details>
  );
}

function CutResult({ cut, plain }: { readonly cut: CutView; readonly plain: string }) {
  const { answer, patches } = cut;
  const before = asked.value?.answers.greedy.tokens[0];
  const after = answer.tokens.length > 0 ? answer.tokens[0]?.alternatives : undefined;
  const still = after?.find(({ tokenId }) => tokenId === before?.tokenId);
  return (
    <>
      <div class="pair">
        <article class="answer" aria-label="Answer with the whole picture">
          <h3>With the whole picture</h3>
          <p class="answer-text long">{plain}</p>
        </article>
        <article class="answer" aria-label="Answer without the marked part">
          <h3>Without {patches.length === 1 ? "1 patch" : `${patches.length} patches`}</h3>
          <p class="answer-text long">{answer.text === "" ? "(an empty answer)" : answer.text}</p>
        </article>
      </div>
      {before !== undefined && (
        <p class="hint number">
          First token “{visibleToken(before.text)}”: {percent(before.probability)} with the whole picture,{" "}
          {still === undefined ? "not among the most probable" : percent(still.probability)} without that part.
        </p>
      )}
    </>
  );
}

function Read({ attention, seen }: { readonly attention: AttentionView; readonly seen: LensView | undefined }) {
  return (
    <>
      <p class="hint">
        Tap a patch: the table shows which words its image token would become, layer by layer, if the model stopped
        there (the logit lens).{" "}
        <span class="for-keys">
          By keyboard: arrows move, <kbd>Space</kbd> reads.
        </span>
      </p>
      <ByNumbers
        grid={{ width: attention.gridWidth, height: attention.gridHeight }}
        isRectangle={false}
        onCells={([cell]) => {
          if (cell !== undefined && running.value === undefined) void readCell(cell);
        }}
      />
      <StudyRowOfLens />
      {seen !== undefined && <LensTable attention={attention} seen={seen} />}
    </>
  );
}

function StudyRowOfLens() {
  const now = running.value;
  if (now?.kind !== "study" || now.of !== "lens") return null;
  return <StudyRow of="lens" label="Reading the patch" isDisabled onStart={() => undefined} />;
}

function LensTable({ attention, seen }: { readonly attention: AttentionView; readonly seen: LensView }) {
  const { cell, position, rows } = seen;
  const attended = useMemo(
    () =>
      Array.from(
        { length: attention.numLayers },
        (_, layer) => mapOf(attention, { layer, head: undefined }).values[cell],
      ),
    [attention, cell],
  );
  const column = cell % attention.gridWidth;
  const row = Math.floor(cell / attention.gridWidth);
  return (
    <table class="numbers lens">
      <caption>
        Patch in column {column + 1}, row {row + 1} (position {position} of the prompt). Looked at: its part of all
        attention when the unmodified model chose the first token.
      </caption>
      <thead>
        <tr>
          <th scope="col">Layer</th>
          <th scope="col">Most probable words</th>
          <th scope="col">Looked at</th>
        </tr>
      </thead>
      <tbody>
        {rows.map(({ layer, tokens }) => (
          <tr key={layer}>
            <th scope="row">{layer < 0 ? "input" : layer}</th>
            <td>
              <ol class="lens-tokens">
                {tokens.map(({ tokenId, text, probability }) => (
                  <li key={tokenId}>
                    <span class="mono">{visibleToken(text)}</span> <span class="hint">{percent(probability)}</span>
                  </li>
                ))}
              </ol>
            </td>
            <td>{attended[layer] === undefined ? "–" : percent(attended[layer])}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
