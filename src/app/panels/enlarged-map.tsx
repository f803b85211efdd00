// A heat map in a dialog, to look at closely: zoomed and moved by pinching, dragging, the wheel, keys or buttons.

import Panzoom, { type PanzoomObject } from "@panzoom/panzoom";
import { useCallback, useLayoutEffect, useRef, useState } from "preact/hooks";
import { at } from "../../errors.ts";
import type { AttentionMap } from "../../inspect/attention-map.ts";
import { enlarge, overlayAttention } from "../../inspect/heat-map.ts";
import type { RgbImage } from "../../preprocess/image.ts";
import { patchAt, placeInWords, putPicture } from "../draw/attention-view.ts";
import { percent } from "../draw/words.ts";
import { Dialog } from "./dialog.tsx";

/** Minimum side of the drawn map, pixels. */
const SIDE = 1024;
/** How far it can be enlarged. */
const MOST = 8;
/** How far an arrow key moves it, CSS pixels. */
const STRIDE = 48;

/** Without animation: the library measures where the map is drawn, which a step that still runs would falsify. */
const AT_ONCE = { animate: false } as const;

/** What the dialog shows. */
export interface EnlargedMapProps {
  readonly title: string;
  /** The map in words, for screen readers. */
  readonly label: string;
  readonly picture: RgbImage;
  readonly map: AttentionMap;
  readonly onClose: () => void;
}

/** The dialog. */
export function EnlargedMap({ title, label, picture, map, onClose }: EnlargedMapProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const view = useRef<PanzoomObject | undefined>(undefined);
  const [pointed, setPointed] = useState<number | undefined>(undefined);
  useLayoutEffect(() => {
    const { current } = canvas;
    const frame = current?.parentElement;
    if (current === null || !frame) return;
    putPicture(current, overlayAttention(enlarge(picture, SIDE), map));
    const panzoom = Panzoom(current, { maxScale: MOST, minScale: 1, contain: "outside", cursor: "", ...AT_ONCE });
    view.current = panzoom;
    frame.addEventListener("wheel", panzoom.zoomWithWheel, { passive: false });
    return () => {
      frame.removeEventListener("wheel", panzoom.zoomWithWheel);
      panzoom.destroy();
    };
  }, [picture, map]);
  const onKey = useCallback((event: KeyboardEvent) => {
    const act = view.current && actionOf(event.key, view.current);
    if (act === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  }, []);
  const point = (event: PointerEvent & { readonly currentTarget: HTMLCanvasElement }) => {
    const box = event.currentTarget.getBoundingClientRect();
    setPointed(patchAt(map, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height));
  };
  const place =
    pointed === undefined ? undefined : { row: Math.floor(pointed / map.width), column: pointed % map.width };
  return (
    <Dialog title={title} onClose={onClose} onKey={onKey}>
      <div class="zoom-frame">
        <canvas ref={canvas} role="img" aria-label={label} onPointerMove={point} onPointerDown={point} />
      </div>
      <div class="row">
        <button type="button" onClick={() => view.current?.zoomOut(AT_ONCE)}>
          Zoom out
        </button>
        <button type="button" onClick={() => view.current?.zoomIn(AT_ONCE)}>
          Zoom in
        </button>
        <button type="button" onClick={() => view.current?.reset(AT_ONCE)}>
          Whole map
        </button>
      </div>
      <p class="hint" role="status">
        {place === undefined || pointed === undefined
          ? "Point at or tap a patch for its part of all attention."
          : `This patch, ${placeInWords(map, place)}: ${percent(at(map.values, pointed))} of all attention.`}
      </p>
      <p class="hint for-keys">
        Keys: <kbd>+</kbd> <kbd>−</kbd> zoom, arrows move, <kbd>0</kbd> shows the whole map, <kbd>Esc</kbd> closes.
      </p>
    </Dialog>
  );
}

/** What a key does to the map; undefined for other keys. */
function actionOf(key: string, view: PanzoomObject): (() => unknown) | undefined {
  const move = (x: number, y: number) => () => view.pan(x / view.getScale(), y / view.getScale(), { relative: true });
  switch (key) {
    case "+":
    case "=":
      return () => view.zoomIn(AT_ONCE);
    case "-":
      return () => view.zoomOut(AT_ONCE);
    case "0":
      return () => view.reset(AT_ONCE);
    case "ArrowLeft":
      return move(STRIDE, 0);
    case "ArrowRight":
      return move(-STRIDE, 0);
    case "ArrowUp":
      return move(0, STRIDE);
    case "ArrowDown":
      return move(0, -STRIDE);
    default:
      return undefined;
  }
}
