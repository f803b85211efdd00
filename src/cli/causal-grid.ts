// A grid of a causal experiment for people and programs: labels with token texts, tables, and the fields of --json.
import type { CausalGrid, GridAxes, PositionGroup } from "../causal/grid.ts";
import { at, shown } from "../errors.ts";
import { TokenTexts } from "../inspect/token-texts.ts";
import type { Llava } from "../llava.ts";
import type { ModelInputs } from "../models/inputs.ts";
import { table } from "./session.ts";

/** A grid with what its cells show. */
export interface ShownGrid {
  readonly grid: CausalGrid;
  /** [layers, positions, heads or 1]: what tables and heat maps show */
  readonly shown: Float64Array;
  /** What the numbers are, such as "recovered part of the logit difference". */
  readonly meaning: string;
  /** Labels of the layers, positions and heads. */
  readonly labels: GridLabels;
}

/** Labels of a grid's axes. */
export interface GridLabels {
  readonly layers: readonly string[];
  readonly positions: readonly string[];
  readonly heads: readonly string[] | undefined;
}

/** One table or heat map of a grid: of heads, there is one per group of positions. */
export interface GridPart {
  /** The positions of a part; empty where it has all of them. */
  readonly title: string;
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  /** The number of a cell. */
  readonly cell: (row: number, column: number) => number;
}

/** Answers that are named under a table. */
const MAX_ANSWERS = 5;

/** Cells of a rare answer that are named. */
const MAX_PLACES = 3;

/** The texts of tokens; ids for a model without a tokenizer. */
export function tokenTexts({ processor }: Pick<Llava, "processor">): (tokenId: number) => string {
  if (!processor.hasTokenizer) return (tokenId) => `#${tokenId}`;
  const texts = new TokenTexts(processor.tokenizer);
  return (tokenId) => shown(texts.of(tokenId));
}

/** Labels of a grid's axes. @param prompts the prompt, or the two prompts of a patch */
export function labelsOf(
  { layers, positions, heads, isJoint }: GridAxes,
  prompts: readonly ModelInputs[],
  text: (tokenId: number) => string,
): GridLabels {
  const each = (name: string, indices: readonly number[]) =>
    isJoint
      ? [`${name}${indices.length === 1 ? "" : "s"} ${indices.join(", ")}`]
      : indices.map((index) => `${name} ${index}`);
  return {
    layers: each("layer", layers),
    positions: positions.map((group) => groupLabel(group, prompts, text)),
    heads: heads && each("head", heads),
  };
}

function groupLabel(
  { positions, picture }: PositionGroup,
  prompts: readonly ModelInputs[],
  text: (tokenId: number) => string,
): string {
  const first = at(positions, 0);
  if (picture !== undefined) {
    const name = at(prompts, 0).images.length > 1 ? `picture ${picture.index + 1}` : "picture";
    if (picture.row === undefined) return name;
    const { row, column } = picture;
    return column === undefined ? `${name}, row ${row}` : `${first} ${name}, row ${row}, column ${column}`;
  }
  if (positions.length > 1)
    return `${positions.length} positions from ${first} to ${at(positions, positions.length - 1)}`;
  const texts = new Set(prompts.map(({ inputIds }) => text(at(inputIds, first))));
  return `${first} ${[...texts].join(" / ")}`;
}

/** The parts of a grid, in the form in which each is easiest to read. */
export function partsOf({ grid, shown: values, labels }: ShownGrid): readonly GridPart[] {
  const { layers, positions, heads } = labels;
  const numHeads = heads?.length ?? 1;
  const cell = (layer: number, position: number, head: number) =>
    at(values, (layer * grid.positions.length + position) * numHeads + head);
  if (heads === undefined) {
    const isOne = positions.length === 1;
    return [
      {
        title: isOne ? at(positions, 0) : "",
        rows: isOne ? layers : positions,
        columns: isOne ? positions : layers,
        cell: (row, column) => (isOne ? cell(row, column, 0) : cell(column, row, 0)),
      },
    ];
  }
  return positions.map((title, position) => ({
    title,
    rows: layers,
    columns: heads,
    cell: (row, column) => cell(row, position, column),
  }));
}

