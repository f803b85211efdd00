// The objects' pictures, fetched from beside the page.
import { OBJECT_NAMES, type ObjectName } from "./objects.ts";

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
