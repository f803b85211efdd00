// A heat map as a PNG that explains itself: question and answer above, the pictures, and under each what it shows.
import { at, throwIfAborted } from "../errors.ts";
import {
  abortSignal,
  isTyped,
  listOf,
  objectOf,
  oneOf,
  read,
  readOptions,
  required,
  rule,
  type Schema,
  text,
  whole,
} from "../options.ts";
import { picture, type RgbImage } from "../preprocess/image.ts";
import { loadSharp } from "../preprocess/sharp.node.ts";
import type { AttentionMap } from "./attention-map.ts";
import {
  attentionMap,
  besideEachOther,
  fitted,
  HEAT_MAP_GAP,
  HEAT_MAP_SIDE,
  heatColor,
  overlayAttention,
  signedColor,
} from "./heat-map.ts";
import type { RelativeMap } from "./relative-map.ts";
import { type FontWeight, loadFonts, textPath, wrapText } from "./text-paths.node.ts";

/** One picture under attention. */
export interface HeatMapPanel {
  readonly map: AttentionMap;
  /** Whose attention it is; "Last prompt token" unless given. */
  readonly row?: string | undefined;
  /** What pass this is, such as "AdaptVis, factor 1.5". */
  readonly title: string;
  /** More lines under the title, before the numbers of the map. */
  readonly lines: readonly string[];
  /** What the map is of, where it is not one layer's attention; "layer 2, head 3" unless given. */
  readonly what?: string | undefined;
  /** Cells of the map that are outlined. */
  readonly marked?: readonly number[] | undefined;
  /** The map compared with another, which is drawn in its place. */
  readonly relative?: RelativeMap | undefined;
}

/** One picture of a question, with its maps to the right. */
export interface HeatMapRow {
  /** The original; of maps without `view`, which fill it, as the model saw it. */
  readonly picture: RgbImage;
  /** Under the picture. */
  readonly caption: string;
  readonly panels: readonly HeatMapPanel[];
}

/** What a heat map's file shows. */
export interface HeatMapSheet {
  /** Above the pictures, in bold. */
  readonly heading: string;
  /** One row per picture of the question, below one another. */
  readonly rows: readonly HeatMapRow[];
}

/** Largest shortest side of a drawn picture, pixels. */
const LARGEST_SIDE = 672;
const MARGIN = 24;
const SIZE = 13;
const HEADING_SIZE = 17;
const LINE_HEIGHT = 1.45;
const INK = "#1b1b1f";
const FAINT_INK = "#5b5b66";
/** Shares of a picture's side below this are the rounding of a resize. */
const CROP_ROUNDING = 0.002;
const COLOR_BAR = { height: 10, steps: 64 } as const;

/** A drawn row on the sheet. */
interface DrawnRow {
  /** The picture and its maps side by side. */
  readonly strip: RgbImage;
  readonly top: number;
  readonly lines: readonly Line[];
  /** SVG of the colour bars. */
  readonly bars: string;
  readonly bottom: number;
}

/** A line of text on the sheet. */
interface Line {
  readonly text: string;
  readonly x: number;
  readonly y: number;
  readonly size: number;
  readonly weight: FontWeight;
  readonly ink: string;
}

const PANEL: Schema<HeatMapPanel> = {
  map: required(attentionMap),
  row: text,
  title: required(text),
  lines: required(listOf(text, "a list of texts")),
  what: text,
  marked: listOf(whole(0), "a list of whole numbers"),
  relative: objectOf<RelativeMap>("what relativeMap returns", {
    comparison: required(oneOf(["ratio", "difference"])),
    values: required(rule("a Float64Array", (value) => isTyped(value, "Float64Array"))),
    map: required(attentionMap),
    neutral: required(attentionMap),
  }),
};

const ROW: Schema<HeatMapRow> = {
  picture: required(picture),
  caption: required(text),
  panels: required(listOf(objectOf("{ map, title, lines }", PANEL), "a list of panels")),
};

const SHEET = objectOf<HeatMapSheet>("{ heading, rows }", {
  heading: required(text),
  rows: required(listOf(objectOf("{ picture, caption, panels }", ROW), "a list of at least one row", 1)),
});

/**
 * Draws the sheet. The same sheet gives the same bytes.
 * @returns a PNG file
 * @throws InputError for a sheet or option that does not fit; AbortError.
 */
