// Pictures of the playground as people meet it, to be looked at:
//   node tools/app/screenshots.mjs FOLDER [NAME]...
// NAME takes only pictures whose name contains it. `npm run build:app` makes the page before.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("../..", import.meta.url));
const [folder, ...names] = process.argv.slice(2);
if (folder === undefined) {
  process.stderr.write("Usage: node tools/app/screenshots.mjs FOLDER [NAME]...\n");
  process.exit(2);
}

// Inside node_modules, so that the program finds npm packages.
const program = join(root, "node_modules", ".cache", `adaptvis-screenshots-${process.pid}.mjs`);
await build({
  absWorkingDir: root,
  entryPoints: ["test/e2e/screenshots.ts"],
  outfile: program,
  bundle: true,
  format: "esm",
  platform: "node",
  packages: "external",
  logLevel: "warning",
});
try {
  const { takeScreenshots } = await import(pathToFileURL(program).href);
  for await (const file of takeScreenshots(join(root, "dist", "app"), { folder, names })) {
    process.stdout.write(`${file}\n`);
  }
} finally {
  await rm(program, { force: true });
}
