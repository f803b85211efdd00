// Models of tokenizer.json: the ids of a piece of text. @huggingface/tokenizers finds the tokens. What it computes otherwise than the Rust
// library, characters that the vocabulary lacks, is taken care of here, and options that it does not have are refused. Of Unigram's
// paths whose scores are equal but for rounding, the Rust library may take another one: it reads scores with an error in the last bit.
// Source: tokenizers 0.23.3, src/models (BPE's merge_word and Word::merge_all, Unigram's encode_optimized, WordPiece, WordLevel).

import * as library from "@huggingface/tokenizers";
import { at, isObject, shown } from "../../errors.ts";
import { Component, refuse, type Work } from "./json.ts";

/** A tokenizer's model. */
export interface TokenModel {
  readonly vocabulary: ReadonlyMap<string, number>;
  /** The ids of a piece that is not empty. @throws CheckpointError when the vocabulary lacks what it needs for it. */
  encode(piece: string, work: Work): readonly number[];
}

/** Largest id. */
const MAX_ID = 2 ** 26 - 1;

/** Reads `model`. @throws CheckpointError for a model or an option that is not supported. */
export function readModel(value: Readonly<Record<string, unknown>>): TokenModel {
  const component = new Component({ ...value, type: value.type ?? typeOfNameless(value) }, "model");
  const models = { BPE: readBpe, Unigram: readUnigram, WordPiece: readWordPiece, WordLevel: readWordLevel };
  const read = Object.entries(models).find(([type]) => type === component.type)?.[1];
  if (read === undefined) {
    throw refuse("model.type", `must be one of ${Object.keys(models).join(", ")}, got ${shown(component.type)}.`);
  }
  const model = read(component);
  component.done();
  return model;
}

/** Old files do not name the type of their model. */
function typeOfNameless(value: Readonly<Record<string, unknown>>): string | undefined {
  if (Array.isArray(value.merges)) return "BPE";
  return Array.isArray(value.vocab) ? "Unigram" : undefined;
}

function readVocabulary(component: Component): ReadonlyMap<string, number> {
  const value = component.value("vocab");
  if (!isObject(value)) throw component.wrong("vocab", "an object of tokens and ids", value);
  const vocabulary = new Map<string, number>();
  for (const token of Object.keys(value)) {
    const id = value[token];
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id > MAX_ID) {
      throw refuse(
        "model.vocab",
        `must have whole numbers from 0 to ${MAX_ID} as ids, got ${shown(id)} for ${shown(token)}.`,
      );
    }
    vocabulary.set(token, id);
  }
  return vocabulary;
}

/** The id of the unknown token, when it is needed. */
function unknownId(vocabulary: ReadonlyMap<string, number>, token: string): number {
  const id = vocabulary.get(token);
  if (id !== undefined) return id;
  throw refuse("model.unk_token", `is ${shown(token)}, which is not in model.vocab, but the text needs it.`);
}

/** A library's model; the package's own type declarations do not resolve under "moduleResolution": "NodeNext". */
interface LibraryModel {
  /** The tokens of pieces, of which each is not empty. */
  encode(pieces: readonly string[]): readonly string[];
}

interface Library {
  readonly BPE: new (config: object) => LibraryModel;
  readonly Unigram: new (config: object, eosToken: string | undefined) => LibraryModel;
  readonly WordPiece: new (config: object) => LibraryModel;
}

// One by one, so that bundlers leave out the rest of the package; the casts as above.
const BPE = (library as unknown as Library).BPE;
const Unigram = (library as unknown as Library).Unigram;
const WordPiece = (library as unknown as Library).WordPiece;

/** The id of a token that a library's model found, which is always one of the vocabulary. */
function idOf(vocabulary: ReadonlyMap<string, number>, token: string): number {
  const id = vocabulary.get(token);
  if (id === undefined) throw new RangeError(`${token} is not in the vocabulary.`);
  return id;
}

/** The names of the tokens that stand for bytes. */
const BYTE_TOKENS = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);

/** The ids of a text's bytes; undefined when the vocabulary lacks one of them. */
function byteIds(text: string, vocabulary: ReadonlyMap<string, number>): readonly number[] | undefined {
  const ids: number[] = [];
  for (const byte of new TextEncoder().encode(text)) {
    const id = vocabulary.get(at(BYTE_TOKENS, byte));
    if (id === undefined) return undefined;
    ids.push(id);
  }
  return ids;
}

/**
 * BPE. Of a piece whose characters are all in the vocabulary, the ids are the library's. It merges otherwise than the Rust library what
 * is beside characters that the vocabulary lacks, so that these are taken out of the piece before.
 */
