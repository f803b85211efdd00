// Mutation testing: makes one small change at a time, runs the tests that concern it, and lists the changes that no test notices.
//   node tools/mutation/run.mjs core [options]    TypeScript that needs no GPU, by StrykerJS (installed at the first run)
//   node tools/mutation/run.mjs wgsl [options]    shaders
// --files GLOB       only these files (may be repeated)
// --sample N|all     number of mutants, chosen by the seed (60 shaders' or 200 of the core unless given)
// --seed S           default 1
// --shard I/N        the I-th of N parts of all mutants, from which --sample takes
// --again REPORT     only mutants that are alive in this report of an earlier run (its --out)
// --since REV        only files that differ from a revision
// --adapter NAME     wgsl: swiftshader, lavapipe or gpu (default swiftshader)
// --threshold P      exit code 1 when less than P % are killed (default 95)
// --out FILE         the JSON report (default dist/mutation/core.json or wgsl.json)
// --list             prints what would be mutated (core: files, wgsl: mutants) and runs nothing

import { join, resolve } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { root } from "./copy.mjs";
import { aliveIn } from "./report.mjs";

const defaultSamples = { core: 200, wgsl: 60 };

const part = process.argv[2];
try {
  if (part !== "core" && part !== "wgsl") throw new Error(`expected core or wgsl, got ${part}`);
  const options = readOptions(part);
  const { run } = await import(`./${part}.mjs`);
  await run(options);
} catch (error) {
  process.stderr.write(`mutation: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 2;
}

function readOptions(name) {
  const { values } = parseArgs({
    args: process.argv.slice(3),
    options: {
      files: { type: "string", multiple: true },
      sample: { type: "string", default: String(defaultSamples[name]) },
      seed: { type: "string", default: "1" },
      shard: { type: "string", default: "1/1" },
      since: { type: "string" },
      again: { type: "string" },
      adapter: { type: "string", default: "swiftshader" },
      threshold: { type: "string", default: "95" },
      out: { type: "string", default: join(root, "dist", "mutation", `${name}.json`) },
      list: { type: "boolean", default: false },
    },
  });
  const [index, count] = values.shard.split("/").map((text) => numberOf("shard", text));
  if (!(index >= 1 && index <= count)) throw new Error(`--shard ${values.shard}: expected I/N with I from 1 to N`);
  return {
    ...values,
    sample: values.sample === "all" ? Number.POSITIVE_INFINITY : numberOf("sample", values.sample),
    seed: numberOf("seed", values.seed),
    shard: { index, count },
    threshold: numberOf("threshold", values.threshold),
    isAsked: values.again === undefined ? () => true : aliveIn(values.again),
    out: resolve(values.out),
  };
}

function numberOf(name, text) {
  const number = Number(text);
  if (text.trim() === "" || !(number >= 0)) throw new Error(`--${name}: expected a number, got "${text}"`);
  return number;
}
