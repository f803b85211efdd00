// Fuzzing of tokenizer.json and the files beside it: the tokenizer is loaded, and texts go through it and back.

import { parseJsonFile } from "../../src/checkpoint/source.ts";
import { isObject } from "../../src/errors.ts";
import { loadTokenizer } from "../../src/preprocess/tokenizer/tokenizer.ts";
import { defineKind } from "./kind.ts";
import { chance, mutateJson, pick, rewriteJson, shuffled, writeJson } from "./mutate.ts";

/** The files as JSON texts; the base's where one is missing. Members that tokenizer.json lacks are the base's too. */
interface TokenizerInput {
  readonly base: keyof typeof BASES;
  readonly tokenizer?: string;
  readonly config?: string;
  readonly specialTokensMap?: string;
  readonly addedTokens?: string;
}

const added = (id: number, content: string, flags: object = {}) => ({
  ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
  ...flags,
});

/** `<s>` in front, as LLaMA's. */
const POST_PROCESSOR = {
  type: "TemplateProcessing",
  single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
  pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
  special_tokens: { "<s>": { id: "<s>", ids: [0], tokens: ["<s>"] } },
};

const SPECIALS = [added(0, "<s>"), added(1, "</s>"), added(2, "<unk>"), added(3, "<image>", { normalized: true })];
const LETTERS = [..."abcdefghijklmnopqrstuvwxyz.,?:!ĠÂĊ▁ é"];
const MERGES = ["h e", "l l", "he ll", "hell o", "Ġ w", "▁ w", "o r"];

function vocabularyOf(tokens: readonly string[]): Readonly<Record<string, number>> {
  return Object.fromEntries([...new Set(tokens)].map((token, index) => [token, index]));
}

const BPE_TOKENS = [
  ...SPECIALS.map(({ content }) => content),
  ...LETTERS,
  ...MERGES.map((merge) => merge.replace(" ", "")),
];
const BYTE_TOKENS = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);

/** A small tokenizer of each kind that checkpoints have. */
const BASES = {
  byteLevel: {
    version: "1.0",
    added_tokens: SPECIALS,
    normalizer: { type: "NFC" },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        {
          type: "Split",
          pattern: { Regex: "'s|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+|\\s+" },
          behavior: "Isolated",
          invert: false,
        },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: { type: "Sequence", processors: [{ type: "ByteLevel", trim_offsets: false }, POST_PROCESSOR] },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      byte_fallback: false,
      ignore_merges: true,
      vocab: vocabularyOf(BPE_TOKENS),
      merges: MERGES,
    },
  },
  sentencePiece: {
    version: "1.0",
    added_tokens: SPECIALS,
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    pre_tokenizer: null,
    post_processor: POST_PROCESSOR,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: {
      ...{ type: "BPE", dropout: null, unk_token: "<unk>", fuse_unk: true, byte_fallback: true },
      vocab: vocabularyOf([...BPE_TOKENS, ...BYTE_TOKENS]),
      merges: MERGES.map((merge) => merge.split(" ")),
    },
  },
  unigram: {
    version: "1.0",
    added_tokens: SPECIALS,
    normalizer: { type: "NFKC" },
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
    post_processor: POST_PROCESSOR,
    decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
    model: {
      type: "Unigram",
      unk_id: 2,
      byte_fallback: false,
      vocab: BPE_TOKENS.map((token, index) => [token, -index / 8]),
    },
  },
  wordPiece: {
    version: "1.0",
    added_tokens: SPECIALS,
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: POST_PROCESSOR,
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "<unk>",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: vocabularyOf([...BPE_TOKENS, ...LETTERS.map((letter) => `##${letter}`)]),
    },
  },
} as const;

const BESIDE = {
  config: {
    tokenizer_class: "PreTrainedTokenizerFast",
    bos_token: "<s>",
    eos_token: { content: "</s>", special: true },
    unk_token: "<unk>",
    add_bos_token: true,
    add_eos_token: false,
    clean_up_tokenization_spaces: false,
    model_max_length: 1e30,
    additional_special_tokens: ["<image>"],
  },
  specialTokensMap: {
    bos_token: "<s>",
    pad_token: { content: "<pad>", lstrip: false, normalized: false, rstrip: false, single_word: false },
  },
  addedTokens: { "<image>": 3, "<more>": 70 },
} as const;

const TYPES =
  "Sequence Split Punctuation Digits Whitespace WhitespaceSplit ByteLevel Metaspace BertPreTokenizer CharDelimiterSplit UnicodeScripts FixedLength NFC NFD NFKC NFKD Nmt Lowercase Strip StripAccents Prepend Append Replace Precompiled BertNormalizer WordPiece BPEDecoder CTC Fuse ByteFallback TemplateProcessing BertProcessing RobertaProcessing BPE Unigram WordLevel Removed Isolated MergedWithPrevious MergedWithNext Contiguous".split(
    " ",
  );