function readBpe(component: Component): TokenModel {
  const vocabulary = readVocabulary(component);
  const dropout = component.value("dropout") ?? 0;
  if (dropout !== 0) {
    throw refuse("model.dropout", `is ${shown(dropout)}, but random merges are not supported: set it to null.`);
  }
  const text = (name: string) => (component.value(name) === null ? "" : component.string(name, ""));
  if (text("continuing_subword_prefix") !== "") {
    throw refuse("model.continuing_subword_prefix", "is not supported: use a tokenizer without it.");
  }
  const suffix = text("end_of_word_suffix");
  const unknown = component.value("unk_token") === null ? undefined : component.value("unk_token");
  const unknownToken = unknown === undefined ? undefined : component.string("unk_token");
  const options = {
    vocabulary,
    unknown: unknownToken,
    fusesUnknown: component.boolean("fuse_unk", false),
    byteFallback: component.boolean("byte_fallback", false),
  };
  const ignoresMerges = component.boolean("ignore_merges", false);
  const merges = readMerges(component, vocabulary);
  checkMerged(merges, options);
  const open = (end_of_word_suffix: string) =>
    new BPE({ vocab: Object.fromEntries(vocabulary), merges, end_of_word_suffix });
  const model = open(suffix);
  let within: LibraryModel | undefined = suffix === "" ? model : undefined; // made when it is needed
  return {
    vocabulary,
    encode(piece, work) {
      work.spend(piece.length);
      const whole = ignoresMerges ? vocabulary.get(piece) : undefined;
      if (whole !== undefined) return [whole];
      const { parts, isEndKnown } = partsOf(piece, suffix, options);
      return parts.flatMap((part, index) => {
        if (typeof part !== "string") return part;
        if (isEndKnown && index === parts.length - 1)
          return model.encode([part]).map((token) => idOf(vocabulary, token));
        within ??= open("");
        return within.encode([part]).map((token) => idOf(vocabulary, token));
      });
    },
  };
}

interface BpeOptions {
  readonly vocabulary: ReadonlyMap<string, number>;
  readonly unknown: string | undefined;
  readonly fusesUnknown: boolean;
  readonly byteFallback: boolean;
}

/** @throws CheckpointError for merges of tokens that stand for missing characters, which only ids could tell apart. */
function checkMerged(
  merges: readonly (readonly [string, string])[],
  { vocabulary, unknown, byteFallback }: BpeOptions,
): void {
  const apart = new Set(byteFallback ? BYTE_TOKENS.filter((token) => vocabulary.has(token)) : []);
  if (unknown !== undefined) apart.add(unknown);
  const index = merges.findIndex((pair) => pair.some((token) => apart.has(token)));
  if (index === -1) return;
  throw refuse(
    `model.merges[${index}]`,
    `merges the unknown token or that of a byte, which is not supported, got ${shown(merges[index])}.`,
  );
}

/** The runs of a piece's characters that the vocabulary has, and the ids that take the place of those that it lacks. */
function partsOf(
  piece: string,
  suffix: string,
  options: BpeOptions,
): { readonly parts: readonly (string | readonly number[])[]; readonly isEndKnown: boolean } {
  const { vocabulary, unknown, fusesUnknown, byteFallback } = options;
  const characters = [...piece];
  const parts: (string | readonly number[])[] = [];
  let waiting: number | undefined;
  let isEndKnown = false;
  for (const [index, character] of characters.entries()) {
    const written = index === characters.length - 1 ? character + suffix : character;
    isEndKnown = vocabulary.has(written);
    if (isEndKnown) {
      if (waiting !== undefined) parts.push([waiting]);
      waiting = undefined;
      const last = parts.at(-1);
      if (typeof last === "string") parts[parts.length - 1] = last + character;
      else parts.push(character);
      continue;
    }
    const bytes = byteFallback ? byteIds(written, vocabulary) : undefined;
    if (bytes !== undefined) {
      parts.push(bytes); // before an unknown token that is waiting, as in Rust
    } else if (unknown !== undefined) {
      if (waiting !== undefined && !fusesUnknown) parts.push([waiting]);
      waiting = unknownId(vocabulary, unknown);
    }
  }
  if (waiting !== undefined) parts.push([waiting]);
  return { parts, isEndKnown };
}

