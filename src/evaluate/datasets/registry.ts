// The registered data sets. A new one is a file in this folder and a line here.

import { InputError } from "../../errors.ts";
import { CAPTIONS } from "./captions.ts";
import type { DataSet } from "./dataset.ts";
import { LLAVA } from "./llava.ts";
import { VLMEVALKIT } from "./vlmevalkit.ts";
import { VSR } from "./vsr.ts";
import { WHATS_UP } from "./whats-up.ts";

/** Every registered data set, in the order in which help texts list them. */
export const DATA_SETS: readonly DataSet[] = [...WHATS_UP, VSR, ...VLMEVALKIT, LLAVA, CAPTIONS];

/**
 * The data set of a name or alias, without regard to case.
 * @throws InputError when none has it.
 */
export function dataSetNamed(name: string): DataSet {
  const wanted = name.toLowerCase();
  const found = DATA_SETS.find((dataSet) =>
    [dataSet.name, ...dataSet.aliases].some((own) => own.toLowerCase() === wanted),
  );
  if (found !== undefined) return found;
  throw new InputError(
    `unknown data set ${JSON.stringify(name)}: expected one of ${DATA_SETS.map((set) => set.name).join(", ")}.`,
  );
}
