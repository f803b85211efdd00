// A tensor's picture in block characters: one row as bars, several as shades.
import type { ValuePicture } from "../inspect/pass-values.ts";

const BARS = "▁▂▃▄▅▆▇█";
const SHADES = " ░▒▓█";
const NOT_FINITE = "?";

/** Most lines of a picture, so that several fit a screen. */
const MOST_LINES = 16;

/** At most 16 lines of 64 characters, and one that tells the scale. */
export function textPicture({ width, height, values }: ValuePicture): readonly string[] {
  const isWide = height > 1 && width <= 32; // a character is about twice as high as wide
  const rowsPerLine = Math.ceil(height / MOST_LINES);
  const numLines = Math.ceil(height / rowsPerLine);
  const lines = Array.from({ length: numLines }, (_, line) =>
    Array.from({ length: width }, (_cell, x) => {
      const rows = Array.from({ length: rowsPerLine }, (_row, row) => Math.min(height - 1, line * rowsPerLine + row));
      return rows.reduce((sum, y) => sum + (values[y * width + x] ?? 0), 0) / rows.length;
    }),
  );
  const finite = lines.flat().filter(Number.isFinite);
  const least = finite.reduce((low, value) => Math.min(low, value), Number.POSITIVE_INFINITY);
  const most = finite.reduce((high, value) => Math.max(high, value), Number.NEGATIVE_INFINITY);
  const levels = height === 1 ? BARS : SHADES;
  const characterOf = (value: number): string => {
    if (!Number.isFinite(value)) return NOT_FINITE;
    const share = most > least ? (value - least) / (most - least) : 0;
    return levels[Math.min(levels.length - 1, Math.floor(share * levels.length))] ?? NOT_FINITE;
  };
  const scale = finite.length === 0 ? "nothing finite" : scaleText(levels, least, most);
  return [...lines.map((line) => line.map((value) => characterOf(value).repeat(isWide ? 2 : 1)).join("")), scale];
}

function scaleText(levels: string, least: number, most: number): string {
  const low = levels[0] === " " ? "blank" : levels[0];
  return `${low} ${Number(least.toPrecision(3))} to ${levels.at(-1)} ${Number(most.toPrecision(3))}`;
}
