import { describe, expect, test, vi } from "vitest";
import { CheckpointError, InputError } from "../../src/errors.ts";
import { loadTokenizer, type Tokenizer } from "../../src/preprocess/tokenizer/tokenizer.ts";
import { readGolden, type Versioned, versionsOf } from "./golden.ts";

interface TokenizerGolden extends Versioned {
  readonly texts: readonly string[];
  readonly tokenizers: Readonly<Record<"byte-level" | "llama", Expected>>;
}

interface Expected {
  readonly ids: readonly (readonly number[])[];
  readonly idsWithoutSpecial: readonly (readonly number[])[];
  readonly decoded: readonly string[];
  readonly mixtures: readonly (readonly number[])[];
  readonly mixturesDecoded: readonly string[];
  readonly mixturesDecodedWithSpecial: readonly string[];
  /** With add_bos_token and add_eos_token both false, and both true. */
  readonly neither?: readonly (readonly number[])[];
  readonly both?: readonly (readonly number[])[];
}

const golden = readGolden<TokenizerGolden>("tokenizer.json");
const specials = { bos_token: "<s>", eos_token: { content: "</s>", special: true } };

function load(name: string, config: object = specials): Tokenizer {
  return loadTokenizer(readGolden(`tokenizers/${name}.json`), { config });
}

function streamed(tokenizer: Tokenizer, ids: readonly number[]): string[] {
  const stream = tokenizer.stream();
  return [...ids.map((id) => stream.push(id)), stream.flush()];
}

describe.each(["byte-level", "llama"] as const)("%s", (name) => {
  const expected = golden.tokenizers[name];
  const tokenizer = load(name);
  const title = versionsOf(golden, "tokenizers");

  test.each(golden.texts.map((text, index) => ({ text, index })))(
    `encodes and decodes $text as ${title}`,
    ({ text, index }) => {
      const ids = tokenizer.encode(text);
      expect(ids).toEqual(expected.ids[index]);
      expect(tokenizer.encode(text, { addSpecialTokens: false })).toEqual(expected.idsWithoutSpecial[index]);
      expect(tokenizer.decode(ids)).toBe(expected.decoded[index]);
    },
  );

  test(`decodes any mixture of tokens and bytes as ${title}`, () => {
    const decode = (skipSpecialTokens: boolean) =>
      expected.mixtures.map((ids) => tokenizer.decode(ids, { skipSpecialTokens }));
    expect(decode(true)).toEqual(expected.mixturesDecoded);
    expect(decode(false)).toEqual(expected.mixturesDecodedWithSpecial);
  });

  test("the pieces of a stream are whole characters, and joined they are the text", () => {
    for (const text of [...golden.texts, golden.texts.join("\n").repeat(4)]) {
      const ids = tokenizer.encode(text);
      const pieces = streamed(tokenizer, ids);
      expect(pieces.join("")).toBe(tokenizer.decode(ids));
      // U+FFFD comes only where the text itself has it.
      if (!text.includes("\ufffd")) expect(pieces.join("|")).not.toContain("\ufffd");
      for (const piece of pieces) expect(piece).not.toMatch(/\p{Surrogate}/u);
    }
  });

  test("an emoji of four byte tokens comes in one piece", () => {
    const ids = tokenizer.encode("a👍b", { addSpecialTokens: false });
    expect(ids.length).toBeGreaterThanOrEqual(5);
    expect(streamed(tokenizer, ids).filter((piece) => piece !== "")).toEqual(["a", "👍", "b"]);
  });

  test("a text that ends within a character ends with U+FFFD", () => {
    const ids = tokenizer.encode("a👍", { addSpecialTokens: false });
    expect(streamed(tokenizer, ids.slice(0, -1)).join("")).toMatch(/^a\ufffd+$/);
  });

  test("ids without a token give nothing, no ids give no text", () => {
    expect(tokenizer.decode([])).toBe("");
    expect(tokenizer.decode([1_000_000, -1])).toBe("");
    const ids = tokenizer.encode("mug");
    expect(tokenizer.decode([...ids, 1_000_000])).toBe("mug");
    expect(tokenizer.decode([1_000_000], { skipSpecialTokens: false })).toBe("");
    expect(tokenizer.decode([...ids.slice(1), 1_000_000], { skipSpecialTokens: false })).toBe("mug");
  });

  test("knows its special tokens", () => {
    expect([tokenizer.bosToken, tokenizer.eosToken]).toEqual(["<s>", "</s>"]);
    expect(tokenizer.tokenToId("<s>")).toBe(1);
    expect(tokenizer.tokenToId("no such token")).toBeUndefined();
  });

  test("a prompt that begins with BOS gets no second one", () => {
    const ids = tokenizer.encode("USER: hi");
    expect(tokenizer.encodePrompt("USER: hi")).toEqual(ids);
    expect(tokenizer.encodePrompt("<s>USER: hi")[0]).toBe(1);
    expect(tokenizer.encodePrompt("<s>USER: hi")[1]).not.toBe(1);
    expect(tokenizer.encode("<s>USER: hi").slice(0, 2)).toEqual([1, 1]);
  });
});

