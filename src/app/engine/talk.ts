// The conversation that begins with the page's last question: its messages as plain data, which survive a lost device, and the
// session in which it goes on, so that only what is new in a turn is computed.
import type { Answer, AnswerOptions } from "../../answer.ts";
import { InputError } from "../../errors.ts";
import { fitted } from "../../inspect/heat-map.ts";
import type { Llava } from "../../llava.ts";
import type { ModelInputs } from "../../models/inputs.ts";
import type { ConversationMessage } from "../../models/processor.ts";
import type { RgbImage } from "../../preprocess/image.ts";
import type { Session } from "../../session.ts";
import type { ChatAnswerView, ChatRequest, MethodChoice } from "../protocol.ts";
import { type MethodRun, methodOptions, methodView } from "./method-answer.ts";
import { LARGEST_SIDE } from "./question.ts";

/** A follow-up that was answered. */
interface Turn {
  readonly method: MethodChoice;
  readonly numTokens: number;
  /** The messages up to its question, without its answer. */
  readonly messages: readonly ConversationMessage[];
  readonly answer: ConversationMessage;
}

/** What an answer came from, to look into it again. */
export interface Answered {
  readonly inputs: ModelInputs;
  readonly method: MethodChoice;
  readonly numTokens: number;
  /** The pictures of the prompt, in order, of any size. */
  readonly pictures: readonly RgbImage[];
  /** Answers prepared inputs where the prompt's keys and values are. */
  answer(inputs: ModelInputs, options: AnswerOptions): Promise<Answer>;
}

/** A conversation after a first question and its answer. */
export class Talk {
  private turns: readonly Turn[] = [];
  private opened: { readonly model: Llava; readonly session: Session } | undefined;
  private readonly pictures = new WeakMap<RgbImage, RgbImage>();

  /**
   * Asks the next question.
   * @param start the messages of the first question and its answer
   * @throws InputError for more turns to keep than there are, or what the model does not take; GpuError; AbortError.
   */
  async ask(
    model: Llava,
    request: ChatRequest,
    { start, run }: { readonly start: readonly ConversationMessage[]; readonly run: MethodRun },
  ): Promise<ChatAnswerView> {
    const { question, image, method, maxNewTokens, numKept } = request;
    if (numKept > this.turns.length) {
      throw new InputError(
        `The conversation has ${this.turns.length} follow-ups, and ${numKept} were to stay: begin anew.`,
      );
    }
    const kept = this.turns.slice(0, numKept);
    const last = kept.at(-1);
    const before = last === undefined ? start : [...last.messages, last.answer];
    const messages = [...before, messageOf(question, image)];
    const startMs = performance.now();
    const options = methodOptions(method, { ...run, maxNewTokens });
    const answer = await this.sessionOf(model).ask(messages, options).answer;
    const elapsedMs = performance.now() - startMs;
    const numTokens = answer.tokens.length;
    this.turns = [...kept, { method, numTokens, messages, answer: answerOf(answer.text) }];
    return {
      ...methodView(model, answer, elapsedMs),
      pictures: picturesIn(messages).map((picture) => this.small(picture)),
    };
  }

  /** What a follow-up's answer came from. @throws InputError when there is no such follow-up. */
  answered(model: Llava, index: number): Answered {
    const turn = this.turns[index];
    if (turn === undefined) throw new InputError(`There is no follow-up ${index + 1}: ask it first.`);
    const { processor } = model;
    const { prompt, images } = processor.conversation(turn.messages);
    const session = this.sessionOf(model);
    return {
      inputs: processor.inputs(prompt, images),
      method: turn.method,
      numTokens: turn.numTokens,
      pictures: picturesIn(turn.messages).map((picture) => this.small(picture)),
      answer: (inputs, options) => session.answer(inputs, options).answer,
    };
  }

  /** Gives keys and values back. */
  close(): void {
    this.opened?.session.close();
    this.opened = undefined;
  }

  /** The session on this model: after a lost device it is another one, which computes the messages again. */
  private sessionOf(model: Llava): Session {
    if (this.opened?.model !== model) this.opened = { model, session: model.session() };
    return this.opened.session;
  }

  private small(picture: RgbImage): RgbImage {
    const known = this.pictures.get(picture) ?? fitted(picture, { most: LARGEST_SIDE });
    this.pictures.set(picture, known);
    return known;
  }
}

/** A question, with its picture before it where it has one. */
export function messageOf(question: string, image: RgbImage | undefined): ConversationMessage {
  if (image === undefined) return { role: "user", content: question };
  return {
    role: "user",
    content: [
      { type: "image", image },
      { type: "text", text: question },
    ],
  };
}

/** An answer. */
export function answerOf(text: string): ConversationMessage {
  return { role: "assistant", content: text.trim() };
}

function picturesIn(messages: readonly ConversationMessage[]): readonly RgbImage[] {
  return messages.flatMap(({ content }) =>
    typeof content === "string" ? [] : content.flatMap((part) => (part.type === "image" ? [part.image] : [])),
  );
}
