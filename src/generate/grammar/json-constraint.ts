// Answers that are JSON of a schema: at every token, only those remain possible that continue such a text.
import { InputError } from "../../errors.ts";
import type { ModelConfig } from "../../models/config.ts";
import type { Processor } from "../../models/processor.ts";
import { tokenBytes } from "../../preprocess/tokenizer/token-bytes.ts";
import type { Tokenizer } from "../../preprocess/tokenizer/tokenizer.ts";
import type { TokenConstraint } from "../token-picker.ts";
import { automatonOf } from "./grammar.ts";
import { checkedSchema, type JsonSchema, jsonSchemaGrammar } from "./json-schema.ts";
import { AmbiguityError, GrammarPlaces, type Place } from "./matcher.ts";
import { type TokenTrie, tokenTrie } from "./token-trie.ts";

/** What an answer's tokens are taken from. */
export interface TokenSource {
  readonly tokenizer: Tokenizer;
  /** Logits of the model; ids without a token are ruled out. */
  readonly vocabSize: number;
  /** Ids that end an answer. */
  readonly endIds: readonly number[];
}

/** What is kept of a tokenizer for later answers. */
interface Prepared {
  readonly trie: TokenTrie;
  /** By the schema as JSON, the least recently used first. */
  readonly places: Map<string, GrammarPlaces>;
}

/** Schemas whose places are kept per tokenizer. */
const MAX_SCHEMAS = 8;

const prepared = new WeakMap<Tokenizer, Prepared>();

/**
 * What keeps an answer of a model within a schema.
 * @throws InputError for other options that the schema excludes, and as {@link jsonConstraint}; CheckpointError without a tokenizer.
 */
export function answerConstraint(
  schema: JsonSchema,
  {
    choices,
    ignoreEos,
  }: { readonly choices?: readonly string[] | undefined; readonly ignoreEos?: boolean | undefined },
  { processor, config }: { readonly processor: Processor; readonly config: Pick<ModelConfig, "text"> },
): TokenConstraint {
  if (choices !== undefined) throw new InputError("jsonSchema and choices exclude each other: omit one.");
  const { vocabSize } = config.text;
  const endIds = ignoreEos === true ? [] : processor.eosTokenIds.filter((id) => id < vocabSize);
  return jsonConstraint(schema, { tokenizer: processor.tokenizer, vocabSize, endIds });
}

/**
 * Prepares an answer that is JSON of a schema.
 * @throws InputError for a schema that is not supported or cannot be, and without an id that ends an answer.
 */
export function jsonConstraint(schema: JsonSchema, source: TokenSource): TokenConstraint {
  const { endIds } = source;
  if (endIds.length === 0) {
    throw new InputError("jsonSchema: the answer needs a token that ends it, but there is none; leave out ignoreEos.");
  }
  return new JsonConstraint(placesOf(checkedSchema(schema), source), endIds);
}

function placesOf(schema: JsonSchema, { tokenizer, vocabSize, endIds }: TokenSource): GrammarPlaces {
  let of = prepared.get(tokenizer);
  if (of === undefined) {
    const tokens = Array.from({ length: vocabSize }, (_, id) => tokenBytes(tokenizer, id));
    of = { trie: tokenTrie(tokens, vocabSize), places: new Map() };
    prepared.set(tokenizer, of);
  }
  const key = JSON.stringify(schema);
  const places = of.places.get(key) ?? new GrammarPlaces(automaton(schema), of.trie, endIds);
  of.places.delete(key);
  of.places.set(key, places);
  const [oldest] = of.places.keys();
  if (of.places.size > MAX_SCHEMAS && oldest !== undefined) of.places.delete(oldest);
  return places;
}

function automaton(schema: JsonSchema) {
  const grammar = jsonSchemaGrammar(schema);
  try {
    return automatonOf(grammar);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new InputError("jsonSchema: the schema counts too much: lower its lengths and numbers of items.", { cause });
  }
}

class JsonConstraint implements TokenConstraint {
  private readonly places: GrammarPlaces;
  private readonly endIds: readonly number[];
  private place: Place;
  private numTokens = 0;
  private isEnded = false;

  constructor(places: GrammarPlaces, endIds: readonly number[]) {
    this.places = places;
    this.endIds = endIds;
    this.place = followed(() => places.start());
  }

  get isOver(): boolean {
    return this.isEnded || (this.place.isEnd && this.place.frames.length === 0);
  }

  mask(): Uint32Array<ArrayBuffer> {
    const mask = followed(() => this.places.allowed(this.place));
    if (mask.some((word) => word !== 0)) return mask;
    throw new InputError(
      `jsonSchema: the model's vocabulary cannot write the JSON: no token can ${this.numTokens === 0 ? "begin it" : `follow the first ${this.numTokens} tokens`}.`,
    );
  }

  accept(tokenId: number): void {
    this.numTokens++;
    const next = this.endIds.includes(tokenId) ? null : followed(() => this.places.after(this.place, tokenId));
    if (next === null) this.isEnded = true;
    else this.place = next;
  }
}

/** @throws InputError for a schema that matches the same text in too many ways. */
function followed<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    if (!(cause instanceof AmbiguityError)) throw cause;
    throw new InputError(
      "jsonSchema: a text fits the schema in too many ways at once: simplify its patterns and alternatives.",
      { cause },
    );
  }
}