describe(`add_bos_token and add_eos_token as ${versionsOf(golden, "transformers")}`, () => {
  const { neither, both } = golden.tokenizers.llama;

  test("false and false", () => {
    const tokenizer = load("llama", { ...specials, add_bos_token: false, add_eos_token: false });
    expect(golden.texts.map((text) => tokenizer.encode(text))).toEqual(neither);
  });

  test("true and true", () => {
    const tokenizer = load("llama", { ...specials, add_bos_token: true, add_eos_token: true });
    expect(golden.texts.map((text) => tokenizer.encode(text))).toEqual(both);
  });
});

describe("known divergence", () => {
  test("a byte run that turns out not to be UTF-8 keeps the beginning that a stream handed out", () => {
    const tokenizer = load("llama");
    const ids = ["<0x0A>", "<0xFF>"].map((token) => tokenizer.tokenToId(token) ?? -1);
    expect(tokenizer.decode(ids)).toBe("\ufffd\ufffd"); // Rust, and so decode, give up the whole run
    expect(streamed(tokenizer, ids).join("")).toBe("\n\ufffd");
  });
});

/** A tokenizer.json with nothing but a model of a few tokens. */
const tiny = (fields: object = {}, model: object = {}) => ({
  model: {
    type: "BPE",
    vocab: { a: 0, b: 1, ab: 2, "<0xE2>": 3, "<0x82>": 4, "<0xAC>": 5, "▁a": 6, "x<0x41>": 7, "<0x41>x": 8, ".": 9 },
    merges: ["a b"],
    ...model,
  },
  ...fields,
});

describe("a tokenizer.json with nothing but a model", () => {
  const tokenizer = loadTokenizer(tiny());

  test("splits at the merges and drops what the vocabulary lacks", () => {
    expect(tokenizer.encode("abzb")).toEqual([2, 1]);
    expect(tokenizer.encodePrompt("ab")).toEqual([2]);
    expect(tokenizer.decode([2, 1])).toBe("ab b");
  });

  test("merges what is next to each other once unknown characters are dropped", () => {
    expect(tokenizer.encode("azb")).toEqual([2]);
  });

  test("refuses a text that needs an unknown token that the vocabulary lacks", () => {
    const lacking = loadTokenizer(tiny({}, { unk_token: "?" }));
    expect(lacking.encode("ab")).toEqual([2]);
    expect(() => lacking.encode("abzb")).toThrow(
      'tokenizer.json: model.unk_token is "?", which is not in model.vocab, but the text needs it.',
    );
  });

  test("has no special tokens", () => {
    expect([tokenizer.bosToken, tokenizer.eosToken]).toEqual([undefined, undefined]);
  });
});

