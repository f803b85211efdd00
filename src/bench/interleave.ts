// Compared things run in turns, A B A B …, so that a machine that slows down or speeds up does so for all of them.
import { throwIfAborted } from "../errors.ts";

/** How many turns. */
export interface RoundsOptions {
  readonly rounds: number;
  /** No further round is begun after this much time, ms; the first always runs. */
  readonly budgetMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs each of `runs` once a round, in their order.
 * @returns what each gave, in the order of the rounds
 * @throws AbortError between runs.
 */
export async function interleave<Name extends string, T>(
  runs: Readonly<Record<Name, () => Promise<T>>>,
  options: RoundsOptions,
): Promise<Record<Name, T[]>> {
  const names = Object.keys(runs) as Name[]; // exactly the record's names
  const results = Object.fromEntries(names.map((name) => [name, [] as T[]])) as Record<Name, T[]>;
  const started = performance.now();
  for (let round = 0; round < options.rounds; round++) {
    if (round > 0 && performance.now() - started > options.budgetMs) break;
    for (const name of names) {
      throwIfAborted(options.signal, "The bench");
      results[name].push(await runs[name]());
    }
  }
  return results;
}
