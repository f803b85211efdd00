// A checker for Stryker that lets pass only the mutants chosen in advance; the others are reported as compile errors, which no
// score counts. Stryker loads this file in a process of its own: MUTATION_CHOSEN names the file with the chosen keys.

import { readFileSync } from "node:fs";
import process from "node:process";
import { CheckStatus } from "@stryker-mutator/api/check";
import { declareFactoryPlugin, PluginKind } from "@stryker-mutator/api/plugin";
import { keyOf } from "./core-mutants.mjs";

export const strykerPlugins = [declareFactoryPlugin(PluginKind.Checker, "sample", createChecker)];

createChecker.inject = [];
function createChecker() {
  const chosen = new Set(JSON.parse(readFileSync(process.env.MUTATION_CHOSEN, "utf8")));
  return {
    async init() {},
    async check(mutants) {
      const statusOf = (mutant) =>
        chosen.has(keyOf(mutant))
          ? { status: CheckStatus.Passed }
          : { status: CheckStatus.CompileError, reason: "not in the sample" };
      return Object.fromEntries(mutants.map((mutant) => [mutant.id, statusOf(mutant)]));
    },
    async group(mutants) {
      return [mutants.map(({ id }) => id)];
    },
  };
}
