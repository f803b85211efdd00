// Random answers of JSON schemas, by the masks of their grammars.
import { automatonOf } from "../../src/generate/grammar/grammar.ts";
import { type JsonSchema, jsonSchemaGrammar } from "../../src/generate/grammar/json-schema.ts";
import { GrammarPlaces, type Place } from "../../src/generate/grammar/matcher.ts";
import { tokenTrie } from "../../src/generate/grammar/token-trie.ts";
import type { createRandom } from "../reference/random.ts";

/** The token that ends a text; the others are the bytes. */
export const END = 256;

const BYTES = tokenTrie(
  Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte)),
  257,
);

/** The places of a schema over a vocabulary of the 256 bytes. */
export function bytePlaces(schema: JsonSchema): GrammarPlaces {
  return new GrammarPlaces(automatonOf(jsonSchemaGrammar(schema)), BYTES, [END]);
}

/** Ids whose bits are set. */
export function idsOf(mask: Uint32Array): readonly number[] {
  return Array.from({ length: mask.length * 32 }, (_, id) => id).filter(
    (id) => ((Number(mask[id >>> 5]) >>> (id & 31)) & 1) === 1,
  );
}

/** A text that the masks allow, as bytes; undefined when it has not ended after `maxTokens`. */
export function randomText(
  places: GrammarPlaces,
  random: ReturnType<typeof createRandom>,
  maxTokens: number,
): Uint8Array<ArrayBuffer> | undefined {
  const bytes: number[] = [];
  let place: Place | null = places.start();
  while (place !== null && bytes.length < maxTokens) {
    const allowed = idsOf(places.allowed(place));
    if (allowed.length === 0) throw new Error(`nothing may follow ${Buffer.from(bytes)}`);
    if (allowed.includes(END) && (allowed.length === 1 || random.next() < 0.3)) return Uint8Array.from(bytes);
    // Most texts end when quotation marks and other ASCII come often.
    const quote = allowed.includes(0x22) && random.next() < 0.3 ? [0x22] : undefined;
    const ascii = random.next() < 0.8 ? allowed.filter((id) => id < 0x80) : [];
    const pool = quote ?? (ascii.length > 0 ? ascii : allowed.filter((id) => id !== END));
    const byte = Number(pool[random.integer(pool.length)]);
    bytes.push(byte);
    place = places.after(place, byte);
  }
  return undefined;
}
