// adaptvis chat: a conversation with a model about pictures.
import type { Command } from "commander";
import { writeFileWhole } from "../checkpoint/write-file.node.ts";
import { InputError, throwIfAborted } from "../errors.ts";
import { middleLayer } from "../inspect/attention-map.ts";
import { readImageFile } from "../preprocess/decode-image.node.ts";
import { parseArms } from "./arms.ts";
import { streamTo } from "./ask.ts";
import { COMMAND_WORDS, helpText, parseCommand, parseHeatMap, type TypedCommand, unquoted } from "./chat-commands.ts";
import { wordMap } from "./chat-heat-map.ts";
import { ChatInput } from "./chat-input.ts";
import { asUsage, checkOutput, checkSelection, repeated, wholeFrom } from "./checks.ts";
import {
  type ChatMethod,
  type ChatPicture,
  Conversation,
  lastOf,
  type Turn,
  type TurnAnswer,
  turnLine,
} from "./conversation.ts";
import {
  addMethodOptions,
  addModelOptions,
  addSamplingOptions,
  type MethodFlags,
  type ModelFlags,
  methodOptions,
  type SamplingFlags,
  samplingOptions,
} from "./flags.ts";
import { type OpenModel, openModel } from "./open-model.ts";
import { examples } from "./package-files.ts";
import { defineCommand, type Session, styled, UsageError } from "./session.ts";

/** Parsed options of `chat`. */
interface ChatFlags extends ModelFlags, MethodFlags, SamplingFlags {
  readonly image?: readonly string[];
  readonly exif: boolean;
  readonly system?: string;
  readonly layer?: number;
  readonly head?: number;
}

/** `adaptvis chat`. */
export const chatCommand = defineCommand("chat", describeChat, chat);

/** Describes `chat` to commander. */
function describeChat(command: Command): Command {
  command.description("Talk with a model about pictures; each answer runs only what is new of the conversation.");
  addModelOptions(command, "a vision-language checkpoint in Hugging Face's layout (default: the embedded tiny-spatial)")
    .option(
      "--image <file>",
      "a picture for the first message: JPEG, PNG or WebP; may be given several times",
      repeated,
    )
    .option("--no-exif", "ignore the pictures' EXIF orientation")
    .option("--system <text>", "system message, if the chat template supports one");
  addMethodOptions(command);
  return addSamplingOptions(command)
    .option("--layer <number>", "layer of heat maps (default: the middle layer)", wholeFrom(0))
    .option("--head <number>", "head of heat maps (default: the mean of all heads)", wholeFrom(0))
    .addHelpText("after", () => `\nCommands during the conversation:\n${helpText().replaceAll(/^(?=.)/gm, "  ")}`)
    .addHelpText(
      "after",
      examples(({ picture }) => [
        `chat --image ${picture}`,
        `chat --image ${picture} --method adaptvis`,
        `chat --image ${picture} --json < questions.txt`,
      ]),
    );
}

/** Runs `chat`. */
async function chat(session: Session, flags: ChatFlags): Promise<void> {
  const { method: chosen, ...settings } = await methodOptions(flags);
  const method: ChatMethod = {
    name: typeof chosen === "string" ? chosen : chosen.name,
    options: { method: chosen, ...settings, ...samplingOptions(flags) },
    rmsNormEps: undefined,
  };
  const pictures: ChatPicture[] = [];
  for (const file of flags.image ?? []) pictures.push(await readPicture(file, flags));
  const firstQuestion = { ...method.options, hasImage: pictures.length > 0 };
  const open = await openModel(session, flags, { firstQuestion });
  const talk = new Talk(session, flags, { open, method, pictures });
  try {
    checkSelection(open.model.config, { layer: flags.layer, head: flags.head });
    await talk.run();
  } finally {
    session.result(talk.json());
    talk.close();
    open.close();
  }
}

/** A conversation at the prompt. */
class Talk {
  private readonly session: Session;
  private readonly flags: ChatFlags;
  private readonly open: OpenModel;
  private readonly conversation: Conversation;
  private readonly heatMaps: object[] = [];
  private readonly problems: string[] = [];
  private method: ChatMethod;
  /** Pictures of the next message. */
  private pictures: readonly ChatPicture[];
  /** A question that got no answer. */
  private unanswered: string | undefined;
  /** Ends what runs now; undefined at the prompt. */
  private running: AbortController | undefined;
  private input: ChatInput | undefined;
  private isLeaving = false;

