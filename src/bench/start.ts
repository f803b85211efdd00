// The start: a fresh process from its first instruction to the first token of an answer, with the driver's cache of compiled
// kernels empty and filled.

import { type Spread, spreadOf } from "./statistics.ts";
import { interleave, type RoundsOptions } from "./timing.ts";

/** Parts of a start in the order of a table; ms since the process began at which each was over. */
export const START_PARTS = ["imported", "device", "loaded", "compiled", "firstToken", "process"] as const;

/** When the parts of one start were over; `process` is the whole of it from outside, from spawning to exit. */
export type StartSample = Readonly<Record<(typeof START_PARTS)[number], number>>;

/** A model's start. */
export interface StartFigures {
  /** The part's name, start/… */
  readonly name: string;
  /** With the driver's cache empty, as after an installation. */
  readonly first: Readonly<Record<keyof StartSample, Spread>>;
  /** With what earlier starts left in it. Drivers without such a cache start alike. */
  readonly repeat: Readonly<Record<keyof StartSample, Spread>>;
}

/** State of the driver's cache of compiled kernels. */
export type DriverCache = "empty" | "kept";

/** Starts a process that asks one question of the model in `folder`. @throws AbortError, or an Error with its last words. */
export type StartProcess = (folder: string, cache: DriverCache) => Promise<StartSample>;

/** Names of the models whose start is measured, as parts of the bench. */
export const START_NAMES = ["start/tiny-spatial", "start/llava-110m"] as const;

/** Measures the start of the model in `folder`. @throws as {@link StartProcess}. */
export async function measureStart(
  name: string,
  folder: string,
  run: { readonly start: StartProcess; readonly rounds: RoundsOptions },
): Promise<StartFigures> {
  await run.start(folder, "kept"); // fills the cache, and the system's cache of the files
  const { first, repeat } = await interleave(
    { first: () => run.start(folder, "empty"), repeat: () => run.start(folder, "kept") },
    run.rounds,
  );
  return { name, first: spreads(first), repeat: spreads(repeat) };
}

function spreads(samples: readonly StartSample[]): Readonly<Record<keyof StartSample, Spread>> {
  const of = (part: keyof StartSample) => spreadOf(samples.map((sample) => sample[part]));
  return {
    imported: of("imported"),
    device: of("device"),
    loaded: of("loaded"),
    compiled: of("compiled"),
    firstToken: of("firstToken"),
    process: of("process"),
  };
}
