// The mutants that Stryker will make of some files, known before it runs.

import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Distinguishes a mutant in Stryker's plugins; lines and columns from 0. */
export function keyOf({ fileName, location: { start, end }, replacement }) {
  return `${fileName.replaceAll("\\", "/")}:${start.line}:${start.column}-${end.line}:${end.column} ${replacement}`;
}

/**
 * @param {string} folder where the files are
 * @param {readonly string[]} files
 * @returns {Promise<{file: string, kind: string, start: number, end: number, replacement: string, key: string}[]>} `start`
 *   and `end` are offsets in the file's text
 */
export async function coreMutants(folder, files) {
  const { Instrumenter } = await import("@stryker-mutator/instrumenter");
  const quiet = () => undefined;
  const logger = { debug: quiet, info: quiet, warn: quiet, isDebugEnabled: () => false };
  const instrumenter = new Instrumenter(logger);
  const found = [];
  for (const file of files) {
    const name = join(folder, file);
    const content = readFileSync(name, "utf8");
    const { mutants } = await instrumenter.instrument([{ name, content, mutate: true }], {
      plugins: null,
      excludedMutations: [],
      ignorers: [],
    });
    const lineStarts = [0];
    for (const { index } of content.matchAll(/\n/g)) lineStarts.push(index + 1);
    const offsetOf = ({ line, column }) => lineStarts[line] + column;
    for (const mutant of mutants) {
      const { mutatorName, replacement, location, status } = mutant;
      if (status === "Ignored") continue;
      const [start, end] = [offsetOf(location.start), offsetOf(location.end)];
      found.push({ file, kind: mutatorName, start, end, replacement, key: keyOf(mutant) });
    }
  }
  return found;
}