  constructor(
    session: Session,
    flags: ChatFlags,
    parts: { readonly open: OpenModel; readonly method: ChatMethod; readonly pictures: readonly ChatPicture[] },
  ) {
    this.session = session;
    this.flags = flags;
    this.open = parts.open;
    this.method = parts.method;
    this.pictures = parts.pictures;
    this.conversation = new Conversation(parts.open.model);
  }

  /** Answers messages until the input ends. @throws GpuError; AbortError; UsageError for the options of the command line. */
  async run(): Promise<void> {
    const { session, flags } = this;
    // Before anything is typed: a checkpoint without a template cannot talk.
    this.open.model.processor.conversation([{ role: "user", content: "?" }]);
    await asUsage(() => this.conversation.setSystem(flags.system));
    const input = new ChatInput(COMMAND_WORDS);
    this.input = input;
    const leave = () => input.close();
    session.signal.addEventListener("abort", leave);
    session.onInterrupt = () => this.interrupt();
    try {
      if (session.signal.aborted) leave();
      if (input.isTerminal) this.note("/help lists the commands; Ctrl-D ends.");
      for (;;) {
        const message = await input.next();
        if (message === undefined) break;
        this.isLeaving = false;
        if (message.text === "") continue;
        const isCommand = message.text.startsWith("/") && !message.isBlock;
        if (isCommand && /^\/quit\b/i.test(message.text)) break;
        await this.recover(() => (isCommand ? this.obey(parseCommand(message.text)) : this.ask(message.text)));
      }
      throwIfAborted(session.signal, "The conversation");
    } finally {
      session.onInterrupt = undefined;
      session.signal.removeEventListener("abort", leave);
      input.close();
    }
  }

  /** What --json prints and /save writes. */
  json(): object {
    const { open, heatMaps, problems } = this;
    return { ...this.conversation.json(), heatMaps, problems, ...open.facts(), timings: { loadMs: open.loadMs } };
  }

  close(): void {
    this.conversation.close();
  }

  /** Does what a message asks; what is wrong with it ends neither the conversation nor the program. */
  private async recover(work: () => Promise<void> | void): Promise<void> {
    this.running = new AbortController();
    try {
      await work();
    } catch (error) {
      throwIfAborted(this.session.signal, "The conversation");
      if (this.running.signal.aborted) return this.note("stopped.");
      if (!(error instanceof InputError || error instanceof UsageError)) throw error;
      this.problems.push(error.message);
      this.session.note(`adaptvis: ${error.message}`);
    } finally {
      this.running = undefined;
    }
  }

  /** Ctrl-C: ends what runs, or drops what was typed; at an empty prompt, the second one ends the program. */
  private interrupt(): boolean {
    if (this.running !== undefined) {
      if (this.running.signal.aborted) return false; // asked before, and it still runs
      this.running.abort();
      return true;
    }
    const hadText = this.input?.clear() === true;
    if (!hadText && this.isLeaving) return false;
    this.isLeaving = !hadText;
    this.session.note(
      hadText ? "" : `${this.input?.isTerminal ? "\n" : ""}Ctrl-C once more, or Ctrl-D, ends the program.`,
    );
    this.input?.showPrompt();
    return true;
  }

  private async ask(question: string): Promise<void> {
    const { pictures } = this;
    this.unanswered = question;
    const turn = await this.printed((run) => this.conversation.ask(question, pictures, run));
    if (turn === undefined) return; // its pictures stay for the next message
    this.pictures = [];
    this.unanswered = undefined;
  }

  private async again(): Promise<void> {
    if (this.unanswered !== undefined) return await this.ask(this.unanswered);
    if (this.conversation.turns.length === 0)
      throw new InputError("There is no question yet that could be asked again.");
    await this.printed((run) => this.conversation.again(run));
  }

  /** Prints an answer as it comes, and below it what it cost. */
  private async printed(
    ask: (run: Parameters<Conversation["ask"]>[2]) => Promise<Turn | undefined>,
  ): Promise<Turn | undefined> {
    const { session, method } = this;
    const stream = streamTo(session);
    let isBegun = false;
    const turn = await ask({
      method,
      signal: this.signal,
      onToken: (token) => {
        isBegun = true;
        session.reach("firstToken");
        stream(token);
      },
    }).finally(() => {
      if (isBegun) session.print("\n");
    });
    throwIfAborted(session.signal, "The conversation");
    if (turn === undefined) {
      this.note("stopped before the first token.");
      return undefined;
    }
    const answer = lastOf(turn);
    this.note(turnLine(answer));
    this.noteFull(answer);
    return turn;
  }

