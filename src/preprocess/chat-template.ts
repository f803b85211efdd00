// Formats questions as the model was trained on them, with the checkpoint's own Jinja template. @huggingface/jinja is loaded
// with the first checkpoint that has a template, so that a page does not fetch it earlier.

import { asRecord, listNames } from "../checkpoint/source.ts";
import { CheckpointError, InputError, isObject, kindOf, shown } from "../errors.ts";
import type { JinjaTemplate } from "./jinja/jinja.ts";
import { needsOlderFiles, readSpecialTokens } from "./tokenizer/special-tokens.ts";

/** What {@link loadChatTemplate} needs from a checkpoint: its small files, undefined for a missing one. */
export interface TemplateFiles {
  readText(path: string): Promise<string | undefined>;
  readJson(path: string): Promise<unknown>;
}

/** A part of a message: text, or the place of a picture or a video. */
export type ChatPart = { readonly type: "text"; readonly text: string } | { readonly type: "image" | "video" };

/** One message of a conversation. */
export interface ChatMessage {
  readonly role: "system" | "user" | "assistant";
  /** A string is a single text part. */
  readonly content: string | readonly ChatPart[];
}

/** A checkpoint's chat template. */
export interface ChatTemplate {
  /** The file the template is in. */
  readonly file: string;
  /**
   * The whole prompt of a conversation, with one image token per picture and one video token per video, in order.
   * @throws InputError when a message is malformed, a text contains one of these tokens, or the template refuses these messages,
   * drops the text of one of them or does not write its pictures.
   * @throws CheckpointError with the template's own message when it fails for any question.
   */
  renderMessages(messages: readonly ChatMessage[], options?: RenderMessagesOptions): string;
  /** The whole prompt of one question, its pictures and videos first. @throws as {@link renderMessages}; InputError for an empty question. */
  render(text: string, options: RenderOptions): string;
}

/** A chat template that does not come with the checkpoint. */
export interface ChatTemplateSource {
  /** Its name in messages: that of a file, or of one of `CHAT_TEMPLATES`. */
  readonly file: string;
  /** Jinja. */
  readonly source: string;
}

/** How a conversation is rendered. */
export interface RenderMessagesOptions {
  /** Ends the prompt where the assistant's answer begins; true by default. */
  readonly addGenerationPrompt?: boolean;
}

/** What a question has besides its text. */
export interface RenderOptions {
  /** Whether it is about a picture. */
  readonly hasImage?: boolean | undefined;
  /** Number of its pictures, which go before the text; 1 with `hasImage`, else 0 unless given. */
  readonly numImages?: number | undefined;
  /** Number of its videos, which go between its pictures and the text; 0 unless given. */
  readonly numVideos?: number | undefined;
  /** Text of a system message, for templates that support one. */
  readonly system?: string | undefined;
}

/**
 * Where checkpoints keep a chat template: the first that is there counts. As in transformers 5.23, but for chat_template.json, which goes
 * before chat_template.jinja there: checkpoints that have both hold the same in them, and most have only the latter.
 */
const PLACES: readonly { readonly file: string; readonly isText: boolean }[] = [
  { file: "processor_config.json", isText: false },
  { file: "chat_template.jinja", isText: true },
  { file: "chat_template.json", isText: false },
  { file: "additional_chat_templates/default.jinja", isText: true },
  { file: "tokenizer_config.json", isText: false },
];

/**
 * Finds the chat template of a checkpoint: in JSON files, it is under `chat_template`, as a text or as several named ones, of which
 * "default" is used.
 * @returns undefined when the checkpoint has none
 * @throws CheckpointError when several are there and none is called "default".
 */
