// Writes a file either completely or not at all.

import { randomUUID } from "node:crypto";
import { access, constants, open, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { InputError } from "../errors.ts";

/**
 * Writes `content` to `path` through a temporary file in the same folder, renamed at the end: a partial file is never visible, and a
 * failure keeps the old file. Links are followed; a pipe or device is written directly.
 * @throws InputError when the file cannot be written; no temporary file remains.
 */
export async function writeFileWhole(path: string, content: Uint8Array | string): Promise<void> {
  try {
    const target = await realpath(path).catch((error: unknown) => {
      if (errorCode(error) === "ENOENT") return path;
      throw error;
    });
    const existing = await stat(target).catch(() => undefined);
    if (existing === undefined) return await replaceFile(target, content);
    // Renaming onto a read-only file would succeed where the folder is writable, and onto a device would remove the device.
    await access(target, constants.W_OK);
    if (existing.isFile() || existing.isDirectory()) await replaceFile(target, content);
    else await writeFile(target, content);
  } catch (cause) {
    throw cannotWrite(path, cause);
  }
}

/** The error for a file or folder that cannot be written. @param cause Node's error */
export function cannotWrite(path: string, cause: unknown): InputError {
  return new InputError(`${path} cannot be written: ${reason(cause)}; choose another place.`, { cause });
}

async function replaceFile(target: string, content: Uint8Array | string): Promise<void> {
  const temporary = join(dirname(target), `.${basename(target).slice(0, 64)}.${randomUUID()}.part`);
  try {
    const handle = await open(temporary, "wx");
    try {
      await handle.writeFile(content);
    } finally {
      await handle.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
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
