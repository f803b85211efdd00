// The answer of a session as a stream: its tokens with `for await`, or the whole.
import type { Answer } from "./answer.ts";
import { AbortError, InputError } from "./errors.ts";
import type { GeneratedToken, TurnChange } from "./generate/generate.ts";

/** How an answer runs: begun, advanced in turns, and ended with the whole or without it. */
interface AnswerWork {
  readonly begin: () => AnswerSteps;
  readonly end: (answer: Answer | undefined) => void;
  readonly inTurn: <T>(work: () => Promise<T>) => Promise<T>;
}

/** The tokens of an answer as it runs, and where it goes on; it begins inside a turn. */
export type AnswerSteps = AsyncGenerator<GeneratedToken | TurnChange, Answer, void>;

type Step = IteratorResult<GeneratedToken | TurnChange, Answer>;

/** What a generator that is left early returns; never seen. */
const LEFT = undefined as unknown as Answer;

/** One answer: its tokens as they come, or the whole. Nothing runs before one of them is asked for. */
export class AnswerStream implements AsyncIterable<GeneratedToken> {
  private readonly work: AnswerWork;
  private whole: Promise<Answer> | undefined;
  private settle: ((ending: { readonly answer: Answer } | { readonly error: unknown }) => void) | undefined;

  /** @internal */
  constructor(work: AnswerWork) {
    this.work = work;
  }

  /**
   * The whole answer. Where nobody iterates, all of it runs at once; else it is there when the iteration has ended.
   * @throws as `Session.ask`; AbortError where the iteration was left before its end.
   */
  get answer(): Promise<Answer> {
    this.whole ??= this.runWhole();
    return this.whole;
  }

  /** The tokens as they come; other sessions may run between two of them. One iteration only. */
  async *[Symbol.asyncIterator](): AsyncGenerator<GeneratedToken, void, void> {
    if (this.whole !== undefined) throw new InputError("The answer was asked for already: iterate over it only once.");
    this.whole = new Promise((resolve, reject) => {
      this.settle = (ending) => ("answer" in ending ? resolve(ending.answer) : reject(ending.error));
    });
    this.whole.catch(() => undefined); // the iteration throws the same error
    const { begin, end, inTurn } = this.work;
    let steps: AnswerSteps;
    try {
      steps = begin();
    } catch (error) {
      this.settle?.({ error });
      throw error;
    }
    let answer: Answer | undefined;
    let failure: { readonly error: unknown } | undefined;
    try {
      for (let place: TurnChange = "inside"; ; ) {
        const next: Step = place === "inside" ? await inTurn(() => steps.next()) : await steps.next();
        if (next.done === true) {
          answer = next.value;
          return;
        }
        if (typeof next.value === "string") place = next.value;
        else yield next.value;
      }
    } catch (error) {
      failure = { error };
      throw error;
    } finally {
      const isLeft = answer === undefined && failure === undefined;
      if (isLeft) await inTurn(async () => void (await steps.return(LEFT)));
      else await steps.return(LEFT).catch(() => undefined); // frees what it holds where the GPU's error came after its last step
      end(answer);
      this.settle?.(
        answer === undefined ? (failure ?? { error: new AbortError("The answer", "by its reader") }) : { answer },
      );
    }
  }

  private async runWhole(): Promise<Answer> {
    const { begin, end, inTurn } = this.work;
    const steps = begin();
    const untilChange = async (): Promise<Step> => {
      for (;;) {
        const next = await steps.next();
        if (next.done === true || typeof next.value === "string") return next;
      }
    };
    let answer: Answer | undefined;
    try {
      for (let place: TurnChange = "inside"; ; ) {
        const next: Step = place === "inside" ? await inTurn(untilChange) : await untilChange();
        if (next.done === true) {
          answer = next.value;
          return answer;
        }
        if (typeof next.value === "string") place = next.value;
      }
    } finally {
      await steps.return(LEFT).catch(() => undefined); // as above
      end(answer);
    }
  }
}