/** The grid's tables, one after the other. */
export function gridText(shownGrid: ShownGrid): string {
  const parts = partsOf(shownGrid);
  const tables = parts.map((part) => {
    const { title, rows, columns, cell } = part;
    const lines = table(
      ["", ...columns],
      rows.map((label, row) => [label, ...columns.map((_, column) => numberText(cell(row, column)))]),
    );
    return [...(title === "" || columns.length === 1 ? [] : [`position ${title}`]), ...lines].join("\n");
  });
  return `${tables.join("\n\n")}\n`;
}

/** What a grid shows at a glance: the cell with the largest effect, and the answers under the changes. */
export function summaryText(
  shownGrid: ShownGrid,
  { isFraction, text }: { readonly isFraction: boolean; readonly text: (tokenId: number) => string },
): string {
  const { shown: values } = shownGrid;
  const answers = answersText(shownGrid, text);
  if (values.length === 1) return answers;
  const size = isFraction ? values : values.map(Math.abs);
  const largest = size.indexOf(Math.max(...size));
  const what = isFraction ? "Most recovered" : "Largest change";
  return `${what}: ${numberText(at(values, largest))} at ${cellText(shownGrid, largest)}.\n${answers}`;
}

function cellText({ labels }: ShownGrid, index: number): string {
  const numHeads = labels.heads?.length ?? 1;
  const numPositions = labels.positions.length;
  const group = Math.floor(index / numHeads);
  const head = labels.heads === undefined ? "" : `, ${at(labels.heads, index % numHeads)}`;
  const position = numPositions === 1 ? "" : `, position ${at(labels.positions, group % numPositions)}`;
  return `${at(labels.layers, Math.floor(group / numPositions))}${head}${position}`;
}

/** The answers with the number of cells that give each, most first; of rare ones, where. */
function answersText(shownGrid: ShownGrid, text: (tokenId: number) => string): string {
  const { answerIds } = shownGrid.grid;
  const cells = new Map<number, number[]>();
  for (const [index, id] of answerIds.entries()) cells.set(id, [...(cells.get(id) ?? []), index]);
  const ranked = [...cells].sort(([, a], [, b]) => b.length - a.length);
  if (ranked.length === 1) {
    return `Answer: ${ranked.map(([id]) => text(id)).join()}${answerIds.length === 1 ? "" : " in every cell"}.`;
  }
  const named = ranked.slice(0, MAX_ANSWERS).map(([id, indices], rank) => {
    const isRare = rank > 0 && indices.length <= MAX_PLACES;
    const places = indices.map((index) => cellText(shownGrid, index)).join("; ");
    return `${text(id)} in ${indices.length}${isRare ? ` (${places})` : ""}`;
  });
  const numOthers = ranked.length - named.length;
  return `Answers: ${named.join(", ")}${numOthers > 0 ? ` and ${numOthers} others in the rest` : ""} of ${answerIds.length} cells.`;
}

/**
 * The fields of --json that all grids have; the numbers and answers are nested as [layer][position], for heads as [layer][position][head],
 * with one layer and one head where they are changed together.
 */
export function gridJson(
  { grid, labels }: Pick<ShownGrid, "grid" | "labels">,
  numbers: Readonly<Record<string, Float64Array>>,
  text: (tokenId: number) => string,
): object {
  const { layers, positions, heads = null, isJoint } = grid;
  const numHeads = labels.heads?.length ?? 1;
  const nested = <T>(cell: (index: number) => T) =>
    labels.layers.map((_, layer) =>
      positions.map((_, position) => {
        const start = (layer * positions.length + position) * numHeads;
        return heads === null ? cell(start) : Array.from({ length: numHeads }, (_, head) => cell(start + head));
      }),
    );
  return {
    layers,
    positions: positions.map((group, index) => ({
      label: at(labels.positions, index),
      positions: group.positions,
      picture: group.picture ?? null,
    })),
    heads,
    joint: isJoint,
    ...Object.fromEntries(
      Object.entries(numbers).map(([name, values]) => [name, nested((index) => at(values, index))]),
    ),
    answers: nested((index) => {
      const id = at(grid.answerIds, index);
      return { id, text: text(id) };
    }),
  };
}

/** A number with this many decimals; one that rounds to 0 has no sign. */
export function numberText(value: number, digits = 3): string {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text;
}
