// One thing at a time: what begins stops what ran before, and a stop counts from the press on, whatever the page waits for.

import { AbortError } from "../errors.ts";

/** One action, from its begin on; whether it was stopped. */
export class Turn {
  private isStopped = false;

  /** From now on {@link throwIfStopped} throws. */
  stop(): void {
    this.isStopped = true;
  }

  /** To be called after every wait of the page's own, before the worker is asked for something. @throws AbortError. */
  throwIfStopped(): void {
    if (this.isStopped) throw new AbortError("The action");
  }
}

/** Runs actions one after the other. */
export class Turns {
  private readonly stopWorker: () => Promise<void>;
  private last: { readonly turn: Turn; readonly done: Promise<unknown> } | undefined;

  /** @param stopWorker stops what the worker does now; it does nothing for what the worker is only about to hear of */
  constructor(stopWorker: () => Promise<void>) {
    this.stopWorker = stopWorker;
  }

  /** Whether no action runs or waits. */
  get isIdle(): boolean {
    return this.last === undefined;
  }

  /**
   * Stops the action of before, and runs `work` when that has ended.
   * @returns what happened, once it has ended: undefined, or what `work` threw
   */
  async take(work: (turn: Turn) => Promise<void>): Promise<{ readonly error: unknown } | undefined> {
    const before = this.last;
    const turn = new Turn();
    const done = this.run(turn, before, work).then(
      () => undefined,
      (error: unknown) => ({ error }),
    );
    this.last = { turn, done };
    const outcome = await done;
    if (this.last.turn === turn) this.last = undefined;
    return outcome;
  }

  /** Stops the action that runs or waits. */
  async stop(): Promise<void> {
    if (this.last === undefined) return;
    this.last.turn.stop();
    await this.stopWorker();
  }

  private async run(turn: Turn, before: Turns["last"], work: (turn: Turn) => Promise<void>): Promise<void> {
    if (before !== undefined) {
      before.turn.stop();
      await this.stopWorker();
      await before.done;
    }
    turn.throwIfStopped();
    await work(turn);
  }
}
