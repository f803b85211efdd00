"""The goldens of text: two small tokenizers of our own, their ids and texts, and rendered chat templates."""

import json
import random
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
CORPUS = [
    "USER: <image>\nWhere is the mug in relation to the dog? Answer with left, right, on or under. ASSISTANT: left",
    "The mug is on the table, the dog is under the chair; it's 12 cm to the left of the lamp's foot.",
    "Wo ist die Tasse? Links vom Hund. Où est la tasse ? À gauche du chien. 犬の左にあります。",
    "A system prompt. What is in the picture? A cat, a bowl and two apples (red).\n\n- one\n- two\n\tthree",
] * 4

TEXTS = [
    "",
    " ",
    "   three spaces",
    "trailing  ",
    "<image>\nUSER:",
    "USER: <image>\nWhere is the mug in relation to the dog? Answer with left, right, on or under. ASSISTANT:",
    "<s>USER: hi</s>",
    "a<image>b <image> c",
    "line\nline\r\nline\rline\n\n",
    "tab\tand\u00a0no-break\u3000wide\u2028line",
    "犬は左にあります。 한국어 עברית العربية",
    "👍 👨‍👩‍👧 🏳️‍🌈 𝒳",
    "e\u0301 \u00e9 \ufb01 \u0130\u0131 \u1e9e",
    "\x00\x07\x1b\x7f\u0085",
    "\ufeffbyte order mark\u200b",
    "\ufffd <0x41> \u2581 _",
    "it's they'll 12345 3.14 x=-1;",
    "ÀÉÎÕÜ ßñ",
]


def goldens(folder: Path):
    folder.mkdir(parents=True, exist_ok=True)
    trained = {"byte-level": byte_level(), "llama": llama()}
    cases = {}
    for name, tokenizer in trained.items():
        (folder / f"{name}.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=True) + "\n")
        cases[name] = encoded(tokenizer)
    for name, flags in {"neither": (False, False), "both": (True, True)}.items():
        wrapped = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(trained["llama"].to_str()),
            bos_token="<s>", eos_token="</s>", add_bos_token=flags[0], add_eos_token=flags[1],
        )  # fmt: skip
        cases["llama"][name] = [wrapped(text)["input_ids"] for text in TEXTS]
    yield "tokenizer", {"texts": TEXTS, "tokenizers": cases}
    yield "chat-template", chat_templates()


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=360, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return with_bos(tokenizer)


def llama() -> Tokenizer:
    """LLaMA's way: spaces as U+2581, one in front, and bytes for what the vocabulary lacks."""
    learned = Tokenizer(models.BPE())
    learned.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    learned.pre_tokenizer = pre_tokenizers.Metaspace(split=True, prepend_scheme="never")
    latin = [" ".join(text.split()) for text in CORPUS if text.isascii()]
    learned.train_from_iterator(latin, trainers.BpeTrainer(vocab_size=160, show_progress=False))
    model = json.loads(learned.to_str())["model"]
    tokens = SPECIAL[:3] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokens += [token for token in sorted(model["vocab"], key=model["vocab"].get)]
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: index for index, token in enumerate(tokens)},
            merges=merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>",
        )  # fmt: skip
    )
    tokenizer.normalizer = learned.normalizer
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(SPECIAL)
    return with_bos(tokenizer)


def with_bos(tokenizer: Tokenizer) -> Tokenizer:
    bos = ("<s>", tokenizer.token_to_id("<s>"))
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[bos])
    return tokenizer


def encoded(tokenizer: Tokenizer) -> dict:
    """Ids of the texts, and what random ids decode to: whole texts, and any mixture of tokens and bytes."""
    generator = random.Random(0)
    size = tokenizer.get_vocab_size()
    mixtures = [[generator.randrange(size) for _ in range(generator.randrange(1, 10))] for _ in range(80)]
    ids = [tokenizer.encode(text).ids for text in TEXTS]
    return {
        "ids": ids,
        "idsWithoutSpecial": [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS],
        "decoded": [tokenizer.decode(some) for some in ids],
        "mixtures": mixtures,
        "mixturesDecoded": [tokenizer.decode(some) for some in mixtures],
        "mixturesDecodedWithSpecial": [tokenizer.decode(some, skip_special_tokens=False) for some in mixtures],
    }


TEMPLATES = {
    "parts": "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['role'].upper() + ': ' }}{% endif %}"
    "{% for part in m['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% if m['role'] != 'assistant' %}{% for part in m['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ part['text'] + ' ' }}{% endfor %}{% else %}{% for part in m['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ part['text'] + ' ' }}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}",
    "instructions": "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}"
    "{{ '<<SYS>>\n' + m['content'][0]['text'] + '\n<</SYS>>\n\n' }}{% elif m['role'] == 'user' %}{{ '[INST] ' }}"
    "{% for part in m['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in m['content'] | selectattr('type', 'equalto', 'text') %}{{ part['text'] }}{% endfor %}{{ ' [/INST]' }}"
    "{% endif %}{% endfor %}",
    "string": "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] | trim + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    "blocks": "{% for m in messages %}\r\n  {% if m.content is string %}\r\n{{ m.role }}: {{ m.content }}\r\n"
    "  {% else %}\r\n{{ m.role }}: {% for part in m.content %}{% if part.type == 'image' %}<image>\r\n{% else %}"
    "{{ part.text }}{% endif %}{% endfor %}\r\n\r\n  {% endif %}\r\n{% endfor %}\r\n{{ 'assistant:' if add_generation_prompt }}\r\n",
}


def chat_templates() -> dict:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=llama(), bos_token="<s>", eos_token="</s>")
    text, system = "Where is the mug? {{ \"quoted\" }} ünïcode", "Answer briefly."
    cases = []
    for name, template in TEMPLATES.items():
        for has_image in (True, False):
            for has_system in (True, False):
                cases.append(
                    {
                        "template": name,
                        "hasImage": has_image,
                        "hasSystem": has_system,
                        "prompt": tokenizer.apply_chat_template(
                            messages(name, (text, has_image), system if has_system else None),
                            chat_template=template, add_generation_prompt=True, tokenize=False,
                        ),  # fmt: skip
                    }
                )
    return {"templates": TEMPLATES, "text": text, "system": system, "cases": cases}


def messages(template: str, question: tuple, system: str | None) -> list:
    text, has_image = question
    wants_string = template == "string"
    user = [{"type": "image"}] * has_image + [{"type": "text", "text": text}]
    if wants_string:
        user = ("<image>\n" if has_image else "") + text
    said = [] if system is None else [{"role": "system", "content": system if wants_string else [{"type": "text", "text": system}]}]
    return said + [{"role": "user", "content": user}]
