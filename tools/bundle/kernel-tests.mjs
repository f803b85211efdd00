// The kernels' tests as one program, for a machine without npm:
//   node kernel-tests.mjs [--adapter NAME] [--only TEXT] FILE     appends a line of JSON per test file to FILE
// --only runs the files whose path contains the text. Exit code 0: all passed, 1: not, 2: there is no such file.
// Bundled by stage.mjs, which provides "kernel-tests": the test files by name, as functions that import them.

import { appendFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { startTests } from "@vitest/runner";
import { kernelTests } from "kernel-tests";

const { values, positionals } = parseArgs({
  options: { adapter: { type: "string", default: "gpu" }, only: { type: "string", default: "" } },
  allowPositionals: true,
});
process.env.ADAPTVIS_TEST_ADAPTER = values.adapter;
const [linesFile] = positionals;

const runner = {
  config: {
    root: "/",
    setupFiles: [],
    name: undefined,
    passWithNoTests: false,
    testNamePattern: undefined,
    allowOnly: false,
    sequence: { seed: 0, hooks: "stack", setupFiles: "list", shuffle: false, concurrent: false },
    chaiConfig: undefined,
    maxConcurrency: 1,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    retry: 0,
    includeTaskLocation: false,
    tags: [],
    tagsFilter: undefined,
    strictTags: false,
  },
  importFile: (path) => kernelTests[path]?.(),
  onAfterRunSuite: (suite) => {
    if (suite.filepath !== undefined) report(suite);
  },
};

const asked = Object.keys(kernelTests).filter((path) => path.includes(values.only));
if (asked.length === 0) {
  process.stderr.write(`kernel-tests: --only ${values.only}: no test file has this in its path\n`);
  process.exit(2);
}
const files = await startTests(
  asked.map((filepath) => ({ filepath, testLocations: undefined })),
  runner,
);
process.exit(files.every(({ result }) => result?.state !== "fail") ? 0 : 1);

/** Appends one file's counts and the first line of each failure. */
function report(file) {
  const tests = testsOf(file);
  const count = (state) => tests.filter(({ result, mode }) => (result?.state ?? mode) === state).length;
  const failures = [file, ...tests].flatMap(({ name, result }) =>
    (result?.errors ?? []).map(({ message }) => ({ name, message: String(message).split("\n")[0] })),
  );
  const counts = { passed: count("pass"), failed: count("fail"), skipped: count("skip") };
  const line = { kind: "tests", result: { file: file.filepath, ...counts, failures } };
  process.stderr.write(`${file.filepath}: ${counts.passed} passed, ${counts.failed} failed\n`);
  if (linesFile !== undefined) appendFileSync(linesFile, `${JSON.stringify(line)}\n`);
}

function testsOf(suite) {
  return suite.tasks.flatMap((task) => (task.type === "test" ? [task] : testsOf(task)));
}