describe("tokenizer_config.json", () => {
  test.each([
    ["<s>", "<s>"],
    [{ content: "<s>" }, "<s>"],
    [{ content: 7 }, undefined],
    [{ text: "<s>" }, undefined],
    [null, undefined],
    [7, undefined],
  ])("with the special token %j names %j", (token, text) => {
    const tokenizer = loadTokenizer(tiny(), { config: { bos_token: token, eos_token: token } });
    expect([tokenizer.bosToken, tokenizer.eosToken]).toEqual([text, text]);
  });

  test("without a BOS token leaves a prompt to the post-processor", () => {
    const tokenizer = load("llama", {});
    for (const prompt of ["hi", "undefined", "<s>hi"]) {
      expect(tokenizer.encodePrompt(prompt)).toEqual(tokenizer.encode(prompt));
      expect(tokenizer.encodePrompt(prompt)[0]).toBe(1);
    }
  });

  test("does not close up spaces", () => {
    const tokenizer = loadTokenizer(tiny(), { config: { clean_up_tokenization_spaces: true } });
    expect(tokenizer.decode([0, 9])).toBe("a .");
  });

  test("does not lowercase a text, which only XLM's tokenizer does", () => {
    const config = { do_lowercase_and_remove_accent: true, remove_space: true };
    expect(loadTokenizer(tiny(), { config }).encode("A ab")).toEqual([2]);
  });

  const added = [
    { id: 10, content: "<s>", special: true },
    { id: 11, content: "</s>", special: true },
  ];
  test.each([
    [{ add_bos_token: true }, [10, 2]],
    [{ add_eos_token: true }, [2, 11]],
    [{ add_bos_token: true, add_eos_token: true }, [10, 2, 11]],
    [{ add_bos_token: true, bos_token: null }, [2]],
    [{ add_eos_token: true, eos_token: null }, [2]],
    [{ add_bos_token: false }, [2]],
    [{ add_eos_token: false }, [2]],
    [{ add_bos_token: "true", add_eos_token: null }, [11, 2, 11]],
    [{}, [11, 2, 11]],
    [{ add_bos_token: true, tokenizer_class: "LlamaTokenizerFast" }, [10, 2]],
    [{ add_bos_token: true, tokenizer_class: "PreTrainedTokenizerFast" }, [11, 2, 11]],
    [{ add_eos_token: false, tokenizer_class: "Qwen2Tokenizer" }, [11, 2, 11]],
  ])("with %j decides over tokenizer.json's post-processor, or leaves it", (config, ids) => {
    const special = { SpecialToken: { id: "</s>", type_id: 0 } };
    const single = [special, { Sequence: { id: "A", type_id: 0 } }, special];
    const special_tokens = { "</s>": { id: "</s>", ids: [11], tokens: ["</s>"] } };
    const post_processor = { type: "TemplateProcessing", single, pair: [], special_tokens };
    const json = tiny({ added_tokens: added, post_processor });
    const tokenizer = loadTokenizer(json, { config: { ...specials, ...config } });
    expect(tokenizer.encode("ab")).toEqual(ids);
    expect(tokenizer.encode("ab", { addSpecialTokens: false })).toEqual([2]);
  });
});

describe("a byte fallback", () => {
  const withDecoders = (...decoders: readonly object[]) =>
    loadTokenizer(tiny({ decoder: { type: "Sequence", decoders } }));
  const tokenizer = withDecoders({ type: "ByteFallback" });

  test.each([
    ["a character", [3, 4, 5], "€"],
    ["characters between tokens", [0, 3, 4, 5, 1, 3, 4, 5], "a€b€"],
    ["one U+FFFD per byte of half a character", [0, 3, 4, 1], "a\ufffd\ufffdb"],
    ["tokens that only contain the spelling of a byte as they are", [7, 8], "x<0x41><0x41>x"],
  ])("gives %s", (_, ids, text) => {
    expect(tokenizer.decode(ids)).toBe(text);
  });

  test("keeps a byte order mark", () => {
    const vocab = { "<0xEF>": 0, "<0xbb>": 1, "<0xBF>": 2 };
    const json = tiny({ decoder: { type: "Sequence", decoders: [{ type: "ByteFallback" }] } }, { vocab, merges: [] });
    expect(loadTokenizer(json).decode([0, 1, 2])).toBe("\ufeff");
  });

  test("adds no token to those that the next decoder sees", () => {
    expect(withDecoders({ type: "ByteFallback" }, { type: "Metaspace", replacement: "▁" }).decode([6, 6])).toBe("a a");
  });

  test("stays out of other decoders", () => {
    expect(withDecoders({ type: "Fuse" }).decode([3, 0])).toBe("<0xE2>a");
  });
});

