// Mutants of the shaders: each is written into a copy of the checkout, where the tests of the kernels that hold it are run.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, posix } from "node:path";
import process from "node:process";
import { changedSince, copyCheckout, listFiles, revision, root } from "./copy.mjs";
import { matcherOf } from "./glob.mjs";
import { askKernels, testsByName } from "./kernel-tests.mjs";
import { change, report } from "./report.mjs";
import { runTests } from "./run-tests.mjs";
import { sampleOf } from "./sample.mjs";
import { edited } from "./text-edit.mjs";
import { wgslMutations } from "./wgsl-mutations.mjs";

const shaderPatterns = ["shaders/*.wgsl", "shaders/shared/*.wgsl"];

/** @param {object} options see run.mjs */
export async function run(options) {
  const files = listFiles();
  const isShader = matcherOf(shaderPatterns);
  const isWanted = matcherOf(options.files ?? shaderPatterns);
  const changed = options.since === undefined ? undefined : changedSince(options.since);
  const shaderFiles = files.filter(isShader);
  const shaders = Object.fromEntries(shaderFiles.map((file) => [file, readFileSync(join(root, file), "utf8")]));
  const all = shaderFiles
    .filter((file) => isWanted(file) && (changed?.has(file) ?? true))
    .flatMap((file) => wgslMutations(shaders[file]).map((mutation) => ({ file, ...mutation })));
  const picked = sampleOf(all.filter(options.isAsked), options);
  process.stderr.write(`mutation: ${picked.length} of ${all.length} mutants\n`);
  if (options.list) {
    for (const { file, line, column, kind, before, after } of picked) {
      process.stdout.write(`${file}:${line}:${column}  ${kind}\n${change({ before, after })}`);
    }
    return;
  }

  const copy = copyCheckout();
  const texts = picked.map((mutation) => edited(shaders[mutation.file], mutation));
  const { kernels, problems } = await askKernels(copy, {
    adapter: options.adapter,
    shaders,
    mutants: picked.map(({ file }, id) => ({ id, file, text: texts[id] })),
  });
  const tests = testsOfShaders(files, { shaderFiles, kernels });
  const needed = [...new Set(picked.flatMap(({ file }) => tests.get(file)))];
  const baseline = await measureTests(copy, needed, { adapter: options.adapter, files });

  const mutants = [];
  for (const [id, { file, line, column, kind, before, after }] of picked.entries()) {
    const holders = kernels.filter((kernel) => kernel.files.includes(file));
    const ordered = tests
      .get(file)
      .filter((test) => baseline.get(test)?.numTests > 0)
      .sort((a, b) => baseline.get(a).seconds - baseline.get(b).seconds);
    const seconds = ordered.reduce((sum, test) => sum + baseline.get(test).seconds, 0);
    const mutant = { file, text: texts[id], original: shaders[file] };
    const call = { tests: ordered, adapter: options.adapter, timeoutSeconds: 30 + 4 * seconds };
    const outcome =
      reasonNotToRun({ holders, ordered, problem: problems[id] }) ?? (await testMutant(copy, mutant, call));
    mutants.push({ file, line, column, kind, before, after, ...outcome });
    const took = outcome.seconds === undefined ? "" : ` ${outcome.seconds.toFixed(1)} s`;
    process.stderr.write(`[${id + 1}/${picked.length}] ${outcome.status}${took}  ${file}:${line}:${column}\n`);
  }
  const { adapter, seed, sample, shard } = options;
  report(mutants, {
    threshold: options.threshold,
    out: options.out,
    about: { part: "wgsl", revision: revision(), adapter, seed, sample, shard, numMutants: all.length },
  });
}

function reasonNotToRun({ holders, ordered, problem }) {
  if (holders.length === 0) return { status: "uncovered", detail: "no kernel of src/gpu/ops holds it" };
  if (holders.every((kernel) => kernel.problem !== undefined)) {
    return { status: "not run", detail: "its kernels need features that the adapter lacks" };
  }
  if (problem !== undefined) return { status: "invalid", detail: problem };
  return ordered.length === 0 ? { status: "not run", detail: "its tests are skipped on this adapter" } : undefined;
}

/** Runs the tests with the mutant in place of the original. */
async function testMutant(copy, { file, text, original }, { tests, adapter, timeoutSeconds }) {
  writeFileSync(join(copy, file), text);
  const { passed, timedOut, seconds, failure, failedTest } = await runTests(copy, tests, {
    env: envOf(adapter),
    timeoutSeconds,
  });
  writeFileSync(join(copy, file), original);
  if (timedOut) return { status: "timeout", seconds };
  if (passed) return { status: "survived", seconds };
  // Some mistakes show only once the overrides have values.
  const isInvalid = /GpuError: Kernel \S+( was refused|, line \d+)/.test(failure);
  return isInvalid
    ? { status: "invalid", detail: firstLine(failure), seconds }
    : { status: "killed", detail: failedTest, seconds };
}

/** Of each shader file: the tests of the kernels that hold it, and a shared file's own. */
function testsOfShaders(files, { shaderFiles, kernels }) {
  const nameOf = (file) => posix.basename(file, ".wgsl");
  const testFiles = files.filter(matcherOf(["test/kernels/*.test.ts"]));
  const byName = testsByName(testFiles, [...new Set(shaderFiles.map(nameOf))]);
  return new Map(
    shaderFiles.map((file) => {
      const names = kernels.filter((kernel) => kernel.files.includes(file)).map(({ name }) => name);
      return [file, [...new Set([nameOf(file), ...names].flatMap((name) => byName.get(name) ?? []))]];
    }),
  );
}

/**
 * How long each test file takes, and how many of its tests run on this adapter; kept in dist/mutation for the next run of the
 * same sources.
 * @throws when a test fails without a mutant
 */
async function measureTests(copy, tests, { adapter, files }) {
  const hash = createHash("sha256").update(`${adapter}\0`);
  for (const file of files.filter(matcherOf(["{src,shaders}/**", "test/{kernels,reference,setup}/**"]))) {
    hash.update(`${file}\0`).update(readFileSync(join(copy, file)));
  }
  const key = hash.digest("hex");
  const kept = join(root, "dist", "mutation", `tests-${adapter}.json`);
  const earlier = existsSync(kept) ? JSON.parse(readFileSync(kept, "utf8")) : undefined;
  const measured = new Map(earlier?.key === key ? earlier.tests : []);
  const missing = tests.filter((test) => !measured.has(test));
  mkdirSync(dirname(kept), { recursive: true });
  for (const [index, test] of missing.entries()) {
    const { passed, seconds, files, failure, failedTest } = await runTests(copy, [test], {
      env: envOf(adapter),
      timeoutSeconds: 3600,
    });
    if (!passed) throw new Error(`${test} fails without a mutant: ${failedTest}: ${firstLine(failure)}`);
    const results = files.flatMap(({ assertionResults }) => assertionResults);
    measured.set(test, { seconds, numTests: results.filter(({ status }) => status === "passed").length });
    writeFileSync(kept, JSON.stringify({ key, tests: [...measured] }));
    process.stderr.write(`[${index + 1}/${missing.length}] without a mutant ${seconds.toFixed(1)} s  ${test}\n`);
  }
  return measured;
}

function envOf(adapter) {
  return { ADAPTVIS_TEST_GROUP: "kernels", ADAPTVIS_TEST_ADAPTER: adapter };
}

function firstLine(text) {
  return text.split("\n")[0];
}
