import { describe, expect, test } from "vitest";
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
  return loadTokenizer(readGolden(`tokenizers/${name}.json`), config);
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

  test("a special token that the vocabulary lacks is refused", () => {
    expect(() => load("llama", { bos_token: "<begin>", add_bos_token: true })).toThrow(/"<begin>" .* has no id/);
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

describe("loadTokenizer", () => {
  const json = readGolden<{ readonly model: object }>("tokenizers/llama.json");

  test.each([
    ["no object", "text", /tokenizer\.json must hold a JSON object/],
    ["no model", {}, /tokenizer\.json: model must hold a JSON object/],
    [
      "a word-level model",
      { ...json, model: { ...json.model, type: "WordLevel" } },
      /model\.type must be .* got "WordLevel"/,
    ],
    ["random merges", { ...json, model: { ...json.model, dropout: 0.1 } }, /model\.dropout is 0\.1/],
    ["an unknown decoder", { ...json, decoder: { type: "Rot13" } }, /cannot be used: .*Rot13/],
  ])("refuses %s", (_, broken, message) => {
    expect(() => loadTokenizer(broken)).toThrow(CheckpointError);
    expect(() => loadTokenizer(broken)).toThrow(message);
  });
});
