// A scene as the picture that the model is asked about.
import type { RgbImage } from "../../preprocess/image.ts";
import { paintScene } from "./paint.ts";
import type { Scene } from "./scene.ts";
import type { Sprites } from "./sprites.ts";

/** Side of the training pictures, pixels. */
const SIDE = 224;

/** Pixels of a scene, whatever size the page shows it at. */
export function scenePicture(scene: Scene, sprites: Sprites): RgbImage {
  const painter = new OffscreenCanvas(SIDE, SIDE).getContext("2d", { willReadFrequently: true });
  if (painter === null) throw new Error("This browser gives no 2D canvas to draw the scene on.");
  paintScene(painter, scene, { sprites, side: SIDE });
  const { data: pixels } = painter.getImageData(0, 0, SIDE, SIDE);
  const data = new Uint8Array(SIDE * SIDE * 3);
  for (let at = 0, out = 0; at < pixels.length; at += 4, out += 3) data.set(pixels.subarray(at, at + 3), out);
  return { width: SIDE, height: SIDE, data };
}
