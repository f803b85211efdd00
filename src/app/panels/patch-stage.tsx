// The picture with its grid of patches: marked by drawing rectangles, by tapping, or by arrow keys and Space.
import { useRef, useState } from "preact/hooks";
import type { RgbImage } from "../../preprocess/image.ts";
import { type PatchGrid, patchAt, placeInWords } from "../draw/attention-view.ts";
import { neighbour, partOf, rectangle } from "../draw/patch-marks.ts";
import { announcement } from "../state.ts";
import { MapCanvas } from "./map-canvas.tsx";

/** A rectangle that is being drawn, by its corner cells. */
interface Drawn {
  readonly from: number;
  readonly to: number;
}

/** The picture and its patches. */
export function PatchStage(props: {
  readonly picture: RgbImage;
  readonly grid: PatchGrid;
  /** Cells that are marked. */
  readonly cells: readonly number[];
  /** Whether rectangles can be drawn; else single patches are chosen. */
  readonly isDrawing: boolean;
  readonly onCells: (cells: readonly number[]) => void;
}) {
  const { picture, grid, cells, isDrawing, onCells } = props;
  const [drawn, setDrawn] = useState<Drawn | undefined>(undefined);
  const [cursor, setCursor] = useState(0);
  const [isKeyed, setKeyed] = useState(false);
  const anchor = useRef<number | undefined>(undefined);
  const { width, height } = picture;
  const cellUnder = (event: PointerEvent & { readonly currentTarget: HTMLElement }) => {
    const box = event.currentTarget.getBoundingClientRect();
    return patchAt(grid, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  };
  const onKey = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const next = neighbour(grid, cursor, event.key);
    if (next !== undefined) {
      event.preventDefault();
      if (!event.shiftKey || !isDrawing) anchor.current = undefined;
      else anchor.current ??= cursor;
      setCursor(next);
      announcement.value = inWords(grid, next, cells.includes(next));
    } else if (event.key === " " || event.key === "Enter") {
      event.preventDefault();
      onCells(rectangle(grid, anchor.current ?? cursor, cursor));
      anchor.current = undefined;
    }
  };
  const pending =
    drawn !== undefined
      ? rectangle(grid, drawn.from, drawn.to)
      : anchor.current !== undefined
        ? rectangle(grid, anchor.current, cursor)
        : [];
  return (
    <button
      type="button"
      class={isDrawing ? "patch-stage drawing" : "patch-stage"}
      aria-roledescription="picture in patches"
      aria-label={`${cells.length} of ${grid.width * grid.height} patches ${isDrawing ? "marked" : "chosen"}; ${inWords(grid, cursor, cells.includes(cursor))}`}
      onKeyDown={onKey}
      onFocus={(event) => setKeyed(event.currentTarget.matches(":focus-visible"))}
      onBlur={() => setKeyed(false)}
      onPointerDown={(event) => {
        const cell = cellUnder(event);
        if (event.button !== 0 || cell === undefined) return;
        setCursor(cell);
        anchor.current = undefined;
        if (!isDrawing) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        setDrawn({ from: cell, to: cell });
      }}
      onPointerMove={(event) => {
        const to = cellUnder(event);
        if (drawn !== undefined && to !== undefined) setDrawn({ from: drawn.from, to });
      }}
      onPointerUp={() => {
        if (drawn === undefined) return;
        onCells(rectangle(grid, drawn.from, drawn.to));
        setDrawn(undefined);
      }}
      onPointerCancel={() => setDrawn(undefined)}
      onClick={(event) => {
        // Keys are told above, and a drag by its end; screen readers click without a place.
        if (!isDrawing && event.detail > 0) onCells([cursor]);
        if (event.detail === 0) onCells([cursor]);
      }}
    >
      <MapCanvas picture={picture} map={undefined} label="The picture" />
      <svg class="patch-grid" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" aria-hidden="true">
        <path class="line" d={lines(grid, picture)} />
        {cells.map((cell) => (
          <Cell
            key={`m${cell}`}
            grid={grid}
            cell={cell}
            picture={picture}
            kind={isDrawing ? "hidden-patch" : "seen-patch"}
          />
        ))}
        {pending.map((cell) => (
          <Cell key={`p${cell}`} grid={grid} cell={cell} picture={picture} kind="pending-patch" />
        ))}
        {isKeyed && <Cell grid={grid} cell={cursor} picture={picture} kind="cursor-patch" />}
      </svg>
    </button>
  );
}

function Cell(props: {
  readonly grid: PatchGrid;
  readonly cell: number;
  readonly picture: RgbImage;
  readonly kind: string;
}) {
  const { width, height } = props.picture;
  const part = partOf(props.grid, props.cell);
  return (
    <rect
      class={props.kind}
      x={part.left * width}
      y={part.top * height}
      width={part.width * width}
      height={part.height * height}
    />
  );
}

/** The lines between patches, as an SVG path in pixels of the picture. */
function lines(grid: PatchGrid, { width, height }: RgbImage): string {
  const { left, top, width: cellWidth, height: cellHeight } = partOf(grid, 0);
  const [right, bottom] = [left + cellWidth * grid.width, top + cellHeight * grid.height];
  const columns = Array.from({ length: grid.width + 1 }, (_, column) => (left + column * cellWidth) * width);
  const rows = Array.from({ length: grid.height + 1 }, (_, row) => (top + row * cellHeight) * height);
  return [
    ...columns.map((x) => `M${x} ${top * height}V${bottom * height}`),
    ...rows.map((y) => `M${left * width} ${y}H${right * width}`),
  ].join("");
}

function inWords(grid: PatchGrid, cell: number, isMarked: boolean): string {
  const place = { row: Math.floor(cell / grid.width), column: cell % grid.width };
  return `column ${place.column + 1}, row ${place.row + 1}, ${placeInWords(grid, place)}${isMarked ? ", marked" : ""}`;
}
