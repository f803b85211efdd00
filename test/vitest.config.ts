// How vitest runs the suite. tools/test.mjs starts one process per group and adapter; by hand: npx vitest --config test/vitest.config.ts

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { includeOf, isTestGroup } from "./setup/groups.ts";
import { STUCK_MS } from "./setup/run-program.ts";

const { ADAPTVIS_TEST_GROUP: name, MUTATION_CHOSEN: mutants } = process.env;
const group = isTestGroup(name) ? name : "all";
const isHosts = ["hosts", "runtimes", "packages"].includes(group);
const patientDawn = `--import=${new URL("setup/patient-dawn.mjs", import.meta.url).href}`;

export default defineConfig({
  root: fileURLToPath(new URL("..", import.meta.url)),
  plugins: [
    {
      name: "wgsl-text",
      enforce: "pre",
      load(id) {
        if (!id.endsWith(".wgsl")) return null;
        return `export default ${JSON.stringify(readFileSync(id, "utf8"))};`;
      },
    },
  ],
  test: {
    ...includeOf(group),
    // Dawn is a native module: processes, not threads. Software adapters use all cores themselves, so GPU files run one after
    // the other; and in one process, because they share its device and what that has compiled: on SwiftShader, the kernels of
    // one answer take longer to compile than most files take to run.
    pool: "forks",
    execArgv: [patientDawn],
    // So are the processes that tests start, but for those of the hosts: they are tested as users have them.
    env: isHosts ? {} : { NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ""} ${patientDawn}`.trim() },
    maxWorkers: group === "cpu" ? 2 : 1,
    // Files without a GPU share one, too: they undo what they change, and to start a process for each and import again what all of them
    // use was a third of what the CPU's tests took. The hosts' load several builds and drivers, each file in a process of its own.
    isolate: group === "all" || isHosts || mutants !== undefined,
    // What a test waits for comes when it comes: on a busy machine a second, vitest's own limit, is no failure.
    expect: { poll: { timeout: 60_000, interval: 50 } },
    testTimeout: STUCK_MS + 60_000,
    hookTimeout: STUCK_MS + 60_000,
    passWithNoTests: true,
  },
});
