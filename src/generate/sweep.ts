// A sweep over factors: one prefill, then one batched decode step in which every row has its own factor; from there on the
// rows share the prompt's keys and values and go on generating as one batch, each with its own tail of the cache.
import { throwIfAborted } from "../errors.ts";
import type { Intervention } from "../models/layers/step.ts";
import type { Batch, DecoderRun } from "./decoder-run.ts";
import type { Choice } from "./token-chooser.ts";

/** What came out of one row. */
export interface SweptRow {
  /** Generated ids, the end token included. */
  readonly tokenIds: readonly number[];
  readonly isEnded: boolean;
  /** Largest probability of the first token under the row's factor. */
  readonly confidence: number;
}

/**
 * Generates greedily under each factor of `intervention`, one batch row a factor.
 * @param promptLength positions of the embedded prompt; all but the last must be in the cache
 * @throws AbortError between steps; GpuError when logits are not finite.
 */
export async function sweep(
  run: DecoderRun,
  prompt: { readonly promptLength: number; readonly intervention: Intervention },
  options: {
    readonly maxNewTokens: number;
    readonly eosTokenIds: readonly number[];
    readonly signal: AbortSignal | undefined;
  },
): Promise<SweptRow[]> {
  const { promptLength, intervention } = prompt;
  const numRows = intervention.factors.length;
  const batch: Batch = { numRows, prefixLength: promptLength - 1, tailLength: options.maxNewTokens };
  await run.repeatPromptRow(promptLength - 1, { intervention, batch, stage: "sweep step" });
  let choices = await run.chooser.chooseRows(numRows, "choose tokens 0");
  const rows = choices.map(({ confidence }) => ({ tokenIds: [] as number[], isEnded: false, confidence }));
  for (let numTokens = 1; ; numTokens++) {
    for (const [index, row] of rows.entries()) if (!row.isEnded) take(row, choices[index], options.eosTokenIds);
    if (numTokens === options.maxNewTokens || rows.every(({ isEnded }) => isEnded)) return rows;
    throwIfAborted(options.signal, "The sweep");
    // A row that has ended runs on with its end token until the others have, and nobody looks.
    const lastIds = rows.map(({ tokenIds }) => tokenIds.at(-1) ?? 0);
    await run.step(lastIds, promptLength + numTokens - 1, { intervention: undefined, batch });
    choices = await run.chooser.chooseRows(numRows, `choose tokens ${numTokens}`);
  }
}

function take(
  row: { tokenIds: number[]; isEnded: boolean },
  choice: Choice | undefined,
  eosTokenIds: readonly number[],
): void {
  if (choice === undefined) return;
  row.tokenIds.push(choice.tokenId);
  row.isEnded = eosTokenIds.includes(choice.tokenId);
}
