"""Makes test/golden/preprocess/tokenizer-parts.json: what the tokenizers library makes of every part of a tokenizer.json.

    python tokenizer_parts.py [OUT [RANDOM SEED]]

`pieces` are cases of a normalizer, a pre-tokenizer and added tokens: what each text is split into, which a word-level model of just these
pieces shows in its ids. `decoders` are the texts of lists of tokens; `models` whole files with the ids of texts. With RANDOM, that many
random cases of each kind go to OUT instead, to compare by hand.
"""

import json
import random
import sys
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")
GPT4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
)
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"
DEEPSEEK = [
    r"\p{N}{1,3}",
    r"[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]
REGEXES = [
    *[LLAMA3, QWEN2, GPT4O, CL100K, GPT2, BLOOM, *DEEPSEEK],
    *[r"\s", r"\S+", r"\w+|[^\w\s]+", r"\d{1,3}(?=(?:\d{3})*\b)", r"\d+", r"(?<=\p{L})(?=\d)", r"(?<!\s)\d", r"^", r"$", r"^.", r".$"],
    *[r"\b", r"\B.", r"a+?b", r"(?>a+)b", r"a*+a", r"(?:ab|a)(?:c|bc)?", r"[[:alpha:]]+", r"[[:space:]]+", r"[\d\-_]+", r"\h{2}"],
    *[r"\x41|\x{e9}|\u00df", r"(?i:kg|s)", r"(?i:[a-c]+)", r"\A\s*|\s*\z", r"x{,2}", r"(a|b)+", r"[^\W\d]+", r"[^^a]", r"\P{L}+", r"\D+"],
    *[r"\p{Han}+|\p{Hiragana}+", r"[\w&&]" if False else r"[a-]+", r".{3}", r"\p{Lu}\p{Ll}*|\p{Ll}+", r"(?=a)", r"a|", r"\p{N}{2,}?"],
]
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
TEXTS = [
    "  Hello there,  world!! It's 12345 apples.\n\nI'LL  go—they've\t99.5% ",
    "a\u0085b\ufeffc \u00a0d\u3000e\u2028f\u200bg_h-i",
    "²³¹ ½ ٣٤ Ⅷ ① x2y34z567 1,234,567",
    "ÀÉ ß \u017f K \u212a İ ΣΑΣ ﬁ e\u0301\u0323 \u1e9b\u0323",
    "犬は左に。 かタ 한국어 हिन्दी ไทย עברית ؟",
    "👍🏽👨‍👩‍👧 𝒳𝒴 \U00011935\U00011930 \u0897\u0301a \u32ff \u2e52\u1cf2",
    "abab aab abc aaab [x](y) <b>&amp;</b> #1 @me ~`^|\\/",
    "▁_▁ ▁▁a <0x41> \r\n\r \x07\x1b\x7f",
    "ab\nab\n",
]


def file_of(model: dict, **parts) -> str:
    empty = dict.fromkeys(["truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"])
    return json.dumps({"version": "1.0", "added_tokens": [], **empty, **parts, "model": model})


def word_level(vocab) -> dict:
    return {"type": "WordLevel", "vocab": {token: index for index, token in enumerate(vocab)}, "unk_token": "\x00"}


def pieces_of(parts: dict, texts) -> list:
    """Splits without a model: the library's own steps, and then its ids over these pieces to be sure."""
    probe = Tokenizer.from_str(file_of(word_level(["\x00"]), **parts))
    pieces = []
    for text in texts:
        normalized = probe.normalizer.normalize_str(text) if probe.normalizer else text
        split = probe.pre_tokenizer.pre_tokenize_str(normalized) if probe.pre_tokenizer else [(normalized, None)]
        pieces.append([piece for piece, _ in split if piece != ""])
    vocab = ["\x00"] + sorted({piece for some in pieces for piece in some} - {"\x00"})
    whole = Tokenizer.from_str(file_of(word_level(vocab), **parts))
    assert [whole.encode(text).tokens for text in texts] == pieces, parts
    return pieces


def split(pattern: dict, behavior="Isolated", invert=False) -> dict:
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def sequence(*pretokenizers) -> dict:
    return {"type": "Sequence", "pretokenizers": list(pretokenizers)}


def metaspace(scheme="always", is_split=True, replacement="▁") -> dict:
    return {"type": "Metaspace", "replacement": replacement, "prepend_scheme": scheme, "split": is_split}


def byte_level(space=False, regex=True) -> dict:
    return {"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": True, "use_regex": regex}


PRE_TOKENIZERS = [
    *[split({"String": text}, behavior, invert) for text in (" ", "ab") for behavior in BEHAVIORS for invert in (False, True)],
    *[split({"Regex": r"\s+"}, behavior, invert) for behavior in BEHAVIORS for invert in (False, True)],
    *[split({"Regex": regex}) for regex in REGEXES],
    {"type": "Whitespace"},
    {"type": "WhitespaceSplit"},
    {"type": "BertPreTokenizer"},
    *[{"type": "Punctuation", "behavior": behavior} for behavior in BEHAVIORS],
    {"type": "Punctuation"},
    *[{"type": "Digits", "individual_digits": flag} for flag in (False, True)],
    *[byte_level(space, regex) for space in (False, True) for regex in (False, True)],
    *[metaspace(scheme, flag) for scheme in ("first", "never", "always") for flag in (False, True)],
    metaspace(replacement="_"),
    {"type": "CharDelimiterSplit", "delimiter": "-"},
    {"type": "FixedLength", "length": 3},
    sequence(split({"Regex": LLAMA3}), byte_level(regex=False)),
    sequence(*[split({"Regex": regex}) for regex in DEEPSEEK], byte_level(regex=False)),
    sequence({"type": "Digits", "individual_digits": True}, byte_level()),
    sequence({"type": "Whitespace"}, sequence({"type": "Punctuation"}, metaspace())),
    sequence(metaspace("first"), {"type": "Digits", "individual_digits": True}),
]


def replace(pattern: dict, content: str) -> dict:
    return {"type": "Replace", "pattern": pattern, "content": content}


NORMALIZERS = [
    *[{"type": name} for name in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel")],
    *[{"type": "Strip", "strip_left": left, "strip_right": right} for left in (False, True) for right in (False, True)],
    {"type": "Prepend", "prepend": "▁"},
    replace({"String": " "}, "▁"),
    replace({"String": "ab"}, ""),
    replace({"Regex": r" {2,}|[\n\r]"}, "\\1$1"),
    replace({"Regex": r"^"}, "> "),
    {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace({"String": " "}, "▁")]},
    {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "Lowercase"}, {"type": "StripAccents"}]},
]


