// Draws a scene as tools/train-tiny/world.py does, at any size and without randomness: the same scene gives the same pixels.

import type { RgbImage } from "../../preprocess/image.ts";
import { type Background, boxOf, OBJECT_NAMES, type ObjectName, type Scene, type SceneObject } from "./scene.ts";

/** A picture for every object. */
export type Sprites = ReadonlyMap<ObjectName, ImageBitmap>;

/** Address of an object's picture, for an `<img>`. */
export function spriteUrl(name: ObjectName): string {
  return new URL(`sprites/${name}.webp`, document.baseURI).href;
}

/** Loads all pictures. @throws TypeError when one cannot be fetched, DOMException when it cannot be decoded. */
export async function loadSprites(): Promise<Sprites> {
  const entries = OBJECT_NAMES.map(async (name) => {
    const response = await fetch(spriteUrl(name));
    return [name, await createImageBitmap(await response.blob())] as const;
  });
  return new Map(await Promise.all(entries));
}

/** A canvas context, on the page or offscreen. */
export type Painter = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

/** Draws a scene into the square from (0, 0) to (side, side). */
export function paintScene(
  painter: Painter,
  scene: Scene,
  options: { readonly sprites: Sprites; readonly side: number },
): void {
  const { sprites, side } = options;
  painter.save();
  painter.scale(side, side); // from here on, all lengths are shares of the side
  painter.imageSmoothingEnabled = true;
  painter.imageSmoothingQuality = "high";
  BACKGROUND_PAINTERS[scene.background](painter);
  for (const object of scene.objects) {
    paintShadow(painter, object);
    const sprite = sprites.get(object.name);
    if (sprite !== undefined) paintSprite(painter, object, sprite);
  }
  painter.restore();
}

// Colours of the training pictures: every channel is at least 90.
const BACKGROUND_PAINTERS: Readonly<Record<Background, (painter: Painter) => void>> = {
  plain: (painter) => fill(painter, "#cfd9e6"),
  gradient(painter) {
    const gradient = painter.createLinearGradient(0, 0, 1, 1);
    gradient.addColorStop(0, "#f4e3c8");
    gradient.addColorStop(1, "#a9c4d8");
    fill(painter, gradient);
  },
  wall(painter) {
    fill(painter, "#e9e2d2");
    const floor = painter.createLinearGradient(0, 0.55, 0, 1);
    floor.addColorStop(0, "#c3a98b");
    floor.addColorStop(1, "#b0946f");
    painter.fillStyle = floor;
    painter.fillRect(0, 0.55, 1, 0.45);
  },
  stripes(painter) {
    fill(painter, "#dbe7d9");
    painter.fillStyle = "#c6d8c9";
    for (let stripe = 0; stripe < 8; stripe++) painter.fillRect((stripe + 0.5) / 8, 0, 1 / 16, 1);
  },
  checks(painter) {
    fill(painter, "#e8dfe9");
    painter.fillStyle = "#d5c8da";
    for (let row = 0; row < 6; row++) {
      for (let column = (row + 1) % 2; column < 6; column += 2) {
        painter.fillRect(column / 6, row / 6, 1 / 6, 1 / 6);
      }
    }
  },
};

function fill(painter: Painter, style: string | CanvasGradient): void {
  painter.fillStyle = style;
  painter.fillRect(0, 0, 1, 1);
}

/** A soft ellipse at the object's foot, 1.2 times as wide as the object. */
function paintShadow(painter: Painter, object: SceneObject): void {
  const { left, top, width, height } = boxOf(object);
  const shadowHeight = Math.max(0.045, height * 0.3);
  painter.save();
  painter.translate(left + width / 2, top + height - shadowHeight * 0.05);
  painter.scale(width * 0.6, shadowHeight / 2);
  const blob = painter.createRadialGradient(0, 0, 0.45, 0, 0, 1);
  blob.addColorStop(0, "rgb(20 20 30 / 0.4)");
  blob.addColorStop(1, "rgb(20 20 30 / 0)");
  painter.fillStyle = blob;
  painter.fillRect(-1, -1, 2, 2);
  painter.restore();
}

function paintSprite(painter: Painter, object: SceneObject, sprite: ImageBitmap): void {
  const { width, height } = boxOf(object);
  painter.save();
  painter.translate(object.x, object.y);
  if (object.flipped) painter.scale(-1, 1);
  painter.drawImage(sprite, -width / 2, -height / 2, width, height);
  painter.restore();
}

/** Side of the picture, pixels, before the model's processor resizes it; tiny-habit's training pictures have 240. */
const SIDE = 224;

/** Pixels of a scene as the model is asked about it, independent of its size on the page. */
export function scenePicture(scene: Scene, sprites: Sprites): RgbImage {
  const painter = new OffscreenCanvas(SIDE, SIDE).getContext("2d", { willReadFrequently: true });
  if (painter === null) throw new Error("This browser does not provide a 2D canvas for the scene.");
  paintScene(painter, scene, { sprites, side: SIDE });
  const { data: pixels } = painter.getImageData(0, 0, SIDE, SIDE);
  const data = new Uint8Array(SIDE * SIDE * 3);
  for (let at = 0, out = 0; at < pixels.length; at += 4, out += 3) data.set(pixels.subarray(at, at + 3), out);
  return { width: SIDE, height: SIDE, data };
}
