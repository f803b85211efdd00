// adaptvis eval: evaluation on the data sets of the paper and of others.
import type { Command } from "commander";
import { evalAnalyzeCommand } from "./eval-analyze.ts";
import { evalCompareCommand } from "./eval-compare.ts";
import { evalMergeCommand } from "./eval-merge.ts";
import { evalRunCommand } from "./eval-run.ts";
import { evalTuneCommand } from "./eval-tune.ts";
import { rescoreCommand } from "./rescore.ts";
import type { CliCommand } from "./session.ts";
import { addSubcommands, type Subcommand } from "./subcommands.ts";

/**
 * Subcommands of `eval`, in the order of the help. A new one is a file in this folder and a line here. `eval` itself has no
 * options: commander gives options that parent and subcommand share to the parent. What `eval` without a subcommand does is
 * therefore a subcommand too, the one that is marked as the default.
 */
const SUBCOMMANDS: readonly Subcommand[] = [
  { ...evalRunCommand, isDefault: true },
  evalMergeCommand,
  rescoreCommand,
  evalCompareCommand,
  evalTuneCommand,
  evalAnalyzeCommand,
];

/** `adaptvis eval`. */
export const evalCommand: CliCommand = {
  name: "eval",
  add: (command: Command, open) => {
    command
      .description(
        "Evaluate on the data sets of the paper, What'sUp and VSR, and on others. Without a subcommand, its options are those of run.",
      )
      .helpCommand(false);
    addSubcommands(command, SUBCOMMANDS, open);
  },
};
