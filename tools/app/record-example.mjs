// Writes src/app/recorded-example.json, which the page shows where it cannot run the model, from the real engine:
//   npm run build:app && node tools/app/record-example.mjs && npm run format
// A test compares the file with the engine; run this when the opening scene, the embedded checkpoint or the engine's numbers change.

import { rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("../..", import.meta.url));
// Inside node_modules, so that the program finds npm packages.
const program = join(root, "node_modules", ".cache", `adaptvis-record-${process.pid}.mjs`);
await build({
  absWorkingDir: root,
  entryPoints: ["test/e2e/record-example-run.ts"],
  outfile: program,
  bundle: true,
  format: "esm",
  platform: "node",
  packages: "external",
  loader: { ".wgsl": "text" },
  logLevel: "warning",
});
try {
  const { writeExample } = await import(pathToFileURL(program).href);
  const [greedy, adaptvis] = await writeExample(join(root, "dist", "app"));
  process.stdout.write(`recorded: greedy "${greedy}", AdaptVis "${adaptvis}"\n`);
  process.exitCode = 0;
} finally {
  await rm(program, { force: true });
}
process.exit();
