// The table of tuned constants as the device holds it; ops/tuning.ts says what its names mean.
import type { Constant } from "./kernel.ts";

/** Values of some overrides of a kernel. */
export type TunableChoice = Readonly<Record<string, Constant>>;

/** Which constants kernels run with on one adapter; what is left out has its default. */
export interface TuningTable {
  readonly format: 1;
  /** `tuningKey` of the device and the kernels that it was measured with. */
  readonly key: string;
  /** By the name of what is chosen, one of `TUNABLES`. */
  readonly choices: Readonly<Record<string, TunableChoice>>;
}
