// Fetches what tests need beyond this repository's dependencies, once, into a cache folder: the other JavaScript runtimes that they run an
// answer in (test/hosts/answer.test.ts), and a client of the server that needs a newer Node (test/serve/clients.test.ts).
//   node tools/install-runtimes.mjs
// The runtimes are npm packages that hold nothing but the executable, and no dependencies of this repository, since they are large.

import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const folder = join(fileURLToPath(new URL("..", import.meta.url)), "node_modules", ".cache", "adaptvis-runtimes");
const cpu = process.arch === "arm64" ? { node: "arm64", bun: "aarch64" } : { node: process.arch, bun: process.arch };
const packages = [
  `node22@npm:node-${process.platform}-${cpu.node}@22.23.5`,
  `node24@npm:node-${process.platform}-${cpu.node}@24.22.3`,
  `node25@npm:node-${process.platform}-${cpu.node}@25.9.0`,
  `bun@npm:@oven/bun-${process.platform}-${cpu.bun}@1.4.5`,
  "ai@7.0.173",
  "@ai-sdk/openai-compatible@3.0.92",
];
mkdirSync(folder, { recursive: true });
// One by one: a platform may lack one of them.
for (const name of packages) {
  const args = [
    "install",
    "--prefix",
    folder,
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-package-lock",
    name,
  ];
  const { status } = spawnSync("npm", args, { stdio: "inherit", shell: process.platform === "win32" });
  if (status !== 0) {
    process.stderr.write(`install-runtimes: ${name} could not be fetched, so its tests are skipped\n`);
    process.exitCode = 1;
  }
}
