// A picture under a map, on a canvas.
import { useLayoutEffect, useMemo, useRef } from "preact/hooks";
import type { AttentionMap } from "../../inspect/attention-map.ts";
import { enlarge, overlayAttention } from "../../inspect/heat-map.ts";
import type { RgbImage } from "../../preprocess/image.ts";
import { putPicture } from "../draw/attention-view.ts";

/** Minimum side of a drawn map, pixels. */
const SIDE = 336;

/** The picture under a map; as it is where there is no map. */
export function MapCanvas(props: {
  readonly picture: RgbImage;
  readonly map: Pick<AttentionMap, "values" | "width" | "height" | "view"> | undefined;
  readonly label: string;
}) {
  const { picture, map, label } = props;
  const canvas = useRef<HTMLCanvasElement>(null);
  const large = useMemo(() => enlarge(picture, SIDE), [picture]);
  useLayoutEffect(() => {
    if (canvas.current !== null) putPicture(canvas.current, map === undefined ? large : overlayAttention(large, map));
  }, [large, map]);
  return <canvas ref={canvas} class="map-canvas" role="img" aria-label={label} />;
}
