// What the site shows of the embedded model is what the model does.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { INTERVENTIONS } from "../../src/interventions/registry.ts";
import { root } from "../cli/command.ts";
import { adapterOfEnvironment } from "../setup/device.ts";
import { largestError } from "../setup/golden.ts";
import { runProgram } from "../setup/run-program.ts";

const docs = join(root, "tools", "docs");

interface Recorded {
  readonly scores: number[][][];
  readonly probabilities: number[][];
}

test("the recorded run is what record-figures.mjs records", async () => {
  const folder = await mkdtemp(join(tmpdir(), "adaptvis-figures-"));
  const out = join(folder, "recorded.json");
  const args = [join(docs, "record-figures.mjs"), "--out", out, "--adapter", adapterOfEnvironment()];
  const { ending, stderr } = await runProgram(process.execPath, args);
  expect(ending, stderr).toBe(0);
  const [fresh, stored]: Recorded[] = await Promise.all(
    [out, join(docs, "figures", "ball-behind-robot.json")].map(async (file) =>
      JSON.parse(await readFile(file, "utf8")),
    ),
  );
  await rm(folder, { recursive: true });
  const without = (run: Recorded | undefined) => ({ ...run, scores: undefined, probabilities: undefined });
  expect(without(fresh)).toEqual(without(stored));
  // Scores are stored to 3 digits, probabilities to 4.
  expect(largestError(fresh?.scores.flat(2) ?? [], stored?.scores.flat(2) ?? [1])).toBeLessThan(2e-3);
  expect(largestError(fresh?.probabilities.flat() ?? [], stored?.probabilities.flat() ?? [1])).toBeLessThan(3e-4);
});

test("the table of methods has every one, with settings that it has", async () => {
  const page = await readFile(join(docs, "method", "interventions.md"), "utf8");
  const [, table = ""] = /^\|---.*?\n(.*?)\n\n/ms.exec(page) ?? [];
  const rows = Array.from(
    table.matchAll(/^\| `([a-z0-9-]+)` \| .* \| ([^|]*) \|$/gm),
    ([, name, cell]) => [name, cell] as const,
  );
  expect(rows.map(([name]) => name).sort()).toEqual(INTERVENTIONS.map(({ name }) => name).sort());
  for (const [name, cell = ""] of rows) {
    const known = Object.keys(INTERVENTIONS.find((intervention) => intervention.name === name)?.parameters ?? {});
    const named = Array.from(cell.matchAll(/`(\w+)(?:: [^`]*)?`/g), ([, setting]) => setting);
    expect(known, name).toEqual(expect.arrayContaining(named));
  }
});
