// Every layer and head at once: how much of its attention is on the picture. Pointing chooses one.

import { useLayoutEffect, useRef } from "preact/hooks";
import { heatColor } from "../../inspect/heat-map.ts";
import { percent } from "../draw/words.ts";
import type { AttentionView } from "../protocol.ts";
import { mapHead, mapLayer } from "../state.ts";

/** A grid with a cell for every layer (down) and head (across); the same choice is in the sliders, for the keyboard. */
export function HeadGrid(props: {
  readonly name: string;
  readonly view: AttentionView;
  readonly layer: number;
  readonly head: number | undefined;
}) {
  const { name, view, layer, head } = props;
  const { numLayers, numHeads, shares } = view;
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    if (canvas.current !== null) paint(canvas.current, view);
  }, [view]);
  const choose = (event: MouseEvent & { readonly currentTarget: HTMLElement }) => {
    const box = event.currentTarget.getBoundingClientRect();
    const cell = (share: number, count: number) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
    mapLayer.value = cell((event.clientY - box.top) / box.height, numLayers);
    mapHead.value = cell((event.clientX - box.left) / box.width, numHeads);
  };
  const most = shares.reduce((best, share, index) => (share > (shares[best] ?? 0) ? index : best), 0);
  const place = `layer ${Math.floor(most / numHeads)}, head ${most % numHeads}`;
  const part = (count: number) => `${(100 / count).toFixed(4)}%`;
  return (
    <figure class="head-grid">
      <figcaption class="hint">Image share, layers down, heads across</figcaption>
      <div class="head-cells" style={{ aspectRatio: `${numHeads * 3} / ${numLayers}` }}>
        <canvas
          ref={canvas}
          onPointerUp={choose}
          role="img"
          aria-label={`Image shares, ${name}: most in ${place}, ${percent(shares[most] ?? 0)}`}
        />
        <span
          class="head-mark"
          style={{
            top: `${((100 * layer) / numLayers).toFixed(4)}%`,
            height: part(numLayers),
            left: head === undefined ? "0" : `${((100 * head) / numHeads).toFixed(4)}%`,
            width: head === undefined ? "100%" : part(numHeads),
          }}
        />
      </div>
    </figure>
  );
}

/** Colours from no attention on the picture to all of it. */
function paint(canvas: HTMLCanvasElement, { numLayers, numHeads, shares }: AttentionView): void {
  canvas.width = numHeads;
  canvas.height = numLayers;
  const pixels = new ImageData(numHeads, numLayers);
  for (const [cell, share] of shares.entries()) pixels.data.set([...heatColor(share).map(Math.round), 255], cell * 4);
  canvas.getContext("2d")?.putImageData(pixels, 0, 0);
}
