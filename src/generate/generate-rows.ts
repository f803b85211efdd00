// Several interventions side by side: one prefill, then one batched decode step in which every row has its own edits; from
// there on the rows share the prompt's keys and values and go on generating as one batch, each with its own tail of the cache.
import { at, throwIfAborted } from "../errors.ts";
import type { Executor } from "../gpu/executor.ts";
import type { PlaceRequests } from "../models/layers/places.ts";
import type { ContinuationScorer } from "./continuations.ts";
import type { Batch, Sequence } from "./sequence.ts";
import type { TokenChoice, TokenLogProb } from "./token-chooser.ts";

/** The tokens generated in one row. */
export interface GeneratedRow {
  /** Generated tokens, the end token included. */
  readonly tokens: readonly TokenLogProb[];
  readonly isEnded: boolean;
  /** Largest probability of the first token under the row's edits. */
  readonly confidence: number;
}

/** The rows of a batch and their edits. */
export interface PromptRows {
  readonly promptLength: number;
  readonly numRows: number;
  /** The packed edits of all rows; undefined when no row has edits. */
  readonly edits: Uint32Array<ArrayBuffer> | undefined;
  /** Whether an edit acts on generated rows too. */
  readonly reachesGenerated: boolean;
}

/**
 * Generates greedily under each row's edits, which act on the last prompt row and on generated rows as far as they reach.
 * @param prompt its positions, all but the last of which must be in the cache, and the edits
 * @param options.places places to read during the step of the last prompt row
 * @param options.scorer scores its continuations in every row
 * @throws AbortError between steps; GpuError when logits are not finite.
 */
export async function generateRows(
  sequence: Sequence,
  prompt: PromptRows,
  options: {
    readonly executor: Executor;
    readonly maxNewTokens: number;
    readonly eosTokenIds: readonly number[];
    readonly places?: PlaceRequests | undefined;
    readonly scorer?: ContinuationScorer | undefined;
    readonly signal: AbortSignal | undefined;
  },
): Promise<readonly GeneratedRow[]> {
  const { promptLength, numRows, edits, reachesGenerated } = prompt;
  const { executor, maxNewTokens, scorer, places } = options;
  const tailLength = Math.max(maxNewTokens, scorer?.maxTokens ?? 0);
  const batch: Batch = { numRows, prefixLength: promptLength - 1, tailLength };
  await sequence.repeatPromptRow(promptLength - 1, { executor, edits, batch, places, stage: "step 0 of all rows" });
  const choose = (index: number) => sequence.chooser.chooseRows(executor, { numRows, stage: `choose tokens ${index}` });
  let choices = await choose(0);
  const forward = { executor, edits: reachesGenerated ? edits : undefined };
  const scoring = { sequence, promptLength, forward, batch };
  await scorer?.first(scoring);
  const rows = choices.map(({ confidence }) => ({ tokens: [] as TokenLogProb[], isEnded: false, confidence }));
  for (let numTokens = 1; ; numTokens++) {
    for (const [index, row] of rows.entries()) if (!row.isEnded) take(row, at(choices, index), options.eosTokenIds);
    if (numTokens === maxNewTokens || rows.every(({ isEnded }) => isEnded)) break;
    throwIfAborted(options.signal, "Generation");
    // A row that has ended runs on with its end token until the others have; its tokens are dropped.
    const lastIds = rows.map(({ tokens }) => at(tokens, tokens.length - 1).tokenId);
    const position = promptLength + numTokens - 1;
    await sequence.step(lastIds, position, { ...forward, batch, stage: `step ${numTokens} of all rows` });
    choices = await choose(numTokens);
  }
  await scorer?.rest(scoring);
  return rows;
}

function take(
  row: { tokens: TokenLogProb[]; isEnded: boolean },
  { tokenId, logProb }: TokenChoice,
  eosTokenIds: readonly number[],
): void {
  row.tokens.push({ tokenId, logProb });
  row.isEnded = eosTokenIds.includes(tokenId);
}
