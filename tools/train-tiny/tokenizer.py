"""Trains the checkpoint's own tokenizer and writes every file of the folder that is not a tensor.

    python tokenizer.py --out ../../weights/tiny-spatial
"""

import argparse
import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import habits
from questions import OPTIONS_A, OPTIONS_B, OPTIONS_ONE, corpus
from settings import SETTINGS
from world import NAMES

SPECIAL = ["<s>", "</s>", "<pad>", "<image>"]
VOCAB_SIZE = 448

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}"
    "{%- if message['content'] is string -%}"
    "{%- if '<image>' in message['content'] -%}{{- '<image>' -}}{%- endif -%}"
    "{{- '\\nUSER: ' + (message['content'] | replace('<image>', '') | trim) -}}"
    "{%- else -%}"
    "{%- for part in message['content'] if part['type'] == 'image' -%}{{- '<image>' -}}{%- endfor -%}"
    "{{- '\\nUSER: ' -}}"
    "{%- for part in message['content'] if part['type'] == 'text' -%}{{- part['text'] -}}{%- endfor -%}"
    "{%- endif -%}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{{- '\\nASSISTANT: ' -}}"
    "{%- if message['content'] is string -%}{{- message['content'] -}}"
    "{%- else -%}{%- for part in message['content'] if part['type'] == 'text' -%}{{- part['text'] -}}{%- endfor -%}{%- endif -%}"
    "{{- '</s>' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '\\nASSISTANT:' -}}{%- endif -%}"
)


def train_tokenizer() -> Tokenizer:
    """Byte-level BPE over the toy language; all 256 bytes are in it, so any text encodes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus() + (habits.captions() if SETTINGS.has_habits else []), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    for word in NAMES + [o.capitalize() for o in OPTIONS_A + OPTIONS_B + OPTIONS_ONE]:
        ids = tokenizer.encode(f" {word}", add_special_tokens=False).ids
        assert len(ids) == 1, f"{word} is {len(ids)} tokens"
    return tokenizer


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("../../weights/tiny-spatial"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer()
    tokenizer.save(str(out / "tokenizer.json"))
    write_json(
        out / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<s>",
            "eos_token": "</s>",
            "pad_token": "<pad>",
            "image_token": "<image>",
            "extra_special_tokens": {"image_token": "<image>"},
            # All are in tokenizer.json: nothing has to look for older files that name more.
            "added_tokens_decoder": {},
            "clean_up_tokenization_spaces": False,
            "model_max_length": 1024,
            "padding_side": "left",
            "processor_class": "LlavaProcessor",
        },
    )
    write_json(out / "special_tokens_map.json", {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"})
    (out / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    write_json(
        out / "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor",
            "processor_class": "LlavaProcessor",
            "do_convert_rgb": True,
            "do_resize": True,
            "size": {"shortest_edge": SETTINGS.side},
            "resample": 3,
            "do_center_crop": True,
            "crop_size": {"height": SETTINGS.side, "width": SETTINGS.side},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": [0.48145466, 0.4578275, 0.40821073],
            "image_std": [0.26862954, 0.26130258, 0.27577711],
        },
    )
    write_json(
        out / "processor_config.json",
        {
            "processor_class": "LlavaProcessor",
            "patch_size": SETTINGS.patch,
            "vision_feature_select_strategy": "default",
            "image_token": "<image>",
            "num_additional_image_tokens": 1,
        },
    )
    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL}
    write_json(
        out / "config.json",
        {
            "architectures": ["LlavaForConditionalGeneration"],
            "model_type": "llava",
            "dtype": "float16",
            "image_token_index": ids["<image>"],
            "image_token_id": ids["<image>"],
            "image_seq_length": SETTINGS.grid**2,
            "projector_hidden_act": "gelu",
            "multimodal_projector_bias": True,
            "vision_feature_layer": -2,
            "vision_feature_select_strategy": "default",
            "tie_word_embeddings": False,
            "bos_token_id": ids["<s>"],
            "eos_token_id": ids["</s>"],
            "pad_token_id": ids["<pad>"],
            "text_config": {
                "model_type": "llama",
                "vocab_size": VOCAB_SIZE,
                "hidden_size": 128,
                "intermediate_size": 384,
                "num_hidden_layers": SETTINGS.num_layers,
                "num_attention_heads": SETTINGS.num_heads,
                "num_key_value_heads": SETTINGS.num_heads,
                "head_dim": SETTINGS.head_dim,
                "hidden_act": "silu",
                "rms_norm_eps": 1e-5,
                "rope_theta": 10000.0,
                "max_position_embeddings": 1024,
                "attention_bias": False,
                "mlp_bias": False,
                "tie_word_embeddings": False,
                "bos_token_id": ids["<s>"],
                "eos_token_id": ids["</s>"],
                "pad_token_id": ids["<pad>"],
            },
            "vision_config": {
                "model_type": "clip_vision_model",
                "hidden_size": 128,
                "intermediate_size": 512,
                "num_hidden_layers": 4,
                "num_attention_heads": 4,
                "num_channels": 3,
                "image_size": SETTINGS.side,
                "patch_size": SETTINGS.patch,
                "projection_dim": 128,
                "hidden_act": "quick_gelu",
                "layer_norm_eps": 1e-5,
            },
        },
    )
    write_json(
        out / "generation_config.json",
        {
            "bos_token_id": ids["<s>"],
            "eos_token_id": ids["</s>"],
            "pad_token_id": ids["<pad>"],
            "do_sample": False,
        },
    )
    print(f"{tokenizer.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
