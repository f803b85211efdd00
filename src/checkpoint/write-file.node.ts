// Writes a file either completely or not at all.

import { access, constants, open, readdir, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { InputError } from "../errors.ts";
import { isLeftBehind, ownMark } from "../gpu/hosts/process-mark.node.ts";
import { checkedText, read, rule } from "../options.ts";

/**
 * A temporary file of a process that was killed is removed by the next write of that file: at once where its name says that the process
 * was one of this machine, else an hour later.
 */
const STALE_AFTER_MS = 3_600_000;

/**
 * Writes `content` to `path` through a temporary file in the same folder, which is renamed when it is on the disk: a partial file is
 * never visible, and a failure keeps the old file. The new file has the old one's permissions. Links are followed; a pipe or device
 * is written directly.
 * @throws InputError when the file cannot be written; no temporary file remains.
 */
export async function writeFileWhole(path: string, content: Uint8Array | string): Promise<void> {
  checkedText("path", path);
  const wanted = rule("a text or a Uint8Array", (value) => typeof value === "string" || value instanceof Uint8Array);
  read("content", content, wanted);
  try {
    const target = await realpath(path).catch((error: unknown) => {
      if (errorCode(error) === "ENOENT") return path;
      throw error;
    });
    const existing = await stat(target).catch(() => undefined);
    if (existing === undefined) return await replaceFile(target, { content });
    // Renaming onto a read-only file would succeed where the folder is writable, and onto a device would remove the device.
    await access(target, constants.W_OK);
    if (existing.isFile() || existing.isDirectory())
      await replaceFile(target, { content, mode: existing.mode & 0o7777 });
    else await writeFile(target, content);
  } catch (cause) {
    throw cannotWrite(path, cause);
  }
}

/** The error for a file or folder that cannot be written. @param cause Node's error */
export function cannotWrite(path: string, cause: unknown): InputError {
  return new InputError(`${path} cannot be written: ${reason(cause)}; choose another place.`, { cause });
}

async function replaceFile(
  target: string,
  { content, mode }: { readonly content: Uint8Array | string; readonly mode?: number },
): Promise<void> {
  const prefix = `.${basename(target).slice(0, 64)}.`;
  const temporary = join(dirname(target), `${prefix}${ownMark()}${SUFFIX}`);
  try {
    const handle = await open(temporary, "wx");
    try {
      await handle.writeFile(content);
      if (mode !== undefined) await handle.chmod(mode).catch(() => undefined); // some file systems have no permissions
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, target);
    await removeStale(target, prefix).catch(() => undefined); // the file itself is written
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}

const SUFFIX = ".part";

/** Removes temporary files of `target` that killed processes left. */
async function removeStale(target: string, prefix: string): Promise<void> {
  const folder = dirname(target);
  for (const name of await readdir(folder)) {
    if (!name.startsWith(prefix) || !name.endsWith(SUFFIX)) continue;
    const stats = await stat(join(folder, name)).catch(() => undefined);
    if (!isLeftBehind(name) && (stats === undefined || Date.now() - stats.mtimeMs < STALE_AFTER_MS)) continue;
    await rm(join(folder, name), { force: true }).catch(() => undefined);
  }
}

function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "its folder does not exist",
  ENOTDIR: "its folder is a file",
  EISDIR: "it is a folder",
  EACCES: "permission is denied",
  EPERM: "permission is denied",
  EROFS: "the file system is read-only",
  ENOSPC: "the disk is full",
  ENAMETOOLONG: "its name is too long",
};

function reason(error: unknown): string {
  return REASONS[errorCode(error)] ?? (error instanceof Error ? error.message : String(error));
}
