// Messages from the terminal or a pipe: lines, lines joined by a backslash, and blocks between triple quotes.
import { createInterface, type Interface } from "node:readline/promises";

const BLOCK = '"""';

/** One message of the user's. */
export interface ChatMessageText {
  readonly text: string;
  /** A block between triple quotes is never a command. */
  readonly isBlock: boolean;
}

/** Joins lines to messages. */
export class MessageJoiner {
  private lines: string[] = [];
  private isBlock = false;

  /** Whether a message has begun and is not complete. */
  get isOpen(): boolean {
    return this.lines.length > 0 || this.isBlock;
  }

  /** Takes the next line. @returns the message that it completes; undefined where more lines belong to it */
  push(line: string): ChatMessageText | undefined {
    if (!this.isOpen && line.trimStart().startsWith(BLOCK)) {
      this.isBlock = true;
      return this.pushBlock(line.trimStart().slice(BLOCK.length));
    }
    if (this.isBlock) return this.pushBlock(line);
    if (line.endsWith("\\")) {
      this.lines.push(line.slice(0, -1));
      return undefined;
    }
    this.lines.push(line);
    return this.end();
  }

  /** The message so far, at the end of the input. */
  end(): ChatMessageText | undefined {
    if (!this.isOpen) return undefined;
    const message = { text: this.lines.join("\n").trim(), isBlock: this.isBlock };
    this.drop();
    return message;
  }

  /** Forgets the message so far. */
  drop(): void {
    this.lines = [];
    this.isBlock = false;
  }

  private pushBlock(line: string): ChatMessageText | undefined {
    const isLast = line.trimEnd().endsWith(BLOCK);
    this.lines.push(isLast ? line.trimEnd().slice(0, -BLOCK.length) : line);
    return isLast ? this.end() : undefined;
  }
}

/** Reads messages from stdin. Lines that come while nobody waits are kept. */
export class ChatInput {
  readonly isTerminal: boolean;
  private readonly reader: Interface;
  private readonly joiner = new MessageJoiner();
  private readonly lines: string[] = [];
  private isEnded = false;
  private wake: (() => void) | undefined;

  /** @param commands names that the tab key completes */
  constructor(commands: readonly string[]) {
    this.isTerminal = process.stdin.isTTY === true && process.stderr.isTTY === true;
    this.reader = createInterface({
      input: process.stdin,
      // Prompts are on stderr: stdout has answers only.
      ...(this.isTerminal && { output: process.stderr }),
      terminal: this.isTerminal,
      historySize: 1000,
      completer: (line: string): [string[], string] => [
        commands.filter((name) => line !== "" && name.startsWith(line)),
        line,
      ],
    });
    this.reader.on("line", (line) => {
      this.lines.push(line);
      this.wake?.();
    });
    this.reader.on("close", () => {
      this.isEnded = true;
      this.wake?.();
    });
    // A terminal in raw mode sends no signal: the command has one place that handles Ctrl-C.
    this.reader.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
  }

  /** The next message; undefined at the end of the input. */
  async next(): Promise<ChatMessageText | undefined> {
    for (;;) {
      const line = await this.nextLine();
      const message = line === undefined ? this.joiner.end() : this.joiner.push(line);
      if (message !== undefined || line === undefined) return message;
    }
  }

  /** Drops what was typed of the next message. @returns whether there was anything */
  clear(): boolean {
    const hadText = this.joiner.isOpen || this.reader.line !== "";
    this.joiner.drop();
    if (this.isTerminal) {
      this.reader.write("", { ctrl: true, name: "e" });
      this.reader.write("", { ctrl: true, name: "u" });
    }
    return hadText;
  }

  /** Shows the prompt again, after something else was printed. */
  showPrompt(): void {
    if (!this.isTerminal) return;
    this.reader.setPrompt(this.joiner.isOpen ? "… " : "> ");
    this.reader.prompt(true);
  }

  /** Ends the input. */
  close(): void {
    this.reader.close();
  }

  private async nextLine(): Promise<string | undefined> {
    if (this.lines.length === 0 && !this.isEnded) {
      this.showPrompt();
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
      this.wake = undefined;
    }
    return this.lines.shift();
  }
}
