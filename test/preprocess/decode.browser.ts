// Runs in a page: decodes the golden files with the browser's decoders and compares them with PIL's bytes.

import { InputError } from "../../src/errors.ts";
import { decodeImage } from "../../src/preprocess/decode-image.browser.ts";

/** What became of one file: the largest difference from PIL's bytes, or the error. */
export interface BrowserResult {
  readonly size?: readonly [number, number];
  readonly max?: number;
  readonly error?: string;
  readonly isInputError?: boolean;
}

/** Decodes every file that /cases.json lists; /pixels/{file} has PIL's bytes. */
export async function run(): Promise<Record<string, BrowserResult>> {
  const names: readonly string[] = await (await fetch("/data/names.json")).json();
  const results: Record<string, BrowserResult> = {};
  for (const name of names) results[name] = await decodeOne(name);
  return results;
}

async function decodeOne(name: string): Promise<BrowserResult> {
  const bytes = new Uint8Array(await (await fetch(`/files/${name}`)).arrayBuffer());
  const expected = await fetch(`/data/${name}.raw`);
  try {
    const image = await decodeImage(bytes, { name });
    const pixels = new Uint8Array(expected.ok ? await expected.arrayBuffer() : new ArrayBuffer(0));
    let max = pixels.length === image.data.length ? 0 : 256;
    image.data.forEach((byte, index) => {
      max = Math.max(max, Math.abs(byte - (pixels[index] ?? 0)));
    });
    return { size: [image.width, image.height], max };
  } catch (error) {
    return { error: String(error), isInputError: error instanceof InputError };
  }
}
