// Places to write to, checked before the work begins, so that minutes of computing do not end at a missing folder.
import { access, constants, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { InputError } from "../errors.ts";
import { UsageError } from "./session.ts";

/**
 * Checks that a file could be written at `path`.
 * @param inputs files that are read: writing over one of them is refused
 * @throws InputError when it could not; UsageError when `path` is one of the inputs.
 */
export async function checkOutput(
  option: string,
  path: string | undefined,
  inputs: readonly (string | undefined)[],
): Promise<void> {
  if (path === undefined) return;
  if (inputs.some((input) => input !== undefined && resolve(input) === resolve(path))) {
    throw new UsageError(`${option} ${path} would write over a file that is read: choose another place.`);
  }
  const existing = await stat(path).catch(() => undefined);
  if (existing?.isDirectory()) throw cannotWrite(path, "it is a folder");
  const folder = existing === undefined ? dirname(path) : path;
  const stats = await stat(folder).catch(() => undefined);
  if (stats === undefined) throw cannotWrite(path, "its folder does not exist");
  if (existing === undefined && !stats.isDirectory()) throw cannotWrite(path, "its folder is a file");
  await access(folder, constants.W_OK).catch(() => {
    throw cannotWrite(path, "permission is denied");
  });
}

function cannotWrite(path: string, reason: string): InputError {
  return new InputError(`${path} cannot be written: ${reason}; choose another place.`);
}
