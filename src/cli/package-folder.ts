// This package: the checkout or the installed package, its version, and how its command is called.
import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeno } from "../gpu/hosts/adapter.deno.ts";

/** The nearest folder above this file that holds a package.json. */
export function packageFolder(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) {
    const above = dirname(folder);
    if (above === folder) throw new Error("adaptvis' own package.json is missing: install the package again.");
    folder = above;
  }
  return folder;
}

/** How the command was started, for lines to copy: from a checkout it is an npm script, or in Deno the bundle itself. */
export function commandName(): string {
  const program = process.argv[1] ?? "";
  if (isDeno()) {
    const isCheckout = existsSync(join(packageFolder(), "src"));
    return `deno run -A ${isCheckout ? relative(".", program) : "npm:adaptvis"}`;
  }
  return basename(program) === "adaptvis.mjs" ? "npm run -s adaptvis --" : "adaptvis";
}

/** The version in package.json. */
export function packageVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(packageFolder(), "package.json"), "utf8"));
  return manifest instanceof Object && "version" in manifest ? String(manifest.version) : "unknown";
}
