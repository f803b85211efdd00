// Which chat template a command uses: that of --chat-template, the checkpoint's own, or that of a known repository.
import { basename, resolve } from "node:path";
import { Option } from "commander";
import { readFileText } from "../checkpoint/read-file.node.ts";
import { asRecord, parseJsonFile, readTextFile, type Source } from "../checkpoint/source.ts";
import { CheckpointError, InputError } from "../errors.ts";
import { type ChatTemplateSource, findChatTemplate, loadChatTemplate } from "../preprocess/chat-template.ts";
import { CHAT_TEMPLATES, templateOfRepository } from "../preprocess/chat-templates.ts";
import { someText } from "./checks.ts";
import { UsageError } from "./session.ts";

/** The option `--chat-template`. */
export function chatTemplateOption(): Option {
  const names = Object.keys(CHAT_TEMPLATES).join(", ");
  return new Option(
    "--chat-template <name|file>",
    `chat template to use in place of the checkpoint's: ${names}, or a Jinja file`,
  ).argParser(someText);
}

/**
 * The template that replaces the checkpoint's; undefined where it uses its own, or has none and is not known.
 * @param of the checkpoint's files, what `--chat-template` says, and a function that receives a line for stderr
 * @throws UsageError for a name that is neither a built-in template nor a file; InputError for a file that is not a template.
 */
export async function chosenTemplate(
  source: Source,
  of: { readonly written: string | undefined; readonly note: (line: string) => void },
): Promise<ChatTemplateSource | undefined> {
  const { written, note } = of;
  if (written !== undefined) return await namedTemplate(written);
  const readText = (path: string) => readTextFile(source, path);
  const readJson = async (path: string) => {
    const text = await readText(path);
    return text === undefined ? undefined : parseJsonFile(text, path);
  };
  if ((await findChatTemplate({ readText, readJson })) !== undefined) return undefined;
  const { _name_or_path: ownName } = asRecord(await readJson("config.json"));
  const known =
    templateOfRepository(resolve(source.name)) ?? templateOfRepository(typeof ownName === "string" ? ownName : "");
  if (known === undefined) return undefined;
  const { repository, template } = known;
  note(
    `adaptvis: ${basename(source.name)} has no chat template: using ${template}, as ${repository} does (--chat-template chooses another)`,
  );
  return CHAT_TEMPLATES[template];
}

async function namedTemplate(written: string): Promise<ChatTemplateSource> {
  const builtIn = Object.entries(CHAT_TEMPLATES).find(([name]) => name === written);
  if (builtIn !== undefined) return builtIn[1];
  const source = await readFileText(written).catch((cause: unknown) => {
    const names = Object.keys(CHAT_TEMPLATES).join(", ");
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new UsageError(
      `--chat-template ${written} is neither a built-in template (${names}) nor a file that can be read (${reason}).`,
      { cause },
    );
  });
  const template = { file: written, source };
  try {
    const files = { readText: async () => undefined, readJson: async () => undefined };
    const loaded = await loadChatTemplate(files, template);
    loaded?.render("?", { hasImage: false });
  } catch (error) {
    // Not the checkpoint's fault.
    if (error instanceof CheckpointError) throw new InputError(`--chat-template: ${error.message}`, { cause: error });
    throw error;
  }
  return template;
}