def piece_cases() -> list:
    cases = [{"pre_tokenizer": part} for part in PRE_TOKENIZERS]
    cases += [{"normalizer": part} for part in NORMALIZERS]
    cases += [{"normalizer": {"type": "NFC"}, "pre_tokenizer": metaspace("first")}]
    return cases


DECODED = [
    ["▁the", "▁mug", "▁", "▁▁a▁b", "x"],
    ["Ġthe", "Ġmug", "Ã©", "ðŁĳ", "į", "é", "Ċ", "<s>"],
    ["<0xE2>", "<0x82>", "<0xAC>", "a", "<0xFF>", "<0x41>", "<0x0a>", "<0x+A>", "<0xGG>"],
    ["un", "##able", " .", "##", "it", " 's", "do", " not", "a ? b ! c , d"],
    ["lo", "w</w>", "er</w>", "</w>"],
    ["  a  ", " ", "▁▁a▁▁", ""],
]
DECODERS = [
    None,
    byte_level(),
    *[metaspace(scheme) for scheme in ("first", "never", "always")],
    {"type": "WordPiece", "prefix": "##", "cleanup": True},
    {"type": "WordPiece", "prefix": "", "cleanup": False},
    {"type": "BPEDecoder", "suffix": "</w>"},
    {"type": "ByteFallback"},
    {"type": "Fuse"},
    {"type": "Strip", "content": "▁", "start": 1, "stop": 0},
    {"type": "Sequence", "decoders": [{"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 2}]},
    replace({"String": "▁"}, " "),
    replace({"Regex": r"\s+|a$"}, "-"),
    {
        "type": "Sequence",
        "decoders": [
            *[replace({"String": "▁"}, " "), {"type": "ByteFallback"}, {"type": "Fuse"}],
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ],
    },
]


def decoder_cases(decoders=DECODERS, lists=DECODED) -> list:
    vocab = sorted({token for tokens in lists for token in tokens})
    cases = []
    for decoder in decoders:
        tokenizer = Tokenizer.from_str(file_of(word_level(vocab), decoder=decoder))
        texts = [tokenizer.decode([vocab.index(token) for token in tokens]) for tokens in lists]
        cases.append({"decoder": decoder, "texts": texts})
    return cases


BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
LETTERS = ["a", "b", "c", "▁", "é", "ab", "bc", "abc", "▁a", "aa", "aaa"]
MERGES = [["a", "b"], ["b", "c"], ["ab", "c"], ["a", "bc"], ["▁", "a"], ["a", "a"], ["aa", "a"]]
MODEL_TEXTS = ["abcabc", "aaaaa", "azb", "azzb", "▁ab", "za", "é👍b", "abz", "zz👍a", "aabbcc", "b", "z"]


def bpe(vocab=LETTERS, merges=MERGES, **options) -> dict:
    return {"type": "BPE", "vocab": {token: index for index, token in enumerate(vocab)}, "merges": merges, **options}


def model_cases() -> list:
    suffixed = ["a", "b", "c", "b</w>", "c</w>", "ab", "abc</w>", "bc</w>", "ab</w>", "?"]
    prefixed = ["a", "b", "##a", "##b", "##c", "ab", "##bc", "abc", "?"]
    unigram = [["?", 0], ["a", -3.5], ["b", -3], ["ab", -5], ["abc", -9], ["bc", -4], ["▁a", -2], ["é", -7], ["zz", -1]]
    models = [
        bpe(),
        bpe(["?", *LETTERS], unk_token="?"),
        bpe(["?", *LETTERS], unk_token="?", fuse_unk=True),
        bpe(["?", *BYTES, *LETTERS], unk_token="?", byte_fallback=True, fuse_unk=True),
        bpe(["?", *BYTES[:200], *LETTERS], unk_token="?", byte_fallback=True),
        bpe([*LETTERS, "abca"], ignore_merges=True),
        bpe([*LETTERS, "azb"], ignore_merges=True),
        bpe(merges=[" ".join(merge) for merge in MERGES]),
        bpe(merges=["#version: 0.2", *[" ".join(merge) for merge in MERGES]]),
        bpe(suffixed, [["a", "b"], ["b", "c</w>"], ["a", "b</w>"], ["ab", "c</w>"]], end_of_word_suffix="</w>", unk_token="?"),
        bpe(prefixed, [["a", "##b"], ["##b", "##c"], ["ab", "##c"]], continuing_subword_prefix="##", unk_token="?"),
        {"type": "Unigram", "unk_id": 0, "vocab": unigram},
        {"type": "Unigram", "unk_id": 0, "vocab": unigram + [[byte, -8] for byte in BYTES], "byte_fallback": True},
        {
            **{"type": "WordPiece", "unk_token": "?", "continuing_subword_prefix": "##", "max_input_chars_per_word": 5},
            "vocab": {token: index for index, token in enumerate(["?", "a", "ab", "##b", "##c", "##bc", "##a", "é"])},
        },
        {"type": "WordLevel", "unk_token": "?", "vocab": {"?": 0, "b": 1, "azb": 2}},
    ]
    cases = []
    for model in models:
        tokenizer = Tokenizer.from_str(file_of(model))
        cases.append({"model": model, "ids": [tokenizer.encode(text).ids for text in MODEL_TEXTS]})
    return cases


def token(index: int, content: str, flags="") -> dict:
    names = {"w": "single_word", "l": "lstrip", "r": "rstrip", "n": "normalized", "s": "special"}
    return {"id": index, "content": content, **{name: letter in flags for letter, name in names.items()}}


ADDED_TEXTS = ["a [M] b", "a[M]b", " [M]  [M] ", "[m] x[M]y [M]", "the mask masks unmask mask.", "[M][MM]M]", "é[M]é [M]１", ""]
ADDED = ["", "s", "l", "r", "lr", "w", "wlr", "n", "ns", "nlr", "wn"]


def added_cases() -> list:
    """Added tokens by their flags, over a model of characters: ids of texts, and what these are decoded to."""
    characters = sorted({character for text in ADDED_TEXTS for character in text} | set("▁abcdefghijklmnopqrstuvwxyz"))
    llama = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace({"String": " "}, "▁")]}
    fuse = {"type": "Sequence", "decoders": [replace({"String": "▁"}, " "), {"type": "Fuse"}]}
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "[M]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"[M]": {"id": "[M]", "ids": [len(characters)], "tokens": ["[M]"]}},
    }
    around = {"sep": ["[MM]", len(characters) + 2], "cls": ["[M]", len(characters)]}
    more = [
        {"type": "BertProcessing", **around},
        {"type": "RobertaProcessing", **around, "trim_offsets": True, "add_prefix_space": False},
        {"type": "Sequence", "processors": [byte_level(), template]},
    ]
    shapes = [{}, {"normalizer": {"type": "Lowercase"}}, {"normalizer": llama, "decoder": fuse, "post_processor": template}]
    shapes += [{"pre_tokenizer": metaspace("first"), "decoder": metaspace("first"), "post_processor": processor} for processor in more]
    cases = []
    for shape in shapes:
        for flags in ADDED if shape is shapes[0] or shape is shapes[2] else ADDED[:8:3]:
            start = len(characters)
            added = [token(start, "[M]", flags), token(start + 1, "mask", flags), token(start + 2, "[MM]", flags)]
            model = bpe(characters, [])
            tokenizer = Tokenizer.from_str(file_of(model, added_tokens=added, **shape))
            ids = [tokenizer.encode(text).ids for text in ADDED_TEXTS]
            plain = [tokenizer.encode(text, add_special_tokens=False).ids for text in ADDED_TEXTS]
            cases.append(
                {
                    **{"parts": {"added_tokens": added, **shape}, "ids": ids, "plain": plain},
                    "decoded": [tokenizer.decode(some) for some in ids],
                    "withSpecial": [tokenizer.decode(some, skip_special_tokens=False) for some in ids],
                }
            )
    return [{"vocab": characters}, *cases]


