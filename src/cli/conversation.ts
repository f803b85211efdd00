// A conversation of the command line: its turns, the answers that each was given, and its forms as messages, JSON and Markdown.
import { basename } from "node:path";
import { type Answer, type AnswerOptions, answerJson } from "../answer.ts";
import { AbortError, at, InputError } from "../errors.ts";
import type { GeneratedToken } from "../generate/generate.ts";
import { titleOf } from "../interventions/registry.ts";
import type { Llava } from "../llava.ts";
import type { ModelInputs } from "../models/inputs.ts";
import type { ConversationMessage, PicturePart } from "../models/processor.ts";
import type { RgbImage } from "../preprocess/image.ts";
import type { Session as ModelSession } from "../session.ts";
import { numbersOf, shorten } from "./answer-report.ts";

/** A picture and its file. */
export interface ChatPicture {
  readonly file: string;
  readonly image: RgbImage;
}

/** How answers are made: a method, its settings, and what stays the same throughout the conversation. */
export interface ChatMethod {
  /** As `--method` of eval writes it. */
  readonly name: string;
  readonly options: AnswerOptions;
  readonly rmsNormEps: number | undefined;
}

/** An answer of a turn. */
export interface TurnAnswer {
  readonly method: ChatMethod;
  readonly tokens: readonly GeneratedToken[];
  readonly text: string;
  /** Undefined for one that was interrupted. */
  readonly whole: Answer | undefined;
  readonly firstTokenMs: number;
  readonly answerMs: number;
}

/** A question with its pictures and the answers that it was given; the conversation goes on from the last. */
export interface Turn {
  /** 0, or the number of /clear before it. */
  readonly conversation: number;
  readonly question: string;
  readonly pictures: readonly ChatPicture[];
  readonly answers: readonly [TurnAnswer, ...TurnAnswer[]];
}

/** A conversation with a model. */
export class Conversation {
  private readonly model: Llava;
  private readonly earlier: Turn[] = [];
  private current: Turn[] = [];
  private number = 0;
  private session: ModelSession | undefined;
  private sessionEps: number | undefined;
  private systemText: string | undefined;

  constructor(model: Llava) {
    this.model = model;
  }

  /** The turns since the last {@link clear}. */
  get turns(): readonly Turn[] {
    return this.current;
  }

  /** The system message. */
  get system(): string | undefined {
    return this.systemText;
  }

  /** Sets the system message. @throws InputError where the chat template has no place for one. */
  setSystem(text: string | undefined): void {
    if (text !== undefined) {
      this.model.processor.conversation([
        { role: "system", content: text },
        { role: "user", content: "?" },
      ]);
    }
    this.systemText = text;
  }

  /** Begins a new conversation; method and system message stay. */
  clear(): void {
    this.earlier.push(...this.current);
    if (this.current.length > 0) this.number++;
    this.current = [];
  }

  /**
   * Asks the next question.
   * @returns the turn; undefined where it was interrupted before its first token
   * @throws InputError for a question that does not fit the template or the context, or settings that cannot be; GpuError.
   */
  async ask(
    question: string,
    pictures: readonly ChatPicture[],
    run: {
      readonly method: ChatMethod;
      readonly signal: AbortSignal;
      readonly onToken: (token: GeneratedToken) => void;
    },
  ): Promise<Turn | undefined> {
    const answer = await this.answer([...this.messages(), userMessage(question, pictures)], run);
    if (answer === undefined) return undefined;
    const turn: Turn = { conversation: this.number, question, pictures, answers: [answer] };
    this.current.push(turn);
    return turn;
  }

  /** Asks the last question again, and goes on from the new answer. @returns and @throws as {@link ask} */
  async again(run: Parameters<Conversation["ask"]>[2]): Promise<Turn | undefined> {
    const last = at(this.current, this.current.length - 1);
    const before = this.messages(this.current.length - 1);
    const answer = await this.answer([...before, userMessage(last.question, last.pictures)], run);
    if (answer === undefined) return undefined;
    const turn: Turn = { ...last, answers: [...last.answers, answer] };
    this.current[this.current.length - 1] = turn;
    return turn;
  }

  /** The inputs of a turn's question, with all that came before it. */
  inputsOf(turn: number): ModelInputs {
    const { question, pictures } = at(this.current, turn);
    const { processor } = this.model;
    const { prompt, images } = processor.conversation([...this.messages(turn), userMessage(question, pictures)]);
    return processor.inputs(prompt, images);
  }

  /** A session for answers with this epsilon. It keeps the keys and values of the conversation. */
  sessionOf({ rmsNormEps }: ChatMethod): ModelSession {
    if (this.session !== undefined && this.sessionEps === rmsNormEps) return this.session;
    this.session?.close();
    this.session = this.model.session({ rmsNormEps });
    this.sessionEps = rmsNormEps;
    return this.session;
  }

  /** Gives keys and values back. */
  close(): void {
    this.session?.close();
    this.session = undefined;
  }

  /** All turns, those before a /clear included, and the messages since, for --json and /save. */
  json(): object {
    const pictureParts = ({ pictures }: Turn) => pictures.map(({ file }) => ({ type: "image", file }));
    return {
      system: this.systemText ?? null,
      messages: this.current.flatMap((turn) => [
        { role: "user", content: [...pictureParts(turn), { type: "text", text: turn.question }] },
        { role: "assistant", content: [{ type: "text", text: lastOf(turn).text.trim() }] },
      ]),
      turns: [...this.earlier, ...this.current].map(({ conversation, question, pictures, answers }) => ({
        conversation,
        question,
        images: pictures.map(({ file }) => file),
        answers: answers.map(turnAnswerJson),
      })),
    };
  }

