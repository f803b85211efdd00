// `npm run bench -- ARGS`: the bench from a checkout, with the peers it is compared with. Builds first where the sources changed.
//   --no-peers    without them; else their packages are installed under tools/bench at the first run, and apart from the project's

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { build, isBuilt } from "./build.mjs";

const folder = join(dirname(fileURLToPath(import.meta.url)), "bench");
const given = process.argv.slice(2);
const args = given.filter((arg) => arg !== "--no-peers");
const isOther = args.some((arg) => ["--list", "--help", "--peers"].includes(arg));
const wantsPeers = !given.includes("--no-peers") && !isOther && existsSync(join(folder, "package.json"));

try {
  if (!isBuilt()) await build();
  if (wantsPeers && installPeers()) args.push("--peers", join(folder, "peers"));
  process.argv.splice(2, process.argv.length, "bench", ...args);
  await import("../dist/cli.js");
} catch {
  process.stderr.write("adaptvis: the sources do not build (see above)\n"); // esbuild has printed why
  process.exitCode = 1;
}

/** Whether the peers' packages are there, all of them; without them the bench runs alone and its report says so. */
function installPeers() {
  const { dependencies } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  if (Object.keys(dependencies).every((name) => existsSync(join(folder, "node_modules", name)))) return true;
  process.stderr.write("adaptvis bench: installing the engines to compare with (tools/bench), once\n");
  const { status } = spawnSync("npm", ["ci", "--prefix", folder, "--no-audit", "--no-fund"], {
    stdio: ["ignore", 2, 2],
    shell: process.platform === "win32",
    // The packages' own binaries are all that is needed: no GPU libraries from elsewhere.
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" },
  });
  if (status === 0) return true;
  process.stderr.write("adaptvis bench: they could not be installed; the bench runs without them\n");
  return false;
}
