// A heat map as a PNG that explains itself: question and answer above, the pictures, and under each what it shows.
import { throwIfAborted } from "../errors.ts";
import type { RgbImage } from "../preprocess/image.ts";
import { loadSharp } from "../preprocess/sharp.node.ts";
import type { AttentionMap } from "./attention-map.ts";
import { besideEachOther, enlarge, HEAT_MAP_GAP, HEAT_MAP_SIDE, heatColor, overlayAttention } from "./heat-map.ts";
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
}

/** What a heat map's file shows. */
export interface HeatMapSheet {
  /** As the model saw it. */
  readonly picture: RgbImage;
  /** Above the pictures, in bold. */
  readonly heading: string;
  /** Under the picture. */
  readonly caption: string;
  readonly panels: readonly HeatMapPanel[];
}

const MARGIN = 24;
const SIZE = 13;
const HEADING_SIZE = 17;
const LINE_HEIGHT = 1.45;
const INK = "#1b1b1f";
const FAINT_INK = "#5b5b66";
const COLOR_BAR = { height: 10, steps: 64 } as const;

/** A line of text on the sheet. */
interface Line {
  readonly text: string;
  readonly x: number;
  readonly y: number;
  readonly size: number;
  readonly weight: FontWeight;
  readonly ink: string;
}

/**
 * Draws the sheet. The same sheet gives the same bytes.
 * @returns a PNG file
 */
export async function heatMapPng(
  sheet: HeatMapSheet,
  options: { readonly signal?: AbortSignal } = {},
): Promise<Uint8Array<ArrayBuffer>> {
  await loadFonts();
  const large = enlarge(sheet.picture, HEAT_MAP_SIDE);
  const row = besideEachOther([large, ...sheet.panels.map(({ map }) => overlayAttention(large, map))]);
  const width = row.width + 2 * MARGIN;

  const heading = wrapText(sheet.heading, { width: row.width, size: HEADING_SIZE, weight: "bold", maxLines: 3 });
  const lines: Line[] = [];
  let top = MARGIN;
  for (const text of heading) {
    lines.push({ text, x: MARGIN, y: top + HEADING_SIZE, size: HEADING_SIZE, weight: "bold", ink: INK });
    top += HEADING_SIZE * LINE_HEIGHT;
  }
  top = Math.ceil(top + 8);

  const under = top + row.height + 12;
  const columns = [
    [
      { text: "The picture as the model sees it", weight: "bold" },
      { text: sheet.caption, weight: "regular" },
    ] as const,
    ...sheet.panels.map(panelText),
  ];
  let bottom = under;
  for (const [column, parts] of columns.entries()) {
    const x = MARGIN + column * (large.width + HEAT_MAP_GAP);
    let y = column === 0 ? under : under + COLOR_BAR.height + 6;
    for (const { text, weight } of parts) {
      for (const line of wrapText(text, { width: large.width, size: SIZE, weight, maxLines: 4 })) {
        lines.push({ text: line, x, y: y + SIZE, size: SIZE, weight, ink: weight === "bold" ? INK : FAINT_INK });
        y += SIZE * LINE_HEIGHT;
      }
    }
    bottom = Math.max(bottom, y);
  }
  const height = Math.ceil(bottom + MARGIN - 4);

  const bars = sheet.panels.map((_, panel) =>
    colorBar({ left: MARGIN + (panel + 1) * (large.width + HEAT_MAP_GAP), top: under, width: large.width }),
  );
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${bars.join("")}${lines.map(pathOf).join("")}</svg>`;
  const sharp = await loadSharp();
  throwIfAborted(options.signal, "Drawing the heat map");
  const png = await sharp({ create: { width, height, channels: 3, background: "#ffffff" } })
    .composite([
      {
        input: Buffer.from(row.data.buffer),
        raw: { width: row.width, height: row.height, channels: 3 },
        left: MARGIN,
        top,
      },
      { input: Buffer.from(svg), left: 0, top: 0 },
    ])
    .removeAlpha()
    .png({ compressionLevel: 9 })
    .toBuffer();
  return new Uint8Array(png);
}

/** "layer 2, head 3", "layer 2, mean of heads". */
export function describeSelection(map: Pick<AttentionMap, "layer" | "head">): string {
  return `layer ${map.layer}, ${map.head === undefined ? "mean of heads" : `head ${map.head}`}`;
}

function panelText(panel: HeatMapPanel): readonly { readonly text: string; readonly weight: FontWeight }[] {
  const { map, row = "Last prompt token" } = panel;
  const largest = map.values.reduce((most, value) => Math.max(most, value), 0);
  const numbers = [
    `${row}, ${describeSelection(map)}`,
    `Image share ${percent(map.share)}, entropy ${map.entropy.toFixed(2)} bits (even: ${Math.log2(map.values.length).toFixed(2)})`,
    `Brightest patch ${percent(largest)} of all attention`,
  ];
  return [
    { text: panel.title, weight: "bold" },
    ...[...panel.lines, ...numbers].map((text) => ({ text, weight: "regular" as const })),
  ];
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function colorBar(bar: { readonly left: number; readonly top: number; readonly width: number }): string {
  const step = bar.width / COLOR_BAR.steps;
  return Array.from({ length: COLOR_BAR.steps }, (_, index) => {
    const color = heatColor(index / (COLOR_BAR.steps - 1)).map(Math.round);
    const x = (bar.left + index * step).toFixed(2);
    return `<rect x="${x}" y="${bar.top}" width="${(step + 0.5).toFixed(2)}" height="${COLOR_BAR.height}" fill="rgb(${color.join(",")})"/>`;
  }).join("");
}

function pathOf(line: Line): string {
  return `<path fill="${line.ink}" d="${textPath(line.text, line)}"/>`;
}
