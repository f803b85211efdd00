"""A tiny random SmolVLM with a tokenizer, a chat template and a processor, and what transformers makes of prompts with pictures.

    python tools/goldens/smolvlm.py test/golden

Needs transformers 5.24: 4.57 shifts the vision positions in f32. Writes
  smolvlm/               the checkpoint, as save_pretrained of transformers names its tensors
  smolvlm/cases.json     per case the messages, the pictures' sizes [width, height], whether they are split, and the prompt
  smolvlm/expected.safetensors, per case
    {case}.input_ids [T] (image tokens expanded) · {case}.pixels [N] (the sums of each tile's pixel values) ·
    {case}.image_features [N · 4, D] · {case}.f{factor}.logits [V] (last prompt row) · {case}.f{factor}.generated [n] (greedy, EOS off)
  preprocess/idefics3.json   SHA-256 of the pixel values of pictures of many sizes, and their rows and columns of tiles

The factor multiplies the last prompt row's scores of the image tokens at prefill, before the softmax, in every layer and head.
The class Idefics3ForConditionalGeneration with the same weights gives the same logits (checked here).
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy
import torch
import transformers
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, Idefics3ForConditionalGeneration, PreTrainedTokenizerFast, SmolVLMForConditionalGeneration
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.idefics3.processing_idefics3 import Idefics3Processor

from checkpoints import randomise
from reference import SMALLEST_LEAD, i32, save
from scaled_columns import edit

SEED = 42
NEW_TOKENS = 8
FACTORS = (1.0, 0.5, 1.7)
TILE, LONGEST = 16, 48
VISION = dict(hidden_size=22, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2, image_size=TILE, patch_size=4)
TEXT = dict(model_type="llama", hidden_size=32, intermediate_size=56, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=512, rms_norm_eps=1e-5, rope_theta=100000.0)
MARKERS = ["<|im_start|>", "<|im_end|>", "<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>"]
MARKERS += [f"<row_{row}_col_{column}>" for row in (1, 2, 3) for column in (1, 2, 3)]
# As the published checkpoints write it.
TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}{% if message['content'][0]['type'] == 'image' %}"
    "{{':'}}{% else %}{{': '}}{% endif %}{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)

image, text = {"type": "image"}, lambda words: {"type": "text", "text": words}
ask = lambda *content: [{"role": "user", "content": list(content)}]
# name → (messages, sizes of the pictures, whether they are split)
CASES = {
    "one": (ask(image, text("Where is the mug?")), [(30, 20)], True),
    "whole": (ask(image, text("Where is the mug?")), [(30, 20)], False),
    "tall": (ask(text("What is in "), image, text("?")), [(9, 40)], True),
    "three": (ask(image, text("A"), image, text("and B"), image, text("Which?")), [(16, 16), (60, 20), (21, 22)], False),
    "turns": (ask(image, text("Where?")) + [{"role": "assistant", "content": [text(" Left.")]}] + ask(text("And here?"), image),
              [(20, 12), (12, 12)], True),
    "text": (ask(text("Hello there")), [], True),
}
SIZES = [(1, 1), (200, 300), (3000, 4000), (1200, 300), (300, 1200), (640, 480), (336, 336), (1000, 999), (37, 512), (513, 512),
         (50, 3), (3, 700)]


def picture(width, height):
    """A picture that the tests make too: byte i of the RGB rows is (7·i + i² // 1000) mod 256."""
    index = numpy.arange(width * height * 3, dtype=numpy.int64)
    return Image.fromarray(((7 * index + index * index // 1000) % 256).astype("uint8").reshape(height, width, 3))


def tokenizer():
    """Bytes, and the markers of pictures and turns; a token for two newlines, which a published vocabulary has too."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {symbol: index for index, symbol in enumerate([*alphabet, "ĊĊ"])}
    own = Tokenizer(models.BPE(vocab=vocab, merges=[("Ċ", "Ċ")]))
    own.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    own.decoder = decoders.ByteLevel()
    own.add_special_tokens([AddedToken(marker, normalized=False, special=True) for marker in MARKERS])
    return PreTrainedTokenizerFast(tokenizer_object=own, bos_token="<|im_start|>", eos_token="<end_of_utterance>",
                                   pad_token="<|im_end|>", chat_template=TEMPLATE)


def processor_of(own, splits, tile=TILE, longest=LONGEST):
    images = Idefics3ImageProcessorPil(size={"longest_edge": longest}, max_image_size={"longest_edge": tile}, do_image_splitting=splits)
    positions = (VISION["image_size"] // VISION["patch_size"]) ** 2 // 4
    return Idefics3Processor(images, own, image_seq_len=positions, chat_template=TEMPLATE)


def build(folder):
    own = tokenizer()
    config = AutoConfig.for_model("smolvlm", text_config={**TEXT, "vocab_size": len(own)}, vision_config=VISION, scale_factor=2,
                                  image_token_id=own.convert_tokens_to_ids("<image>"), tie_word_embeddings=False)
    model = SmolVLMForConditionalGeneration(config).eval()
    randomise(model, torch.Generator().manual_seed(SEED))
    model.generation_config.eos_token_id = own.convert_tokens_to_ids("<end_of_utterance>")
    model.save_pretrained(folder)
    own.save_pretrained(folder)
    for name in ("special_tokens_map.json", "added_tokens.json"):
        (folder / name).unlink(missing_ok=True)
    content = dict(do_convert_rgb=True, do_image_splitting=True, do_normalize=True, do_pad=True, do_rescale=True, do_resize=True,
                   image_mean=[0.5] * 3, image_processor_type="SmolVLMImageProcessor", image_std=[0.5] * 3,
                   max_image_size={"longest_edge": TILE}, processor_class="SmolVLMProcessor", resample=1, rescale_factor=1 / 255,
                   size={"longest_edge": LONGEST})
    (folder / "preprocessor_config.json").write_text(json.dumps(content, indent=2) + "\n")
    load = lambda kind: kind.from_pretrained(folder, attn_implementation={"text_config": "eager", "vision_config": "eager"}).eval()
    return load(SmolVLMForConditionalGeneration), load(Idefics3ForConditionalGeneration), own


@torch.no_grad()
def run(models, own, case):
    messages, sizes, splits = CASES[case]
    processor = processor_of(own, splits)
    prompt = own.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    inputs = processor(text=prompt, images=[picture(*size) for size in sizes] or None, return_tensors="pt", add_special_tokens=False)
    ids = inputs["input_ids"]
    model, idefics3 = models
    extra = {"pixel_values": inputs["pixel_values"]} if sizes else {}
    tensors = {"input_ids": i32(ids[0].tolist())}
    if sizes:
        tensors["pixels"] = inputs["pixel_values"][0].double().sum((1, 2, 3)).float()
        tensors["image_features"] = torch.cat(list(model.get_image_features(**extra, return_dict=True).pooler_output)).flatten(0, -2)
    for own_model in models:
        own_model.set_attn_implementation({"text_config": "scaled-columns", "vision_config": "eager"})
    edit["columns"] = (ids[0] == model.config.image_token_id).nonzero()[:, 0]
    for factor in FACTORS if sizes else (1.0,):
        edit["factor"] = factor
        logits = model(input_ids=ids, **extra).logits[0, -1]
        assert torch.equal(logits, idefics3(input_ids=ids, **extra).logits[0, -1])
        output = model.generate(input_ids=ids, **extra, attention_mask=torch.ones_like(ids), do_sample=False, output_logits=True,
                                return_dict_in_generate=True, max_new_tokens=NEW_TOKENS, eos_token_id=10**6, pad_token_id=0)
        for step in output.logits:
            best = step[0].topk(2).values
            assert best[0] - best[1] > SMALLEST_LEAD, f"{case}: the best logit leads by {best[0] - best[1]:.1e} only"
        tensors[f"f{factor}.logits"] = logits
        tensors[f"f{factor}.generated"] = i32(output.sequences[0, ids.shape[1] :].tolist())
    facts = {"messages": messages, "sizes": sizes, "splits": splits, "prompt": prompt}
    return {f"{case}.{name}": tensor for name, tensor in tensors.items()}, facts


def preprocess():
    """Small tiles for all sizes, the published sizes for some, where the largest has 17 tiles of 512 pixels."""
    settings = [(128, 512, size, splits) for size in SIZES for splits in (True, False)]
    settings += [(512, 2048, size, True) for size in ((640, 480), (1200, 300))] + [(364, 1456, (200, 300), True), (384, 1536, (336, 336), True)]
    cases = []
    for tile, longest, size, splits in settings:
        images = Idefics3ImageProcessorPil(size={"longest_edge": longest}, max_image_size={"longest_edge": tile},
                                           do_image_splitting=splits)
        output = images(picture(*size), return_tensors="np", return_row_col_info=True)
        values = numpy.ascontiguousarray(output["pixel_values"][0], dtype="<f4")
        cases.append({"size": size, "tile": tile, "longest": longest, "splits": splits, "rows": output["rows"][0][0],
                      "columns": output["cols"][0][0], "tiles": len(values), "sha256": hashlib.sha256(values.tobytes()).hexdigest()})
    grids = []
    images = Idefics3ImageProcessorPil(size={"longest_edge": 2048}, max_image_size={"longest_edge": 512})
    for width, height in SIZES:
        _, rows, columns = images.get_number_of_image_patches(height, width)
        grids.append([width, height, rows, columns])
    versions = {"transformers": transformers.__version__, "pillow": Image.__version__, "numpy": numpy.__version__}
    return {"versions": versions, "cases": cases, "grids": grids}


def main():
    golden = Path(sys.argv[1])
    torch.set_num_threads(1)
    folder = golden / "smolvlm"
    folder.mkdir(parents=True, exist_ok=True)
    *models, own = build(folder)
    tensors, cases = {}, {}
    for case in CASES:
        more, cases[case] = run(models, own, case)
        tensors.update(more)
    save(tensors, folder / "expected.safetensors", "smolvlm", SEED)
    (folder / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
    (golden / "preprocess" / "idefics3.json").write_text(json.dumps(preprocess(), indent=1) + "\n")


if __name__ == "__main__":
    main()
