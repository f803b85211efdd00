// The values that a pass wrote to one tensor: numbers about them, and a small picture.

import { useLayoutEffect, useRef } from "preact/hooks";
import type { PassValues } from "../../inspect/explained-pass.ts";
import { heatColor } from "../../inspect/heat-map.ts";

/** One tensor that came out of a pass. */
export function PassOutput({ values }: { readonly values: PassValues }) {
  const { label, shape, picture } = values;
  const canvas = useRef<HTMLCanvasElement>(null);
  const { least, most } = rangeOf(picture.values);
  // Before the browser shows the figure: an effect after that would show it blank for a moment.
  useLayoutEffect(() => {
    if (canvas.current !== null) paint(canvas.current, picture, { least, most });
  });
  const isAveraged = picture.values.length < shape.reduce((product, size) => product * size, 1);
  return (
    <figure class="output">
      <figcaption>
        <code>{label}</code> <span class="hint number">{shape.join(" × ")}</span>
      </figcaption>
      <canvas
        ref={canvas}
        class="tensor-picture"
        style={{ aspectRatio: `${picture.width} / ${picture.height}` }}
        role="img"
        aria-label={`Values of ${label} as colours, ${shortNumber(least)} to ${shortNumber(most)}`}
      />
      <div class="tensor-legend number">
        <span>{shortNumber(least)}</span>
        <span class="legend-bar" style={{ background: gradient }} />
        <span>{shortNumber(most)}</span>
      </div>
      {isAveraged && (
        <p class="hint">
          averaged down to {picture.height} × {picture.width} cells
        </p>
      )}
      <dl class="figures number">
        <Figure name="Least">{shortNumber(values.min)}</Figure>
        <Figure name="Most">{shortNumber(values.max)}</Figure>
        <Figure name="Mean">{shortNumber(values.mean)}</Figure>
        <Figure name="Root mean square">{shortNumber(values.rms)}</Figure>
        <Figure name="Zeros">{values.numZeros.toLocaleString("en")}</Figure>
        {values.numNonFinite > 0 && <Figure name="Not finite">{values.numNonFinite.toLocaleString("en")}</Figure>}
      </dl>
    </figure>
  );
}

function Figure({ name, children }: { readonly name: string; readonly children: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

const gradient = `linear-gradient(to right, ${Array.from(
  { length: 17 },
  (_, index) =>
    `rgb(${heatColor(index / 16)
      .map(Math.round)
      .join(" ")})`,
).join(", ")})`;

/** Four digits, in powers of ten where the number is very small or large. */
function shortNumber(value: number): string {
  const size = Math.abs(value);
  if (value !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(2);
  return Number(value.toPrecision(4)).toString();
}

function rangeOf(values: Float32Array): { readonly least: number; readonly most: number } {
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  return least > most ? { least: Number.NaN, most: Number.NaN } : { least, most };
}

/** A pixel a cell; cells that are no finite numbers are blue. */
function paint(
  canvas: HTMLCanvasElement,
  { width, height, values }: PassValues["picture"],
  { least, most }: { readonly least: number; readonly most: number },
): void {
  canvas.width = width;
  canvas.height = height;
  const pixels = new ImageData(width, height);
  for (const [cell, value] of values.entries()) {
    const share = most > least ? (value - least) / (most - least) : 0.5;
    const color = Number.isFinite(value) ? heatColor(share) : [0, 90, 255];
    pixels.data.set([...color.map(Math.round), 255], cell * 4);
  }
  canvas.getContext("2d")?.putImageData(pixels, 0, 0);
}
