// npm test: the whole suite, one vitest process per group of files and, for GPU tests, per adapter.
//   node tools/test.mjs [--fast | --e2e] [--adapter swiftshader|lavapipe|gpu]... [FILTER]...
// --fast     the CPU's tests and the kernels on one adapter
// --e2e      the playground's tests in the packaged Chromium only
// --adapter  the GPU's, hosts' and commands' tests on this adapter only
// FILTER     as vitest's: only test files whose path contains it
// The last line is always `N passed, N failed, N skipped`. Exit code 0 only when something passed and nothing failed.

import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
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
 * GPU tests of what the host does: memory, compiling, tuning, explanations, experiments, refusals, sessions, what they reuse and share,
 * ends and lifetimes, what is read and written inside, and in whole answers edits, long prompts, forms of weights and of the cache.
 * Other tests run their kernels on every adapter. These run on one adapter, the last, because each compiles many kernels that nothing
 * else uses; those of {@link ONCE_ON_FIRST} on the first.
 */
const ONCE = [
  "generate/bad-input",
  "generate/batch",
  "generate/generation",
  "generate/leak",
  "generate/lifetimes",
  "generate/lookahead",
  "generate/misuse",
  "generate/stages",
  "generate/tuning",
  "generate/warm-up",
  "profile/profiler",
  "stages/activation-dtypes",
  "stages/answer-each",
  "stages/attention-rows",
  "stages/cache-dtypes",
  "stages/causal",
  "stages/chat",
  "stages/continuations",
  "stages/contrast",
  "stages/contrast-methods",
  "stages/eval-families",
  "stages/explain-passes",
  "stages/full-width",
  "stages/json-schema",
  "stages/long-context",
  "stages/memory-plan",
  "stages/method-zoo",
  "stages/model-speed",
  "stages/out-of-memory",
  "stages/places",
  "stages/quantized-checkpoint",
  "stages/reading",
  "stages/reuse",
  "stages/row-edits",
  "stages/score",
  "stages/score-edits",
  "stages/sessions",
  "stages/upload-matrix",
];

/** As {@link ONCE}, but on the first adapter: SwiftShader compiles these kernels in two thirds of lavapipe's time. */
const ONCE_ON_FIRST = ["generate/wrong-options", "stages/explain"];

/** lavapipe compiles a kernel in half the time without LLVM's optimisations, and the tests compile far more than they compute. */
const LAVAPIPE_ENVIRONMENT = { GALLIVM_PERF: "nopt" };

/**
 * Tests that need what some platforms lack, by folder or file under test/: SwiftShader and Chromium come for Linux on x64 only (in one
 * npm package), Deno not for Linux with musl. They are skipped there, and listed with the reason.
 */
const NEEDS = {
  swiftshader: [
    "bench/start",
    "browser/smoke",
    "bundle",
    "deno/command",
    "deno/smoke",
    "docs/site",
    "e2e",
    "hosts",
    "package/ai-sdk",
    "package/examples",
    "package/jsr",
    "package/types",
    "preprocess/decode-image-browser",
  ],
  deno: ["deno", "hosts/answer", "package/examples", "package/jsr", "package/types"],
};
const machine = await machineHere();
// The packaged Chromium brings its own SwiftShader.
const adapters = options.adapter ?? (options.e2e ? ["swiftshader"] : machine.adapters);
const skippedHere = testsWithoutMeans();
const started = performance.now();
const waiting = runsOf(options);
// On the two cores that the tests are made for: compiling keeps one busy, and a lane that waits for a process or a page none; with
// fewer lanes, the last long run has a core for itself and leaves the other idle.
const NUM_LANES = 4;
const reports = (await Promise.all(Array.from({ length: NUM_LANES }, runWaiting))).flat();
summarize([buildReport, ...reports, { passed: 0, failures: [], skipped: skippedHere.map(({ line }) => line) }]);

/** What has to run, in an order in which the lanes end at about the same time. */
function runsOf({ fast, e2e }) {
  if (e2e) return [{ group: "e2e" }];
  if (adapters.length === 0) return [{ group: "cpu" }];
  if (fast) return [{ group: "cpu" }, { group: "kernels", adapter: adapters.at(-1) }];
  const [first, ...rest] = adapters.slice(0, -1);
  const adapter = adapters.at(-1);
  // Each command and host is a new process. lavapipe finds the kernels of those before in its cache; SwiftShader compiles them again.
  // So the groups on lavapipe begin one after the other: at once, each would compile the embedded model's kernels for itself. The longest
  // begin first, and what takes longest in all is several runs, of which the last ones are short.
  return [
    ...(first === undefined ? [] : [{ group: "gpu", adapter: first, exclude: ONCE, isBrief: true }]),
    ...rest.map((other) => ({ group: "gpu", adapter: other, exclude: [...ONCE, ...ONCE_ON_FIRST], isBrief: true })),
    { group: "e2e" },
    { group: "models", adapter, exclude: first === undefined ? [] : ONCE_ON_FIRST },
    { group: "cpu" },
    { group: "cli", adapter },
    { group: "packages", adapter },
    { group: "runtimes", adapter },
    { group: "kernels", adapter },
    { group: "tools", adapter },
    { group: "servers", adapter },
  ];
}