describe("a stream", () => {
  const tokenizer = load("llama");

  test("has nothing left after flush()", () => {
    const stream = tokenizer.stream();
    for (const id of tokenizer.encode("a👍").slice(0, -1)) stream.push(id);
    expect(stream.flush()).toMatch(/^\ufffd+$/);
    expect(stream.flush()).toBe("");
  });

  test("decodes at most 64 ids of a text together, however long it is", () => {
    const byteLevel = load("byte-level");
    const letter = byteLevel.tokenToId("a") ?? -1;
    const decode = vi.spyOn(TextDecoder.prototype, "decode");
    streamed(
      byteLevel,
      Array.from({ length: 1000 }, () => letter),
    );
    const counts = decode.mock.calls.map(([bytes]) => bytes?.byteLength ?? 0);
    decode.mockRestore();
    expect(counts.slice(0, 64)).toEqual(Array.from({ length: 64 }, (_, index) => index + 1));
    expect(Math.max(...counts)).toBe(64);
  });

  test.each([
    ["a special token", "a".repeat(62), "</s> the mug</s> the"],
    ["half of a byte run", "a".repeat(58), "👍👍👍 👍"],
    ["spaces", "a".repeat(60), "      the mug"],
    ["nothing but bytes", "", "👍".repeat(40)],
    ["a long byte run after a letter", "a".repeat(3), "👍".repeat(40)],
  ])("goes on after %s at any place", (_, before, after) => {
    for (let extra = 0; extra < 8; extra++) {
      const ids = tokenizer.encode(`${"a".repeat(extra)}${before}${after}`);
      expect(streamed(tokenizer, ids).join("")).toBe(tokenizer.decode(ids));
    }
  });
});

describe("loadTokenizer", () => {
  const json = readGolden<{ readonly model: object }>("tokenizers/llama.json");

  test.each([
    ["no object", "text", 'tokenizer.json must hold a JSON object, got "text".'],
    ["an array", [1], "tokenizer.json must hold a JSON object, got [1]."],
    ["null", null, "tokenizer.json must hold a JSON object, got null."],
    ["nothing", undefined, "tokenizer.json must hold a JSON object, got nothing."],
    ["a long text", "x".repeat(100), `tokenizer.json must hold a JSON object, got "${"x".repeat(79)}….`],
    ["no model", {}, "tokenizer.json: model must hold a JSON object, got nothing."],
    [
      "an unknown model",
      { ...json, model: { ...json.model, type: "WordLevels" } },
      'tokenizer.json: model.type must be one of BPE, Unigram, WordPiece, WordLevel, got "WordLevels".',
    ],
    [
      "random merges",
      { ...json, model: { ...json.model, dropout: 0.1 } },
      "tokenizer.json: model.dropout is 0.1, but random merges are not supported: set it to null.",
    ],
    [
      "an unknown decoder",
      { ...json, decoder: { type: "Rot13" } },
      "tokenizer.json: decoder.type must be one of Sequence, ByteLevel, Metaspace, WordPiece, BPEDecoder, ByteFallback, Fuse, " +
        'Strip, Replace, got "Rot13".',
    ],
    ["another version", { ...json, version: "2.0" }, 'tokenizer.json: version must be "1.0", got "2.0".'],
  ])("refuses %s", (_, broken, message) => {
    expect(() => loadTokenizer(broken)).toThrow(new CheckpointError(message, { file: "tokenizer.json" }));
  });

  test("refuses a tokenizer_config.json that is not an object", () => {
    expect(() => loadTokenizer(json, { config: [] })).toThrow(
      new CheckpointError("tokenizer_config.json must hold a JSON object, got [].", { file: "tokenizer.json" }),
    );
  });

  test("takes a dropout of 0, and a model that does not name its type", () => {
    for (const dropout of [0, null]) expect(loadTokenizer(tiny({}, { dropout })).encode("ab")).toEqual([2]);
    const nameless = { type: undefined, unk_token: null, continuing_subword_prefix: null };
    expect(loadTokenizer(tiny({}, nameless)).encode("ab")).toEqual([2]);
    const vocab = [
      ["<unk>", 0],
      ["a", -3],
    ];
    expect(loadTokenizer({ model: { unk_id: 0, vocab } }).encode("ab")).toEqual([1, 0]);
  });
});

