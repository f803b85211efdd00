// A command's session: its output streams, JSON mode, adapter choice and stop signal.
import { randomUUID } from "node:crypto";
import { styleText } from "node:util";
import type { Command } from "commander";
import { at, BoundedError, escapeControls, InputError } from "../errors.ts";
import { isDeno, openDenoAdapter } from "../gpu/hosts/adapter.deno.ts";
import { openNodeAdapter } from "../gpu/hosts/adapter.node.ts";
import type { AdapterChoice, OpenedAdapter } from "../gpu/hosts/adapter-choice.node.ts";

/** Wrong usage of the command line; exit code 2. */
export class UsageError extends BoundedError {
  override readonly name = "UsageError";
}

/** Options that every command has. */
export interface GlobalFlags {
  readonly adapter: AdapterChoice;
  readonly dawnToggle?: readonly string[];
  readonly json?: boolean;
  readonly debug?: boolean;
}

/** Styles of text on a terminal. */
export type Style = "bold" | "dim" | "green" | "yellow";

/** When the parts of a start were over, in milliseconds since the process began. */
export interface StartTimes {
  /** The modules of the command are loaded. */
  readonly imported: number;
  /** The adapter's device is open. */
  readonly device: number;
  /** The weights are on the device. */
  readonly loaded: number;
  /** The kernels that compile during the load are ready. */
  readonly compiled: number;
  /** The first token of an answer has come. */
  readonly firstToken: number;
}

/** One run of a command. */
export class Session {
  readonly adapter: AdapterChoice;
  readonly dawnToggles: readonly string[];
  readonly isJson: boolean;
  readonly signal: AbortSignal;
  /** Called on Ctrl-C; one that returns true has handled it, and the command goes on. */
  onInterrupt: (() => boolean) | undefined;
  /** How long the command may take to end after a signal, in milliseconds; undefined unless {@link endsBySignal} was called. */
  graceMs: number | undefined;
  private readonly reached: Partial<Record<keyof StartTimes, number>> = {};
  private held: object | undefined;

  constructor(flags: GlobalFlags, signal: AbortSignal) {
    this.adapter = flags.adapter;
    this.dawnToggles = flags.dawnToggle ?? [];
    this.isJson = flags.json === true;
    this.signal = signal;
  }

  /**
   * Opens the adapter selected on the command line; in Deno, on Deno's own WebGPU.
   * @throws GpuError when there is no such adapter; UsageError for an unknown toggle, and for any toggle in Deno.
   */
  async openAdapter(): Promise<OpenedAdapter> {
    if (isDeno()) {
      if (this.dawnToggles.length === 0) return await openDenoAdapter(this.adapter);
      throw new UsageError(
        "--dawn-toggle: Deno's WebGPU is not Dawn and has no toggles; omit the option, or use Node.",
      );
    }
    try {
      return await openNodeAdapter(this.adapter, { dawnToggles: this.dawnToggles });
    } catch (error) {
      throw error instanceof InputError ? new UsageError(error.message, { cause: error }) : error;
    }
  }

  /** Notes that a part of the start is over; only the first call for a part counts. */
  reach(part: keyof StartTimes, ms = performance.now()): void {
    this.reached[part] ??= Math.round(ms * 10) / 10;
  }

  /** The parts of the start that are over. */
  get start(): Partial<StartTimes> {
    return { ...this.reached };
  }

  /** Writes text to stdout; does nothing with --json. See {@link printable}. */
  print(text: string): void {
    if (!this.isJson) process.stdout.write(printable(text));
  }

  /** Writes a line to stderr. */
  note(text: string): void {
    process.stderr.write(`${printable(text)}\n`);
  }

  /** The command runs until it is stopped: a signal is its regular end, with exit code 0, and it may take `graceMs` for that. */
  endsBySignal(graceMs: number): void {
    this.graceMs = graceMs;
  }

  /** Whether {@link endsBySignal} was called. */
  get isEndedBySignal(): boolean {
    return this.graceMs !== undefined;
  }

  /** Sets the one JSON object of --json. It is written when the command ends: one that then fails adds `error` to it. */
  result(value: object): void {
    this.held = value;
  }

  /** Writes the JSON object of --json at the command's end; does nothing without --json. @param error of a command that failed */
  writeResult(error?: object): void {
    const value = error === undefined ? this.held : { error, ...this.held };
    if (!this.isJson || value === undefined) return;
    process.stdout.write(jsonText(value));
  }
}

/** A value as JSON with a line's end. JSON leaves some characters that a terminal obeys; they are escaped, which changes no value. */
export function jsonText(value: object): string {
  const lines = JSON.stringify(value, undefined, process.stdout.isTTY ? 2 : 0).split("\n");
  return `${lines.map(escapeControls).join("\n")}\n`;
}

/** What {@link styled} writes in place of the terminal's escape character: nothing that comes from a file can contain it. */
const STYLE_MARK = `\ufdd0${randomUUID()}`;

/**
 * Text without what a terminal would obey but line ends and the styles of {@link styled}, as escapes: answers and names come from files
 * of strangers, and could change the window's title or hide what follows.
 */
export function printable(text: string): string {
  const plain = text.replace(
    /[\p{Cc}\p{Cs}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu,
    (character: string, at: number) => {
      const isKept = character === "\r" ? text[at + 1] === "\n" : character === "\n" || character === "\t";
      return isKept ? character : escapeControls(character);
    },
  );
  return plain.replaceAll(STYLE_MARK, "\u001b");
}

/**
 * Styles `text`, to be printed through {@link printable}, if the stream is a terminal with colours; respects NO_COLOR and FORCE_COLOR.
 */
export function styled(
  style: Style,
  text: string,
  stream: Pick<NodeJS.WriteStream, "isTTY" | "hasColors"> = process.stdout,
): string {
  if (stream.isTTY !== true || !stream.hasColors()) return text;
  const [before = "", after = ""] = styleText(style, "\n", { validateStream: false }).split("\n");
  const mark = (code: string) => code.replace("\u001b", STYLE_MARK);
  return `${mark(before)}${text}${mark(after)}`;
}

/** Lines of a table: the titles, then one line per row. Each column is as wide as its widest cell. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => cell.padEnd(at(widths, column)))
      .join("  ")
      .trimEnd();
  return [styled("dim", line(head)), ...rows.map(line)];
}

/** A command of the command line. */
export interface CliCommand {
  readonly name: string;
  /** Describes it to commander; called, it runs in the session that `open` gives. */
  readonly add: (command: Command, open: () => Session) => void;
}

/**
 * Makes a command of one file.
 * @param describe sets its description, arguments, options and examples
 * @param run is given its arguments and then its options, as `describe` parses them
 */
export function defineCommand<Args extends readonly unknown[]>(
  name: string,
  describe: (command: Command) => Command,
  run: (session: Session, ...args: Args) => Promise<void>,
): CliCommand {
  // commander's types do not carry what `describe` parses.
  return {
    name,
    add: (command, open) => describe(command).action((...args) => run(open(), ...(args as unknown as Args))),
  };
}
