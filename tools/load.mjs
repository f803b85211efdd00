// `npm run load -- ARGS`: puts `adaptvis serve` under mixed load and prints what came of it.
//   --seconds N       default 300
//   --connections N   clients whose answers are checked (default 8)
//   --model DIR       default: the embedded checkpoint
//   --adapter NAME    default lavapipe
// stdout gets one JSON object. Exit code 1 for a wrong answer, a server's error, requests that are left, memory that grows by more
// than a tenth in the second half, or an end that is not clean.

import { rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "300" },
    connections: { type: "string", default: "8" },
    model: { type: "string" },
    adapter: { type: "string", default: "lavapipe" },
  },
});
const folder = join(root, "node_modules", ".cache", `adaptvis-load-${process.pid}`);
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
await build({
  absWorkingDir: root,
  entryPoints: ["test/serve/load.ts", "test/serve/server.ts"],
  outdir: folder,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  format: "esm",
  platform: "node",
  packages: "external",
  loader: { ".wgsl": "text" },
  logLevel: "warning",
  define: { "import.meta.url": JSON.stringify(new URL("../test/serve/load.ts", import.meta.url).href) },
});
process.env.ADAPTVIS_TEST_ADAPTER = values.adapter;
const { runLoad } = await import(join(folder, "load.mjs"));
const { startServer } = await import(join(folder, "server.mjs"));

const model = values.model === undefined ? [] : ["--model", values.model];
const server = await startServer(...model, "--max-waiting", "64", "--max-per-client", "80");
const picture = await readFile(join(root, "weights", "tiny-spatial", "demo", "mug_left_of_dog.jpeg"));
const report = await runLoad(server, {
  seconds: Number(values.seconds),
  connections: Number(values.connections),
  picture: `data:image/jpeg;base64,${picture.toString("base64")}`,
  longQuestion: JSON.stringify({ messages: [{ role: "user", content: "Hello" }], max_tokens: 300, stream: true }),
});
const ending = await server.stop();
process.stdout.write(`${JSON.stringify({ ...report, ending }, null, 2)}\n`);
const [middle, last] = [report.residentMiB[4], report.residentMiB[9]];
const problems = [
  ...report.wrong,
  ...Object.keys(report.statuses).filter((status) => Number(status) >= 500),
  ...(report.left === 0 ? [] : [`${report.left} requests are left`]),
  ...(last > middle * 1.1 ? [`memory grew from ${middle} to ${last} MiB in the second half`] : []),
  ...(ending === 0 ? [] : [`the server ended with ${ending}`]),
];
for (const problem of problems) process.stderr.write(`load: ${problem}\n`);
process.exitCode = problems.length === 0 ? 0 : 1;
