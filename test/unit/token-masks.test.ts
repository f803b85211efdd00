// The tokens that a grammar allows, compared with a reading of each token by itself, for vocabularies of bytes, byte fallback and words.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { InputError } from "../../src/errors.ts";
import { automatonOf } from "../../src/generate/grammar/grammar.ts";
import { jsonConstraint } from "../../src/generate/grammar/json-constraint.ts";
import { jsonSchemaGrammar } from "../../src/generate/grammar/json-schema.ts";
import { GrammarPlaces } from "../../src/generate/grammar/matcher.ts";
import { tokenTrie } from "../../src/generate/grammar/token-trie.ts";
import { BYTE_CHARACTERS } from "../../src/preprocess/tokenizer/pre-tokenizers.ts";
import { tokenBytes } from "../../src/preprocess/tokenizer/token-bytes.ts";
import { loadTokenizer, type Tokenizer } from "../../src/preprocess/tokenizer/tokenizer.ts";
import { createRandom } from "../reference/random.ts";
import { idsOf } from "./json-walk.ts";

const tinySpatial = loadTokenizer(
  JSON.parse(readFileSync(new URL("../../weights/tiny-spatial/tokenizer.json", import.meta.url), "utf8")),
);

/** As LLaMA's: words with ▁ for a space, and bytes for what is no word. */
const WORDS = ["▁", "▁left", "left", "▁right", "ri", "ght", '"', '{"', '":', "▁{", "}", ",", "▁", "é", "▁▁"];
const byteFallback = loadTokenizer({
  model: {
    type: "BPE",
    vocab: Object.fromEntries(
      [
        ...["<unk>", "<s>", "</s>"],
        ...Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`),
        ...new Set(WORDS),
      ].map((token, id) => [token, id]),
    ),
    merges: [],
    unk_token: "<unk>",
    byte_fallback: true,
  },
  decoder: {
    type: "Sequence",
    decoders: [
      { type: "Replace", pattern: { String: "▁" }, content: " " },
      { type: "ByteFallback" },
      { type: "Fuse" },
      { type: "Strip", content: " ", start: 1, stop: 0 },
    ],
  },
  added_tokens: ["<unk>", "<s>", "</s>"].map((content, id) => ({
    ...{ id, content, special: true, normalized: false },
    ...{ lstrip: false, rstrip: false, single_word: false },
  })),
});

describe("the bytes of tokens", () => {
  test("of a byte-level vocabulary are those of the text that they spell", () => {
    for (const text of ["Where is the mug?", 'ä😀 {"a": [1, 2]}\n\t', " the  left"]) {
      const ids = tinySpatial.encode(text, { addSpecialTokens: false });
      const bytes = ids.flatMap((id) => [...(tokenBytes(tinySpatial, id) ?? [])]);
      expect(Buffer.from(bytes).toString()).toBe(text);
    }
  });

  test("of GPT-2's characters are all the bytes", () => {
    const decoder = { json: { type: "ByteLevel" }, decode: () => "" };
    const spelled = { ...tinySpatial, decoder, spelling: (id: number) => BYTE_CHARACTERS[id] };
    expect(BYTE_CHARACTERS.map((_, byte) => [...(tokenBytes(spelled, byte) ?? [])])).toEqual(
      BYTE_CHARACTERS.map((_, byte) => [byte]),
    );
  });

  test("of byte fallback too, with the space that decoding drops at the start", () => {
    const spelled = (token: string) => tokenBytes(byteFallback, Number(byteFallback.tokenToId(token)));
    expect(spelled("<0xC3>")).toEqual(Uint8Array.of(0xc3));
    expect(spelled("▁left")).toEqual(new TextEncoder().encode(" left"));
    expect(spelled("left")).toEqual(new TextEncoder().encode("left"));
    expect(spelled("é")).toEqual(new TextEncoder().encode("é"));
    expect(spelled("▁▁")).toEqual(new TextEncoder().encode("  "));
  });

  test("special tokens and ids without a token have none", () => {
    expect(["<unk>", "<s>", "</s>"].map((_, id) => tokenBytes(byteFallback, id))).toEqual(Array(3).fill(undefined));
    expect(tokenBytes(byteFallback, 10_000)).toBeUndefined();
  });
});

/** Texts that the schema allows, all of them. */
const VALUES = ["left", "right", "left left", "é", "éa", "ri", 'a"b', " left", "  ", "\u{1F600}", 12, 123, 1234];
const TEXTS = VALUES.map((value) => Buffer.from(JSON.stringify(value)));

describe.each([
  ["byte-level", tinySpatial, 438 + 30],
  ["byte fallback", byteFallback, 300],
])("masks over a %s vocabulary", (_, tokenizer, vocabSize) => {
  const endIds = [2];
  const start = () => jsonConstraint({ enum: VALUES }, { tokenizer, vocabSize, endIds });

  test("allow the tokens that continue one of the texts, and the end exactly behind one", () => {
    const random = createRandom(9);
    for (let run = 0; run < 60; run++) {
      const constraint = start();
      let written = Buffer.alloc(0);
      for (;;) {
        const expected = Array.from({ length: vocabSize }, (_, id) => id).filter((id) => {
          if (endIds.includes(id)) return TEXTS.some((text) => text.equals(written));
          const bytes = tokenBytes(tokenizer, id);
          if (bytes === undefined || bytes.length === 0) return false;
          const longer = Buffer.concat([written, bytes]);
          return TEXTS.some((text) => text.subarray(0, longer.length).equals(longer));
        });
        expect(idsOf(constraint.mask())).toEqual(expected);
        expect(constraint.isOver).toBe(expected.every((id) => endIds.includes(id)));
        const id = Number(expected[random.integer(expected.length)]);
        constraint.accept(id);
        if (endIds.includes(id)) break;
        written = Buffer.concat([written, tokenBytes(tokenizer, id) ?? Buffer.alloc(0)]);
      }
      expect(constraint.isOver).toBe(true);
    }
  });

  test("are [ceil(V / 32)], and the same again for the next answer", () => {
    const [one, two] = [start(), start()];
    expect(one.mask()).toHaveLength(Math.ceil(vocabSize / 32));
    expect(two.mask()).toEqual(one.mask());
    one.accept(idsOf(one.mask())[0] ?? 0);
    expect(two.mask()).toEqual(start().mask());
  });
});

test("tokens of the same bytes are allowed together, and long ones at any depth", () => {
  const tokens = ["a", "ab", "a", "abc", "", undefined, "b", "a".repeat(40)].map((text) =>
    text === undefined ? undefined : new TextEncoder().encode(text),
  );
  const grammar = jsonSchemaGrammar({ type: "string", pattern: "^(a{1,40}|abd)$" });
  const places = new GrammarPlaces(automatonOf(grammar), tokenTrie(tokens, 10), []);
  const inside = places.after(places.start(), 9); // no bytes: the place stays
  expect(inside).toBe(places.start());
  const quoted = tokenTrie([...tokens, new TextEncoder().encode('"')], 10);
  const quotedPlaces = new GrammarPlaces(automatonOf(grammar), quoted, []);
  const behind = quotedPlaces.after(quotedPlaces.start(), 8);
  expect(behind && idsOf(quotedPlaces.allowed(behind))).toEqual([0, 1, 2, 7]);
});

describe("a vocabulary that cannot write JSON", () => {
  const only = (text: string): Tokenizer => ({
    ...byteFallback,
    spelling: (id) => text[id],
  });

  test("is refused at the first token that it lacks", () => {
    const at = (text: string) =>
      jsonConstraint({ type: "object" }, { tokenizer: only(text), vocabSize: 40, endIds: [39] });
    expect(() => at("abc").mask()).toThrow(
      "jsonSchema: the model's vocabulary cannot write the JSON: no token can begin it.",
    );
    const constraint = at("{x");
    constraint.accept(0);
    expect(() => constraint.mask()).toThrow(InputError);
    expect(() => constraint.mask()).toThrow(/no token can follow the first 1 tokens/);
  });

  test("an answer without an end token is refused", () => {
    const source = { tokenizer: byteFallback, vocabSize: 300, endIds: [] };
    expect(() => jsonConstraint(true, source)).toThrow(/needs a token that ends it/);
  });
});
