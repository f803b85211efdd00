// The other JavaScript runtimes on this machine, and packages for them, which `npm run runtimes` fetches.

import { existsSync } from "node:fs";
import { join } from "node:path";
import { repositoryRoot } from "../setup/bundle.ts";

const FOLDER = join(repositoryRoot, "node_modules", ".cache", "adaptvis-runtimes", "node_modules");

/** The runtimes that tools/install-runtimes.mjs fetches. */
export const RUNTIMES = ["node22", "node24", "node25", "bun"] as const;

/** A runtime's name. */
export type Runtime = (typeof RUNTIMES)[number];

/** The runtime's executable; undefined where it was not fetched. */
export function executableOf(runtime: Runtime): string | undefined {
  const path = join(FOLDER, runtime, "bin", runtime === "bun" ? "bun" : "node");
  return existsSync(path) ? path : undefined;
}

/** The folder of packages that this Node is too old for; undefined where one of them was not fetched. */
export function installedPackages(...names: readonly string[]): string | undefined {
  return names.every((name) => existsSync(join(FOLDER, name, "package.json"))) ? FOLDER : undefined;
}