describe("a part that is not supported is refused by its name", () => {
  const split = (pattern: object) => ({
    pre_tokenizer: { type: "Split", behavior: "Isolated", invert: false, pattern },
  });
  const regex = (source: string) => split({ Regex: source });
  const template = { type: "TemplateProcessing", pair: [], special_tokens: {} };
  const many = (count: number, item: object) => Array.from({ length: count }, () => item);
  const token = (fields: object) => ({ added_tokens: [{ id: 10, content: "<s>", ...fields }] });

  test.each([
    [{ normalizer: { type: "Precompiled", precompiled_charsmap: "" } }, "normalizer.type must be one of Sequence, NFC"],
    [{ normalizer: { type: "BertNormalizer" } }, "normalizer.type must be one of"],
    [{ normalizer: { type: "Sequence", normalizers: [{ type: "Rot13" }] } }, "normalizer.normalizers[0].type must be"],
    [{ normalizer: { type: "constructor" } }, "normalizer.type must be one of"],
    [{ normalizer: { type: "NFC", version: 15 } }, "normalizer.version is not an option of NFC that is supported"],
    [
      { normalizer: { type: "Strip", strip_left: 1, strip_right: true } },
      "normalizer.strip_left must be true or false",
    ],
    [{ normalizer: { type: "Sequence", normalizers: many(65, { type: "NFC" }) } }, "more than 64 components"],
    [{ normalizer: { type: "Prepend", prepend: "x".repeat(1025) } }, "a text of at most 1024 characters"],
    [{ pre_tokenizer: { type: "UnicodeScripts" } }, "pre_tokenizer.type must be one of"],
    [{ pre_tokenizer: { type: "Digits" } }, "pre_tokenizer.individual_digits must be true or false, got nothing."],
    [{ pre_tokenizer: "ByteLevel" }, 'pre_tokenizer must be an object with a type, got "ByteLevel".'],
    [
      {
        normalizer: { type: "Prepend", prepend: "x" },
        pre_tokenizer: { type: "Metaspace", replacement: "_", prepend_scheme: "first" },
      },
      'pre_tokenizer.prepend_scheme must not be "first"',
    ],
    [
      { pre_tokenizer: { type: "Metaspace", replacement: "_", add_prefix_space: false } },
      "pre_tokenizer.add_prefix_space",
    ],
    [{ pre_tokenizer: { type: "Metaspace", replacement: "__" } }, 'replacement must be one character, got "__".'],
    [split({ String: "" }), "pre_tokenizer.pattern must be { String } or { Regex }"],
    [regex("(a)\\1"), "has \\1, which is not supported"],
    ...[
      "(?<=ab)c",
      "(?m:.)",
      "(a*)*",
      "a{2}?",
      "a**",
      "[a&&b]",
      "\\p{Foo}",
      "\\X",
      "(?i:ss)",
      "(?i:é)",
      "a{9999}",
      "(a",
      "a)",
    ].map((source): [object, string] => [regex(source), `pre_tokenizer.pattern ${JSON.stringify(source)}`]),
    [regex("(".repeat(60) + ")".repeat(60)), "has more than 50 groups within each other"],
    [
      { decoder: { type: "CTC", pad_token: "", word_delimiter_token: "", cleanup: true } },
      "decoder.type must be one of",
    ],
    [{ post_processor: { ...template } }, "post_processor.single must be a list of at most 64 pieces, got nothing."],
    [
      { post_processor: { ...template, single: [{ Sequence: { id: "B" } }] } },
      "post_processor.single must be the sequence A",
    ],
    [{ post_processor: { ...template, single: [{ SpecialToken: { id: "<s>" } }] } }, "post_processor.single must be"],
    [
      {
        post_processor: { type: "Sequence", processors: many(2, { ...template, single: [{ Sequence: { id: "A" } }] }) },
      },
      "post_processor has more than one component that adds special tokens",
    ],
    [token({ id: 20 }), 'the added token "<s>" has the id 20, but tokenizers gives it 10: correct added_tokens.'],
    [token({ content: undefined }), "added_tokens[0] must be an object with id and content"],
    [token({ content: "x".repeat(1025) }), "has more than 1024 characters"],
    [
      {
        normalizer: { type: "Strip", strip_left: true, strip_right: true },
        ...token({ content: " ", normalized: true }),
      },
      'the added token " " is empty once normalized',
    ],
    [
      {
        normalizer: { type: "Lowercase" },
        added_tokens: [
          { id: 0, content: "a" },
          { id: 10, content: "A" },
        ],
      },
      'the added token "A" is the same as another one',
    ],
  ])("%j", (parts, message) => {
    expect(() => loadTokenizer(tiny(parts))).toThrow(CheckpointError);
    expect(() => loadTokenizer(tiny(parts))).toThrow(message);
  });

  test.each([
    [{ merges: [["a", "z"]] }, "model.merges[0] must merge tokens of model.vocab into one of its tokens"],
    [{ merges: ["a b c"] }, "model.merges[0] must be a pair of tokens"],
    [{ vocab: { a: 0.5 } }, 'model.vocab must have whole numbers from 0 to 67108863 as ids, got 0.5 for "a".'],
    [{ alpha: 1 }, "model.alpha is not an option of BPE that is supported"],
    [
      {
        type: "Unigram",
        vocab: [
          ["a", 0],
          ["a", 1],
        ],
      },
      "model.vocab[1] must be a token that is not there yet",
    ],
    [{ type: "Unigram", vocab: [["a", 0]], unk_id: 1 }, "model.unk_id must be a whole number from 0 to 0, got 1."],
    [
      { type: "WordPiece", unk_token: "?", continuing_subword_prefix: "", max_input_chars_per_word: 1e9 },
      "model.max_input_chars_per_word must be a whole number from 0 to 200, got 1000000000.",
    ],
  ])("model %j", (model, message) => {
    expect(() => loadTokenizer(tiny({}, model))).toThrow(message);
  });
});

