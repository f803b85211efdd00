// The cases of test/golden/contrast-methods, as the library takes them.
import { readFileSync } from "node:fs";
import type { MethodName, MethodSettings } from "../../src/interventions/registry.ts";
import { GOLDEN } from "./golden.ts";

/** A method under settings, and the prefix of its tensors. */
export interface ContrastCase {
  readonly name: string;
  readonly method: MethodName;
  readonly settings: MethodSettings;
}

/** Folder of the reference, below that of the goldens. */
export const CONTRAST_FOLDER = "contrast-methods";

/** Every case of tools/goldens/contrast_methods.py. */
export const { cases: CONTRAST_CASES } = JSON.parse(
  readFileSync(`${GOLDEN}/${CONTRAST_FOLDER}/cases.json`, "utf8"),
) as {
  readonly cases: readonly ContrastCase[];
};