/** One lane: takes the next run that waits, until none does. */
async function runWaiting() {
  const reports = [];
  for (let run = waiting.shift(); run !== undefined; run = waiting.shift()) reports.push(await runVitest(run));
  return reports;
}

/** Runs one group; a process that leaves no readable report, or ends by a signal, is one failed test. */
async function runVitest({ group, adapter, exclude = [], isBrief = false }) {
  const label = group === "gpu" ? adapter : group === "models" || group === "kernels" ? `${adapter} ${group}` : group;
  const file = join(results, `${label}.json`);
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
  const child = spawn(
    process.execPath,
    [
      ...[vitest, "run", "--config", "test/vitest.config.ts", ...reporters],
      ...exclude.map((name) => `--exclude=test/${name}.test.ts`),
      ...skippedHere.flatMap(({ pattern }) => (pattern === undefined ? [] : [`--exclude=${pattern}`])),
      ...filters,
    ],
    {
      cwd: root,
      env: {
        ...LAVAPIPE_ENVIRONMENT,
        ...process.env,
        ...(!process.stdout.isTTY && { NO_COLOR: "1" }),
        ADAPTVIS_TEST_GROUP: group,
        ...(adapter && { ADAPTVIS_TEST_ADAPTER: adapter }),
        ...(isBrief && { ADAPTVIS_TEST_BRIEF: "1" }),
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

/** What of {@link NEEDS} this run skips, as patterns and as lines for people; without any adapter, all but the CPU's tests. */
function testsWithoutMeans() {
  const skips = [];
  const skip = (name, reason) => {
    const isFile = existsSync(join(root, "test", `${name}.test.ts`));
    if (!isFile && !existsSync(join(root, "test", name)))
      throw new Error(`tools/test.mjs names test/${name}, which does not exist.`);
    const pattern = isFile ? `test/${name}.test.ts` : `test/${name}/**`;
    skips.push({ pattern, line: `${pattern}: ${reason}` });
  };
  for (const [need, reason] of Object.entries(machine.lacks)) for (const name of NEEDS[need]) skip(name, reason);
  if (adapters.length === 0)
    skips.push({ line: `every test of the GPU, the hosts and the commands: ${machine.noAdapter}` });
  return skips;
}

/** The adapters that Dawn accepts here, and what this machine lacks: asked in a process of its own, which Dawn may talk to stderr of. */
async function machineHere() {
  const { build: esbuild } = await import("esbuild");
  const probe = join(root, "dist", ".adapter-probe.mjs");
  const contents = `import { openNodeAdapter } from "./src/gpu/hosts/adapter.node.ts";
    import { denoExecutable } from "./tools/deno/executable.mjs";
    const refusals = {};
    for (const name of ["swiftshader", "lavapipe", "gpu"])
      await openNodeAdapter(name).catch((error) => { refusals[name] = error.message; });
    console.log(JSON.stringify({ refusals, hasDeno: denoExecutable() !== undefined }));`;
  await esbuild({
    stdin: { contents, resolveDir: root },
    bundle: true,
    platform: "node",
    format: "esm",
    packages: "external",
    outfile: probe,
  });
  const { stdout } = spawnSync(process.execPath, [probe], {
    stdio: ["ignore", "pipe", "ignore"],
    timeout: 60_000,
    encoding: "utf8",
  });
  rmSync(probe);
  const died = "the adapters could not be asked for, since the process that asks died";
  const dead = { refusals: { swiftshader: died, lavapipe: died, gpu: died }, hasDeno: true };
  const { refusals, hasDeno } = stdout.startsWith("{") ? JSON.parse(stdout) : dead;
  const software = ["swiftshader", "lavapipe"].filter((name) => refusals[name] === undefined);
  // A GPU is tested when it is asked for, and where there is nothing else.
  const adapters = software.length === 0 && refusals.gpu === undefined ? ["gpu"] : software;
  for (const name of ["swiftshader", "lavapipe"]) {
    if (refusals[name] !== undefined) process.stderr.write(`test: not on ${name}: ${refusals[name]}\n`);
  }
  return {
    adapters,
    noAdapter: [...new Set(Object.values(refusals))].join(" "),
    lacks: {
      ...(refusals.swiftshader !== undefined && { swiftshader: refusals.swiftshader }),
      ...(!hasDeno && { deno: `Deno has no npm package for ${process.platform} ${process.arch} here` }),
    },
  };
}
