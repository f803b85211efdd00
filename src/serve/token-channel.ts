// Tokens from the engine to a client: the engine never waits for a slow reader.
import type { GeneratedToken } from "../generate/generate.ts";

/** A queue of tokens with one writer and one reader. */
export class TokenChannel implements AsyncIterable<GeneratedToken> {
  private readonly tokens: GeneratedToken[] = [];
  private isOver = false;
  private wake: (() => void) | undefined;
  private began: (() => void) | undefined;
  /** Resolves with the first token, or the end. */
  readonly begun: Promise<void>;

  constructor() {
    this.begun = new Promise((resolve) => {
      this.began = resolve;
    });
  }

  /** Whether it ended without a token. */
  get isEmpty(): boolean {
    return this.isOver && this.tokens.length === 0;
  }

  push(token: GeneratedToken): void {
    this.tokens.push(token);
    this.notify();
  }

  end(): void {
    this.isOver = true;
    this.notify();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<GeneratedToken, void, void> {
    for (;;) {
      const token = this.tokens.shift();
      if (token !== undefined) yield token;
      else if (this.isOver) return;
      else
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
    }
  }

  private notify(): void {
    this.began?.();
    this.wake?.();
    this.wake = undefined;
  }
}
