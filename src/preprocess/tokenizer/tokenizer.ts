// Text ↔ token ids, with the checkpoint's tokenizer.json and the files beside it, as Hugging Face's tokenizers 0.23.3 gives them.
//
// The models (BPE, Unigram, WordPiece) are those of @huggingface/tokenizers. The other parts are computed here, because version 0.2.0 of
// the package gives other ids in places (merged splits, white space, flags of added tokens), ignores options that it does not know, and
// limits neither the steps of a pattern nor the growth of a text. What is not supported is refused by name. `truncation` and `padding`
// do not count, as in transformers. Added: transformers' add_bos_token and add_eos_token, ids without a token, and a stream that holds
// back incomplete characters.

import { CheckpointError, isObject, shown } from "../../errors.ts";
import { prepareAddedTokens } from "./added-tokens.ts";
import { readDecoder, readPostProcessor } from "./decoders.ts";
import { checkTextLength, refuse, Work } from "./json.ts";
import { readModel } from "./models.ts";
import { readNormalizer } from "./normalizers.ts";
import { readPreTokenizer } from "./pre-tokenizers.ts";
import { readSpecialTokens, type TokenizerFiles, withAddedTokens } from "./special-tokens.ts";

const FILE = "tokenizer.json";

/** A checkpoint's tokenizer. */
export interface Tokenizer {
  /** The text that begins every sequence, when tokenizer_config.json names one. */
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
  /** Ids of a text; by default with the special tokens that the post-processor adds. */
  encode(text: string, options?: { readonly addSpecialTokens?: boolean }): number[];
  /** Ids of a whole prompt: as {@link encode}, but a prompt that begins with the BOS token does not get a second one. */
  encodePrompt(text: string): number[];
  /** Text of ids; by default without special tokens. Ids without a token are skipped. */
  decode(ids: ArrayLike<number>, options?: { readonly skipSpecialTokens?: boolean }): string;
  /** The id of a token as spelled in the vocabulary; undefined for an unknown token. */
  tokenToId(token: string): number | undefined;
  /** A token as spelled in the vocabulary; undefined for special tokens and for ids without a token. */
  spelling(id: number): string | undefined;
  /** The decoder as in tokenizer.json, and the text of tokens as they are spelled. @internal */
  readonly decoder: { readonly json: unknown; decode(tokens: readonly string[]): string };
  /** Decodes ids one at a time. */
  stream(): TokenStream;
}

/**
 * Decodes ids one at a time, without special tokens. For valid text, the joined pieces equal {@link Tokenizer.decode} of all ids.
 * The part of a byte run that was already returned is kept when the run turns out not to be UTF-8.
 */
export interface TokenStream {
  /** The text that became complete with this id: whole characters, possibly none. */
  push(id: number): string;
  /** The text held back so far; incomplete characters become U+FFFD. */
  flush(): string;
}

/**
 * Makes a tokenizer from the parsed tokenizer.json and the files beside it.
 * @throws CheckpointError when the files ask for something that is not supported.
 */
export function loadTokenizer(tokenizerJson: unknown, files: TokenizerFiles = {}): Tokenizer {
  const json = asObject(tokenizerJson, FILE);
  const config = asObject(files.config ?? {}, "tokenizer_config.json");
  if (json.version !== undefined && json.version !== "1.0") {
    throw refuse("version", `must be "1.0", got ${shown(json.version)}.`);
  }
  const model = readModel(asObject(json.model, `${FILE}: model`));
  const normalizer = readNormalizer(json.normalizer);
  const preTokenize = readPreTokenizer(json.pre_tokenizer, normalizer.keepsStart);
  const decodeTokens = readDecoder(json.decoder);
  const specials = readSpecialTokens(files);
  const bosToken = specials.named.get("bos_token")?.content;
  const eosToken = specials.named.get("eos_token")?.content;
  const added = prepareAddedTokens(
    withAddedTokens(json.added_tokens, specials, model.vocabulary),
    model.vocabulary,
    (text) => normalizer.normalize(text, new Work(text.length)),
  );
  const idOf = (token: string) => added.idOf.get(token) ?? model.vocabulary.get(token);
  const postProcess = frameOf(config, { bosToken, eosToken, idOf }) ?? readPostProcessor(json.post_processor);
  const tokens = new Map<number, string>();
  for (const [token, id] of model.vocabulary) tokens.set(id, token);
  for (const [id, text] of added.textOf) tokens.set(id, text);

  const encode = (given: string, addSpecialTokens: boolean): number[] => {
    checkTextLength(given);
    const text = given.replace(/\p{Surrogate}/gu, "\ufffd"); // Python has no such texts; UTF-8 is written so
    const work = new Work(text.length);
    const ids: number[] = [];
    for (const section of added.split(text, "plain", work)) {
      if (section.id !== undefined) {
        ids.push(section.id);
        continue;
      }
      const normalized = normalizer.normalize(section.text, work);
      for (const part of added.split(normalized, "normalized", work)) {
        if (part.id !== undefined) {
          ids.push(part.id);
          continue;
        }
        const isFirst = section.start === 0 && part.start === 0;
        for (const piece of preTokenize(part.text, isFirst, work))
          for (const id of model.encode(piece, work)) ids.push(id);
      }
    }
    return postProcess(ids, addSpecialTokens);
  };
  const decode = (ids: readonly number[], skipSpecialTokens: boolean): string => {
    const known = ids
      .map((id) => tokens.get(id))
      .filter((token) => token !== undefined)
      .filter((token) => !skipSpecialTokens || !added.special.has(token));
    // transformers 5 never "cleans up" spaces of BPE tokenizers, whatever tokenizer_config.json says.
    return known.length === 0 ? "" : decodeTokens(known);
  };
  return {
    bosToken,
    eosToken,
    encode: (text, { addSpecialTokens = true } = {}) => encode(text, addSpecialTokens),
    encodePrompt: (text) => encode(text, bosToken === undefined || !text.startsWith(bosToken)),
    decode: (ids, { skipSpecialTokens = true } = {}) => decode(Array.from(ids), skipSpecialTokens),
    tokenToId: idOf,
    spelling: (id) => {
      const token = tokens.get(id);
      return token === undefined || added.special.has(token) ? undefined : token;
    },
    decoder: { json: json.decoder, decode: decodeTokens },
    stream: () => new DecodingStream((ids) => decode(ids, true)),
  };
}

