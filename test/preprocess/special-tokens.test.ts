// Tokens that only the files beside tokenizer.json name. Expected ids and texts are those of PreTrainedTokenizerFast.from_pretrained of
// transformers 5.23 over the same files.

import { expect, test } from "vitest";
import { readSpecialTokens } from "../../src/preprocess/tokenizer/special-tokens.ts";
import { loadTokenizer } from "../../src/preprocess/tokenizer/tokenizer.ts";

const TEXT = "a <image> ab<pad> <s><x> b<y></s> <z><b>";

const VOCAB = { a: 0, b: 1, ab: 2, "<pad>": 3, " ": 4 };
const plain = { lstrip: false, normalized: false, rstrip: false, single_word: false };
const image = { id: 5, content: "<image>", ...plain, lstrip: true, special: true };

test.each([
  {
    what: "a config's special tokens",
    files: { config: { pad_token: "<pad>", image_token: "<image>", additional_special_tokens: ["ab"] } },
    ids: [0, 4, 5, 4, 2, 3, 4, 4, 1, 4, 1],
    text: "a         b   b",
    named: { pad_token: "<pad>", image_token: "<image>" },
  },
  {
    what: "special tokens with names of their own",
    files: { config: { extra_special_tokens: { image_token: "<image>" }, bos_token: "<s>" } },
    ids: [0, 4, 6, 4, 2, 0, 4, 5, 4, 1, 4, 1],
    text: "a     ab a     b   b",
    named: { bos_token: "<s>", image_token: "<image>" },
  },
  {
    what: "special tokens with names of their own beside a list",
    files: {
      config: {
        extra_special_tokens: { image_token: "<image>" },
        bos_token: "<s>",
        additional_special_tokens: ["<x>"],
      },
    },
    ids: [0, 4, 6, 4, 2, 0, 4, 5, 7, 4, 1, 4, 1],
    text: "a     ab a     b   b",
    named: { bos_token: "<s>", image_token: "<image>" },
  },
  {
    what: "a list of special tokens, and one with flags",
    files: {
      config: {
        extra_special_tokens: ["<x>", "<y>"],
        eos_token: { content: "</s>", ...plain, rstrip: true, special: true, __type: "AddedToken" },
      },
    },
    ids: [0, 4, 0, 4, 2, 0, 4, 6, 4, 1, 7, 5, 1],
    text: "a   a   ab a     b b",
    named: { eos_token: "</s>" },
  },
  {
    what: "tokens with ids, which make the older files count no more",
    files: {
      config: {
        added_tokens_decoder: {
          9: { content: "<y>", ...plain, special: false },
          7: { content: "<x>", ...plain, rstrip: true, special: true },
        },
        eos_token: "<y>",
      },
      specialTokensMap: { pad_token: "<p>" },
      addedTokens: { "<z>": 50 },
    },
    ids: [0, 4, 0, 4, 2, 0, 4, 5, 1, 6, 4, 1],
    text: "a   a   ab a   b   b",
    named: { eos_token: "<y>" },
  },
  {
    what: "special_tokens_map.json, which goes before the config",
    files: {
      config: { bos_token: "<s>" },
      specialTokensMap: { bos_token: { content: "<b>", ...plain }, pad_token: "<pad>" },
    },
    ids: [0, 4, 0, 4, 2, 3, 4, 4, 1, 4, 5],
    text: "a   a   ab     b  ",
    named: { bos_token: "<b>", pad_token: "<pad>" },
  },
  {
    what: "added_tokens.json, in the order of its ids",
    files: { config: { unk_token: "<x>" }, addedTokens: { "<x>": 50, "<y>": 49 } },
    ids: [0, 4, 0, 4, 2, 0, 4, 6, 4, 1, 5, 4, 1],
    text: "a   a   ab a     b <y>   b",
    named: { unk_token: "<x>" },
  },
  {
    what: "a name for a token of tokenizer.json, which keeps its flags",
    files: { config: { image_token: "<image>" } },
    added_tokens: [image],
    ids: [0, 5, 4, 2, 0, 4, 4, 1, 4, 1],
    text: "a   ab a     b   b",
    named: { image_token: "<image>" },
  },
  {
    what: "other flags for a token of tokenizer.json",
    files: { config: { added_tokens_decoder: { 5: { content: "<image>", ...plain, special: true } } } },
    added_tokens: [image],
    ids: [0, 4, 5, 4, 2, 0, 4, 4, 1, 4, 1],
    text: "a     ab a     b   b",
    named: {},
  },
])("$what", ({ files, added_tokens = [], ids, text, named }) => {
  const model = { type: "BPE", vocab: VOCAB, merges: [["a", "b"]] };
  const tokenizer = loadTokenizer({ model, added_tokens }, files);
  expect(tokenizer.encode(TEXT)).toEqual(ids);
  expect(tokenizer.decode(ids)).toBe(text);
  const texts = [...readSpecialTokens(files).named].map(([name, { content }]) => [name, content]);
  expect(Object.fromEntries(texts)).toEqual(named);
});

test("a Unigram model's vocabulary is a list", () => {
  const model = {
    type: "Unigram",
    unk_id: 0,
    vocab: [
      ["<unk>", 0],
      ["<pad>", -1],
      ["a", -2],
    ],
  };
  const tokenizer = loadTokenizer({ model }, { config: { pad_token: "<pad>", image_token: "<image>" } });
  expect([tokenizer.tokenToId("<pad>"), tokenizer.tokenToId("<image>")]).toEqual([1, 3]);
});
