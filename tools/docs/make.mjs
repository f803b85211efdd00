// `npm run docs`: the reference of the public API, from the doc comments of the sources, in dist/docs. Open dist/docs/index.html.
// TypeDoc is installed under tools/docs at the first run (46 MB), apart from the project: it needs another TypeScript.

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const folder = dirname(fileURLToPath(import.meta.url));
const out = join(folder, "..", "..", "dist", "docs");
const typedoc = join(folder, "node_modules", "typedoc", "bin", "typedoc");

process.exitCode = isInstalled() ? write() : 1;

function isInstalled() {
  if (existsSync(typedoc)) return true;
  process.stderr.write("docs: installing TypeDoc (tools/docs), once\n");
  const args = ["ci", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts"];
  const { status } = spawnSync("npm", args, { stdio: ["ignore", 2, 2], shell: process.platform === "win32" });
  if (status !== 0) process.stderr.write("docs: TypeDoc could not be installed (see above)\n");
  return status === 0;
}

/** Fails also for a type that is referred to but not exported, and for a link that leads nowhere. */
function write() {
  const args = [typedoc, "--options", join(folder, "typedoc.json"), "--out", out];
  const { status } = spawnSync(process.execPath, args, { stdio: ["ignore", 2, 2] });
  return status ?? 1;
}