  /** The conversation since the last /clear. */
  markdown(): string {
    const quoted = (text: string) => text.split("\n").map((line) => `> ${line}`.trimEnd());
    const lines = [`# Conversation with ${basename(this.model.name)}`, ""];
    if (this.systemText !== undefined) lines.push("**System**", "", ...quoted(this.systemText), "");
    for (const { question, pictures, answers } of this.current) {
      lines.push("**User**", "");
      for (const { file } of pictures) lines.push(`![${basename(file)}](<${file}>)`, "");
      lines.push(...quoted(question), "");
      for (const answer of answers) {
        lines.push(`**${describeAnswer(answer)}**`, "", ...quoted(answer.text.trim()), "");
      }
    }
    return `${lines.join("\n").trimEnd()}\n`;
  }

  /** The conversation since the last /clear, for the terminal. */
  text(): string {
    const system = this.systemText === undefined ? [] : [`System: ${this.systemText}`];
    const lines = this.current.flatMap(({ question, pictures, answers }, index) => [
      `${index + 1}. ${pictures.map(({ file }) => `[${file}] `).join("")}${question}`,
      ...answers.map((answer) => `   ${describeAnswer(answer)}: ${answer.text.trim()}`),
    ]);
    return `${[...system, ...lines].join("\n")}\n`;
  }

  private messages(numTurns = this.current.length): readonly ConversationMessage[] {
    const messages: ConversationMessage[] = [];
    if (this.systemText !== undefined) messages.push({ role: "system", content: this.systemText });
    for (const turn of this.current.slice(0, numTurns)) {
      messages.push(userMessage(turn.question, turn.pictures));
      messages.push({ role: "assistant", content: lastOf(turn).text.trim() });
    }
    return messages;
  }

  private async answer(
    messages: readonly ConversationMessage[],
    run: Parameters<Conversation["ask"]>[2],
  ): Promise<TurnAnswer | undefined> {
    const { method, signal, onToken } = run;
    const started = performance.now();
    const tokens: GeneratedToken[] = [];
    let firstTokenMs = 0;
    let whole: Answer | undefined;
    try {
      const stream = this.sessionOf(method).ask(messages, { ...method.options, signal });
      for await (const token of stream) {
        if (tokens.length === 0) firstTokenMs = performance.now() - started;
        tokens.push(token);
        onToken(token);
      }
      whole = await stream.answer;
    } catch (error) {
      if (error instanceof InputError) throw this.advised(error);
      if (!(error instanceof AbortError && signal.aborted)) throw error;
    }
    const text = whole?.text ?? tokens.map((token) => token.text).join("");
    if (whole === undefined && text.trim() === "") return undefined;
    return { method, tokens, text, whole, firstTokenMs, answerMs: performance.now() - started };
  }

  /** A context that is full is a reason to begin anew. */
  private advised(error: InputError): InputError {
    if (this.current.length === 0) return error;
    const advice = ": /clear begins a new conversation.";
    return new InputError(error.message.replace(/: shorten the text\.$/, advice), { cause: error });
  }
}

/** The answer that a conversation goes on from. */
export function lastOf({ answers }: Turn): TurnAnswer {
  return at(answers, answers.length - 1);
}

/** What a turn cost: "12 of 340 prompt tokens new, 0.8 s to the first token, …". */
export function turnLine({ whole, tokens, firstTokenMs, answerMs }: TurnAnswer): string {
  const parts: string[] = [];
  if (whole !== undefined) {
    const { promptTokens, reusedTokens } = whole;
    parts.push(`${promptTokens - reusedTokens} of ${promptTokens} prompt tokens new`);
  }
  parts.push(`${(firstTokenMs / 1000).toFixed(1)} s to the first token`);
  parts.push(`${tokens.length} ${tokens.length === 1 ? "token" : "tokens"}`);
  const rate = tokensPerSecond({ tokens, firstTokenMs, answerMs });
  if (rate !== null) parts.push(`${rate.toFixed(1)} tokens/s`);
  if (whole === undefined) return [...parts, "interrupted"].join(", ");
  return [...parts, `confidence ${whole.confidence.toFixed(2)}`, ...numbersOf(whole)].join(", ");
}

function userMessage(question: string, pictures: readonly ChatPicture[]): ConversationMessage {
  const parts = pictures.map(({ image }): PicturePart => ({ type: "image", image }));
  return { role: "user", content: [...parts, { type: "text", text: question }] };
}

/** Of the tokens after the first; null where there are none. */
function tokensPerSecond(answer: Pick<TurnAnswer, "tokens" | "firstTokenMs" | "answerMs">): number | null {
  const { tokens, firstTokenMs, answerMs } = answer;
  return tokens.length < 2 ? null : ((tokens.length - 1) * 1000) / (answerMs - firstTokenMs);
}

function describeAnswer({ whole, method }: TurnAnswer): string {
  if (whole === undefined) return `${method.name}, interrupted`;
  return [titleOf(whole.method), `confidence ${shorten(whole.confidence)}`, ...numbersOf(whole)].join(", ");
}

function turnAnswerJson(answer: TurnAnswer): object {
  const { whole, tokens, text, method, firstTokenMs, answerMs } = answer;
  const rate = tokensPerSecond(answer);
  const round = (ms: number) => Math.round(ms * 10) / 10;
  const times = {
    firstTokenMs: round(firstTokenMs),
    answerMs: round(answerMs),
    tokensPerSecond: rate === null ? null : round(rate),
  };
  if (whole !== undefined) {
    return { ...answerJson(whole), newTokens: whole.promptTokens - whole.reusedTokens, ...times };
  }
  const given = tokens.map((token) => ({ id: token.tokenId, text: token.text, logProb: token.logProb }));
  return { answer: text.trim(), method: method.name, finishReason: "interrupted", tokens: given, ...times };
}
