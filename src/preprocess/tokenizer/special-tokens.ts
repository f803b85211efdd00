// The tokens that a tokenizer has besides its model's vocabulary: tokenizer.json's own, and those that only tokenizer_config.json,
// special_tokens_map.json or added_tokens.json name.
// Source: tokenization_utils_base.py and tokenization_utils_tokenizers.py of transformers 5.23; added_vocabulary.rs of tokenizers.

import { asRecord } from "../../checkpoint/source.ts";
import { CheckpointError, isObject, shown } from "../../errors.ts";

/** An added token, in tokenizer.json's form but for its id. */
export interface AddedToken {
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

/** An added token with its id. */
export interface NumberedToken extends AddedToken {
  readonly id: number;
}

/** The tokens that the files beside tokenizer.json name. */
export interface SpecialTokens {
  /** By name, such as `bos_token`; the tokenizer's own names first. */
  readonly named: ReadonlyMap<string, AddedToken>;
  /** Those with an id in the files, by that id. Their flags go before tokenizer.json's. */
  readonly numbered: readonly AddedToken[];
  /** Special tokens without a name. */
  readonly extra: readonly AddedToken[];
}

/** The parsed files beside tokenizer.json; undefined for one that is not there. */
export interface TokenizerFiles {
  /** tokenizer_config.json. */
  readonly config?: unknown;
  /** special_tokens_map.json. */
  readonly specialTokensMap?: unknown;
  /** added_tokens.json. */
  readonly addedTokens?: unknown;
}

const TOKENIZER_NAMES = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"].map((name) => `${name}_token`);

/** Whether special_tokens_map.json and added_tokens.json count: where tokenizer_config.json has no `added_tokens_decoder`. */
export function needsOlderFiles(config: unknown): boolean {
  return !isObject(asRecord(config).added_tokens_decoder);
}

/** Reads which tokens the files name. */
export function readSpecialTokens(files: TokenizerFiles): SpecialTokens {
  const config = asRecord(files.config);
  const decoder = isObject(config.added_tokens_decoder) ? config.added_tokens_decoder : undefined;
  const map = decoder === undefined ? asRecord(files.specialTokensMap) : {};
  const values = { ...config, ...map };
  const extra = extraTokens(config, map);

  const named = new Map<string, AddedToken>();
  const ownNames = Object.keys(values).filter((key) => key.endsWith("_token") && !TOKENIZER_NAMES.includes(key));
  for (const name of [...TOKENIZER_NAMES, ...ownNames]) setNamed(named, name, values[name]);
  for (const [name, value] of Object.entries(extra.named)) setNamed(named, name, value);

  const names = new Set([...named.values(), ...extra.listed].map(({ content }) => content));
  const numbered = decoder === undefined ? olderTokens(files.addedTokens, names) : Object.entries(decoder);
  const sorted = [...numbered].sort(([a], [b]) => Number(a) - Number(b)).flatMap(([, value]) => asToken(value) ?? []);
  const isNamed = new Set([...named.values()].map(({ content }) => content));
  const marked = sorted.map((token) => (isNamed.has(token.content) ? { ...token, special: true } : token));
  return { named, numbered: marked, extra: extra.listed };
}

/**
 * The `added_tokens` of tokenizer.json and of the other files. A token that only those name keeps its id in the model's vocabulary, or
 * gets the next one.
 * @param ownTokens tokenizer.json's
 * @param vocabulary the model's ids
 * @throws CheckpointError for one of tokenizer.json that has no id or no content.
 */
export function withAddedTokens(
  ownTokens: unknown,
  { named, numbered, extra }: SpecialTokens,
  vocabulary: ReadonlyMap<string, number>,
): readonly NumberedToken[] {
  const all: NumberedToken[] = [];
  const indexOf = new Map<string, number>();
  const own: readonly unknown[] = Array.isArray(ownTokens) ? ownTokens : [];
  own.forEach((value, index) => {
    const token = asToken(value);
    const { id } = asRecord(value);
    if (token === undefined || typeof id !== "number") {
      const expected = "an object with id and content";
      throw new CheckpointError(`tokenizer.json: added_tokens[${index}] must be ${expected}, got ${shown(value)}.`, {
        file: "tokenizer.json",
      });
    }
    indexOf.set(token.content, all.push({ id, ...token }) - 1);
  });
  let next = all.reduce((last, { id }) => Math.max(last, id + 1), vocabulary.size);
  for (const token of numbered) {
    const index = indexOf.get(token.content);
    const before = index === undefined ? undefined : all[index];
    // A token that was special once remains so, as in the Rust library.
    if (index !== undefined && before !== undefined) {
      all[index] = { ...before, ...token, special: before.special || token.special };
    }
  }
  for (const token of [...numbered, ...named.values(), ...extra]) {
    if (indexOf.has(token.content)) continue;
    const id = vocabulary.get(token.content) ?? next++;
    indexOf.set(token.content, all.push({ id, ...token }) - 1);
  }
  return all;
}

/** Tokens without a name of the tokenizer's: lists, and objects that give names of their own. */
function extraTokens(
  config: Readonly<Record<string, unknown>>,
  map: Readonly<Record<string, unknown>>,
): { readonly named: Readonly<Record<string, unknown>>; readonly listed: readonly AddedToken[] } {
  const given = [config, map].flatMap((file) => [file.extra_special_tokens, file.additional_special_tokens]);
  const lists = given.flatMap((value): unknown[] => (Array.isArray(value) ? value : []));
  const objects = given.filter((value) => isObject(value));
  return { named: Object.assign({}, ...objects), listed: lists.flatMap((value) => asToken(value, true) ?? []) };
}

/** added_tokens.json: text → id. */
function olderTokens(file: unknown, names: ReadonlySet<string>): readonly (readonly [string, unknown])[] {
  return Object.entries(asRecord(file)).map(([content, id]) => {
    if (typeof id === "number") return [String(id), { content, special: names.has(content) }];
    const message = `added_tokens.json: the id of ${shown(content)} must be a number, got ${shown(id)}.`;
    throw new CheckpointError(message, { file: "added_tokens.json" });
  });
}

function setNamed(named: Map<string, AddedToken>, name: string, value: unknown): void {
  const token = asToken(value, true);
  if (token !== undefined) named.set(name, token);
}

/** A text, or an object with its content and flags. */
function asToken(value: unknown, isSpecial = false): AddedToken | undefined {
  const { content = value, special = isSpecial, normalized = special !== true, ...flags } = asRecord(value);
  if (typeof content !== "string" || content === "") return undefined;
  return {
    content,
    single_word: flags.single_word === true,
    lstrip: flags.lstrip === true,
    rstrip: flags.rstrip === true,
    normalized: normalized === true,
    special: special === true,
  };
}
