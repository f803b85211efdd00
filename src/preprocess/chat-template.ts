// A question put into the words a model was trained on: the checkpoint's own Jinja template, by @huggingface/jinja, which is
// loaded with the first checkpoint that has a template, so that a page need not fetch it before.

import type { Template } from "@huggingface/jinja";
import { CheckpointError, InputError } from "../errors.ts";

/** What {@link loadChatTemplate} needs of a checkpoint: its small files, undefined for one that is not there. */
export interface TemplateFiles {
  readText(path: string): Promise<string | undefined>;
  readJson(path: string): Promise<unknown>;
}

/** A checkpoint's chat template. */
export interface ChatTemplate {
  /** The file the template stands in. */
  readonly file: string;
  /**
   * The whole prompt of one question, up to where the answer begins.
   * @throws InputError when the question is empty or holds the image token, or the template has no place for `system`.
   * @throws CheckpointError with the template's own message when it fails, or when it has no place for the picture.
   */
  render(text: string, options: RenderOptions): string;
}

/** What is asked besides the text. */
export interface RenderOptions {
  readonly hasImage: boolean;
  /** What a system message says, for templates that have a place for it. */
  readonly system?: string | undefined;
}

/**
 * Finds the chat template: chat_template.jinja, else chat_template.json, else tokenizer_config.json's chat_template (a
 * string, or a list of named ones of which "default" is taken).
 * @returns undefined when the checkpoint has none
 * @throws CheckpointError when a template is there but is no Jinja.
 */
export async function loadChatTemplate(
  files: TemplateFiles,
  tokenizerConfig: unknown,
): Promise<ChatTemplate | undefined> {
  const config = asRecord(tokenizerConfig);
  const found =
    asFound("chat_template.jinja", await files.readText("chat_template.jinja")) ??
    asFound("chat_template.json", asRecord(await files.readJson("chat_template.json")).chat_template) ??
    asFound("tokenizer_config.json", config.chat_template);
  return found && new JinjaChatTemplate(found.file, await parse(found), config);
}

/** How a template takes a message's content: as a list of parts, or as one string with the image token in it. */
type ContentFormat = "parts" | "string";

/** One message, with its picture first. */
interface Message {
  readonly role: "system" | "user";
  readonly text: string;
  readonly hasImage: boolean;
}

/** A question no one asks, to see where a template puts it. */
const PROBE: Message = { role: "user", text: "QPROBEQ", hasImage: true };

class JinjaChatTemplate implements ChatTemplate {
  readonly file: string;
  private readonly template: Template;
  private readonly imageToken: string;
  private readonly variables: Readonly<Record<string, unknown>>;
  private format: ContentFormat | undefined;

  constructor(file: string, template: Template, config: Readonly<Record<string, unknown>>) {
    this.file = file;
    this.template = template;
    this.imageToken = tokenText(config.image_token) ?? "<image>";
    this.variables = {
      bos_token: tokenText(config.bos_token) ?? "",
      eos_token: tokenText(config.eos_token) ?? "",
      add_generation_prompt: true,
    };
  }

  render(text: string, { hasImage, system }: RenderOptions): string {
    if (text.trim() === "") throw new InputError("The question is empty: give at least one word.");
    for (const given of [text, system ?? ""]) {
      if (!given.includes(this.imageToken)) continue;
      throw new InputError(
        `The question holds ${this.imageToken}, which the chat template puts there itself: leave it out.`,
      );
    }
    this.format ??= this.findFormat();
    const messages: Message[] = system === undefined ? [] : [{ role: "system", text: system, hasImage: false }];
    messages.push({ role: "user", text, hasImage });
    const prompt = this.apply(messages, this.format);
    if (system !== undefined && !prompt.includes(system.trim())) {
      throw new InputError(`The chat template of ${this.file} has no place for a system message: leave it out.`);
    }
    if (count(prompt, this.imageToken) !== (hasImage ? 1 : 0)) {
      throw fail(
        this.file,
        `must write ${this.imageToken} once a picture, wrote it ${count(prompt, this.imageToken)} times`,
      );
    }
    return prompt;
  }

  private findFormat(): ContentFormat {
    const formats = ["parts", "string"] as const;
    let failure: unknown;
    for (const format of formats) {
      try {
        const prompt = this.apply([PROBE], format);
        // A list printed as JSON, by a template that wants a string, has no image token in it.
        if (count(prompt, this.imageToken) === 1 && count(prompt, PROBE.text) === 1) return format;
      } catch (cause) {
        failure ??= cause;
      }
    }
    if (failure !== undefined) throw failure;
    throw fail(this.file, `has no place for ${this.imageToken} and the question`);
  }

  private apply(messages: readonly Message[], format: ContentFormat): string {
    const rendered = messages.map(({ role, text, hasImage }) => {
      if (format === "string") return { role, content: hasImage ? `${this.imageToken}\n${text}` : text };
      const image = hasImage ? [{ type: "image" }] : [];
      return { role, content: [...image, { type: "text", text }] };
    });
    try {
      return this.template.render({ ...this.variables, messages: rendered });
    } catch (cause) {
      throw fail(this.file, `failed: ${reasonOf(cause)}`, cause);
    }
  }
}

async function parse({ file, source }: { readonly file: string; readonly source: string }): Promise<Template> {
  const { Template } = await import("@huggingface/jinja");
  try {
    return new Template(source.replaceAll(/\r\n?/g, "\n")); // as Python's Jinja reads its source
  } catch (cause) {
    throw fail(file, `is no Jinja template: ${reasonOf(cause)}`, cause);
  }
}

function fail(file: string, problem: string, cause?: unknown): CheckpointError {
  return new CheckpointError(`The chat template of ${file} ${problem.replace(/\.?$/, ".")}`, { file, cause });
}

function asFound(file: string, value: unknown): { file: string; source: string } | undefined {
  if (typeof value === "string") return { file, source: value };
  if (!Array.isArray(value)) return undefined;
  const named = value.map(asRecord);
  const chosen = named.find(({ name }) => name === "default") ?? (named.length === 1 ? named[0] : undefined);
  if (typeof chosen?.template === "string") return { file, source: chosen.template };
  const names = named.map(({ name }) => String(name)).join(", ");
  throw new CheckpointError(`${file}: chat_template must have one named "default", got ${names || "none"}.`, { file });
}

function count(text: string, part: string): number {
  return text.split(part).length - 1;
}

function tokenText(token: unknown): string | undefined {
  const text = asRecord(token).content ?? token;
  return typeof text === "string" ? text : undefined;
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {}; // read key by key
}