function readMerges(
  component: Component,
  vocabulary: ReadonlyMap<string, number>,
): readonly (readonly [string, string])[] {
  const value = component.value("merges");
  if (!Array.isArray(value)) throw component.wrong("merges", "a list of pairs", value);
  const areTexts = typeof value[0] === "string";
  const listed = areTexts ? value.filter((merge) => typeof merge !== "string" || !merge.startsWith("#version")) : value;
  return listed.map((merge, index) => {
    const pair: unknown = areTexts && typeof merge === "string" ? merge.split(" ") : merge;
    const [left, right] =
      Array.isArray(pair) && pair.length === 2 && areTexts === (typeof merge === "string") ? pair : [];
    if (typeof left !== "string" || typeof right !== "string") {
      throw refuse(`model.merges[${index}]`, `must be a pair of tokens, got ${shown(merge)}.`);
    }
    if (![left, right, left + right].every((token) => vocabulary.has(token))) {
      throw refuse(
        `model.merges[${index}]`,
        `must merge tokens of model.vocab into one of its tokens, got ${shown(merge)}.`,
      );
    }
    return [left, right];
  });
}

function readUnigram(component: Component): TokenModel {
  const value = component.value("vocab");
  if (!Array.isArray(value)) throw component.wrong("vocab", "a list of tokens and scores", value);
  const vocabulary = new Map<string, number>();
  value.forEach((entry: unknown, id) => {
    const [token, score] = Array.isArray(entry) && entry.length === 2 ? entry : [];
    if (typeof token !== "string" || token === "" || typeof score !== "number" || vocabulary.has(token)) {
      throw refuse(`model.vocab[${id}]`, `must be a token that is not there yet and its score, got ${shown(entry)}.`);
    }
    vocabulary.set(token, id);
  });
  const unknown = component.value("unk_id") ?? undefined;
  const options = {
    vocabulary,
    unknown: unknown === undefined ? undefined : component.count("unk_id", { max: vocabulary.size - 1 }),
    byteFallback: component.boolean("byte_fallback", false),
  };
  const model = new Unigram({ vocab: value, unk_id: options.unknown }, undefined);
  const steps = mostPrefixes(vocabulary);
  return {
    vocabulary,
    encode(piece, work) {
      work.spend(steps * piece.length);
      return fused(model.encode([piece]), options).flatMap((token) => idsOfToken(token, options));
    },
  };
}

interface UnigramOptions {
  readonly vocabulary: ReadonlyMap<string, number>;
  readonly unknown: number | undefined;
  readonly byteFallback: boolean;
}

/** The most tokens that begin at one place of a text. */
function mostPrefixes(vocabulary: ReadonlyMap<string, number>): number {
  let most = 1;
  for (const token of vocabulary.keys()) {
    let count = 1;
    for (let end = 1; end < token.length; end++) if (vocabulary.has(token.slice(0, end))) count++;
    most = Math.max(most, count);
  }
  return most;
}

/** Tokens with neighbours that are unknown as one. */
function fused(tokens: readonly string[], { vocabulary, unknown }: UnigramOptions): readonly string[] {
  const all: string[] = [];
  let isAfterUnknown = false;
  for (const token of tokens) {
    const id = vocabulary.get(token);
    const isUnknown = id === undefined || id === unknown;
    if (isUnknown && isAfterUnknown) all.push(`${all.pop()}${token}`);
    else all.push(token);
    isAfterUnknown = isUnknown;
  }
  return all;
}

function idsOfToken(token: string, { vocabulary, unknown, byteFallback }: UnigramOptions): readonly number[] {
  const id = vocabulary.get(token);
  if (id !== undefined) return [id];
  const bytes = byteFallback ? byteIds(token, vocabulary) : undefined;
  if (bytes !== undefined) return bytes;
  if (unknown === undefined) throw refuse("model.unk_id", "is null, but the text needs an unknown token.");
  return [unknown];
}

/** Characters of a word that are looked up in parts: tokenizers takes 100 unless told otherwise. */
const MAX_WORD = 200;

function readWordPiece(component: Component): TokenModel {
  const vocabulary = readVocabulary(component);
  const model = new WordPiece({
    vocab: Object.fromEntries(vocabulary),
    unk_token: component.string("unk_token"),
    continuing_subword_prefix: component.string("continuing_subword_prefix"),
    max_input_chars_per_word: component.count("max_input_chars_per_word", { max: MAX_WORD }),
  });
  return {
    vocabulary,
    encode(piece, work) {
      work.spend(Math.min(MAX_WORD, piece.length) * piece.length);
      return model.encode([piece]).map((token) => unknownId(vocabulary, token)); // only the unknown token may be missing
    },
  };
}

function readWordLevel(component: Component): TokenModel {
  const vocabulary = readVocabulary(component);
  const unknown = component.string("unk_token");
  return { vocabulary, encode: (piece) => [vocabulary.get(piece) ?? unknownId(vocabulary, unknown)] };
}
