// The defaults that a checkpoint brings along in adaptvis.json, which no model of the hub has: the settings that were
// chosen on its own validation set.
import { type AdaptVisSettings, MAX_FACTOR } from "./adaptvis.ts";
import type { Source } from "./checkpoint/source.ts";
import { CheckpointError } from "./errors.ts";

/** What a checkpoint's adaptvis.json says; what it leaves out is the engine's default. */
export interface CheckpointSettings extends Partial<AdaptVisSettings> {
  /** ScalingVis' factor. */
  readonly scalingFactor?: number;
}

const FILE = "adaptvis.json";

/**
 * Reads a checkpoint's adaptvis.json; nothing is set where there is no such file.
 * @throws CheckpointError when the file is not JSON or a value is out of range; AbortError.
 */
export async function readCheckpointSettings(source: Source, signal?: AbortSignal): Promise<CheckpointSettings> {
  const size = await source.size(FILE, signal);
  if (size === undefined) return {};
  let json: unknown;
  const bytes = await source.read(FILE, 0, size, signal);
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    const message = `${FILE} of ${source.name} is not JSON; write it again or remove it.`;
    throw new CheckpointError(message, { file: FILE, cause });
  }
  const values = typeof json === "object" && json !== null ? json : {};
  const settings: Record<string, number> = {};
  for (const key of ["alpha1", "alpha2", "beta", "scalingFactor"] as const) {
    const value: unknown = Reflect.get(values, key);
    if (value === undefined) continue;
    const most = key === "beta" ? 1 : MAX_FACTOR;
    if (typeof value !== "number" || !(value >= 0 && value <= most)) {
      const got = JSON.stringify(value);
      const message = `${FILE} of ${source.name}: ${key} must be a number from 0 to ${most}, got ${got}.`;
      throw new CheckpointError(message, { file: FILE });
    }
    settings[key] = value;
  }
  return settings;
}
