// The household objects that tiny-spatial was trained on, in tools/train-tiny/world.py's order.

/** Width and height of each object's sprite, pixels; its name is the word that questions use and the file's name. */
export const OBJECT_SIZES = {
  apple: [128, 123],
  ball: [128, 126],
  banana: [128, 123],
  basket: [128, 128],
  bed: [128, 91],
  book: [101, 128],
  bucket: [128, 109],
  camera: [128, 87],
  candle: [55, 128],
  cat: [128, 123],
  chair: [88, 128],
  clock: [113, 128],
  dog: [128, 119],
  drum: [128, 127],
  gift: [121, 128],
  guitar: [128, 123],
  hat: [128, 121],
  laptop: [127, 128],
  mug: [123, 128],
  plant: [85, 128],
  robot: [128, 128],
  shoe: [128, 127],
  teapot: [128, 114],
  umbrella: [128, 127],
} as const satisfies Readonly<Record<string, readonly [width: number, height: number]>>;

/** An object's name. */
export type ObjectName = keyof typeof OBJECT_SIZES;

/** All of them, in the alphabet's order. */
export const OBJECT_NAMES: readonly ObjectName[] = Object.keys(OBJECT_SIZES).filter(isObjectName);

/** Whether a word is an object's name. */
export function isObjectName(name: string): name is ObjectName {
  return Object.hasOwn(OBJECT_SIZES, name);
}

/** "a mug", "an apple". */
export function withArticle(name: string): string {
  return `${/^[aeiou]/.test(name) ? "an" : "a"} ${name}`;
}
