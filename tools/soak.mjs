// `npm run soak -- ARGS`: a long life of a model, and writing commands that are killed at random moments.
//   --questions N --aborts N --disposals N --losses N    default 1000, 500, 50 and 20
//   --kills N        per writing command (default 10)
//   --command NAME   kills only this one; may be repeated
//   --adapter NAME   swiftshader, lavapipe or gpu (default lavapipe)
//   --seed S         default 1
// Progress goes to stderr; stdout gets one JSON object. Exit code 1 when there was a problem.

import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build as esbuild } from "esbuild";
import { build, isBuilt } from "./build.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values } = parseArgs({
  options: {
    questions: { type: "string", default: "1000" },
    aborts: { type: "string", default: "500" },
    disposals: { type: "string", default: "50" },
    losses: { type: "string", default: "20" },
    kills: { type: "string", default: "10" },
    command: { type: "string", multiple: true },
    adapter: { type: "string", default: "lavapipe" },
    seed: { type: "string", default: "1" },
  },
});
const counts = Object.fromEntries(
  ["questions", "aborts", "disposals", "losses", "kills", "seed"].map((name) => [name, Number(values[name])]),
);
if (!Object.values(counts).every(Number.isSafeInteger)) {
  process.stderr.write("soak: expected whole numbers\n");
  process.exit(2);
}

if (!isBuilt()) await build();
const folder = join(root, "node_modules", ".cache", `adaptvis-soak-${process.pid}`);
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
await esbuild({
  absWorkingDir: root,
  entryPoints: ["test/soak/soak.node.ts", "test/soak/kills.node.ts"],
  outdir: folder,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  format: "esm",
  platform: "node",
  packages: "external",
  loader: { ".wgsl": "text" },
  logLevel: "warning",
});

const report = {};
if (values.command === undefined) report.soak = await program("soak.node.mjs", { ...counts, root });
if (counts.kills > 0) {
  const commands = values.command && { commands: values.command };
  Object.assign(report, await program("kills.node.mjs", { root, kills: counts.kills, seed: counts.seed, ...commands }));
}
// A leak of one model or device in each event is more.
const FLAT_BYTES = 32 * 2 ** 20;
const [, early = 0, , , late = 0] = report.soak?.residentBytes ?? [];
if (late - early > FLAT_BYTES) {
  report.soak.problems.push(`The process grew from ${early} to ${late} bytes.`);
}
process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
const problems = [report.soak, ...(report.kills ?? [])].flatMap((part) => part?.problems ?? []);
for (const problem of problems) process.stderr.write(`soak: ${problem}\n`);
process.exitCode = problems.length === 0 ? 0 : 1;

/** Runs a program of test/soak. @returns its JSON object. */
async function program(name, plan) {
  const child = spawn(process.execPath, ["--expose-gc", join(folder, name), JSON.stringify(plan)], {
    stdio: ["ignore", "pipe", "inherit"],
    // In glibc's other arenas, what drivers' threads have freed is not used again by those of the next device.
    env: { ...process.env, ADAPTVIS_TEST_ADAPTER: values.adapter, MALLOC_ARENA_MAX: "1" },
  });
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    stdout += text;
  });
  const code = await new Promise((resolve) => child.on("close", resolve));
  if (code !== 0) throw new Error(`${name} ended with ${code}`);
  return JSON.parse(stdout);
}
