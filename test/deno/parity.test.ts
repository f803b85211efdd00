// The goldens that Node's engine is held to (test/stages), on Deno's WebGPU with both software drivers, by the same checks.

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { bundleProgram, removePrograms, repositoryRoot } from "../setup/bundle.ts";
import { GOLDEN } from "../setup/golden.ts";
import { parityProblems } from "../setup/parity-check.ts";
import { runInDeno, usableDrivers } from "./deno.ts";
import type { ParityReport } from "./parity.deno.ts";

/** Goldens of test/stages/parity.test.ts and adaptvis.test.ts, as parity.deno.ts counts them: of two lists of checkpoints, then of one. */
const NUM_GOLDENS = { all: 13 + 4 + 6 + 3 + 10, thirds: 5 + 2 + 6 + 3 + 10, others: 8 + 2 + 6 + 3 + 10 } as const;

const drivers = await usableDrivers();

afterAll(removePrograms);

describe.each(drivers)("on %s", async (driver) => {
  const program = await bundleProgram("test/deno/parity.deno.ts", "deno");
  const bundle = pathToFileURL(join(repositoryRoot, "dist", "deno.js")).href;
  // Both drivers compile for minutes in Deno: where there are two, each checkpoint is compared on one of them.
  const part = drivers.length === 1 ? "all" : driver === "lavapipe" ? "thirds" : "others";
  const { stdout } = await runInDeno(program, [bundle, GOLDEN, part], { driver });
  const report = JSON.parse(stdout) as ParityReport; // what parity.deno.ts prints
  const results = Object.entries(report.results);

  test("every golden was compared", () => {
    expect(report.adapter).toMatch(driver === "lavapipe" ? /^llvmpipe/ : /^SwiftShader/);
    expect(results).toHaveLength(NUM_GOLDENS[part] + 1); // once with a GPU's kernels
  });

  test.each(results)("%s", (_, checks) => {
    if (typeof checks === "string") throw new Error(checks);
    expect(checks.length).toBeGreaterThanOrEqual(2);
    expect(parityProblems(checks)).toEqual([]);
  });
});
