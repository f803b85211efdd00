// adaptvis models: lists and removes the models in Hugging Face's cache.
import type { Command } from "commander";
import {
  type CachedModel,
  type CachedRevision,
  cachedModels,
  findModel,
  removeModel,
} from "../checkpoint/hub/cached-models.node.ts";
import { readHubSettings } from "../checkpoint/hub/hub-settings.node.ts";
import { formatBytes } from "../gpu/device.ts";
import { examples } from "./package-files.ts";
import { type CliCommand, defineCommand, type Session, table, UsageError } from "./session.ts";
import { addSubcommands } from "./subcommands.ts";

/** Characters of a commit in the table. */
const SHORT_COMMIT = 8;

const listCommand = defineCommand(
  "list",
  (command) =>
    command.description("List the models in Hugging Face's cache: revisions, sizes, and what is incomplete."),
  list,
);

const removeCommand = defineCommand(
  "remove",
  (command) =>
    command
      .description("Remove a model with all its revisions from Hugging Face's cache.")
      .argument("<id>", "the model's id, such as llava-hf/llava-1.5-7b-hf")
      .option("--yes", "remove it; without this, the command only says what it would remove"),
  remove,
);

/** `adaptvis models`. */
export const modelsCommand: CliCommand = {
  name: "models",
  add: (command: Command, open) => {
    command
      .description("List or remove the models in Hugging Face's cache. Without a subcommand, it lists them.")
      .helpCommand(false)
      .addHelpText(
        "after",
        examples(() => ["models", "models remove llava-hf/llava-1.5-7b-hf --yes"]),
      );
    addSubcommands(command, [{ ...listCommand, isDefault: true }, removeCommand], open);
  },
};

async function list(session: Session): Promise<void> {
  const settings = readHubSettings();
  const models = await cachedModels(settings);
  session.result({ cacheFolder: settings.cacheFolder, models: models.map(jsonOf) });
  if (models.length === 0) {
    session.print(`No models in ${settings.cacheFolder}.\n`);
    return;
  }
  const bytes = models.reduce((sum, model) => sum + model.bytes + model.partialBytes, 0);
  session.print(
    [
      ...table(["model", "revision", "commit", "size", "state"], models.flatMap(rowsOf)),
      "",
      `${models.length} ${models.length === 1 ? "model" : "models"}, ${formatBytes(bytes)} in ${settings.cacheFolder}`,
      "",
    ].join("\n"),
  );
}

async function remove(session: Session, id: string, flags: { readonly yes?: boolean }): Promise<void> {
  const settings = readHubSettings();
  const { bytes, partialBytes, revisions, folder } = await findModel(id, settings);
  const size = formatBytes(bytes + partialBytes);
  if (flags.yes !== true) {
    const count = `${revisions.length} ${revisions.length === 1 ? "revision" : "revisions"}`;
    throw new UsageError(`${folder} (${count}, ${size}) would be removed: give --yes to do it.`);
  }
  await removeModel(id, settings);
  session.result({ removed: id, folder, bytes: bytes + partialBytes });
  session.print(`removed ${id}, ${size}\n`);
}

function jsonOf({ revisions, ...model }: CachedModel): object {
  const ofRevision = ({ problem, ...revision }: CachedRevision) => ({
    ...revision,
    isComplete: problem === undefined,
    problem: problem ?? null,
  });
  return { ...model, revisions: revisions.map(ofRevision) };
}

function rowsOf(model: CachedModel): readonly (readonly string[])[] {
  const { id, partialBytes } = model;
  const rows = model.revisions.map(({ refs, commit, bytes, problem }) => [
    id,
    refs.join(", ") || "-",
    commit.slice(0, SHORT_COMMIT),
    formatBytes(bytes),
    problem ?? "complete",
  ]);
  if (partialBytes > 0) rows.push([id, "-", "-", formatBytes(partialBytes), "interrupted: pull it again to go on"]);
  return rows.length > 0 ? rows : [[id, "-", "-", formatBytes(0), "no files"]];
}
