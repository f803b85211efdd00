// Waiting that a stop button ends.
import { AbortError } from "../../errors.ts";

/**
 * Waits for `work`, or until the signal fires; the work itself goes on.
 * @param what for the message, such as "Loading the model"
 * @throws AbortError when the signal fires; what `work` throws.
 */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal, what: string): Promise<T> {
  let stop: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(new AbortError(what));
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
  work.catch(() => undefined); // it may fail when nobody waits any more
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
