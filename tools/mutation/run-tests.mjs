// Runs named test files of a copy of the checkout, the first ones first, until one fails.

import { spawn } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

/** vitest's configuration of a run: the named files, in that order, and nothing of an earlier run. */
const config = `
import base from "./test/vitest.config.ts";
const files = JSON.parse(process.env.MUTATION_TESTS);
class InOrder {
  shard(specifications) {
    return specifications;
  }
  sort(specifications) {
    const place = ({ moduleId }) => files.findIndex((file) => moduleId.endsWith(file));
    return specifications.toSorted((a, b) => place(a) - place(b));
  }
}
export default { ...base, test: { ...base.test, include: files, exclude: [], maxWorkers: 1, sequence: { sequencer: InOrder } } };
`;

/**
 * Runs test files in one vitest process, until the first failure.
 * @param {string} copy the checkout
 * @param {readonly string[]} tests paths from it, in the order in which they run
 * @param {{env: Record<string, string>, timeoutSeconds: number}} options `env` is added to this process's
 */
export async function runTests(copy, tests, { env, timeoutSeconds }) {
  writeFileSync(join(copy, "mutation.vitest.config.mjs"), config);
  const out = join(copy, "mutation-result.json");
  rmSync(out, { force: true });
  const vitest = join(copy, "node_modules", "vitest", "vitest.mjs");
  const started = performance.now();
  const child = spawn(
    process.execPath,
    [vitest, "run", "--config", "mutation.vitest.config.mjs", "--bail=1", "--reporter=json", `--outputFile=${out}`],
    {
      cwd: copy,
      env: { ...process.env, ...env, MUTATION_TESTS: JSON.stringify(tests) },
      stdio: ["ignore", "ignore", "ignore"],
      detached: true, // its own process group, so that the worker of an endless shader is killed too
    },
  );
  const end = () => {
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {
      // It has ended by itself.
    }
  };
  process.prependOnceListener("exit", end); // before the copy is removed
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    end();
  }, timeoutSeconds * 1000);
  const code = await new Promise((resolve) => child.on("close", resolve));
  clearTimeout(timer);
  process.off("exit", end);
  const seconds = (performance.now() - started) / 1000;
  const files = readResults(out);
  const passed = !timedOut && code === 0 && files.length > 0;
  const failed = files.flatMap(({ assertionResults }) => assertionResults).find(({ status }) => status === "failed");
  const failure = failed?.failureMessages.join("\n") ?? files.find(({ status }) => status === "failed")?.message ?? "";
  return { passed, timedOut, seconds, files, failure, failedTest: failed?.fullName ?? `vitest ended with ${code}` };
}

function readResults(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8")).testResults;
  } catch {
    return []; // killed, or crashed, before it wrote them
  }
}
