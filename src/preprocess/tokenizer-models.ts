// Models of tokenizer.json: the ids of a piece of text.
// Source: tokenizers 0.23.3, src/models (BPE's merge_word and Word::merge_all, Unigram's encode_optimized, WordPiece, WordLevel).

import { at, isObject, shown } from "../errors.ts";
import { Trie } from "./tokenizer-added-tokens.ts";
import { Component, refuse, type Work } from "./tokenizer-json.ts";

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

/** The id of the unknown token, when it is needed. */
function unknownId(vocabulary: ReadonlyMap<string, number>, token: string): number {
  const id = vocabulary.get(token);
  if (id !== undefined) return id;
  throw refuse("model.unk_token", `is ${shown(token)}, which is not in model.vocab, but the text needs it.`);
}

/** Pieces whose ids are kept. */
const CACHE_SIZE = 10_000;
const MAX_CACHED_LENGTH = 256;

interface BpeOptions {
  readonly vocabulary: ReadonlyMap<string, number>;
  readonly merges: Merges;
  readonly unknown: string | undefined;
  readonly prefix: string;
  readonly suffix: string;
  readonly fusesUnknown: boolean;
  readonly byteFallback: boolean;
  readonly ignoresMerges: boolean;
}

function readBpe(component: Component): TokenModel {
  const vocabulary = readVocabulary(component);
  const dropout = component.value("dropout") ?? 0;
  if (dropout !== 0) {
    throw refuse("model.dropout", `is ${shown(dropout)}, but random merges are not supported: set it to null.`);
  }
  const text = (name: string) => (component.value(name) === null ? "" : component.string(name, ""));
  const unknown = component.value("unk_token") ?? undefined;
  const prefix = text("continuing_subword_prefix");
  const options: BpeOptions = {
    vocabulary,
    merges: readMerges(component, vocabulary, prefix),
    unknown: unknown === undefined ? undefined : component.string("unk_token"),
    prefix,
    suffix: text("end_of_word_suffix"),
    fusesUnknown: component.boolean("fuse_unk", false),
    byteFallback: component.boolean("byte_fallback", false),
    ignoresMerges: component.boolean("ignore_merges", false),
  };
  const cache = new Map<string, readonly number[]>();
  return {
    vocabulary,
    encode(piece, work) {
      work.spend(piece.length);
      const whole = options.ignoresMerges ? vocabulary.get(piece) : undefined;
      if (whole !== undefined) return [whole];
      const cached = cache.get(piece);
      if (cached !== undefined) return cached;
      const ids = mergeAll(symbolsOf(piece, options), options.merges, work);
      if (piece.length < MAX_CACHED_LENGTH) {
        if (cache.size >= CACHE_SIZE) cache.clear();
        cache.set(piece, ids);
      }
      return ids;
    },
  };
}

/** Pairs of ids with the rank of their merge, and the id that each merge gives. */
interface Merges {
  readonly ranks: PairTable;
  readonly newIds: readonly number[];
}

/** Numbers by pairs of ids, in a hash table of typed arrays: a Map of numbers above 2^31 takes several times longer. */
class PairTable {
  private readonly mask: number;
  private readonly lefts: Int32Array;
  private readonly rights: Int32Array;
  private readonly values: Int32Array;
  /** At random, so that a file cannot choose pairs that meet in one slot. */
  private readonly seed = Math.floor(Math.random() * 2 ** 32);

  /** @param count most pairs that it will hold */
  constructor(count: number) {
    const size = 2 ** Math.ceil(Math.log2(2 * count + 2));
    this.mask = size - 1;
    this.lefts = new Int32Array(size);
    this.rights = new Int32Array(size);
    this.values = new Int32Array(size).fill(-1);
  }

  set(left: number, right: number, value: number): void {
    const slot = this.slotOf(left, right);
    this.lefts[slot] = left;
    this.rights[slot] = right;
    this.values[slot] = value;
  }

  get(left: number, right: number): number | undefined {
    const value = at(this.values, this.slotOf(left, right));
    return value < 0 ? undefined : value;
  }

  /** Where a pair is, or would be. */
  private slotOf(left: number, right: number): number {
    let hash = Math.imul(left ^ this.seed, 0x9e3779b1);
    hash = Math.imul((hash ^ (hash >>> 15)) + right, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13) ^ this.seed, 0xc2b2ae35);
    let slot = (hash ^ (hash >>> 16)) & this.mask;
    while (this.values[slot] !== -1 && (this.lefts[slot] !== left || this.rights[slot] !== right)) {
      slot = (slot + 1) & this.mask;
    }
    return slot;
  }
}

