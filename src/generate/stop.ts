// When an answer ends: at its length, or at a stop string in the streamed text. Text that may still become a stop string is held back until it is clear.

/** New tokens of an answer unless the caller says otherwise. */
export const DEFAULT_MAX_NEW_TOKENS = 64;

/** Watches streamed text for stop strings. */
export class StopMatcher {
  private readonly stops: readonly string[];
  private held = "";

  /** @param stops texts that end an answer and are not part of it; empty ones are ignored */
  constructor(stops: readonly string[]) {
    this.stops = stops.filter((stop) => stop !== "");
  }

  /** Adds text; returns what may be shown now and whether a stop string was met. */
  push(piece: string): { readonly text: string; readonly isStopped: boolean } {
    const text = this.held + piece;
    const ends = this.stops.map((stop) => text.indexOf(stop)).filter((index) => index >= 0);
    if (ends.length > 0) {
      this.held = "";
      return { text: text.slice(0, Math.min(...ends)), isStopped: true };
    }
    const numHeld = this.longestOpenSuffix(text);
    this.held = text.slice(text.length - numHeld);
    return { text: text.slice(0, text.length - numHeld), isStopped: false };
  }

  /** The text still held back when generation ended for another reason. */
  flush(): string {
    const rest = this.held;
    this.held = "";
    return rest;
  }

  private longestOpenSuffix(text: string): number {
    const longest = Math.max(0, ...this.stops.map((stop) => stop.length));
    for (let length = Math.min(longest, text.length); length > 0; length--) {
      const suffix = text.slice(text.length - length);
      if (this.stops.some((stop) => stop.startsWith(suffix))) return length;
    }
    return 0;
  }
}
