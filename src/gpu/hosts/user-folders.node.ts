// Where the user's folders are, and how one is made, on machines with or without a home.

import { mkdir, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, isAbsolute, join } from "node:path";

/** The user's home, an absolute path; undefined where neither HOME nor the system's list of users gives one. */
export function homeFolder(): string | undefined {
  const { HOME } = process.env;
  if (HOME !== undefined && HOME !== "") return isAbsolute(HOME) ? HOME : undefined;
  try {
    return homedir();
  } catch {
    return undefined; // a user without an entry in that list, as in some containers
  }
}

/** The folder of all programs' caches: XDG_CACHE_HOME where it is absolute, else `.cache` of the home; undefined without either. */
export function cachesFolder(): string | undefined {
  const { XDG_CACHE_HOME } = process.env;
  if (XDG_CACHE_HOME !== undefined && isAbsolute(XDG_CACHE_HOME)) return XDG_CACHE_HOME;
  const home = homeFolder();
  return home && join(home, ".cache");
}

/**
 * Makes a folder and those above it, as `mkdir -p`. Node's own recursive form never returns where a file system refuses new
 * folders with ENOENT, as /proc does.
 * @param mode of the folder itself, if it is new
 * @throws Node's errors.
 */
export async function makeFolder(path: string, mode = 0o777): Promise<void> {
  try {
    await mkdir(path, { mode });
  } catch (error) {
    if (await isFolder(path)) return;
    const above = dirname(path);
    if (!isSystemError(error) || error.code !== "ENOENT" || above === path) throw error;
    await makeFolder(above);
    await mkdir(path, { mode }).catch(async (reason: unknown) => {
      if (!(await isFolder(path))) throw reason; // otherwise another process was first
    });
  }
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
}

/** Whether an error is one of the operating system's, with a code such as ENOENT. */
export function isSystemError(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && "code" in error && typeof error.code === "string" && /^E[A-Z]+$/.test(error.code);
}
