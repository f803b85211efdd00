// Many small maps as one PNG: of every layer and head, or of every word of an answer, each with its numbers.
import { at, throwIfAborted } from "../errors.ts";
import type { RgbImage } from "../preprocess/image.ts";
import { resizeImage } from "../preprocess/resize-bicubic.ts";
import { loadSharp } from "../preprocess/sharp.node.ts";
import type { AttentionMap } from "./attention-map.ts";
import { overlayAttention } from "./heat-map.ts";
import { type FontWeight, loadFonts, textPath, textWidth, wrapText } from "./text-paths.node.ts";

/** One small map. */
export interface SheetCell {
  readonly map: AttentionMap;
  /** Above the map, in bold; nothing unless given. */
  readonly title?: string | undefined;
}

/** Maps of one picture in rows and columns. */
export interface SheetSection {
  /** The original picture. */
  readonly picture: RgbImage;
  /** Longest side of a drawn map, pixels. */
  readonly side: number;
  /** Row by row. */
  readonly cells: readonly SheetCell[];
  readonly numColumns: number;
  /** Above each column, and to the left of each row; none unless given. */
  readonly columnTitles?: readonly string[] | undefined;
  readonly rowTitles?: readonly string[] | undefined;
}

/** Small maps of one picture, or of several below one another. */
export interface MapSheet {
  /** Above the maps, in bold. */
  readonly heading: string;
  /** Lines under the heading. */
  readonly notes: readonly string[];
  readonly sections: readonly SheetSection[];
}

const MARGIN = 20;
const GAP = 10;
const SIZE = 10;
const LINE = 13;
const HEADING_SIZE = 16;
const ROW_TITLE_WIDTH = 58;
const INK = "#1b1b1f";
const FAINT_INK = "#5b5b66";
/** Least width of a cell: that of its numbers. */
const LEAST_CELL = 92;
/** Least width of the sheet, for its heading. */
const LEAST_WIDTH = 480;

/** What the numbers under each small map are. */
const CELL_NUMBERS =
  "Under each map: share of all attention that is on the picture; entropy of the map, bits; fraction of the picture's scores that are negative. The brightest colour of each map is its own largest value.";