describe("a tokenizer.json cannot make a text endless", () => {
  const split = (source: string) => ({
    pre_tokenizer: { type: "Split", pattern: { Regex: source }, behavior: "Isolated", invert: false },
  });

  test.each(["(a+)+$", "(a|a)*b", "(?:.|..)*x", "a*a*a*a*a*x", "(?=.*z).", "(?:a+)+?b"])("with %s", (source) => {
    const tokenizer = loadTokenizer(tiny(split(source)));
    expect(tokenizer.encode("a")).toEqual([0]);
    expect(() => tokenizer.encode(`${"a".repeat(20_000)}!`)).toThrow(
      "tokenizer.json: its parts take too many steps for this text: use another tokenizer.json, or a shorter text.",
    );
  });

  test("with normalizers that double it", () => {
    const normalizers = Array.from({ length: 22 }, () => ({ type: "Replace", pattern: { Regex: "." }, content: "aa" }));
    const tokenizer = loadTokenizer(tiny({ normalizer: { type: "Sequence", normalizers } }));
    expect(() => tokenizer.encode("b")).toThrow("tokenizer.json: its parts take too many steps for this text");
  });

  test("with a normalizer that makes it too long", () => {
    const normalizer = { type: "Replace", pattern: { String: "a" }, content: "b".repeat(8) };
    const tokenizer = loadTokenizer(tiny({ normalizer }, { merges: [] }));
    expect(tokenizer.encode("a".repeat(2 ** 16))).toHaveLength(2 ** 19);
    expect(() => tokenizer.encode("a".repeat(2 ** 16 + 1))).toThrow(
      "tokenizer.json: normalizer makes a text of more than 524288 characters, the limit: use a shorter text.",
    );
  });

  test("and a text may have 524,288 characters", () => {
    const tokenizer = loadTokenizer(tiny({}, { merges: [] }));
    expect(tokenizer.encode("a".repeat(2 ** 19))).toHaveLength(2 ** 19);
    expect(() => tokenizer.encode("a".repeat(2 ** 19 + 1))).toThrow(InputError);
  });

  test("and many added tokens take little time", () => {
    const added_tokens = Array.from({ length: 20_000 }, (_, index) => ({ id: 10 + index, content: `<${index}>` }));
    const added_tokens_decoder = Object.fromEntries(added_tokens.map(({ id, ...token }) => [id, token]));
    const tokenizer = loadTokenizer(tiny({ added_tokens }), { config: { added_tokens_decoder } });
    expect(tokenizer.encode("<19999>ab")).toEqual([20_009, 2]);
  });
});
