// Commands of commands, such as `eval compare`, and what a mistyped name may mean.
import type { Command } from "commander";
import { type CliCommand, type Session, UsageError } from "./session.ts";

/** A subcommand; the default one runs where none is named. */
export type Subcommand = CliCommand & {
  readonly isDefault?: boolean;
  /** Whether the default one takes words, such as a question: then an unknown first word is not a mistyped name. */
  readonly takesWords?: boolean;
};

/**
 * Adds subcommands. Commander would give a name that is none of them to the default one, as its argument.
 * @throws UsageError, when the command is run, for an unknown name.
 */
export function addSubcommands(command: Command, subcommands: readonly Subcommand[], open: () => Session): void {
  for (const { name, add, isDefault = false } of subcommands) {
    const own = command.command(name, { isDefault }).copyInheritedSettings(command);
    add(own.helpOption("-h, --help", "print this help"), open);
  }
  if (subcommands.some(({ takesWords }) => takesWords === true)) return;
  const names = subcommands.map(({ name }) => name);
  command.hook("preSubcommand", ({ args: [word] }) => {
    if (word === undefined || word.startsWith("-") || names.includes(word)) return;
    const nearest = nearestOf(word, names);
    const hint = nearest === undefined ? `expected ${names.join(", ")}.` : `did you mean ${nearest}?`;
    throw new UsageError(`${command.name()} has no subcommand '${word}': ${hint}`);
  });
}

/** The nearest of some names that is at most half of the word away; undefined without one. */
export function nearestOf(word: string, names: readonly string[]): string | undefined {
  const ranked = names
    .map((name) => ({ name, distance: name.startsWith(word) && word !== "" ? 0 : editDistance(word, name) }))
    .sort((a, b) => a.distance - b.distance);
  const [best] = ranked;
  return best !== undefined && best.distance <= Math.max(1, best.name.length / 2) ? best.name : undefined;
}

/** Levenshtein's distance: the fewest letters to insert, delete or replace. */
function editDistance(from: string, to: string): number {
  let before = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (const [row, letter] of [...from].entries()) {
    const next = [row + 1];
    for (const [column, other] of [...to].entries()) {
      const replaced = Number(before[column]) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, Number(before[column + 1]) + 1, Number(next[column]) + 1));
    }
    before = next;
  }
  return Number(before.at(-1));
}