/** The numbers under a small map, a line each. */
function cellLines({ share, entropy, negativeScores }: AttentionMap): readonly string[] {
  const numbers = `${percent(share)}, ${entropy.toFixed(2)} b`;
  return negativeScores === undefined ? [numbers] : [numbers, `${percent(negativeScores)} neg.`];
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** A section with its measures, pixels. */
interface MeasuredSection extends SheetSection {
  /** The picture at the size of its maps. */
  readonly small: RgbImage;
  readonly cellWidth: number;
  /** Where maps begin. */
  readonly left: number;
  readonly width: number;
}

/** Draws a sheet. The same sheet gives the same bytes. @throws AbortError between rows. */
export async function mapSheetPng(
  sheet: MapSheet,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  await loadFonts();
  const sections = sheet.sections.map(measured);
  const width = Math.max(LEAST_WIDTH, ...sections.map((section) => section.width)) + 2 * MARGIN;
  const lines: SheetLine[] = [];
  const maps: PlacedMap[] = [];
  let top = MARGIN;
  const wrapped = (text: string, line: Pick<SheetLine, "size" | "weight" | "ink">) => {
    for (const part of wrapText(text, { ...line, width: width - 2 * MARGIN, maxLines: 4 })) {
      lines.push({ ...line, text: part, x: MARGIN, y: top + line.size });
      top += Math.ceil(line.size * 1.4);
    }
  };
  wrapped(sheet.heading, { size: HEADING_SIZE, weight: "bold", ink: INK });
  for (const note of [...sheet.notes, CELL_NUMBERS])
    wrapped(note, { size: SIZE + 1, weight: "regular", ink: FAINT_INK });
  top += GAP;
  for (const section of sections) top = layOut(section, { top, lines, maps });
  const height = top + MARGIN;
  const pixels: RgbImage = { width, height, data: new Uint8Array(width * height * 3).fill(255) };
  for (const { map, picture, x, y } of maps) {
    throwIfAborted(signal, "Drawing the sheet of maps");
    blit(overlayAttention(picture, map), pixels, { x, y });
  }
  return writePng(pixels, lines);
}

function measured(section: SheetSection): MeasuredSection {
  const small = thumbnail(section.picture, section.side);
  const cellWidth = Math.max(small.width, LEAST_CELL);
  const titles = section.rowTitles === undefined ? 0 : ROW_TITLE_WIDTH;
  const width = titles + section.numColumns * (cellWidth + GAP) - GAP;
  return { ...section, small, cellWidth, left: MARGIN + titles, width };
}

/** A map with its upper left corner on the sheet. */
interface PlacedMap {
  readonly map: AttentionMap;
  readonly picture: RgbImage;
  readonly x: number;
  readonly y: number;
}

/** Adds the text and the maps of a section. @returns where it ends */
function layOut(
  { cells, numColumns, columnTitles = [], rowTitles = [], small, cellWidth, left }: MeasuredSection,
  to: { readonly top: number; readonly lines: SheetLine[]; readonly maps: PlacedMap[] },
): number {
  const { lines, maps } = to;
  const bold = { size: SIZE, weight: "bold", ink: INK } as const;
  const columnAt = (column: number) => left + column * (cellWidth + GAP);
  for (const [column, text] of columnTitles.entries()) {
    lines.push({ ...bold, text, x: columnAt(column), y: to.top + SIZE });
  }
  const top = to.top + (columnTitles.length > 0 ? LINE + 4 : 0);
  const titleHeight = cells.some(({ title }) => title !== undefined) ? LINE + 2 : 0;
  const textHeight = Math.max(...cells.map(({ map }) => cellLines(map).length)) * LINE;
  const rowHeight = titleHeight + small.height + 3 + textHeight + GAP;
  for (const [index, { map, title }] of cells.entries()) {
    const x = columnAt(index % numColumns);
    const y = top + Math.floor(index / numColumns) * rowHeight;
    if (title !== undefined) {
      const [text = ""] = wrapText(title, { ...bold, width: cellWidth, maxLines: 1 });
      lines.push({ ...bold, text, x, y: y + SIZE });
    }
    maps.push({ map, picture: small, x, y: y + titleHeight });
    for (const [row, text] of cellLines(map).entries()) {
      const baseline = y + titleHeight + small.height + 3 + row * LINE + SIZE;
      lines.push({ text, x, y: baseline, size: SIZE, weight: "regular", ink: FAINT_INK });
    }
  }
  for (const [row, text] of rowTitles.entries()) {
    const y = top + row * rowHeight + titleHeight + small.height / 2 + SIZE / 2;
    lines.push({ ...bold, text, x: left - GAP - textWidth(text, SIZE, "bold"), y });
  }
  return top + Math.ceil(cells.length / numColumns) * rowHeight;
}

/** A line of text. */
interface SheetLine {
  readonly text: string;
  readonly x: number;
  readonly y: number;
  readonly size: number;
  readonly weight: FontWeight;
  readonly ink: string;
}

/** The text of so many pixels of height is one SVG: its renderer takes longer than linearly. */
const BAND = 512;

async function writePng(picture: RgbImage, lines: readonly SheetLine[]): Promise<Uint8Array<ArrayBuffer>> {
  const { width, height, data } = picture;
  const bands = Array.from({ length: Math.ceil(height / BAND) }, (_, band) => {
    const top = band * BAND;
    const shown = lines.filter(({ y, size }) => y + size > top && y - size < top + BAND);
    const paths = shown.map(
      (line) => `<path fill="${line.ink}" d="${textPath(line.text, { ...line, y: line.y - top })}"/>`,
    );
    const size = `width="${width}" height="${Math.min(BAND, height - top)}"`;
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" ${size}>${paths.join("")}</svg>`;
    return { input: Buffer.from(svg), left: 0, top };
  });
  const sharp = await loadSharp();
  const png = await sharp(data, { raw: { width, height, channels: 3 } })
    .composite(bands)
    .removeAlpha()
    .png({ compressionLevel: 6 })
    .toBuffer();
  return new Uint8Array(png);
}

/** A picture whose longest side has so many pixels. */
function thumbnail(picture: RgbImage, side: number): RgbImage {
  const longest = Math.max(picture.width, picture.height);
  const scaled = (length: number) => Math.max(1, Math.round((length * side) / longest));
  return resizeImage(picture, { width: scaled(picture.width), height: scaled(picture.height) });
}

function blit(from: RgbImage, to: RgbImage, { x, y }: { readonly x: number; readonly y: number }): void {
  const rowBytes = from.width * 3;
  for (let row = 0; row < from.height; row++) {
    to.data.set(from.data.subarray(row * rowBytes, (row + 1) * rowBytes), ((y + row) * to.width + x) * 3);
  }
}

/** Longest side of a map in a sheet of layers and heads: 32 × 32 of them have 3.5 thousand pixels in a row. */
const LAYER_HEAD_SIDE = 96;

/** The maps of every layer (down) and head (across). @param of.mapAt the map of a layer and head */
export function layerHeadSection(of: {
  readonly picture: RgbImage;
  readonly numLayers: number;
  readonly numHeads: number;
  readonly mapAt: (layer: number, head: number) => AttentionMap;
}): SheetSection {
  const { picture, numLayers, numHeads, mapAt } = of;
  const cells = Array.from({ length: numLayers * numHeads }, (_, index) => ({
    map: mapAt(Math.floor(index / numHeads), index % numHeads),
  }));
  const titles = (what: string, count: number) => Array.from({ length: count }, (_, index) => `${what} ${index}`);
  const [columnTitles, rowTitles] = [titles("head", numHeads), titles("layer", numLayers)];
  return { picture, side: LAYER_HEAD_SIDE, cells, numColumns: numHeads, columnTitles, rowTitles };
}

/** The numbers of the maps of a section, row by row, as JSON. */
export interface SectionNumbers {
  readonly share: readonly (readonly number[])[];
  readonly entropy: readonly (readonly number[])[];
  readonly negativeScores: readonly (readonly (number | null)[])[];
}

/** The numbers under the maps of a section. */
export function sectionNumbers({ cells, numColumns }: Pick<SheetSection, "cells" | "numColumns">): SectionNumbers {
  const numRows = cells.length / numColumns;
  const table = <T>(of: (map: AttentionMap) => T) =>
    Array.from({ length: numRows }, (_, row) =>
      Array.from({ length: numColumns }, (_column, column) => of(at(cells, row * numColumns + column).map)),
    );
  return {
    share: table(({ share }) => share),
    entropy: table(({ entropy }) => entropy),
    negativeScores: table(({ negativeScores = null }) => negativeScores),
  };
}
