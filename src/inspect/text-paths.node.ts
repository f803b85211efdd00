// Text as outlines, so that a machine without any font draws the same letters: DejaVu Sans from npm, shaped glyph by glyph.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Font, PathCommand } from "opentype.js";
import { InputError } from "../errors.ts";
import { isMissingPackage } from "../gpu/hosts/missing-package.node.ts";

/** A font's two weights. */
export type FontWeight = "regular" | "bold";

const FILES: Readonly<Record<FontWeight, string>> = {
  regular: "@fontsource/dejavu-sans/files/dejavu-sans-latin-400-normal.woff",
  bold: "@fontsource/dejavu-sans/files/dejavu-sans-latin-700-normal.woff",
};

const fonts = new Map<FontWeight, Font>();

/**
 * Loads both fonts, with the library that reads them; the other functions here need it once.
 * @throws InputError when one of the packages is not installed.
 */
export async function loadFonts(): Promise<void> {
  if (fonts.size > 0) return;
  try {
    const { default: opentype } = await import("opentype.js"); // only now: it takes longer to load than the rest of the engine
    const require = createRequire(import.meta.url);
    for (const weight of ["regular", "bold"] as const) {
      const file = readFileSync(require.resolve(FILES[weight]));
      fonts.set(weight, opentype.parse(file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength)));
    }
  } catch (cause) {
    if (!["opentype.js", "@fontsource/dejavu-sans"].some((name) => isMissingPackage(cause, name))) throw cause;
    const message =
      "The captions of heat maps need the npm packages opentype.js and @fontsource/dejavu-sans: run npm install opentype.js @fontsource/dejavu-sans.";
    throw new InputError(message, { cause });
  }
}

/** SVG path data of one line of text whose baseline begins at (x, y), in pixels; a letter that the font lacks is a box. */
export function textPath(
  text: string,
  place: { readonly x: number; readonly y: number; readonly size: number; readonly weight?: FontWeight },
): string {
  const font = fontOf(place.weight);
  const scale = place.size / font.unitsPerEm;
  let { x } = place;
  let path = "";
  for (const character of text) {
    const glyph = font.charToGlyph(character);
    path += glyph.getPath(x, place.y, place.size).commands.map(pathCommand).join("");
    x += (glyph.advanceWidth ?? 0) * scale;
  }
  return path;
}

/** Width of one line of text, pixels. */
export function textWidth(text: string, size: number, weight?: FontWeight): number {
  const font = fontOf(weight);
  const units = [...text].reduce((sum, character) => sum + (font.charToGlyph(character).advanceWidth ?? 0), 0);
  return (units * size) / font.unitsPerEm;
}

/** Breaks text into lines of at most `width` pixels, between words where it can; the last of `maxLines` ends with "…". */
export function wrapText(
  text: string,
  options: { readonly width: number; readonly size: number; readonly weight?: FontWeight; readonly maxLines: number },
): readonly string[] {
  const { width, size, weight, maxLines } = options;
  const fits = (line: string) => textWidth(line, size, weight) <= width;
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(/\s+/).filter((part) => part !== "")) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (fits(longer)) {
      line = longer;
      continue;
    }
    if (line !== "") lines.push(line);
    line = "";
    for (const character of word) {
      if (line !== "" && !fits(line + character)) {
        lines.push(line);
        line = "";
      }
      line += character;
    }
  }
  if (line !== "") lines.push(line);
  if (lines.length <= maxLines) return lines;
  let last = lines[maxLines - 1] ?? "";
  while (last !== "" && !fits(`${last}…`)) last = last.slice(0, -1);
  return [...lines.slice(0, maxLines - 1), `${last}…`];
}

/** One command of SVG's path syntax; opentype.js 2.0.0's own toPathData writes NaN for numbers such as 516.7800000000001. */
function pathCommand(command: PathCommand): string {
  const point = (x: number, y: number) => `${x.toFixed(2)} ${y.toFixed(2)} `;
  switch (command.type) {
    case "M":
    case "L":
      return command.type + point(command.x, command.y);
    case "Q":
      return `Q${point(command.x1, command.y1)}${point(command.x, command.y)}`;
    case "C":
      return `C${point(command.x1, command.y1)}${point(command.x2, command.y2)}${point(command.x, command.y)}`;
    case "Z":
      return "Z";
  }
}

function fontOf(weight: FontWeight = "regular"): Font {
  const font = fonts.get(weight);
  if (font === undefined) throw new RangeError("text was drawn before loadFonts()");
  return font;
}
