// How often the device went away: some losses are worth a new device, a device that goes at once again and again is not.
import { CheckpointError, GpuError, InputError } from "../../errors.ts";

/** Losses within this time count together, milliseconds. */
const WINDOW_MS = 60_000;
/** The loss at which nothing more is tried. */
const MOST_LOSSES = 3;

/** Counts lost devices. */
export class Losses {
  private times: number[] = [];

  /**
   * Counts one.
   * @param nowMs of a clock that only goes forward
   * @throws GpuError `device-lost` when it is the third within a minute.
   */
  count(reason: string, nowMs: number): void {
    this.times = [...this.times.filter((time) => nowMs - time < WINDOW_MS), nowMs];
    if (this.times.length < MOST_LOSSES) return;
    this.times = [];
    throw new GpuError(
      "device-lost",
      `The GPU device was lost ${MOST_LOSSES} times within a minute (${reason}); close other programs that use the GPU, or try a smaller model, and load again.`,
    );
  }
}

/** How long a device's `lost` may come behind the error that it caused, milliseconds. */
const GRACE_MS = 250;

/**
 * Whether an error came of a lost device: it says so, or the device turns out to be lost. An AbortError may come of one, too,
 * since the lost model is disposed of; whether it came of a stop, the caller knows.
 * @param lost resolves when the device is lost
 */
export async function isDeviceLoss(error: unknown, lost?: Promise<unknown>): Promise<boolean> {
  if (lost === undefined) return error instanceof GpuError && error.reason === "device-lost";
  if (error instanceof InputError || error instanceof CheckpointError) return false;
  const late = new Promise<false>((resolve) => setTimeout(() => resolve(false), GRACE_MS));
  return Promise.race([lost.then(() => true), late]);
}
