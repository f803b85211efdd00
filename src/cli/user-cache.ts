// Measurements that are kept in the user's cache folder.

import { createHash } from "node:crypto";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { cachesFolder, makeFolder } from "../gpu/hosts/user-folders.node.ts";

/**
 * The path of what is kept under a key.
 * @param folder such as "tuning"
 * @param key of any length, such as the adapter, the driver and the version of the kernels
 */
export function cacheFile(folder: string, key: string): string {
  const name = createHash("sha256").update(key).digest("hex").slice(0, 16);
  return join(cachesFolder() ?? tmpdir(), "adaptvis", folder, `${name}.json`);
}

/** Keeps a JSON value in a file of the cache. @returns where it is, or why it is kept nowhere: then it is of use for this run alone. */
export async function keepJson(file: string, value: unknown): Promise<string> {
  try {
    await makeFolder(dirname(file));
    await writeFileWhole(file, `${JSON.stringify(value, undefined, 1)}\n`);
    return `kept in ${file}`;
  } catch (error) {
    return `not kept: ${error instanceof Error ? error.message.replace(/\.$/, "") : String(error)}`;
  }
}
