// A source that is opened by its first use.

import type { Source } from "./source.ts";

/**
 * A source that `open` makes when something of it is first read. What reads meanwhile waits for the same opening; after a failure,
 * the next use opens it again.
 * @param open gets the signal of the use that it is for
 */
export function lazySource(name: string, open: (signal: AbortSignal | undefined) => Promise<Source>): Source {
  let opening: Promise<Source> | undefined;
  const opened = (signal: AbortSignal | undefined): Promise<Source> => {
    if (opening !== undefined) return opening;
    const started = open(signal);
    opening = started;
    started.catch(() => {
      opening = undefined;
    });
    return started;
  };
  return {
    name,
    size: async (path, signal) => (await opened(signal)).size(path, signal),
    read: async (path, start, end, signal) => (await opened(signal)).read(path, start, end, signal),
    close: async () => (await opening?.catch(() => undefined))?.close?.(),
  };
}