/** Ids decoded together before the stream starts a new window. */
const WINDOW = 64;

/** Decodes a window of ids again with each id: a decoder may treat the first token specially, so that pieces do not add up. */
class DecodingStream implements TokenStream {
  private readonly decode: (ids: readonly number[]) => string;
  private ids: number[] = [];
  private emittedLength = 0;

  constructor(decode: (ids: readonly number[]) => string) {
    this.decode = decode;
  }

  push(id: number): string {
    this.ids.push(id);
    const text = this.decode(this.ids);
    if (isCut(text)) return "";
    const piece = this.emit(text);
    if (this.ids.length >= WINDOW) this.startAfresh();
    return piece;
  }

  flush(): string {
    return this.emit(this.decode(this.ids));
  }

  private emit(text: string): string {
    const piece = text.slice(this.emittedLength);
    this.emittedLength = Math.max(text.length, this.emittedLength);
    return piece;
  }

  /** Keeps the last id that begins with a whole character, and those after it, as the context of what follows. */
  private startAfresh(): void {
    const start = this.ids.findLastIndex((id) => {
      const text = this.decode([id]);
      return text !== "" && !text.includes("\ufffd");
    });
    if (start <= 0) return;
    this.ids = this.ids.slice(start);
    this.emittedLength = this.decode(this.ids).length;
  }
}

/** Whether a text may end within a character: until its last byte is there, it decodes to U+FFFD. */
function isCut(text: string): boolean {
  return text.endsWith("\ufffd");
}

/** Classes that heed add_bos_token and add_eos_token in transformers 4.57; 5.23 takes tokenizer.json's post-processor for all. */
const HEEDING_CLASS = /^(Code)?Llama|^Gemma/;

/**
 * transformers' update_post_processor: add_bos_token and add_eos_token, when tokenizer_config.json gives either, replace the
 * post-processor of tokenizer.json (tokenization_llama_fast.py of 4.57), unless another class of tokenizer is named.
 */
function frameOf(
  config: Readonly<Record<string, unknown>>,
  {
    bosToken,
    eosToken,
    idOf,
  }: {
    readonly bosToken: string | undefined;
    readonly eosToken: string | undefined;
    readonly idOf: (token: string) => number | undefined;
  },
): ((ids: readonly number[], addSpecialTokens: boolean) => number[]) | undefined {
  const { tokenizer_class: className = "LlamaTokenizer" } = config;
  if (typeof className === "string" && !HEEDING_CLASS.test(className)) return undefined;
  if (typeof config.add_bos_token !== "boolean" && typeof config.add_eos_token !== "boolean") return undefined;
  const idsOf = (isAdded: boolean, token: string | undefined) => {
    const id = isAdded && token !== undefined ? idOf(token) : undefined;
    return id === undefined ? [] : [id];
  };
  const before = idsOf(config.add_bos_token === true, bosToken);
  const after = idsOf(config.add_eos_token === true, eosToken);
  return (ids, addSpecialTokens) => (addSpecialTokens ? [...before, ...ids, ...after] : [...ids]);
}

function asObject(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (isObject(value)) return value;
  throw new CheckpointError(`${what} must hold a JSON object, got ${shown(value)}.`, {
    file: FILE,
  });
}
