// The start: a fresh process from its first instruction to the first token of an answer, with the driver's cache of compiled
// kernels empty and filled.

import { type Spread, spreadOf } from "./statistics.ts";
import { interleave, type RoundsOptions } from "./timing.ts";

/** Parts of a start, in the order of the table. Each is reported as ms from process start to its end. */
export const START_PARTS = ["imported", "device", "loaded", "compiled", "firstToken", "process"] as const;

/** End times of the parts of one start; `process` is measured from outside, from spawning to exit. */
export type StartSample = Readonly<Record<(typeof START_PARTS)[number], number>>;

/** A model's start. */
export interface StartFigures {
  /** The part's name, start/… */
  readonly name: string;
  /** With the driver's cache empty, as after an installation. */
  readonly first: Readonly<Record<keyof StartSample, Spread>>;
  /** With the driver's cache filled by earlier starts; no different for drivers without such a cache. */
  readonly repeat: Readonly<Record<keyof StartSample, Spread>>;
}

/** State of the driver's cache of compiled kernels. */
export type DriverCache = "empty" | "kept";

/** Starts a process that asks one question of the model in `folder`. @throws AbortError, or an Error with the end of its output. */
export type StartProcess = (folder: string, cache: DriverCache) => Promise<StartSample>;

/** Bench parts that measure a start, one per model. */
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
