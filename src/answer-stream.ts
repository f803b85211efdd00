// The answer of a session as a stream: its tokens with `for await`, or the whole.
import type { Answer } from "./answer.ts";
import { AbortError, InputError } from "./errors.ts";
import type { GeneratedToken } from "./generate/generate.ts";

/** How an answer runs: begun, advanced in turns, and ended with the whole or without it. */
interface AnswerWork {
  readonly begin: () => AsyncGenerator<GeneratedToken, Answer, void>;
  readonly end: (answer: Answer | undefined) => void;
  readonly inTurn: <T>(work: () => Promise<T>) => Promise<T>;
}

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
    let tokens: ReturnType<AnswerWork["begin"]>;
    try {
      tokens = begin();
    } catch (error) {
      this.settle?.({ error });
      throw error;
    }
    let answer: Answer | undefined;
    let failure: { readonly error: unknown } | undefined;
    try {
      for (;;) {
        const next = await inTurn(() => tokens.next());
        if (next.done === true) {
          answer = next.value;
          return;
        }
        yield next.value;
      }
    } catch (error) {
      failure = { error };
      throw error;
    } finally {
      const isLeft = answer === undefined && failure === undefined;
      if (isLeft) await inTurn(async () => void (await tokens.return(LEFT)));
      else await tokens.return(LEFT).catch(() => undefined); // frees what it holds where the GPU's error came after its last step
      end(answer);
      this.settle?.(
        answer === undefined ? (failure ?? { error: new AbortError("The answer", "by its reader") }) : { answer },
      );
    }
  }

  private async runWhole(): Promise<Answer> {
    const { begin, end, inTurn } = this.work;
    const tokens = begin();
    let answer: Answer | undefined;
    try {
      answer = await inTurn(async () => {
        for (;;) {
          const next = await tokens.next();
          if (next.done === true) return next.value;
        }
      });
      return answer;
    } finally {
      await tokens.return(LEFT).catch(() => undefined); // as above
      end(answer);
    }
  }
}
