// From a prompt of the AI SDK to the engine's messages.

import type { LanguageModelV4Prompt, SharedV4FileData, SharedV4Warning } from "@ai-sdk/provider";
import { type ConversationMessage, InputError, type PicturePart, type RgbImage, type TextPart } from "../index.ts";

/** Decodes a picture file. */
export type PictureDecoder = (file: Uint8Array, options: { readonly name: string }) => Promise<RgbImage>;

type UserPart = Extract<LanguageModelV4Prompt[number], { role: "user" }>["content"][number];
type FilePart = Extract<UserPart, { type: "file" }>;
type AssistantPart = Extract<LanguageModelV4Prompt[number], { role: "assistant" }>["content"][number];

/** Messages, and what of the prompt was left out. */
export interface ReadPrompt {
  readonly messages: readonly ConversationMessage[];
  readonly warnings: readonly SharedV4Warning[];
}

/**
 * Reads a prompt.
 * @throws InputError for a file that is no picture or cannot be decoded, and for tool calls and their results.
 */
export async function readPrompt(prompt: LanguageModelV4Prompt, decode: PictureDecoder): Promise<ReadPrompt> {
  const warnings: SharedV4Warning[] = [];
  const messages = prompt.map(async (message): Promise<ConversationMessage> => {
    switch (message.role) {
      case "system":
        return { role: "system", content: message.content };
      case "user":
        return { role: "user", content: await Promise.all(message.content.map((part) => userPart(part, decode))) };
      case "assistant": {
        const isReasoning = ({ type }: AssistantPart) => type === "reasoning" || type === "reasoning-file";
        if (message.content.some(isReasoning)) {
          warnings.push({ type: "unsupported", feature: "reasoning", details: "Earlier reasoning is left out." });
        }
        const parts = message.content.filter((part) => !isReasoning(part)).map(assistantText);
        return { role: "assistant", content: parts.join("") };
      }
      default:
        throw new InputError("The prompt has the result of a tool, but the model calls none: leave such messages out.");
    }
  });
  return { messages: await Promise.all(messages), warnings };
}

function assistantText(part: AssistantPart): string {
  if (part.type === "text") return part.text;
  throw new InputError(`An assistant's message has a part of type ${part.type}, but the model writes text alone.`);
}

async function userPart(part: UserPart, decode: PictureDecoder): Promise<TextPart | PicturePart> {
  if (part.type === "text") return { type: "text", text: part.text };
  const name = part.filename ?? "a picture of the prompt";
  if (!/^image(\/|$)/i.test(part.mediaType)) {
    throw new InputError(
      `The prompt has a file of type ${part.mediaType}, but the model reads text and pictures only.`,
    );
  }
  return { type: "image", image: await decode(bytesOf(part, name), { name }) };
}

/** The SDK downloads http and https addresses itself, since the provider names none that it would take. */
function bytesOf({ data }: FilePart, name: string): Uint8Array {
  switch (data.type) {
    case "data":
      return typeof data.data === "string" ? decodeBase64(data.data, name) : data.data;
    case "url": {
      const [, base64] = /^data:[^,]*;base64,(.*)$/s.exec(data.url.href) ?? [];
      if (base64 !== undefined) return decodeBase64(decodeURIComponent(base64), name);
      throw new InputError(`${name}: expected its bytes or a data URL, got an address of ${data.url.protocol}`);
    }
    default:
      throw new InputError(`${name}: expected its bytes or a data URL, got ${nameOf(data)}.`);
  }
}

function nameOf({ type }: SharedV4FileData): string {
  return type === "reference" ? "a reference to an uploaded file" : `data of type ${type}`;
}

function decodeBase64(text: string, name: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch (cause) {
    throw new InputError(`${name} is not in base64.`, { cause });
  }
}
