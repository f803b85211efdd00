// The tokens of an answer that decodes alone while nothing else wants the model, and in a batch with others from then on.
import type { BatchSeat } from "./decode-batch.ts";
import { chosenTokens, type StepwiseOptions, type TurnChange } from "./generate.ts";
import type { Sequence } from "./sequence.ts";
import type { ChosenToken, TokenPicker } from "./token-picker.ts";

/** What decides when an answer joins a batch. */
export interface JoiningOptions {
  /** Whether something else wants the model. */
  readonly isContended: () => boolean;
  /** Joins the batch; undefined where that has no room. */
  readonly join: () => Promise<BatchSeat | undefined>;
  /** Called once the sequence is no longer needed. */
  readonly onJoined: () => void;
}

/** As {@link chosenTokens}; says where it goes on. */
export async function* batchedTokens(
  sequence: Sequence,
  picker: TokenPicker,
  { isContended, join, onJoined, ...options }: StepwiseOptions & JoiningOptions,
): AsyncGenerator<ChosenToken | TurnChange, void, void> {
  let seat: BatchSeat | undefined;
  for await (const chosen of chosenTokens(sequence, picker, options)) {
    const wasContended = isContended(); // at the end of the turn: in the next one, others have had theirs and may not wait yet
    yield chosen;
    if (wasContended || isContended()) seat = await join();
    if (seat !== undefined) break;
  }
  if (seat === undefined) return;
  try {
    onJoined();
    yield "outside";
    for (;;) yield await seat.next();
  } finally {
    seat.leave();
  }
}
