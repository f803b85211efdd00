// The bytes that single tokens stand for. Tokens of byte-level vocabularies and of byte fallback may be parts of characters.
import { isObject } from "../../errors.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** The bytes that a token adds to a text, behind other tokens; undefined for special tokens and for ids without a token. */
export function tokenBytes(tokenizer: Tokenizer, id: number): Uint8Array | undefined {
  const token = tokenizer.spelling(id);
  const { json: decoder, decode } = tokenizer.decoder;
  if (token === undefined) return undefined;
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

/** GPT-2's characters of bytes, as BYTE_CHARACTERS of pre-tokenizers.ts, which belongs to another chunk of bundlers. */
const BYTE_OF: ReadonlyMap<string, number> = new Map(byteCharacters());

function byteCharacters(): [character: string, byte: number][] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const isPrintable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    return [String.fromCharCode(isPrintable ? byte : next++), byte];
  });
}

const encoder = new TextEncoder();

/** Whether a decoder is, or contains, a component of this type. */
function has(decoder: unknown, type: string): boolean {
  if (!isObject(decoder)) return false;
  if (decoder.type === type) return true;
  return Array.isArray(decoder.decoders) && decoder.decoders.some((part) => has(part, type));
}
