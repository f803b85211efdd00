// The rates of this machine's adapters, kept in the user's cache folder.

import { type MachineSpeed, parseSpeed } from "../bench/machine-speed.ts";
import { readFileText } from "../checkpoint/read-file.node.ts";
import { InputError } from "../errors.ts";
import { cacheFile, keepJson } from "./user-cache.ts";

/** The path of an adapter's rates. @param key as `tuningKey`: adapter, driver and version of the kernels */
export function speedFile(key: string): string {
  return cacheFile("speed", key);
}

/** The rates that were kept for an adapter; undefined where there are none, or none of this version. */
export async function readSpeed(key: string): Promise<MachineSpeed | undefined> {
  const text = await readFileText(speedFile(key)).catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const speed = parseSpeed(JSON.parse(text));
    return speed.key === key ? speed : undefined;
  } catch (error) {
    if (error instanceof InputError || error instanceof SyntaxError) return undefined; // measured again when asked for
    throw error;
  }
}

/** Keeps rates. @returns where they are, or why they are kept nowhere */
export async function keepSpeed(speed: MachineSpeed): Promise<string> {
  return keepJson(speedFile(speed.key), speed);
}