def random_texts(generator: random.Random, count: int) -> list:
    alphabet = list("  \n\t\r'.,-_[]()#aAbBcCsStT019é") + ["\u0301", "ß", "ſ", "犬", "か", "👍", "٣", "½", "\u00a0", "\u0085", "▁", "ll", "'S", "123", "  "]
    return ["".join(generator.choices(alphabet, k=generator.randrange(1, 40))) for _ in range(count)]


def random_regex(generator: random.Random, depth=0) -> str:
    atoms = ["a", "b", "s", "1", " ", ".", r"\s", r"\S", r"\d", r"\w", r"\p{L}", r"\p{Lu}", r"\P{N}", "[ab1]", r"[^\s]", r"[\p{L}\d]", r"[^a-c\n]", "[[:alpha:] ]"]
    atom = generator.choice(atoms)
    if depth < 2 and generator.random() < 0.35:
        atom = generator.choice(["({})", "(?:{})", "(?>{})"]).format(random_regex(generator, depth + 1))
    if generator.random() < 0.5:
        atom += generator.choice(["*", "+", "?", "{1,3}", "{2}", "{2,}", "*?", "+?", "++", "*+", "?+", "{1,2}+", "{,2}"])
    if depth < 2 and generator.random() < 0.15:
        atom += generator.choice(["(?={})", "(?!{})"]).format(random_regex(generator, depth + 1))
    if generator.random() < 0.06:
        atom += generator.choice(["$", r"\b", "(?<=a)", r"(?<!\s)", "^", r"\B"])
    if generator.random() < 0.05:
        atom += "(?i:" + generator.choice(["ab", "b1", "s", "[a-c]", "ka"]) + ")"
    joiner = generator.random()
    if joiner < 0.35 and depth < 3:
        return atom + random_regex(generator, depth + (generator.random() < 0.5))
    if joiner < 0.5 and depth < 3:
        return atom + "|" + random_regex(generator, depth + (generator.random() < 0.5))
    return atom


