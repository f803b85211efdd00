// `npm run load -- ARGS`: puts `adaptvis serve` under mixed load and prints what came of it.
//   --seconds N       default 300
//   --connections N   clients whose answers are checked (default 8)
//   --model DIR       default: the embedded checkpoint
//   --adapter NAME    default lavapipe
// stdout gets one JSON object. Exit code 1 for a wrong answer, a server's error, a broken connection, requests that are left, memory that
// grows by more than a tenth from the third quarter to the last, or an end that is not clean.

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
const { memoryGrowth, runLoad } = await import(join(folder, "load.mjs"));
const { startServer } = await import(join(folder, "server.mjs"));

const model = values.model === undefined ? [] : ["--model", values.model];
const server = await startServer(...model, "--max-waiting", "64", "--max-per-client", "80");
const demo = join(root, "weights", "tiny-spatial", "demo");
const pictures = await Promise.all(
  ["mug_left_of_dog.jpeg", "teapot_on_rings.jpeg", "ball_behind_robot.png", "gift_behind_guitar.png"].map(
    async (name) => {
      const bytes = await readFile(join(demo, name));
      return `data:image/${name.split(".").at(-1)};base64,${bytes.toString("base64")}`;
    },
  ),
);
const report = await runLoad(server, {
  seconds: Number(values.seconds),
  connections: Number(values.connections),
  pictures,
});
const ending = await server.stop();
process.stdout.write(`${JSON.stringify({ ...report, ending }, null, 2)}\n`);
const growth = memoryGrowth(report);
const problems = [
  ...report.wrong,
  ...Object.keys(report.statuses).filter((status) => Number(status) >= 500),
  ...(report.broken === 0 ? [] : [`${report.broken} connections broke`]),
  ...(report.left === 0 ? [] : [`${report.left} requests are left`]),
  ...(growth > 0.1 ? [`memory grew by ${Math.round(growth * 100)} % from the third quarter to the last`] : []),
  ...(ending === 0 ? [] : [`the server ended with ${ending}`]),
];
for (const problem of problems) process.stderr.write(`load: ${problem}\n`);
process.exitCode = problems.length === 0 ? 0 : 1;
