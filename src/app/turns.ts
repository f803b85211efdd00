// One action at a time: a new action stops the previous one, and a stop takes effect at once, even while the page waits.

import { AbortError } from "../errors.ts";

/** A started action, and whether it was stopped. */
export class Turn {
  private isStopped = false;

  /** Makes {@link throwIfStopped} throw from now on. */
  stop(): void {
    this.isStopped = true;
  }

  /** Call it after every await of the page, before the next call of the worker. @throws AbortError. */
  throwIfStopped(): void {
    if (this.isStopped) throw new AbortError("The action");
  }
}

/** Runs actions one after the other. */
export class Turns {
  private readonly stopWorker: () => Promise<void>;
  private last: { readonly turn: Turn; readonly done: Promise<unknown> } | undefined;

  /** @param stopWorker stops the worker's current call; has no effect on calls that have not reached the worker */
  constructor(stopWorker: () => Promise<void>) {
    this.stopWorker = stopWorker;
  }

  /** Whether no action runs or waits. */
  get isIdle(): boolean {
    return this.last === undefined;
  }

  /**
   * Stops the previous action, and runs `work` when that has ended.
   * @returns undefined, or the error that `work` threw
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
