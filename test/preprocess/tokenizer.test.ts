import { Tokenizer as TokenizerOfLibrary } from "@huggingface/tokenizers";
import { describe, expect, test, vi } from "vitest";
import { CheckpointError } from "../../src/errors.ts";
import { loadTokenizer, type Tokenizer } from "../../src/preprocess/tokenizer.ts";
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

  test("drops what the vocabulary lacks also when it lacks the unknown token", () => {
    expect(loadTokenizer(tiny({}, { unk_token: "?" })).encode("abzb")).toEqual([2, 1]);
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

  test("decides on what else the library does with a text", () => {
    expect(loadTokenizer(tiny(), { config: { do_lowercase_and_remove_accent: true } }).encode("AB")).toEqual([2]);
  });

  const added = [
    { id: 20, content: "<s>", special: true },
    { id: 21, content: "</s>", special: true },
  ];
  test.each([
    [{ add_bos_token: true }, [20, 2]],
    [{ add_eos_token: true }, [2, 21]],
    [{ add_bos_token: true, add_eos_token: true }, [20, 2, 21]],
    [{ add_bos_token: true, bos_token: null }, [2]],
    [{ add_eos_token: true, eos_token: null }, [2]],
    [{ add_bos_token: false }, [2]],
    [{ add_eos_token: false }, [2]],
    [{ add_bos_token: "true", add_eos_token: null }, [21, 2, 21]],
    [{}, [21, 2, 21]],
    [{ add_bos_token: true, tokenizer_class: "LlamaTokenizerFast" }, [20, 2]],
    [{ add_bos_token: true, tokenizer_class: "PreTrainedTokenizerFast" }, [21, 2, 21]],
    [{ add_eos_token: false, tokenizer_class: "Qwen2Tokenizer" }, [21, 2, 21]],
  ])("with %j decides over tokenizer.json's post-processor, or leaves it", (config, ids) => {
    const special = { SpecialToken: { id: "</s>", type_id: 0 } };
    const single = [special, { Sequence: { id: "A", type_id: 0 } }, special];
    const json = tiny({ added_tokens: added, post_processor: { type: "TemplateProcessing", single } });
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
    expect(withDecoders({ type: "ByteFallback" }, { type: "Metaspace" }).decode([6, 6])).toBe("a a");
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
    const decode = vi.spyOn(TokenizerOfLibrary.prototype, "decode");
    streamed(tokenizer, tokenizer.encode("the mug is on the table. ".repeat(40)));
    const counts = decode.mock.calls.map((call: readonly unknown[]) => (call[0] as readonly number[]).length);
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
      "a word-level model",
      { ...json, model: { ...json.model, type: "WordLevel" } },
      'tokenizer.json: model.type must be BPE, Unigram or WordPiece, got "WordLevel".',
    ],
    [
      "random merges",
      { ...json, model: { ...json.model, dropout: 0.1 } },
      "tokenizer.json: model.dropout is 0.1, but random merges are not implemented: set it to null.",
    ],
    [
      "an unknown decoder",
      { ...json, decoder: { type: "Rot13" } },
      "tokenizer.json cannot be used: Unknown Decoder type: Rot13.",
    ],
    [
      "a decoder whose name ends with a full stop",
      { ...json, decoder: { type: "Rot." } },
      "tokenizer.json cannot be used: Unknown Decoder type: Rot.",
    ],
  ])("refuses %s", (_, broken, message) => {
    expect(() => loadTokenizer(broken)).toThrow(new CheckpointError(message, { file: "tokenizer.json" }));
  });

  test("keeps the library's error as the cause", () => {
    let thrown: unknown;
    try {
      loadTokenizer({ ...json, decoder: { type: "Rot13" } });
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ cause: expect.objectContaining({ message: "Unknown Decoder type: Rot13" }) });
  });

  test("refuses a tokenizer_config.json that is not an object", () => {
    expect(() => loadTokenizer(json, { config: [] })).toThrow(
      new CheckpointError("tokenizer_config.json must hold a JSON object, got [].", { file: "tokenizer.json" }),
    );
  });

  test("takes a dropout of 0 or of no number, and a model that does not name its type", () => {
    for (const dropout of [0, null, "0.1"]) expect(loadTokenizer(tiny({}, { dropout })).encode("ab")).toEqual([2]);
    const nameless = { type: undefined, unk_token: null, continuing_subword_prefix: null };
    expect(loadTokenizer(tiny({}, nameless)).encode("ab")).toEqual([2]);
  });

  test("takes Unigram and WordPiece models", () => {
    const vocab = [
      ["<unk>", 0],
      ["a", -3],
      ["b", -3],
      ["ab", -1],
    ];
    expect(loadTokenizer({ model: { type: "Unigram", unk_id: 0, vocab } }).encode("aab")).toEqual([1, 3]);
    const wordPiece = {
      type: "WordPiece",
      unk_token: "?",
      continuing_subword_prefix: "##",
      vocab: { "?": 0, a: 1, "##b": 2 },
    };
    expect(loadTokenizer({ model: wordPiece }).encode("ab")).toEqual([1, 2]);
  });
});
