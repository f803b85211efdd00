// What identifies a checkpoint's contents without reading all of a large one.
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { openRegularFile } from "../../checkpoint/read-file.node.ts";

/** Files up to this size are read whole. */
const WHOLE_BYTES = 64 * 2 ** 20;
/** Blocks that are read of a larger file, spread evenly, the first and the last among them. */
const NUM_BLOCKS = 1024;
const BLOCK_BYTES = 64 * 2 ** 10;

/** Files that an answer depends on. */
const RELEVANT =
  /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|preprocessor_config|processor_config|chat_template)\.(json|jinja)$|\.safetensors(\.index\.json)?$/;

/**
 * SHA-256, in hexadecimal, over the names, sizes and contents of a checkpoint's files. Of weight files beyond 64 MiB it takes 1,024
 * blocks of 64 KiB, which tells different training runs apart, but not two files that differ in a few numbers between the blocks.
 */
export async function checkpointFingerprint(folder: string): Promise<string> {
  const hash = createHash("sha256");
  for (const name of (await readdir(folder)).filter((each) => RELEVANT.test(each)).sort()) {
    hash.update(`${name}\n${await contentHash(join(folder, name))}\n`);
  }
  return hash.digest("hex");
}

/** SHA-256 of a text, in hexadecimal. */
export function textHash(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

async function contentHash(path: string): Promise<string> {
  const hash = createHash("sha256");
  const file = await openRegularFile(path);
  try {
    const { size } = await file.stat();
    hash.update(`${size}\n`);
    if (size <= WHOLE_BYTES) return hash.update(await readFile(file)).digest("hex");
    const block = new Uint8Array(BLOCK_BYTES);
    for (let index = 0; index < NUM_BLOCKS; index++) {
      const position = Math.floor(((size - BLOCK_BYTES) * index) / (NUM_BLOCKS - 1));
      const { bytesRead } = await file.read(block, 0, BLOCK_BYTES, position);
      hash.update(block.subarray(0, bytesRead));
    }
    return hash.digest("hex");
  } finally {
    await file.close();
  }
}
