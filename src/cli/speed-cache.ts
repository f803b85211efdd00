// The rates of this machine's adapters, kept in the user's cache folder.
import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { type MachineSpeed, parseSpeed } from "../bench/machine-speed.ts";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { InputError } from "../errors.ts";

/** The path of an adapter's rates. @param key as `tuningKey`: adapter, driver and version of the kernels */
export function speedFile(key: string): string {
  const name = createHash("sha256").update(key).digest("hex").slice(0, 16);
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  return join(cache, "adaptvis", "speed", `${name}.json`);
}

/** The rates that were kept for an adapter; undefined where there are none, or none of this version. */
export async function readSpeed(key: string): Promise<MachineSpeed | undefined> {
  const text = await readFile(speedFile(key), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const speed = parseSpeed(JSON.parse(text));
    return speed.key === key ? speed : undefined;
  } catch (error) {
    if (error instanceof InputError || error instanceof SyntaxError) return undefined; // measured again when asked for
    throw error;
  }
}

/** Keeps rates. @returns the file */
export async function keepSpeed(speed: MachineSpeed): Promise<string> {
  const file = speedFile(speed.key);
  await mkdir(dirname(file), { recursive: true });
  await writeFileWhole(file, `${JSON.stringify(speed, undefined, 1)}\n`);
  return file;
}