  private noteFull({ whole, tokens }: TurnAnswer): void {
    const { maxPositionEmbeddings } = this.open.model.config.text;
    if (whole?.finishReason !== "length" || whole.promptTokens + tokens.length < maxPositionEmbeddings) return;
    this.session.note(
      `adaptvis: The answer ended with the model's context of ${maxPositionEmbeddings} tokens, which is full: /clear begins a new conversation.`,
    );
  }

  private async obey({ name, rest }: TypedCommand): Promise<void> {
    const { session, conversation } = this;
    switch (name) {
      case "image":
        return await this.addPicture(rest);
      case "method":
        if (rest !== "") await this.setMethod(rest);
        return this.note(`method: ${this.method.name}`);
      case "system":
        conversation.setSystem(rest === "" ? undefined : rest);
        return this.note(rest === "" ? "no system message" : "system message set");
      case "again":
        return await this.again();
      case "heatmap":
        return await this.drawHeatMap(rest);
      case "save":
        return await this.save(unquoted(rest));
      case "history":
        return session.print(conversation.text());
      case "clear":
        conversation.clear();
        this.pictures = [];
        this.unanswered = undefined;
        return this.note("a new conversation begins");
      case "help":
        return session.print(helpText());
      case "quit":
        return; // ends the loop before it gets here
    }
  }

  private async addPicture(rest: string): Promise<void> {
    const { open } = this;
    if (rest === "") throw new UsageError("/image needs a file, such as /image photo.jpg.");
    if (open.model.tileShape === undefined) {
      throw new InputError(`${open.model.name} takes no pictures: ask it without.`);
    }
    const picture = await readPicture(unquoted(rest), this.flags);
    this.pictures = [...this.pictures, picture];
    const count = this.pictures.length === 1 ? "one picture" : `${this.pictures.length} pictures`;
    this.note(`${picture.file}, ${picture.image.width} × ${picture.image.height}: the next message has ${count}`);
  }

  private async setMethod(text: string): Promise<void> {
    const [arm] = await parseArms([text]);
    if (arm === undefined) throw new RangeError("parseArms returned no method");
    const { name, method, settings, rmsNormEps } = arm;
    const { maxNewTokens, ignoreEos } = this.flags;
    const length = { ...(maxNewTokens !== undefined && { maxNewTokens }), ...(ignoreEos && { ignoreEos }) };
    this.method = { name, options: { method, ...settings, ...length, ...samplingOptions(this.flags) }, rmsNormEps };
  }

  private async drawHeatMap(rest: string): Promise<void> {
    const { word, file } = parseHeatMap(rest);
    await checkOutput("/heatmap", file, this.inputFiles);
    const { layer, head } = this.flags;
    const { model } = this.open;
    const drawn = await wordMap(model, this.conversation, { word, selection: { layer, head }, signal: this.signal });
    await writeFileWhole(file, drawn.png);
    const { turn, picture, numPictures, share } = drawn;
    const shown = layer ?? middleLayer(model.config.text.numHiddenLayers);
    this.heatMaps.push({ word, file, turn, picture, layer: shown, head: head ?? null, share });
    const which = numPictures === 1 ? "the picture" : `picture ${picture + 1} of ${numPictures}`;
    this.note(`${file}: “${word}” of answer ${turn + 1}, ${(share * 100).toFixed(1)} % of its attention on ${which}`);
  }

  private async save(file: string): Promise<void> {
    if (file === "")
      throw new UsageError("/save needs a file, such as /save conversation.json or /save conversation.md.");
    await checkOutput("/save", file, this.inputFiles);
    const isMarkdown = /\.md$/i.test(file);
    const text = isMarkdown ? this.conversation.markdown() : `${JSON.stringify(this.json(), undefined, 2)}\n`;
    await writeFileWhole(file, text);
    this.note(`saved: ${file}`);
  }

  private get inputFiles(): readonly string[] {
    const pictures = [...this.conversation.turns.flatMap((turn) => turn.pictures), ...this.pictures];
    return [...pictures.map(({ file }) => file), this.open.folder];
  }

  private get signal(): AbortSignal {
    const { session, running } = this;
    return running === undefined ? session.signal : AbortSignal.any([session.signal, running.signal]);
  }

  private note(text: string): void {
    this.session.note(styled("dim", text, process.stderr));
  }
}

async function readPicture(file: string, { exif: applyExif }: ChatFlags): Promise<ChatPicture> {
  return { file, image: await readImageFile(file, { applyExif }) };
}
