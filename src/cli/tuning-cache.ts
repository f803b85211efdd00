// --tune: constants of kernels measured on this adapter, once, and kept in the user's cache folder.
import { createHash } from "node:crypto";
import { mkdir, readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { InputError } from "../errors.ts";
import { Gpu } from "../gpu/device.ts";
import { measureTuning } from "../gpu/ops/measure-tuning.ts";
import { choiceText } from "../gpu/ops/tunables.ts";
import { checkTuningTable, parseTuningTable, type TuningTable, tuningKey } from "../gpu/ops/tuning.ts";

/**
 * The tuning table of this device: the cached one, else one that is measured now and cached.
 * @param note gets a line for people about what was found or measured
 */
export async function cachedTuning(
  device: GPUDevice,
  options: { readonly isSoftware: boolean; readonly note: (text: string) => void },
): Promise<TuningTable> {
  const file = tuningFile(device);
  const cached = await readTable(file, device, options.note);
  if (cached !== undefined) return cached;
  const gpu = new Gpu(device, { isSoftware: options.isSoftware });
  try {
    const table = await measureTuning(gpu);
    await mkdir(dirname(file), { recursive: true });
    await writeFileWhole(file, `${JSON.stringify(table, undefined, 1)}\n`);
    options.note(`adaptvis: ${describe(table)}; kept in ${file}`);
    return table;
  } finally {
    gpu.dispose();
  }
}

/** Where a device's table is: one file an adapter, driver and version of the kernels. */
export function tuningFile(device: GPUDevice): string {
  const name = createHash("sha256").update(tuningKey(device)).digest("hex").slice(0, 16);
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), ".cache");
  return join(cache, "adaptvis", "tuning", `${name}.json`);
}

async function readTable(
  file: string,
  device: GPUDevice,
  note: (text: string) => void,
): Promise<TuningTable | undefined> {
  const text = await readFile(file, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const table = parseTuningTable(JSON.parse(text));
    checkTuningTable(table, device);
    return table;
  } catch (error) {
    if (!(error instanceof InputError || error instanceof SyntaxError)) throw error;
    note(`adaptvis: ${file} cannot be used (${error.message}): measuring again`);
    return undefined;
  }
}

function describe({ choices }: TuningTable): string {
  const entries = Object.entries(choices);
  if (entries.length === 0) return "tuned: CPU adapters have no constants to choose";
  return `tuned: ${entries.map(([name, choice]) => `${name} ${choiceText(choice)}`).join("; ")}`;
}
