// `npm run fuzz -- ARGS`: calls the engine with changed files, answers and options, and writes down what must not happen.
//   --kind KIND      one of the kinds in test/fuzz/kinds.ts; may be repeated; all of them unless given
//   --inputs N       inputs per kind (default 20000)
//   --seed S         default 1
//   --from I         the first input of the seed (default 0)
//   --findings DIR   where inputs that found something are written, as corpus files (default dist/fuzz)
// Progress goes to stderr; stdout gets one JSON object with a report per kind. Exit code 1 when something was found.

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { build } from "esbuild";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const { values } = parseArgs({
  options: {
    kind: { type: "string", multiple: true },
    inputs: { type: "string", default: "20000" },
    seed: { type: "string", default: "1" },
    from: { type: "string", default: "0" },
    findings: { type: "string", default: join(root, "dist", "fuzz") },
  },
});

const folder = join(root, "node_modules", ".cache", `adaptvis-fuzz-${process.pid}`);
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
await build({
  absWorkingDir: root,
  entryPoints: ["test/fuzz/driver.ts", "test/fuzz/worker.ts", "test/fuzz/kinds.ts"],
  outdir: folder,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  format: "esm",
  platform: "node",
  packages: "external",
  loader: { ".wgsl": "text" },
  logLevel: "warning",
});
const { fuzz } = await import(join(folder, "driver.mjs"));
const { KIND_NAMES } = await import(join(folder, "kinds.mjs"));

const [inputs, seed, start] = [values.inputs, values.seed, values.from].map(Number);
const kinds = values.kind ?? KIND_NAMES;
const unknown = kinds.find((kind) => !KIND_NAMES.includes(kind));
if (unknown !== undefined || ![inputs, seed, start].every(Number.isSafeInteger)) {
  process.stderr.write(`fuzz: expected whole numbers, and kinds among ${KIND_NAMES.join(", ")}\n`);
  process.exit(2);
}

const reports = [];
for (const kind of kinds) {
  const report = await fuzz(
    { kind, seed, start, end: start + inputs },
    {
      worker: join(folder, "worker.mjs"),
      hangMs: 20_000,
      onFinding({ index, what, text, input }) {
        process.stderr.write(`fuzz: ${kind} ${index}: ${what}: ${text.split("\n")[0]?.slice(0, 200)}\n`);
        mkdirSync(values.findings, { recursive: true });
        const file = join(values.findings, `${kind}-${seed}-${index}.json`);
        writeFileSync(file, `${JSON.stringify({ kind, why: `${what}: ${text}`, ...input }, null, 2)}\n`);
      },
    },
  );
  const { findings, ...figures } = report;
  process.stderr.write(`fuzz: ${kind}: ${report.inputs} inputs in ${report.seconds} s, ${findings.length} findings\n`);
  reports.push({ ...figures, seed, findings: findings.map(({ index, what }) => ({ index, what })) });
}
process.stdout.write(`${JSON.stringify({ reports }, null, 2)}\n`);
process.exitCode = reports.some(({ findings }) => findings.length > 0) ? 1 : 0;
