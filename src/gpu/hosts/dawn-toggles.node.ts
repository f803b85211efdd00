// Dawn's toggles by name. Dawn passes over a name that it does not know, so that a slip would go unseen.

import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { InputError } from "../../errors.ts";

/**
 * Looks the names up in Dawn's binary, which holds each toggle's as a C string. Where npm `webgpu` lays its binary elsewhere
 * than it does now, only their form is checked.
 * @throws InputError when a name is none of a toggle, or none that this Dawn has.
 */
export function checkDawnToggles(names: readonly string[]): void {
  const source = "its names are in src/dawn/native/Toggles.cpp of Dawn's sources";
  const malformed = names.find((name) => !/^[a-z][a-z0-9_]*$/.test(name));
  if (malformed !== undefined) {
    throw new InputError(`Dawn toggle "${malformed}": expected a name of a-z, 0-9 and _; ${source}.`);
  }
  const binary = names.length === 0 ? undefined : dawnBinary();
  const unknown = binary === undefined ? undefined : names.find((name) => !binary.includes(`\0${name}\0`));
  if (unknown !== undefined) throw new InputError(`Dawn toggle "${unknown}": this Dawn has none such; ${source}.`);
}

function dawnBinary(): Buffer | undefined {
  const build = process.platform === "darwin" ? "darwin-universal" : `${process.platform}-${process.arch}`;
  try {
    const folder = dirname(createRequire(import.meta.url).resolve("webgpu"));
    const file = join(folder, "dist", build, "dawn.node");
    return existsSync(file) ? readFileSync(file) : undefined;
  } catch {
    return undefined; // no such package: opening the adapter says so
  }
}
