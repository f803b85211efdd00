// Mutants of the TypeScript that needs no GPU, by StrykerJS with its vitest runner, in a copy of the checkout.

import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { changedSince, copyCheckout, revision, root } from "./copy.mjs";
import { coreFiles } from "./core-files.mjs";
import { coreMutants, keyOf } from "./core-mutants.mjs";
import { matcherOf } from "./glob.mjs";
import { report } from "./report.mjs";
import { runTests } from "./run-tests.mjs";
import { sampleOf } from "./sample.mjs";
import { edited, lineTexts } from "./text-edit.mjs";

const folder = fileURLToPath(new URL(".", import.meta.url));
const stryker = join(folder, "node_modules", "@stryker-mutator", "core", "bin", "stryker.js");
const runner = join(folder, "node_modules", "@stryker-mutator", "vitest-runner", "dist", "src", "index.js");

const statuses = {
  Killed: "killed",
  Timeout: "timeout",
  Survived: "survived",
  NoCoverage: "uncovered",
  Ignored: "static",
};

/** Longer than all tests of the cpu group take on a busy machine. */
const STATIC_TIMEOUT_SECONDS = 300;

/** @param {object} options see run.mjs */
export async function run(options) {
  const { sources, testsOf } = await coreFiles(root);
  const isWanted = matcherOf(options.files ?? ["**"]);
  const changed = options.since === undefined ? undefined : changedSince(options.since);
  const files = sources.filter((file) => isWanted(file) && (changed?.has(file) ?? true));
  if (options.list) {
    for (const file of files) process.stdout.write(`${file}\n`);
    return;
  }
  install();
  const copy = copyCheckout();
  const all = (await coreMutants(copy, files)).map((mutant) => {
    const text = readFileSync(join(copy, mutant.file), "utf8");
    return { ...mutant, ...lineTexts(text, mutant) };
  });
  const picked = sampleOf(all.filter(options.isAsked), options);
  process.stderr.write(`mutation: ${picked.length} of ${all.length} mutants of ${files.length} files\n`);
  const found = picked.length === 0 ? new Map() : runStryker(copy, picked);
  const isStatic = ({ key }) => found.get(key)?.status === "static";
  const numStatic = picked.filter(isStatic).length;
  for (const [index, mutant] of picked.filter(isStatic).entries()) {
    const outcome = await testStatic(copy, mutant, testsOf(mutant.file));
    found.set(mutant.key, outcome);
    process.stderr.write(
      `[${index + 1}/${numStatic}] ${outcome.status}  ${mutant.file}:${mutant.line}:${mutant.column}\n`,
    );
  }
  const mutants = picked.map(({ key, file, line, column, kind, before, after }) => {
    const { status = "invalid", detail } = found.get(key) ?? { detail: "not in Stryker's report" };
    return { file, line, column, kind, before, after, status, ...(detail !== undefined && { detail }) };
  });
  const { seed, sample, shard } = options;
  report(mutants, {
    threshold: options.threshold,
    out: options.out,
    about: { part: "core", revision: revision(), seed, sample, shard, numMutants: all.length },
  });
}

/** Runs the tests that reach a file, the nearest first, with a mutant of what runs while the file is loaded. */
async function testStatic(copy, mutant, tests) {
  const path = join(copy, mutant.file);
  const original = readFileSync(path, "utf8");
  writeFileSync(path, edited(original, mutant));
  const env = { ADAPTVIS_TEST_GROUP: "cpu" };
  const { passed, timedOut, failedTest } = await runTests(copy, tests, { env, timeoutSeconds: STATIC_TIMEOUT_SECONDS });
  writeFileSync(path, original);
  if (timedOut) return { status: "timeout" };
  return passed ? { status: "survived" } : { status: "killed", detail: failedTest };
}

function install() {
  if (existsSync(stryker)) return;
  process.stderr.write("mutation: installing StrykerJS (tools/mutation), once\n");
  const args = ["ci", "--no-audit", "--no-fund", "--ignore-scripts"];
  // In the folder and not by --prefix: its .npmrc counts.
  const { status } = spawnSync("npm", args, {
    cwd: folder,
    stdio: ["ignore", 2, 2],
    shell: process.platform === "win32",
  });
  if (status !== 0) throw new Error("StrykerJS could not be installed (see above)");
}

/** Runs Stryker over the picked mutants in the copy itself. @returns status and detail by key */
function runStryker(copy, picked) {
  const [chosen, settings, out] = ["chosen", "stryker", "report"].map((name) => join(copy, `mutation-${name}.json`));
  writeFileSync(chosen, JSON.stringify(picked.map(({ key }) => key)));
  writeFileSync(
    settings,
    JSON.stringify({
      plugins: [runner, join(folder, "sample-checker.mjs")],
      checkers: ["sample"],
      testRunner: "vitest",
      vitest: { configFile: "test/vitest.config.ts" },
      mutate: [...new Set(picked.map(({ file }) => file))],
      inPlace: true,
      // What runs while a module loads concerns every test: Stryker would run them all, in no useful order.
      ignoreStatic: true,
      concurrency: 1,
      timeoutMS: 20_000, // a timeout counts as killed, so a busy machine must not cause one
      reporters: ["json", "clear-text"],
      clearTextReporter: { logTests: false, reportTests: false, reportMutants: false, reportScoreTable: false },
      jsonReporter: { fileName: out },
      thresholds: { break: null },
      allowEmpty: true,
    }),
  );
  const { status, signal } = spawnSync(process.execPath, [stryker, "run", settings], {
    cwd: copy,
    env: { ...process.env, ADAPTVIS_TEST_GROUP: "cpu", MUTATION_CHOSEN: chosen },
    stdio: ["ignore", 2, 2],
  });
  if (status !== 0 || !existsSync(out)) throw new Error(`Stryker ended with ${signal ?? `exit code ${status}`}`);
  const { files, testFiles = {} } = JSON.parse(readFileSync(out, "utf8"));
  const testNames = new Map(Object.values(testFiles).flatMap(({ tests }) => tests.map(({ id, name }) => [id, name])));
  const results = new Map();
  for (const [file, { mutants }] of Object.entries(files)) {
    for (const { location, replacement, status, statusReason, killedBy = [] } of mutants) {
      const fromZero = ({ line, column }) => ({ line: line - 1, column: column - 1 });
      const place = { start: fromZero(location.start), end: fromZero(location.end) };
      results.set(keyOf({ fileName: join(copy, file), location: place, replacement }), {
        status: statuses[status] ?? "invalid",
        detail: killedBy.map((id) => testNames.get(id) ?? id)[0] ?? statusReason,
      });
    }
  }
  return results;
}
