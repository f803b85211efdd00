// Several interventions side by side: one prefill, then one batched decode step in which every row has its own edits; from
// there on the rows share the prompt's keys and values and go on generating as one batch, each with its own tail of the cache.
import { throwIfAborted } from "../errors.ts";
import type { Executor } from "../gpu/executor.ts";
import type { Batch, Sequence } from "./sequence.ts";
import type { TokenChoice } from "./token-chooser.ts";

/** What came out of one row. */
export interface SweptRow {
  /** Generated ids, the end token included. */
  readonly tokenIds: readonly number[];
  readonly isEnded: boolean;
  /** Largest probability of the first token under the row's edits. */
  readonly confidence: number;
}

/**
 * Generates greedily under each row's edits, which act on the last prompt row and on generated rows as far as they reach.
 * @param prompt its positions, all but the last of which must be in the cache, and the edits
 * @throws AbortError between steps; GpuError when logits are not finite.
 */
export async function sweep(
  sequence: Sequence,
  prompt: {
    readonly promptLength: number;
    readonly numRows: number;
    /** Each row's edits, packed. */
    readonly edits: Uint32Array<ArrayBuffer>;
    /** Whether an edit acts on generated rows too. */
    readonly reachesGenerated: boolean;
  },
  options: {
    readonly executor: Executor;
    readonly maxNewTokens: number;
    readonly eosTokenIds: readonly number[];
    readonly signal: AbortSignal | undefined;
  },
): Promise<SweptRow[]> {
  const { promptLength, numRows, edits, reachesGenerated } = prompt;
  const { executor, maxNewTokens } = options;
  const batch: Batch = { numRows, prefixLength: promptLength - 1, tailLength: maxNewTokens };
  await sequence.repeatPromptRow(promptLength - 1, { executor, edits, batch, stage: "sweep step 0" });
  const choose = (index: number) => sequence.chooser.chooseRows(executor, { numRows, stage: `choose tokens ${index}` });
  let choices = await choose(0);
  const rows = choices.map(({ confidence }) => ({ tokenIds: [] as number[], isEnded: false, confidence }));
  for (let numTokens = 1; ; numTokens++) {
    for (const [index, row] of rows.entries()) if (!row.isEnded) take(row, choices[index], options.eosTokenIds);
    if (numTokens === maxNewTokens || rows.every(({ isEnded }) => isEnded)) return rows;
    throwIfAborted(options.signal, "The sweep");
    // A row that has ended runs on with its end token until the others have; its tokens are dropped.
    const lastIds = rows.map(({ tokenIds }) => tokenIds.at(-1) ?? 0);
    await sequence.step(lastIds, promptLength + numTokens - 1, {
      executor,
      edits: reachesGenerated ? edits : undefined,
      batch,
      stage: `sweep step ${numTokens}`,
    });
    choices = await choose(numTokens);
  }
}

function take(
  row: { tokenIds: number[]; isEnded: boolean },
  choice: TokenChoice | undefined,
  eosTokenIds: readonly number[],
): void {
  if (choice === undefined) return;
  row.tokenIds.push(choice.tokenId);
  row.isEnded = eosTokenIds.includes(choice.tokenId);
}