def random_cases(count: int, seed: int) -> dict:
    generator = random.Random(seed)
    texts = random_texts(generator, 30)
    pieces, tries = [], 0
    while len(pieces) < count and tries < 10 * count:
        tries += 1
        part = split({"Regex": random_regex(generator)}, generator.choice(BEHAVIORS), generator.random() < 0.3)
        parts = {"pre_tokenizer": part}
        if generator.random() < 0.4:
            some = generator.choices([*NORMALIZERS[:12], *NORMALIZERS[13:]], k=generator.randrange(1, 3))
            parts["normalizer"] = {"type": "Sequence", "normalizers": some}
        if generator.random() < 0.4:
            parts["pre_tokenizer"] = sequence(*generator.choices(PRE_TOKENIZERS, k=generator.randrange(1, 4)))
        try:
            pieces.append({"parts": parts, "pieces": pieces_of(parts, texts)})
        except BaseException as error:  # the library panics on some
            if isinstance(error, (KeyboardInterrupt, AssertionError)):
                continue
    return {"texts": texts, "pieces": pieces}


def main(out=Path("../../test/golden/preprocess/tokenizer-parts.json"), count=0, seed=0):
    if count:
        content = random_cases(int(count), int(seed))
    else:
        content = {
            "texts": TEXTS,
            "pieces": [{"parts": parts, "pieces": pieces_of(parts, TEXTS)} for parts in piece_cases()],
            "lists": DECODED,
            "decoders": decoder_cases(),
            "modelTexts": MODEL_TEXTS,
            "models": model_cases(),
            "addedTexts": ADDED_TEXTS,
            "added": added_cases(),
        }
    versions = {"tokenizers": tokenizers.__version__}
    Path(out).write_text(json.dumps({"versions": versions, **content}, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
