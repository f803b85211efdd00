// A grid of a causal experiment as one HTML file: a heat map per part with its numbers in a table below, nothing fetched.
import type { TopLevelSpec } from "vega-lite";
import { escaped, pageHtml, svgOf, tableHtml } from "../bench/html-page.node.ts";
import { type GridPart, numberText, partsOf, type ShownGrid } from "./causal-grid.ts";

/** What the page says beside its heat maps. */
export interface GridPage {
  readonly title: string;
  /** Name and value, such as the question. */
  readonly facts: readonly (readonly [name: string, value: string])[];
  readonly grid: ShownGrid;
  /** Whether 1 is all of the effect: the colours then reach at least to it. */
  readonly isFraction: boolean;
}

/** Cells of a heat map whose numbers are written into it; those of a larger one are only in the table. */
const MAX_WRITTEN = 400;

/** The whole page. */
export async function gridHtml({ title, facts, grid, isFraction }: GridPage): Promise<string> {
  const { meaning } = grid;
  const range = rangeOf(grid, isFraction);
  const figures: string[] = [];
  for (const part of partsOf(grid)) {
    const heading = part.title === "" ? "" : `<h2>${escaped(`position ${part.title}`)}</h2>`;
    const label = `${meaning}: a heat map of ${part.rows.length} × ${part.columns.length} cells; the table below has its numbers.`;
    const svg = await svgOf(heatMapSpec(part, { range, meaning }), { label });
    const rows = part.rows.map((row, index) => [
      row,
      ...part.columns.map((_, column) => numberText(part.cell(index, column))),
    ]);
    const numbers = `<details><summary>Numbers</summary>${tableHtml(["", ...part.columns], rows)}</details>`;
    figures.push(`<figure>${heading}${svg}${numbers}</figure>`);
  }
  return pageHtml({ title, heading: title, parts: [tableHtml(["what", "value"], facts), ...figures] });
}

/** The number at either end of the colours. */
export function rangeOf({ shown }: ShownGrid, isFraction: boolean): number {
  return shown.reduce((most, value) => Math.max(most, Math.abs(value)), isFraction ? 1 : 1e-3);
}

function heatMapSpec(
  part: GridPart,
  { range, meaning }: { readonly range: number; readonly meaning: string },
): TopLevelSpec {
  const { rows, columns, cell } = part;
  const values = rows.flatMap((row, y) =>
    columns.map((column, x) => ({ row, column, value: cell(y, x), text: numberText(cell(y, x), 2) })),
  );
  const isWritten = values.length <= MAX_WRITTEN;
  const axis = { labelLimit: 260, ticks: false, domain: false };
  const position = {
    x: {
      field: "column",
      type: "ordinal",
      sort: null,
      title: null,
      axis: { ...axis, orient: "top", labelAngle: isWritten ? 0 : -90 },
    },
    y: { field: "row", type: "ordinal", sort: null, title: null, axis },
  };
  const domain = [-range, range];
  const color = {
    field: "value",
    type: "quantitative",
    scale: { scheme: "blueorange", domain },
    legend: { title: meaning, titleLimit: 420, orient: "bottom", gradientLength: 220 },
  };
  const dark = `abs(datum.value) > ${0.6 * range}`;
  return {
    width: { step: isWritten ? 44 : 20 },
    height: { step: isWritten ? 24 : 16 },
    data: { values },
    layer: [
      { mark: { type: "rect" }, encoding: { ...position, color } },
      ...(isWritten
        ? [
            {
              mark: { type: "text", fontSize: 10 },
              encoding: {
                ...position,
                text: { field: "text" },
                color: { condition: { test: dark, value: "white" }, value: "black" },
              },
            },
          ]
        : []),
    ],
  } as TopLevelSpec; // vega-lite's types do not accept specs that are put together
}