function readMerges(component: Component, vocabulary: ReadonlyMap<string, number>, prefix: string): Merges {
  const value = component.value("merges");
  if (!Array.isArray(value)) throw component.wrong("merges", "a list of pairs", value);
  const areTexts = typeof value[0] === "string";
  const listed = areTexts ? value.filter((merge) => typeof merge !== "string" || !merge.startsWith("#version")) : value;
  const ranks = new PairTable(listed.length);
  const newIds: number[] = [];
  for (const merge of listed) {
    const pair: unknown = areTexts && typeof merge === "string" ? merge.split(" ") : merge;
    const [left, right] =
      Array.isArray(pair) && pair.length === 2 && areTexts === (typeof merge === "string") ? pair : [];
    if (typeof left !== "string" || typeof right !== "string") {
      throw refuse(`model.merges[${newIds.length}]`, `must be a pair of tokens, got ${shown(merge)}.`);
    }
    const leftId = vocabulary.get(left);
    const rightId = vocabulary.get(right);
    const newId = right.startsWith(prefix) ? vocabulary.get(left + right.slice(prefix.length)) : undefined;
    if (leftId === undefined || rightId === undefined || newId === undefined) {
      throw refuse(
        `model.merges[${newIds.length}]`,
        `must merge tokens of model.vocab into one of its tokens, got ${shown(merge)}.`,
      );
    }
    ranks.set(leftId, rightId, newIds.length);
    newIds.push(newId);
  }
  return { ranks, newIds };
}

/** The ids of a piece's characters, with bytes or the unknown token for those that the vocabulary lacks. */
function symbolsOf(piece: string, options: BpeOptions): number[] {
  const { vocabulary, unknown, prefix, suffix } = options;
  const characters = [...piece];
  const symbols: number[] = [];
  let waiting: number | undefined;
  characters.forEach((character, index) => {
    const start = index > 0 ? prefix : "";
    const end = index === characters.length - 1 ? suffix : "";
    const text = start + character + end;
    const id = vocabulary.get(text);
    if (id !== undefined) {
      if (waiting !== undefined) symbols.push(waiting);
      waiting = undefined;
      symbols.push(id);
      return;
    }
    const bytes = options.byteFallback ? byteIds(text, vocabulary) : undefined;
    if (bytes !== undefined) {
      symbols.push(...bytes); // before an unknown token that is waiting, as in Rust
    } else if (unknown !== undefined) {
      if (waiting !== undefined && !options.fusesUnknown) symbols.push(waiting);
      waiting = unknownId(vocabulary, unknown);
    }
  });
  if (waiting !== undefined) symbols.push(waiting);
  return symbols;
}

/** Most symbols of a piece: four bytes per character of the longest text. */
const MAX_SYMBOLS = 2 ** 22;

/** Merges neighbours, the lowest rank first and of equal ones the leftmost. */
function mergeAll(ids: number[], { ranks, newIds }: Merges, work: Work): readonly number[] {
  const { length } = ids;
  const previous = Int32Array.from({ length }, (_, index) => index - 1);
  const next = Int32Array.from({ length }, (_, index) => (index + 1 < length ? index + 1 : -1));
  const isGone = new Uint8Array(length);
  const queue = new Heap();
  const rankOf = (left: number, right: number) => ranks.get(at(ids, left), at(ids, right));
  const offer = (left: number, right: number) => {
    const rank = rankOf(left, right);
    if (rank !== undefined) queue.push(rank * MAX_SYMBOLS + left);
  };
  for (let index = 0; index + 1 < length; index++) offer(index, index + 1);
  for (let top = queue.pop(); top !== undefined; top = queue.pop()) {
    work.spend(8);
    const left = top % MAX_SYMBOLS;
    const newId = at(newIds, (top - left) / MAX_SYMBOLS);
    const right = at(next, left);
    if (isGone[left] === 1 || right === -1) continue;
    const rank = rankOf(left, right);
    if (rank === undefined || newIds[rank] !== newId) continue; // the neighbours have changed meanwhile
    ids[left] = newId;
    isGone[right] = 1;
    const after = at(next, right);
    next[left] = after;
    if (after !== -1) previous[after] = left;
    const before = at(previous, left);
    if (before !== -1) offer(before, left);
    if (after !== -1) offer(left, after);
  }
  return ids.filter((_, index) => isGone[index] === 0);
}

/** Numbers, of which the least comes first. */
class Heap {
  private readonly values: number[] = [];

  push(value: number): void {
    const { values } = this;
    let index = values.push(value) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = at(values, parent);
      if (above <= value) break;
      values[index] = above;
      index = parent;
    }
    values[index] = value;
  }

  pop(): number | undefined {
    const { values } = this;
    const least = values[0];
    const last = values.pop();
    if (last === undefined || values.length === 0) return least;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= values.length) break;
      if (child + 1 < values.length && at(values, child + 1) < at(values, child)) child++;
      const below = at(values, child);
      if (below >= last) break;
      values[index] = below;
      index = child;
    }
    values[index] = last;
    return least;
  }
}