const PATTERNS = [
  "(a+)+$",
  "(a|a)*b",
  "(.*)*x",
  "a{1000000}",
  "((a{99}){99}){99}",
  "(?<=a+)b",
  "\\p{Zzz}",
  "(",
  "[",
  "\\",
  "(?i)a",
  "\\G",
  "x*",
  "^",
  ".",
];
const KEYS =
  "type pretokenizers normalizers decoders processors pattern Regex String behavior invert content prepend replacement prepend_scheme split add_prefix_space use_regex trim_offsets individual_digits single pair special_tokens SpecialToken Sequence ids tokens sep cls vocab merges unk_token unk_id byte_fallback fuse_unk ignore_merges dropout continuing_subword_prefix end_of_word_suffix max_input_chars_per_word lowercase strip_accents strip_left strip_right start stop cleanup suffix length added_tokens id special normalized lstrip rstrip single_word truncation padding max_length strategy direction pad_id added_tokens_decoder bos_token eos_token unk_token extra_special_tokens additional_special_tokens".split(
    " ",
  );

/** What is encoded: words, spaces, every kind of character, and texts on which slow rules are slow. */
const TEXTS: readonly string[] = [
  "hello world, where is the cup?",
  "<s>hello</s> <image>  x\n\n y\tz",
  "",
  "é\u0301 你好 \u{1f600}\u200d \u00a0\u2028 ﬁ Ⅷ \ud800",
  "a".repeat(2000),
  `${" ".repeat(300)}!${"ab".repeat(300)}`,
];

export const tokenizerFiles = defineKind<TokenizerInput>({
  name: "tokenizer",
  make(random) {
    const base = pick(random, Object.keys(BASES) as (keyof typeof BASES)[]); // a const object has no other keys
    const kind = random.integer(12);
    if (kind === 0) {
      // The order of a vocabulary is not that of its ids.
      return { input: { base, tokenizer: rewriteJson(BASES[base], random) }, sameAs: WHOLE[base] };
    }
    if (kind <= 3) {
      const file = pick(random, ["config", "specialTokensMap", "addedTokens"] as const);
      return { input: { base, [file]: writeJson(mutateJson(BESIDE[file], random, KEYS)) } };
    }
    const whole: Readonly<Record<string, unknown>> = BASES[base];
    // The vocabulary is most of the file, and its entries are all alike.
    const part = chance(random, 1, 8)
      ? "model"
      : pick(random, ["normalizer", "pre_tokenizer", "decoder", "post_processor", "added_tokens"]);
    const words = shuffled([...TYPES, ...PATTERNS, ...KEYS], random).slice(0, 30);
    const changed = mutateJson(renamed(whole[part], random), random, words);
    return { input: { base, tokenizer: writeJson({ [part]: changed }) } };

    /** With another type or pattern somewhere, in half of the cases. */
    function renamed(value: unknown, from: typeof random): unknown {
      if (chance(from, 1, 2)) return value;
      const text = JSON.stringify(value ?? { type: "NFC" });
      const isPattern = chance(from, 1, 3);
      const places = [
        ...text.matchAll(
          isPattern ? /"(?:Regex|String|content)":"((?:[^"\\]|\\.)*)"/g : /"(?:type|behavior)":"(\w+)"/g,
        ),
      ];
      const [place] = shuffled(places, from);
      if (place?.[1] === undefined) return value;
      const start = place.index + place[0].length - place[1].length - 1;
      const word = JSON.stringify(pick(from, isPattern ? PATTERNS : TYPES)).slice(1, -1);
      return JSON.parse(text.slice(0, start) + word + text.slice(start + place[1].length));
    }
  },
  async run({ base, tokenizer, config, specialTokensMap, addedTokens }) {
    const changed = tokenizer === undefined ? {} : parseJsonFile(tokenizer, "tokenizer.json");
    const parsed = isObject(changed) ? { ...BASES[base], ...changed } : changed;
    const read = (text: string | undefined, own: unknown): unknown =>
      text === undefined ? own : parseJsonFile(text, "tokenizer_config.json");
    const loaded = loadTokenizer(parsed, {
      config: read(config, BESIDE.config),
      specialTokensMap: read(specialTokensMap, BESIDE.specialTokensMap),
      addedTokens: read(addedTokens, BESIDE.addedTokens),
    });
    const answers: unknown[] = [];
    for (const text of TEXTS) {
      const ids = loaded.encodePrompt(text);
      const wrong = ids.find((id) => !Number.isInteger(id) || id < 0);
      if (wrong !== undefined) throw new Error(`the id ${JSON.stringify(wrong)}`);
      const stream = loaded.stream();
      const pieces = ids.slice(0, 70).map((id) => stream.push(id));
      answers.push(ids, loaded.decode(ids), loaded.decode(ids, { skipSpecialTokens: false }), pieces, stream.flush());
    }
    answers.push(loaded.bosToken, loaded.eosToken, loaded.tokenToId("<image>"));
    if (
      answers.some(
        (answer) =>
          answer !== undefined && typeof answer !== "string" && typeof answer !== "number" && !Array.isArray(answer),
      )
    ) {
      throw new Error(`an answer that is neither ids nor a text: ${JSON.stringify(answers).slice(0, 200)}`);
    }
    return JSON.stringify(answers);
  },
});

const WHOLE: Readonly<Record<keyof typeof BASES, TokenizerInput>> = {
  byteLevel: { base: "byteLevel" },
  sentencePiece: { base: "sentencePiece" },
  unigram: { base: "unigram" },
  wordPiece: { base: "wordPiece" },
};
