// An answer that a worker gives: its tokens with `for await`, or the whole.

import type { GeneratedToken } from "../generate/generate.ts";
import type { WorkerResult } from "./protocol.ts";

/** One answer, which has begun; its tokens as they come, or the whole. */
export class WorkerAnswer implements AsyncIterable<GeneratedToken> {
  /** The whole answer. It rejects as {@link WorkerModel.ask} says. */
  readonly answer: Promise<WorkerResult>;
  private readonly stop: () => void;
  private readonly tokens: GeneratedToken[] = [];
  private isOver = false;
  private waiting: (() => void)[] = [];

  /** @internal */
  constructor(begin: (onToken: (token: GeneratedToken) => void) => Promise<WorkerResult>, stop: () => void) {
    this.stop = stop;
    this.answer = begin((token) => {
      this.tokens.push(token);
      this.wake();
    });
    const end = () => {
      this.isOver = true;
      this.wake();
    };
    this.answer.then(end, end); // an iteration throws the same error
  }

  /** The tokens, those that have come before the iteration began too. Leaving the loop early stops the answer. */
  async *[Symbol.asyncIterator](): AsyncGenerator<GeneratedToken, void, void> {
    try {
      for (let index = 0; ; ) {
        const token = this.tokens[index];
        if (token !== undefined) {
          index++;
          yield token;
        } else if (this.isOver) {
          await this.answer;
          return;
        } else {
          await new Promise<void>((resolve) => this.waiting.push(resolve));
        }
      }
    } finally {
      if (!this.isOver) this.stop();
    }
  }

  private wake(): void {
    const { waiting } = this;
    this.waiting = [];
    for (const resolve of waiting) resolve();
  }
}