/** What an unknown character costs, beyond the lowest score. Source: K_UNK_PENALTY. */
const UNKNOWN_PENALTY = 10;

function readUnigram(component: Component): TokenModel {
  const value = component.value("vocab");
  if (!Array.isArray(value)) throw component.wrong("vocab", "a list of tokens and scores", value);
  const vocabulary = new Map<string, number>();
  const scores: number[] = [];
  const trie = new Trie();
  value.forEach((entry: unknown, id) => {
    const [token, score] = Array.isArray(entry) && entry.length === 2 ? entry : [];
    if (typeof token !== "string" || token === "" || typeof score !== "number" || vocabulary.has(token)) {
      throw refuse(`model.vocab[${id}]`, `must be a token that is not there yet and its score, got ${shown(entry)}.`);
    }
    vocabulary.set(token, id);
    scores.push(score);
    trie.add(token, id);
  });
  const lowest = scores.reduce((least, score) => Math.min(least, score), Number.POSITIVE_INFINITY);
  const unknown = component.value("unk_id") ?? undefined;
  const options = {
    vocabulary,
    trie,
    scores,
    unknownScore: lowest - UNKNOWN_PENALTY,
    unknown: unknown === undefined ? undefined : component.count("unk_id", { max: scores.length - 1 }),
    byteFallback: component.boolean("byte_fallback", false),
  };
  return { vocabulary, encode: (piece, work) => bestPath(piece, options, work) };
}

interface UnigramOptions {
  readonly vocabulary: ReadonlyMap<string, number>;
  readonly trie: Trie;
  readonly scores: readonly number[];
  readonly unknownScore: number;
  readonly unknown: number | undefined;
  readonly byteFallback: boolean;
}

/** The tokens with the highest sum of scores. */
function bestPath(piece: string, options: UnigramOptions, work: Work): readonly number[] {
  const { trie, scores, unknownScore, unknown } = options;
  const best: ({ readonly id: number; readonly start: number; readonly score: number } | undefined)[] = [];
  const offer = (
    start: number,
    { id, end, score }: { readonly id: number; readonly end: number; readonly score: number },
  ) => {
    const total = score + (best[start]?.score ?? 0);
    const known = best[end];
    if (known === undefined || total > known.score) best[end] = { id, start, score: total };
  };
  for (let start = 0; start < piece.length; ) {
    const width = (piece.codePointAt(start) ?? 0) > 0xffff ? 2 : 1;
    let isKnown = false;
    for (const { id, length } of trie.prefixes(piece, start, work)) {
      offer(start, { id, end: start + length, score: at(scores, id) });
      isKnown ||= length === width;
    }
    if (!isKnown) {
      if (unknown === undefined) throw refuse("model.unk_id", "is null, but the text needs an unknown token.");
      offer(start, { id: unknown, end: start + width, score: unknownScore });
    }
    start += width;
  }
  const tokens: string[] = [];
  let fused: string | undefined;
  for (let end = piece.length; end > 0; ) {
    const { id, start } = at(best, end) ?? { id: 0, start: 0 };
    const text = piece.slice(start, end);
    if (id === unknown) {
      fused = text + (fused ?? "");
    } else {
      if (fused !== undefined) tokens.push(fused);
      fused = undefined;
      tokens.push(text);
    }
    end = start;
  }
  if (fused !== undefined) tokens.push(fused);
  return tokens.reverse().flatMap((token) => idsOfToken(token, options));
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
  const unknown = component.string("unk_token");
  const prefix = component.string("continuing_subword_prefix");
  const maxCharacters = component.count("max_input_chars_per_word", { max: MAX_WORD });
  return {
    vocabulary,
    encode(piece, work) {
      const characters = [...piece];
      const ids: number[] = [];
      if (characters.length > maxCharacters) return [unknownId(vocabulary, unknown)];
      for (let start = 0; start < characters.length; ) {
        let end = characters.length;
        let id: number | undefined;
        for (; end > start; end--) {
          work.spend(1);
          id = vocabulary.get((start > 0 ? prefix : "") + characters.slice(start, end).join(""));
          if (id !== undefined) break;
        }
        if (id === undefined) return [unknownId(vocabulary, unknown)];
        ids.push(id);
        start = end;
      }
      return ids;
    },
  };
}

function readWordLevel(component: Component): TokenModel {
  const vocabulary = readVocabulary(component);
  const unknown = component.string("unk_token");
  return { vocabulary, encode: (piece) => [vocabulary.get(piece) ?? unknownId(vocabulary, unknown)] };
}
