// How fast a download is, and how long the rest of it will take.

/** The time over which a rate is taken, milliseconds: long enough not to jump, short enough to follow a change of networks. */
const WINDOW_MS = 8000;
/** The shortest time that a rate is taken over, milliseconds. */
const LEAST_MS = 1000;

/** Bytes per second over the last seconds. */
export class DownloadRate {
  private samples: { readonly timeMs: number; readonly receivedBytes: number }[] = [];

  /**
   * Notes how much has come.
   * @param receivedBytes since the start of the download
   * @param timeMs of a monotonic clock
   */
  note(receivedBytes: number, timeMs: number): void {
    const recent = this.samples.filter((sample) => timeMs - sample.timeMs <= WINDOW_MS);
    this.samples = [...recent, { timeMs, receivedBytes }];
  }

  /** Undefined until there is enough to tell. */
  get bytesPerSecond(): number | undefined {
    const [first] = this.samples;
    const last = this.samples.at(-1);
    if (first === undefined || last === undefined || last.timeMs - first.timeMs < LEAST_MS) return undefined;
    return ((last.receivedBytes - first.receivedBytes) * 1000) / (last.timeMs - first.timeMs);
  }
}

/** "about 3 min left"; empty where the rate is not known or nothing comes. */
export function timeLeft(restBytes: number, bytesPerSecond: number | undefined): string {
  if (bytesPerSecond === undefined || bytesPerSecond <= 0) return "";
  const seconds = restBytes / bytesPerSecond;
  if (seconds < 10) return "a few seconds left";
  if (seconds < 55) return `about ${Math.ceil(seconds / 10) * 10}\u00a0s left`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60
    ? `about ${Math.max(1, minutes)}\u00a0min left`
    : `about ${(seconds / 3600).toFixed(1)}\u00a0h left`;
}
