// What a message that begins with a slash means.
import { UsageError } from "./session.ts";
import { nearestOf } from "./subcommands.ts";

/** A command's name, what follows it, and what it does, for /help. */
interface ChatCommand {
  readonly usage: string;
  readonly meaning: string;
}

const COMMANDS = {
  image: { usage: "/image FILE", meaning: "add a picture to the next message" },
  method: {
    usage: "/method NAME[:SETTING=VALUE…]",
    meaning: "answer under another method, such as adaptvis:alpha1=0.5; alone: show it",
  },
  system: { usage: "/system [TEXT]", meaning: "set the system message, where the template has a place for one" },
  again: { usage: "/again", meaning: "ask the last question again" },
  heatmap: {
    usage: "/heatmap WORD [FILE.png]",
    meaning: "draw where the answer's WORD was looked for in the picture",
  },
  save: { usage: "/save FILE", meaning: "write the conversation: Markdown for FILE.md, else JSON" },
  history: { usage: "/history", meaning: "show the conversation" },
  clear: { usage: "/clear", meaning: "begin a new conversation" },
  help: { usage: "/help", meaning: "show this list" },
  quit: { usage: "/quit", meaning: "end (also Ctrl-D)" },
} as const satisfies Readonly<Record<string, ChatCommand>>;

/** Name of a command. */
export type ChatCommandName = keyof typeof COMMANDS;

/** Every command as it is typed. */
export const COMMAND_WORDS: readonly string[] = Object.keys(COMMANDS).map((name) => `/${name}`);

/** A command and what follows its name. */
export interface TypedCommand {
  readonly name: ChatCommandName;
  readonly rest: string;
}

/** Parses a message that begins with a slash. @throws UsageError for an unknown command. */
export function parseCommand(text: string): TypedCommand {
  const [, word = "", rest = ""] = /^\/(\S*)\s*([\s\S]*)$/.exec(text) ?? [];
  const name = Object.keys(COMMANDS).find((each) => each === word.toLowerCase());
  if (name === undefined) {
    const nearest = nearestOf(word.toLowerCase(), Object.keys(COMMANDS));
    const instead = nearest === undefined ? "/help lists all" : `did you mean /${nearest}?`;
    throw new UsageError(`/${word} is not a command: ${instead}${instead.endsWith("?") ? "" : "."}`);
  }
  return { name: name as ChatCommandName, rest: rest.trim() }; // a key of COMMANDS
}

/** The word and the file of `/heatmap`. A word of several, or a file's name with spaces, may be quoted. @throws UsageError without a word. */
export function parseHeatMap(rest: string): { readonly word: string; readonly file: string } {
  const [, quoted, plain, file = ""] = /^(?:"([^"]+)"|(\S+))\s*(.*)$/s.exec(rest) ?? [];
  const word = quoted ?? plain;
  if (word === undefined) throw new UsageError("/heatmap needs a word of an answer, such as /heatmap left.");
  const path = unquoted(file);
  return { word, file: path === "" ? `heatmap-${word.replaceAll(/[^\p{L}\p{N}]+/gu, "-")}.png` : path };
}

/** A file's name, with or without quotes. */
export function unquoted(text: string): string {
  return /^(["'])(.*)\1$/s.exec(text.trim())?.[2] ?? text.trim();
}

/** The lines of /help. */
export function helpText(): string {
  const rows: readonly ChatCommand[] = Object.values(COMMANDS);
  const width = Math.max(...rows.map(({ usage }) => usage.length));
  const lines = rows.map(({ usage, meaning }) => `${usage.padEnd(width)}  ${meaning}`);
  return [
    ...lines,
    "",
    'A line that ends in \\ goes on in the next one; a block between """ and """ is one message and never a command.',
    "Ctrl-C ends an answer; at the prompt, a second one ends the program.",
    "",
  ].join("\n");
}