export async function findChatTemplate(files: TemplateFiles): Promise<ChatTemplateSource | undefined> {
  for (const { file, isText } of PLACES) {
    const value = isText ? await files.readText(file) : asRecord(await files.readJson(file)).chat_template;
    const found = asFound(file, value);
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * Loads a checkpoint's chat template, see {@link findChatTemplate}.
 * @param given goes before the checkpoint's own
 * @param tokens how pictures and videos are written where tokenizer_config.json names no token for them; pictures as `<image>` unless
 *   given, and videos have no place
 * @returns undefined when the checkpoint has none
 * @throws CheckpointError when the template is not valid Jinja.
 */
export async function loadChatTemplate(
  files: TemplateFiles,
  given?: ChatTemplateSource,
  { imageToken = "<image>", videoToken }: PlaceTokens = {},
): Promise<ChatTemplate | undefined> {
  const found = given ?? (await findChatTemplate(files));
  if (found === undefined) return undefined;
  const config = await files.readJson("tokenizer_config.json");
  const specialTokensMap = needsOlderFiles(config) ? await files.readJson("special_tokens_map.json") : undefined;
  const { named } = readSpecialTokens({ config, specialTokensMap });
  const texts = Object.fromEntries([...named].map(([name, { content }]) => [name, content]));
  const places = { imageToken: texts.image_token ?? imageToken, videoToken: texts.video_token ?? videoToken };
  return new JinjaChatTemplate(found.file, await parse(found), places, texts);
}

/** How pictures and videos are written in a prompt. */
export interface PlaceTokens {
  readonly imageToken?: string | undefined;
  readonly videoToken?: string | undefined;
}

/** How a template takes a message's content: as a list of parts, or as one string of their lines, with image tokens in it. */
type ContentFormat = "parts" | "string";

/** A message whose content is a list of parts. */
interface Message {
  readonly role: ChatMessage["role"];
  readonly parts: readonly ChatPart[];
}

const PROBE_TEXT = "QPROBEQ";

/** How templates that do not come with a checkpoint write a picture; a family's own token takes its place in inputs. */
const IMAGE = "<image>";

/** A test question, to find out where a template puts it. */
const PROBE: Message = { role: "user", parts: [{ type: "image" }, { type: "text", text: PROBE_TEXT }] };

class JinjaChatTemplate implements ChatTemplate {
  readonly file: string;
  private readonly template: JinjaTemplate;
  /** The checkpoint's own image token. */
  private readonly ownToken: string;
  /** What the template writes for pictures, once its format is known, and for videos. */
  private tokens: { readonly image: string; readonly video: string | undefined };
  private readonly variables: Readonly<Record<string, unknown>>;
  private format: ContentFormat | undefined;

  /** @param specialTokens texts of special tokens by name, such as bos_token */
  constructor(
    file: string,
    template: JinjaTemplate,
    { imageToken, videoToken }: PlaceTokens,
    specialTokens: Readonly<Record<string, string>>,
  ) {
    this.file = file;
    this.template = template;
    this.ownToken = imageToken ?? "";
    this.tokens = { image: this.ownToken, video: videoToken };
    this.variables = { bos_token: "", eos_token: "", ...specialTokens, tools: null, documents: null };
  }

  render(
    text: string,
    { hasImage = false, numImages = hasImage ? 1 : 0, numVideos = 0, system }: RenderOptions,
  ): string {
    if (text.trim() === "") throw new InputError("The question is empty: give at least one word.");
    const question = { type: "text", text } as const;
    const places = (length: number, type: "image" | "video") => Array.from({ length }, () => ({ type }) as const);
    const content = [...places(numImages, "image"), ...places(numVideos, "video"), question];
    const user: ChatMessage = { role: "user", content };
    return this.renderMessages(system === undefined ? [user] : [{ role: "system", content: system }, user]);
  }

  renderMessages(messages: readonly ChatMessage[], options: RenderMessagesOptions = {}): string {
    if (messages.length === 0) throw new InputError("messages: expected at least one message, got none.");
    this.format ??= this.findFormat();
    const checked = messages.map((message, index) => this.checked(message, index));
    const addGenerationPrompt = options.addGenerationPrompt ?? true;
    let prompt: string;
    try {
      prompt = this.apply(checked, { format: this.format, addGenerationPrompt });
    } catch (cause) {
      // The template accepted a single question.
      const roles = checked.map(({ role }) => role).join(", ");
      const reason = reasonOf(cause).replace(/\.?$/, ".");
      throw new InputError(`The chat template of ${this.file} refuses messages of ${roles}: ${reason}`, { cause });
    }
    for (const { role, parts } of checked) {
      if (parts.every((part) => part.type !== "text" || prompt.includes(part.text.trim()))) continue;
      throw new InputError(
        role === "system"
          ? `The chat template of ${this.file} has no place for a system message: leave it out.`
          : `The chat template of ${this.file} leaves out what the ${role} says: give messages that it takes.`,
      );
    }
    for (const kind of ["image", "video"] as const) {
      this.checkPlaces(prompt, kind, checked.flatMap(({ parts }) => parts.filter(({ type }) => type === kind)).length);
    }
    return prompt;
  }

  private checkPlaces(prompt: string, kind: "image" | "video", numGiven: number): void {
    const token = this.tokens[kind];
    const noun = kind === "image" ? "picture" : "video";
    if (token === undefined) {
      if (numGiven === 0) return;
      throw new InputError("The model has no video token, so videos have no place: give single frames as pictures.");
    }
    const numWritten = count(prompt, token);
    if (numWritten === numGiven) return;
    if (numGiven === 0) throw fail(this.file, `writes ${token} into a conversation without ${noun}s`);
    const given = numGiven === 1 ? `one ${noun}` : `${numGiven} ${noun}s`;
    throw new InputError(
      `The chat template of ${this.file} writes ${token} ${numWritten} times for ${given}: it cannot take them where they are.`,
    );
  }

  /** @throws InputError for a malformed message, or one that contains the token of a picture or a video. */
  private checked(message: ChatMessage, index: number): Message {
    if (typeof message !== "object" || message === null) {
      throw new InputError(`messages[${index}] must be an object with role and content, got ${kindOf(message)}.`);
    }
    const { role, content } = message;
    if (role !== "system" && role !== "user" && role !== "assistant") {
      throw new InputError(`messages[${index}].role must be system, user or assistant, got ${shown(role)}.`);
    }
    const parts: readonly ChatPart[] = typeof content === "string" ? [{ type: "text", text: content }] : content;
    if (!Array.isArray(parts) || !parts.every(isPart)) {
      const wanted = 'a text or a list of { type: "text", text }, { type: "image" } and { type: "video" }';
      throw new InputError(`messages[${index}].content must be ${wanted}.`);
    }
    for (const part of parts) {
      const { image, video } = this.tokens;
      const tokens = [image, this.ownToken, ...(video === undefined ? [] : [video])];
      const held = part.type === "text" ? tokens.find((token) => part.text.includes(token)) : undefined;
      if (held === undefined) continue;
      throw new InputError(
        `The ${role}'s text holds ${held}, which the chat template puts there itself: leave it out.`,
      );
    }
    return { role, parts };
  }

  private findFormat(): ContentFormat {
    const formats = ["parts", "string"] as const;
    let failure: unknown;
    for (const [token, format] of [this.ownToken, IMAGE].flatMap((each) => formats.map((of) => [each, of] as const))) {
      this.tokens = { ...this.tokens, image: token };
      try {
        const prompt = this.apply([PROBE], { format, addGenerationPrompt: true });
        // A template that expects a string prints the list as JSON, without an image token.
        if (count(prompt, token) === 1 && count(prompt, PROBE_TEXT) === 1) return format;
      } catch (cause) {
        failure ??= cause;
      }
    }
    this.tokens = { ...this.tokens, image: this.ownToken };
    if (failure !== undefined) throw fail(this.file, `failed: ${reasonOf(failure)}`, failure);
    throw fail(this.file, `has no place for ${this.ownToken} and the question`);
  }

  private apply(
    messages: readonly Message[],
    options: { readonly format: ContentFormat; readonly addGenerationPrompt: boolean },
  ): string {
    const rendered = messages.map(({ role, parts }) => {
      if (options.format === "parts") return { role, content: parts.map(plainPart) };
      return {
        role,
        content: parts.map((part) => (part.type === "text" ? part.text : this.tokens[part.type])).join("\n"),
      };
    });
    const { addGenerationPrompt } = options;
    return this.template.render({
      ...this.variables,
      add_generation_prompt: addGenerationPrompt,
      messages: rendered,
    });
  }
}

/** The fields of a part that a template sees. */
function plainPart(part: ChatPart): ChatPart {
  return part.type === "text" ? { type: "text", text: part.text } : { type: part.type };
}

function isPart(part: unknown): part is ChatPart {
  const { type, text } = asRecord(part);
  return type === "image" || type === "video" || (type === "text" && typeof text === "string");
}

async function parse({ file, source }: ChatTemplateSource): Promise<JinjaTemplate> {
  const { parseJinja } = await import("./jinja/jinja.ts");
  try {
    return parseJinja(source);
  } catch (cause) {
    throw fail(file, `is not a Jinja template: ${reasonOf(cause)}`, cause);
  }
}

function fail(file: string, problem: string, cause?: unknown): CheckpointError {
  return new CheckpointError(`The chat template of ${file} ${problem.replace(/\.?$/, ".")}`, { file, cause });
}

function asFound(file: string, value: unknown): ChatTemplateSource | undefined {
  if (typeof value === "string") return { file, source: value };
  if (!isObject(value) && !Array.isArray(value)) return undefined;
  const named = Array.isArray(value)
    ? value.map(asRecord)
    : Object.entries(value).map(([name, template]) => ({ name, template }));
  const chosen = named.find(({ name }) => name === "default") ?? (named.length === 1 ? named[0] : undefined);
  if (typeof chosen?.template === "string") return { file, source: chosen.template };
  const names = listNames(named.map(({ name }) => (typeof name === "string" ? name : kindOf(name))));
  throw new CheckpointError(`${file}: chat_template must have one named "default", got ${names || "none"}.`, { file });
}

function count(text: string, part: string): number {
  return text.split(part).length - 1;
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
