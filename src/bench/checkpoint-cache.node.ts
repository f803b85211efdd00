// Random checkpoints on disk, made once: the engine and its peers load the same files.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { type CheckpointSpec, checkpointFiles, GENERATOR_VERSION } from "./random-checkpoint.ts";

/** Files that come from the embedded checkpoint: its tokenizer's ids are within every bench vocabulary. */
const TOKENIZER_FILES = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"];

/** The folder of the bench's checkpoints, by the XDG base directory specification. */
export function benchCacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "adaptvis", "bench");
}

/**
 * The folder of a spec's checkpoint in `cacheFolder`, made if it is not there.
 * @param tokenizerFolder a checkpoint whose tokenizer files are taken
 */
export async function cachedCheckpoint(
  spec: CheckpointSpec,
  { cacheFolder, tokenizerFolder }: { readonly cacheFolder: string; readonly tokenizerFolder: string },
): Promise<string> {
  const digest = createHash("sha256")
    .update(JSON.stringify([GENERATOR_VERSION, spec]))
    .digest("hex")
    .slice(0, 16);
  const folder = join(cacheFolder, `${spec.name}-${digest}`);
  if (existsSync(join(folder, "config.json"))) return folder;
  const staging = `${folder}.${process.pid}.part`;
  await rm(staging, { recursive: true, force: true });
  await mkdir(staging, { recursive: true });
  try {
    for (const name of TOKENIZER_FILES) await copyFile(join(tokenizerFolder, name), join(staging, name));
    for (const { name, content } of checkpointFiles(spec)) await writeFile(join(staging, name), content);
    await rm(folder, { recursive: true, force: true });
    await rename(staging, folder);
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    throw error;
  }
  return folder;
}
