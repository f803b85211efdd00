// npm test: the whole suite, one vitest process per group of files and, for GPU tests, per adapter.
//   node tools/test.mjs [--fast | --e2e] [--adapter swiftshader|lavapipe|gpu]... [FILTER]...
// --fast     the CPU's tests and the kernels on one adapter
// --e2e      the playground's tests in the packaged Chromium only
// --adapter  the GPU's, hosts' and commands' tests on this adapter only
// FILTER     as vitest's: only test files whose path contains it
// The last line is always `N passed, N failed, N skipped`. Exit code 0 only when something passed and nothing failed.

import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { buildApp } from "./app.mjs";
import { build } from "./build.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const vitest = join(root, "node_modules", "vitest", "vitest.mjs");

const { values: options, positionals: filters } = parseArgs({
  options: {
    fast: { type: "boolean", default: false },
    e2e: { type: "boolean", default: false },
    adapter: { type: "string", multiple: true },
  },
  allowPositionals: true,
});

// The browser's, Deno's and the command line's tests use the bundles; without them the other tests still tell something.
const buildReport = await build()
  .then(() => (options.fast ? undefined : buildApp()))
  .then(
    () => ({ passed: 0, failures: [], skipped: [] }),
    (error) => ({ passed: 0, failures: [`build: ${String(error).split("\n")[0]}`], skipped: [] }),
  );
const results = mkdtempSync(join(tmpdir(), "adaptvis-test-"));
process.on("exit", () => rmSync(results, { recursive: true, force: true }));
const children = new Set();
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    for (const child of children) child.kill(signal);
    process.exit(1);
  });
}

/**
 * GPU tests of what the host does: memory, compiling, tuning, explanations, refusals, sessions and what they reuse, forms of weights and
 * of the cache in whole answers. Other tests run their kernels on every adapter. These run on one adapter, the last, because each
 * compiles many kernels, which takes SwiftShader ten times as long.
 */
const ONCE = [
  "generate/bad-input",
  "generate/leak",
  "generate/tuning",
  "generate/warm-up",
  "profile/profiler",
  "stages/activation-dtypes",
  "stages/cache-dtypes",
  "stages/chat",
  "stages/continuations",
  "stages/explain",
  "stages/explain-passes",
  "stages/full-width",
  "stages/memory-plan",
  "stages/model-speed",
  "stages/reuse",
  "stages/sessions",
];

// The packaged Chromium brings its own SwiftShader.
const adapters = options.adapter ?? (options.e2e ? ["swiftshader"] : await adaptersHere());
const started = performance.now();
const waiting = runsOf(options);
// Two lanes at once: the software adapters do not keep two cores busy all the time.
const reports = (await Promise.all([runWaiting(), runWaiting()])).flat();
summarize([buildReport, ...reports]);

/** What has to run; the longest first, so that the lanes end at about the same time. */
function runsOf({ fast, e2e }) {
  if (e2e) return [{ group: "e2e" }];
  if (fast) return [{ group: "cpu" }, { group: "kernels", adapter: adapters.at(-1) }];
  const [first, ...others] = adapters.map((adapter, index) => ({
    group: "gpu",
    adapter,
    exclude: index < adapters.length - 1 ? ONCE : [],
  }));
  // Each command and host compiles its kernels anew, which lavapipe does in a tenth of SwiftShader's time.
  const adapter = adapters.at(-1);
  return [
    first,
    { group: "e2e" },
    { group: "hosts", adapter },
    { group: "commands", adapter },
    ...others,
    { group: "cpu" },
  ];
}

/** One lane: takes the next run that waits, until none does. */
async function runWaiting() {
  const reports = [];
  for (let run = waiting.shift(); run !== undefined; run = waiting.shift()) reports.push(await runVitest(run));
  return reports;
}

/** Runs one group; a process that leaves no readable report, or ends by a signal, is one failed test. */
async function runVitest({ group, adapter, exclude = [] }) {
  const label = group === "gpu" ? adapter : group;
  const file = join(results, `${label}.json`);
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
  const child = spawn(
    process.execPath,
    [
      ...[vitest, "run", "--config", "test/vitest.config.ts", ...reporters],
      ...exclude.map((name) => `--exclude=test/${name}.test.ts`),
      ...filters,
    ],
    {
      cwd: root,
      env: {
        ...process.env,
        ...(!process.stdout.isTTY && { NO_COLOR: "1" }),
        ADAPTVIS_TEST_GROUP: group,
        ...(adapter && { ADAPTVIS_TEST_ADAPTER: adapter }),
      },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  children.add(child);
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (line) => {
      if (line.trim() !== "") process.stdout.write(`[${label}] ${line}\n`);
    });
  }
  const { code, signal } = await new Promise((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal }));
  });
  children.delete(child);
  return readReport(label, file, signal ?? `exit code ${code}`, code === 0);
}

function readReport(label, file, ending, endedWell) {
  let suite;
  try {
    suite = JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return { passed: 0, failures: [`${label}: vitest left no report (${ending})`], skipped: [] };
  }
  const failures = [];
  const skipped = [];
  let passed = 0;
  for (const { name, status, message, assertionResults } of suite.testResults) {
    const where = `${label}: ${relative(root, name)}`;
    for (const test of assertionResults) {
      if (test.status === "passed") passed++;
      else if (test.status === "failed") failures.push(`${where} > ${test.fullName}`);
      else if (test.status === "pending")
        failures.push(`${where} > ${test.fullName}: its process ended before the test did`);
      else skipped.push(`${where} > ${test.fullName}`);
    }
    const fileFailed = status === "failed" && !assertionResults.some((test) => test.status === "failed");
    if (fileFailed) failures.push(`${where}: ${message.split("\n")[0] || "the file could not be run"}`);
  }
  // An error outside of any test, or a crash of a worker, shows in the exit code alone.
  if (!endedWell && failures.length === 0) failures.push(`${label}: vitest ended with ${ending}, see above`);
  return { passed, failures, skipped };
}

function summarize(reports) {
  const passed = reports.reduce((sum, report) => sum + report.passed, 0);
  const failures = reports.flatMap((report) => report.failures);
  const skipped = reports.flatMap((report) => report.skipped);
  for (const test of skipped) process.stdout.write(`skipped  ${test}\n`);
  for (const test of failures) process.stdout.write(`FAILED   ${test}\n`);
  if (passed + failures.length === 0) process.stdout.write("no test ran\n");
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  process.stdout.write(`adapters: ${adapters.join(", ")}; ${seconds} s\n`);
  process.stdout.write(`${passed} passed, ${failures.length} failed, ${skipped.length} skipped\n`);
  process.exitCode = failures.length === 0 && passed > 0 ? 0 : 1;
}

/** SwiftShader always, lavapipe where Dawn accepts the system's: asked in a process of its own, which Dawn may talk to stderr of. */
async function adaptersHere() {
  const { build: esbuild } = await import("esbuild");
  const probe = join(root, "dist", ".adapter-probe.mjs");
  await esbuild({
    stdin: {
      contents: 'import { openNodeAdapter } from "./src/gpu/hosts/adapter.node.ts"; await openNodeAdapter("lavapipe");',
      resolveDir: root,
    },
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
    outfile: probe,
  });
  const { status } = spawnSync(process.execPath, [probe], { stdio: "ignore", timeout: 60_000 });
  rmSync(probe);
  if (status !== 0) process.stderr.write("test: no usable lavapipe here, the GPU tests run on SwiftShader alone\n");
  return status === 0 ? ["swiftshader", "lavapipe"] : ["swiftshader"];
}
