// The bytes that single tokens stand for. Tokens of byte-level vocabularies and of byte fallback may be parts of characters.
import { isObject } from "../../errors.ts";
import { BYTE_CHARACTERS } from "./pre-tokenizers.ts";

/**
 * The bytes that a token adds to a text, behind other tokens; undefined for a token that adds none.
 * @param decoder the part `decoder` of tokenizer.json
 * @param decode the text of tokens as they are spelled in the vocabulary
 */
export function tokenBytes(
  token: string,
  decoder: unknown,
  decode: (tokens: readonly string[]) => string,
): Uint8Array | undefined {
  const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
  if (byte !== undefined && has(decoder, "ByteFallback")) return Uint8Array.of(Number.parseInt(byte, 16));
  if (has(decoder, "ByteLevel")) {
    const bytes = Array.from(token, (character) => BYTE_OF.get(character));
    if (bytes.every((value) => value !== undefined)) return Uint8Array.from(bytes);
  }
  // Decoders drop the space before a first word, so the token is decoded after a copy of itself.
  const [once, twice] = [decode([token]), decode([token, token])];
  const text = twice.startsWith(once) ? twice.slice(once.length) : once;
  return text === "" || text.includes("\ufffd") ? undefined : encoder.encode(text);
}

const BYTE_OF: ReadonlyMap<string, number> = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]));
const encoder = new TextEncoder();

/** Whether a decoder is, or contains, a component of this type. */
function has(decoder: unknown, type: string): boolean {
  if (!isObject(decoder)) return false;
  if (decoder.type === type) return true;
  return Array.isArray(decoder.decoders) && decoder.decoders.some((part) => has(part, type));
}
