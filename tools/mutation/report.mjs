// What a run found: a JSON file, a summary, and whether the kill rate is high enough.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { root } from "./copy.mjs";
import { textOf } from "./sample.mjs";
import { oneLine } from "./text-edit.mjs";

const equivalentFile = new URL("equivalent.json", import.meta.url);

/**
 * @typedef {object} Mutant
 * @property {string} file path from the repository's root
 * @property {number} line
 * @property {number} column
 * @property {string} kind
 * @property {string} before the changed lines, trimmed
 * @property {string} after
 * @property {"killed" | "timeout" | "survived" | "uncovered" | "invalid" | "not run"} status `invalid`: does not compile;
 *   `uncovered`: no test runs the code; `not run`: the adapter lacks what the kernel needs
 * @property {string} [detail] the test that failed, the compiler's message or the reason
 * @property {number} [seconds]
 */

/** Whether a mutant is alive in a report of an earlier run. @param {string} file the report */
export function aliveIn(file) {
  const { mutants } = JSON.parse(readFileSync(file, "utf8"));
  const alive = new Set(mutants.filter(isAlive).map(textOf));
  return (mutant) => alive.has(textOf(mutant));
}

function isAlive({ status }) {
  return status === "survived" || status === "uncovered";
}

/** Mutants that no test can tell from the original, each with its reason. */
export function readEquivalents() {
  const entries = JSON.parse(readFileSync(equivalentFile, "utf8"));
  for (const { file, before, after, reason } of entries) {
    if ([file, before, after, reason].some((text) => typeof text !== "string") || reason.trim() === "") {
      throw new Error(
        `equivalent.json: each entry has file, before, after and reason, ${JSON.stringify(before)} does not`,
      );
    }
  }
  return entries;
}

/**
 * Writes the report and the summary, and sets the exit code: 1 below the threshold.
 * @param {Mutant[]} mutants
 * @param {{threshold: number, out: string, about: object}} options `about` is copied into the JSON
 */
export function report(mutants, { threshold, out, about }) {
  const equivalents = readEquivalents();
  const isEquivalent = (mutant) =>
    equivalents.some(
      ({ file, before, after }) => file === mutant.file && before === mutant.before && after === mutant.after,
    );
  for (const { file, before } of equivalents) {
    const path = join(root, file);
    if (existsSync(path) && oneLine(readFileSync(path, "utf8")).includes(before)) continue;
    process.stdout.write(`equivalent.json: ${file} no longer has: ${before}\n`);
  }
  const results = mutants.map((mutant) =>
    isAlive(mutant) && isEquivalent(mutant) ? { ...mutant, status: "equivalent" } : mutant,
  );
  const counts = {};
  for (const { status } of results) counts[status] = (counts[status] ?? 0) + 1;
  const alive = results.filter(isAlive);
  const numKilled = (counts.killed ?? 0) + (counts.timeout ?? 0);
  const numCounted = numKilled + alive.length;
  const killRate = numCounted === 0 ? undefined : (100 * numKilled) / numCounted;

  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, `${JSON.stringify({ ...about, threshold, killRate, counts, mutants: results }, null, 2)}\n`);

  for (const { file, line, column, kind, status, before, after } of alive) {
    process.stdout.write(`${status}  ${file}:${line}:${column}  ${kind}\n${change({ before, after })}`);
  }
  const wronglyListed = results.filter((mutant) => /^(killed|timeout)$/.test(mutant.status) && isEquivalent(mutant));
  for (const { file, line, before, after } of wronglyListed) {
    process.stdout.write(`listed as equivalent, but killed  ${file}:${line}\n${change({ before, after })}`);
  }
  process.stdout.write(`\n${rows(results)}\n`);
  const rate = killRate === undefined ? "nothing to kill" : `${killRate.toFixed(1)} % killed (at least ${threshold} %)`;
  const states = Object.entries(counts).map(([status, count]) => `${count} ${status}`);
  process.stdout.write(`mutation: ${rate}; ${states.join(", ")}; ${out}\n`);
  process.exitCode = killRate === undefined || killRate >= threshold ? 0 : 1;
}

/** A change as two lines; a whole function is cut short. */
export function change({ before, after }) {
  const short = (text) => (text.length > 200 ? `${text.slice(0, 199)}…` : text);
  return `    - ${short(before)}\n    + ${short(after) || "(nothing)"}\n`;
}

/** One line per file: mutants that were counted, and how many of them were killed. */
function rows(results) {
  const files = new Map();
  for (const result of results) files.set(result.file, [...(files.get(result.file) ?? []), result]);
  const width = Math.max(0, ...[...files.keys()].map((file) => file.length));
  const lines = [...files].map(([file, ofFile]) => {
    const number = (pattern) => ofFile.filter(({ status }) => pattern.test(status)).length;
    const counted = number(/^(killed|timeout|survived|uncovered)$/);
    const rest = counted === ofFile.length ? "" : `, ${ofFile.length - counted} not counted`;
    return `${file.padEnd(width)}  ${number(/^(killed|timeout)$/)} of ${counted} killed${rest}`;
  });
  return lines.join("\n");
}