export async function heatMapPng(
  given: HeatMapSheet,
  options: { readonly signal?: AbortSignal } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  const { signal } = readOptions<typeof options>("heatMapPng", options, { signal: abortSignal });
  const sheet = read("sheet", given, SHEET) as HeatMapSheet; // checked by the rule
  await loadFonts();
  const strips = sheet.rows.map(({ picture, panels }) => {
    const large = fitted(picture, { least: HEAT_MAP_SIDE, most: LARGEST_SIDE });
    return {
      large,
      strip: besideEachOther([large, ...panels.map((panel) => overlayAttention(large, drawnMap(panel)))]),
    };
  });
  const inner = Math.max(...strips.map(({ strip }) => strip.width));
  const width = inner + 2 * MARGIN;

  const lines: Line[] = [];
  let top = MARGIN;
  for (const text of wrapText(sheet.heading, { width: inner, size: HEADING_SIZE, weight: "bold", maxLines: 3 })) {
    lines.push({ text, x: MARGIN, y: top + HEADING_SIZE, size: HEADING_SIZE, weight: "bold", ink: INK });
    top += HEADING_SIZE * LINE_HEIGHT;
  }
  top = Math.ceil(top + 8);
  const rows: DrawnRow[] = [];
  for (const [index, row] of sheet.rows.entries()) {
    const drawn = drawRow(row, { ...at(strips, index), top });
    rows.push(drawn);
    top = Math.ceil(drawn.bottom + MARGIN - 4);
  }
  const height = top;

  const paths = [...lines, ...rows.flatMap((row) => row.lines)].map(pathOf).join("");
  const bars = rows.map((row) => row.bars).join("");
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${bars}${paths}</svg>`;
  const sharp = await loadSharp();
  throwIfAborted(signal, "Drawing the heat map");
  const png = await sharp({ create: { width, height, channels: 3, background: "#ffffff" } })
    .composite([
      ...rows.map(({ strip, top }) => ({
        input: Buffer.from(strip.data.buffer),
        raw: { width: strip.width, height: strip.height, channels: 3 as const },
        left: MARGIN,
        top,
      })),
      { input: Buffer.from(svg), left: 0, top: 0 },
    ])
    .removeAlpha()
    .png({ compressionLevel: 9 })
    .toBuffer();
  return new Uint8Array(png);
}

/** Lays out the text under a picture and its maps. */
function drawRow(
  { caption, panels }: HeatMapRow,
  { large, strip, top }: { readonly large: RgbImage; readonly strip: RgbImage; readonly top: number },
): DrawnRow {
  const under = top + strip.height + 12;
  const leftOf = (column: number) => MARGIN + column * (large.width + HEAT_MAP_GAP);
  const columns = [
    [
      { text: "The picture", weight: "bold" },
      { text: caption, weight: "regular" },
      ...(panels.some(({ map }) => isCropped(map))
        ? [{ text: "Hatched: cropped away before the model saw it", weight: "regular" } as const]
        : []),
    ] as const,
    ...panels.map(panelText),
  ];
  const lines: Line[] = [];
  let bottom = under;
  for (const [column, parts] of columns.entries()) {
    let y = column === 0 ? under : under + COLOR_BAR.height + 6;
    for (const { text, weight } of parts) {
      for (const line of wrapText(text, { width: large.width, size: SIZE, weight, maxLines: 4 })) {
        const ink = weight === "bold" ? INK : FAINT_INK;
        lines.push({ text: line, x: leftOf(column), y: y + SIZE, size: SIZE, weight, ink });
        y += SIZE * LINE_HEIGHT;
      }
    }
    bottom = Math.max(bottom, y);
  }
  const shapes = panels.flatMap((panel, index) => {
    const left = leftOf(index + 1);
    return [
      colorBar({ left, top: under, width: large.width, isSigned: drawnMap(panel).values.some((value) => value < 0) }),
      ...(panel.marked ?? []).map((cell) => outline(panel.map, cell, { left, top, picture: large })),
    ];
  });
  return { strip, top, lines, bars: shapes.join(""), bottom };
}

/** What a panel shows over the picture. */
function drawnMap({ map, relative }: HeatMapPanel): Pick<AttentionMap, "values" | "width" | "height" | "view"> {
  return relative === undefined ? map : { ...map, values: relative.values };
}

/** A frame around the part of the picture that a cell shows. */
function outline(
  { width, height, view }: AttentionMap,
  cell: number,
  at: { readonly left: number; readonly top: number; readonly picture: RgbImage },
): string {
  const { left, top, right, bottom } = view?.part ?? { left: 0, top: 0, right: 1, bottom: 1 };
  const [column, row] = [cell % width, Math.floor(cell / width)];
  const x = (along: number) => at.left + (left + (along / width) * (right - left)) * at.picture.width;
  const y = (along: number) => at.top + (top + (along / height) * (bottom - top)) * at.picture.height;
  const size = `width="${(x(column + 1) - x(column)).toFixed(2)}" height="${(y(row + 1) - y(row)).toFixed(2)}"`;
  return `<rect x="${x(column).toFixed(2)}" y="${y(row).toFixed(2)}" ${size} fill="none" stroke="#00e5ff" stroke-width="1.5"/>`;
}

/** Whether a part of the original picture was cropped away. */
function isCropped({ view }: AttentionMap): boolean {
  if (view === undefined) return false;
  const { left, top, right, bottom } = view.part;
  return left > CROP_ROUNDING || top > CROP_ROUNDING || right < 1 - CROP_ROUNDING || bottom < 1 - CROP_ROUNDING;
}

/** "layer 2, head 3", "layer 2, mean of heads". */
export function describeSelection(map: Pick<AttentionMap, "layer" | "head">): string {
  return `layer ${map.layer}, ${map.head === undefined ? "mean of heads" : `head ${map.head}`}`;
}

/** The part of a picture's attention that its map cannot show over it: " (0.4 % on padding)"; empty where there is none. */
export function unplacedText({
  unplacedShare,
  paddingShare,
}: Pick<AttentionMap, "unplacedShare" | "paddingShare">): string {
  const parts = [
    ...(unplacedShare > 0 ? [`${percent(unplacedShare)} on tokens without a place in it`] : []),
    ...(paddingShare > 0 ? [`${percent(paddingShare)} on padding`] : []),
  ];
  return parts.length === 0 ? "" : ` (${parts.join(", ")})`;
}

function panelText(panel: HeatMapPanel): readonly { readonly text: string; readonly weight: FontWeight }[] {
  const { map, relative, row = "Last prompt token", what = describeSelection(map) } = panel;
  const largest = map.values.reduce((most, value) => Math.max(most, value), 0);
  const numbers = [
    `${row}, ${what}`,
    `Image share ${percent(map.share)}${unplacedText(map)}, entropy ${map.entropy.toFixed(2)} bits (even: ${Math.log2(map.values.length).toFixed(2)})`,
    ...(map.negativeScores === undefined ? [] : [`${percent(map.negativeScores)} of the image's scores are negative`]),
    ...(relative === undefined ? [`Brightest patch ${percent(largest)} of all attention`] : comparisonText(relative)),
  ];
  return [
    { text: panel.title, weight: "bold" },
    ...[...panel.lines, ...numbers].map((text) => ({ text, weight: "regular" as const })),
  ];
}

function comparisonText({ comparison, values, neutral }: RelativeMap): readonly string[] {
  const [least, most] = [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
  const range =
    comparison === "ratio"
      ? `Drawn: ratio to the neutral prompt, ${least.toFixed(2)} to ${most.toFixed(2)}`
      : `Drawn: difference from the neutral prompt, ${percent(least)} to ${percent(most)}`;
  return [range, `Neutral prompt: image share ${percent(neutral.share)}, entropy ${neutral.entropy.toFixed(2)} bits`];
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function colorBar(bar: {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly isSigned: boolean;
}): string {
  const step = bar.width / COLOR_BAR.steps;
  return Array.from({ length: COLOR_BAR.steps }, (_, index) => {
    const along = index / (COLOR_BAR.steps - 1);
    const color = (bar.isSigned ? signedColor(2 * along - 1) : heatColor(along)).map(Math.round);
    const x = (bar.left + index * step).toFixed(2);
    return `<rect x="${x}" y="${bar.top}" width="${(step + 0.5).toFixed(2)}" height="${COLOR_BAR.height}" fill="rgb(${color.join(",")})"/>`;
  }).join("");
}

function pathOf(line: Line): string {
  return `<path fill="${line.ink}" d="${textPath(line.text, line)}"/>`;
}
