// Text ↔ token ids, with @huggingface/tokenizers and the checkpoint's tokenizer.json and tokenizer_config.json.
//
// Added to the library: transformers' add_bos_token and add_eos_token, the Rust library's treatment of byte runs that are not
// UTF-8, ids without a token, and a stream that holds back incomplete characters.

import { Tokenizer as TokenizerOfLibrary } from "@huggingface/tokenizers";
import { CheckpointError, isObject, shown } from "../errors.ts";
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
 * @throws CheckpointError when the files ask for something that is not implemented.
 */
export function loadTokenizer(tokenizerJson: unknown, files: TokenizerFiles = {}): Tokenizer {
  const json = asObject(tokenizerJson, FILE);
  const config = asObject(files.config ?? {}, "tokenizer_config.json");
  const model = asObject(json.model, `${FILE}: model`);
  if (!["BPE", "Unigram", "WordPiece", undefined].includes(model.type as string | undefined)) {
    throw fail(`model.type must be BPE, Unigram or WordPiece, got ${shown(model.type)}.`);
  }
  if (typeof model.dropout === "number" && model.dropout > 0) {
    throw fail(`model.dropout is ${model.dropout}, but random merges are not implemented: set it to null.`);
  }
  const specials = readSpecialTokens(files);
  const bosToken = specials.named.get("bos_token")?.content;
  const eosToken = specials.named.get("eos_token")?.content;
  const added = { added_tokens: withAddedTokens(json, specials) };
  const library = open({ normalizer: null, pre_tokenizer: null, decoder: null, ...json, ...added }, config, {
    bosToken,
    eosToken,
  });

  const encode = (text: string, addSpecialTokens: boolean): number[] => {
    const { ids } = library.encode(text, { add_special_tokens: addSpecialTokens });
    return ids.filter((id) => id !== undefined); // without an unk_token, as in Rust: unknown characters are dropped
  };
  const decode = (ids: readonly number[], skipSpecialTokens: boolean): string => {
    const known = ids.filter((id) => library.id_to_token(id) !== undefined);
    if (known.length === 0) return "";
    // transformers 5 never "cleans up" spaces of BPE tokenizers, whatever tokenizer_config.json says.
    return library.decode(known, { skip_special_tokens: skipSpecialTokens, clean_up_tokenization_spaces: false });
  };
  return {
    bosToken,
    eosToken,
    encode: (text, { addSpecialTokens = true } = {}) => encode(text, addSpecialTokens),
    encodePrompt: (text) => encode(text, bosToken === undefined || !text.startsWith(bosToken)),
    decode: (ids, { skipSpecialTokens = true } = {}) => decode(Array.from(ids), skipSpecialTokens),
    tokenToId: (token) => library.token_to_id(token),
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

/** As Rust's ByteFallback: each token of a byte run that is not UTF-8 gives one U+FFFD. */
function decodeByteRuns(tokens: readonly string[]): string[] {
  const pieces: string[] = [];
  let run: number[] = [];
  const endRun = () => {
    if (run.length > 0) pieces.push(decodeRun(run));
    run = [];
  };
  for (const token of tokens) {
    const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
    if (byte !== undefined) {
      run.push(Number.parseInt(byte, 16));
    } else {
      endRun();
      pieces.push(token);
    }
  }
  endRun();
  return pieces;
}

function decodeRun(bytes: readonly number[]): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
  } catch {
    return "\ufffd".repeat(bytes.length); // not UTF-8: not an error, see above
  }
}

/** The part of the library that is used; its type declarations do not resolve under "moduleResolution": "NodeNext". */
interface LibraryTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { readonly ids: readonly (number | undefined)[] };
  decode(
    ids: readonly number[],
    options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean },
  ): string;
  token_to_id(token: string): number | undefined;
  id_to_token(id: number): string | undefined;
  readonly decoder: { readonly decoders?: readonly LibraryDecoder[] } | null;
}

/** One part of a decoder that is a sequence. */
interface LibraryDecoder {
  readonly config: { readonly type: string };
  decode_chain(tokens: readonly string[]): string[];
}

function open(
  json: Readonly<Record<string, unknown>>,
  config: Readonly<Record<string, unknown>>,
  { bosToken, eosToken }: { bosToken: string | undefined; eosToken: string | undefined },
): LibraryTokenizer {
  // The library takes tokenizer_config.json's special tokens as strings only.
  const plainConfig = { ...config, bos_token: bosToken, eos_token: eosToken, additional_special_tokens: null };
  let library: LibraryTokenizer;
  try {
    const template = postProcessorOf(config, { bosToken, eosToken });
    const parts = { post_processor: null, ...json, ...(template && { post_processor: template }) };
    library = new TokenizerOfLibrary(parts, plainConfig);
  } catch (cause) {
    const reason = (cause as Error).message.replace(/\.?$/, "."); // the library throws nothing else
    throw new CheckpointError(`${FILE} cannot be used: ${reason}`, { file: FILE, cause });
  }
  for (const part of library.decoder?.decoders ?? []) {
    if (part.config.type === "ByteFallback") part.decode_chain = decodeByteRuns;
  }
  return library;
}

/** Classes that heed add_bos_token and add_eos_token in transformers 4.57; 5.23 takes tokenizer.json's post-processor for all. */
const HEEDING_CLASS = /^(Code)?Llama|^Gemma/;

/**
 * transformers' update_post_processor: add_bos_token and add_eos_token, when tokenizer_config.json gives either, replace the
 * post-processor of tokenizer.json (tokenization_llama_fast.py of 4.57), unless another class of tokenizer is named.
 */
function postProcessorOf(
  config: Readonly<Record<string, unknown>>,
  { bosToken, eosToken }: { readonly bosToken: string | undefined; readonly eosToken: string | undefined },
): object | undefined {
  const { tokenizer_class: className = "LlamaTokenizer" } = config;
  if (typeof className === "string" && !HEEDING_CLASS.test(className)) return undefined;
  if (typeof config.add_bos_token !== "boolean" && typeof config.add_eos_token !== "boolean") return undefined;
  const before = config.add_bos_token === true && bosToken !== undefined ? [bosToken] : [];
  const after = config.add_eos_token === true && eosToken !== undefined ? [eosToken] : [];
  const special = (token: string) => ({ SpecialToken: { id: token, type_id: 0 } });
  const single = [...before.map(special), { Sequence: { id: "A", type_id: 0 } }, ...after.map(special)];
  return { type: "TemplateProcessing", single };
}

function asObject(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (isObject(value)) return value;
  throw new CheckpointError(`${what} must hold a JSON object, got ${shown(value)}.`, {
    file: FILE,
  });
}

function fail(message: string): CheckpointError {
  return new CheckpointError(`${FILE}: ${message}`, { file: FILE });
}
