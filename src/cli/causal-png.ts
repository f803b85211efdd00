// A grid of a causal experiment as a PNG: heat maps with their numbers, drawn with outlines of letters, so that no font is needed.
import { loadFonts, textPath, textWidth, wrapText } from "../inspect/text-paths.node.ts";
import { loadSharp } from "../preprocess/sharp.node.ts";
import { type GridPart, numberText, partsOf } from "./causal-grid.ts";
import { type GridPage, rangeOf } from "./causal-html.ts";

const MARGIN = 24;
const SIZE = 13;
const CELL = { width: 56, height: 26 } as const;
const INK = "#1b1b1f";
const FAINT_INK = "#5b5b66";

/** Colours of the most negative number, of 0 and of the most positive one; they differ in brightness on either side. */
const COLORS = {
  negative: [33, 102, 172],
  middle: [247, 247, 247],
  positive: [179, 88, 6],
} as const satisfies Record<string, readonly [number, number, number]>;

/** Shapes of a drawing, and how far down they reach. */
interface Drawn {
  readonly svg: string;
  readonly bottom: number;
}

/** The picture's file. @throws InputError when sharp is not installed. */
export async function gridPng({ title, facts, grid, isFraction }: GridPage): Promise<Uint8Array<ArrayBuffer>> {
  await loadFonts();
  const range = rangeOf(grid, isFraction);
  const parts = partsOf(grid);
  const inner = Math.max(520, ...parts.map((part) => labelWidth(part) + part.columns.length * CELL.width));
  let top = MARGIN;
  let svg = "";
  const line = (text: string, bold: boolean) => {
    for (const each of wrapText(text, { width: inner, size: SIZE, weight: bold ? "bold" : "regular", maxLines: 3 })) {
      svg += letters(each, { x: MARGIN, y: top + SIZE, ink: bold ? INK : FAINT_INK, bold });
      top += SIZE * 1.45;
    }
  };
  line(title, true);
  for (const [name, value] of facts) if (value !== "") line(`${name}: ${value}`, false);
  line(grid.meaning, true);
  for (const part of parts) {
    top += 10;
    if (part.title !== "" && part.columns.length > 1) line(`position ${part.title}`, false);
    const drawn = drawPart(part, { top, range });
    svg += drawn.svg;
    top = drawn.bottom;
  }
  const [width, height] = [Math.ceil(inner + 2 * MARGIN), Math.ceil(top + MARGIN)];
  const sharp = await loadSharp();
  const whole = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><rect width="100%" height="100%" fill="#fff"/>${svg}</svg>`;
  return new Uint8Array(
    await sharp(Buffer.from(whole)).removeAlpha().png({ compressionLevel: 9, palette: true }).toBuffer(),
  );
}

function labelWidth({ rows }: GridPart): number {
  return Math.max(...rows.map((row) => textWidth(row, SIZE))) + 10;
}

function drawPart(part: GridPart, { top, range }: { readonly top: number; readonly range: number }): Drawn {
  const { rows, columns, cell } = part;
  const left = MARGIN + labelWidth(part);
  const shapes: string[] = [];
  for (const [column, label] of columns.entries()) {
    const x = left + column * CELL.width;
    const isOne = columns.length === 1; // its label may be longer than a cell
    const offset = isOne ? 0 : Math.max(0, (CELL.width - textWidth(label, 11)) / 2);
    shapes.push(letters(label, { x: x + offset, y: top + SIZE, ink: INK, size: 11 }));
  }
  const first = top + SIZE + 8;
  for (const [row, label] of rows.entries()) {
    const y = first + row * CELL.height;
    shapes.push(letters(label, { x: MARGIN, y: y + 18, ink: INK }));
    for (let column = 0; column < columns.length; column++) {
      const value = cell(row, column);
      const x = left + column * CELL.width;
      const text = numberText(value, 2);
      const ink = Math.abs(value) > 0.6 * range ? "#fff" : INK;
      shapes.push(
        `<rect x="${x}" y="${y}" width="${CELL.width - 1}" height="${CELL.height - 1}" fill="${colorOf(value / range)}"/>`,
        letters(text, { x: x + (CELL.width - textWidth(text, 11)) / 2, y: y + 17, ink, size: 11 }),
      );
    }
  }
  const bottom = first + rows.length * CELL.height;
  return { svg: shapes.join(""), bottom };
}

/** The colour of a number from −1 to 1. */
function colorOf(value: number): string {
  const { middle } = COLORS;
  const end = value < 0 ? COLORS.negative : COLORS.positive;
  const share = Math.min(Math.abs(value), 1);
  const mixed = ([0, 1, 2] as const).map((channel) =>
    Math.round(middle[channel] + (end[channel] - middle[channel]) * share),
  );
  return `rgb(${mixed.join(",")})`;
}

function letters(
  text: string,
  place: {
    readonly x: number;
    readonly y: number;
    readonly ink: string;
    readonly bold?: boolean;
    readonly size?: number;
  },
): string {
  const { x, y, ink, bold = false, size = SIZE } = place;
  return `<path fill="${ink}" d="${textPath(text, { x, y, size, weight: bold ? "bold" : "regular" })}"/>`;
}
