"""Tiny random checkpoints of Qwen2-VL, Qwen2.5-VL and Qwen3-VL with the outputs of Hugging Face transformers.

    python tools/goldens/qwen2_vl.py test/golden

Writes qwen2-vl as transformers 5 saves it, with a second config.json in the form of published files, and qwen2-5-vl in published
form. Weights are f16; the outputs are of f32. expected.safetensors has, for each prompt (one.0, one.1: a picture; three: three with text between; text; turn.0, turn.1: a conversation):
  .input_ids [n] (one image token a picture) · .pixel_values [P, 96] · .image_grid_thw [pictures, 3] · .image_features [N, D] ·
  .positions [T, 3] · .logits [V] (last row) · .generated [8] (greedy), and for one.0 and three also .f{factor}.logits and
  .f{factor}.generated, where the factor multiplies the last prompt row's scores of the image columns at prefill
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import (Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2VLConfig, Qwen2VLForConditionalGeneration,
                          Qwen3VLConfig, Qwen3VLForConditionalGeneration)

from checkpoints import randomise
from scaled_columns import edit

NEW_TOKENS = 8
FACTORS = (0.5, 1.7)
IMAGE = 150
TEXT = dict(hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, vocab_size=160,
            max_position_embeddings=512, rms_norm_eps=1e-5)
ROPE = dict(rope_theta=500.0, mrope_section=[2, 3, 3])
VISION = dict(depth=3, num_heads=2, patch_size=4, spatial_merge_size=2, temporal_patch_size=2)
IDS = dict(image_token_id=IMAGE, video_token_id=151, vision_start_token_id=152, vision_end_token_id=153)
KINDS = {
    "qwen2-vl": (Qwen2VLConfig, Qwen2VLForConditionalGeneration, dict(embed_dim=24, mlp_ratio=2, hidden_size=32), True),
    "qwen2-5-vl": (Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration,
                   dict(hidden_size=24, intermediate_size=28, out_hidden_size=32, window_size=16, fullatt_block_indexes=[1]), False),
    "qwen3-vl": (Qwen3VLConfig, Qwen3VLForConditionalGeneration,
                 dict(hidden_size=24, intermediate_size=28, out_hidden_size=32, num_position_embeddings=25,
                      deepstack_visual_indexes=[0, 2]), False),
}


def published(source):
    """config.json in the flat form of published files, with the older rotary keys."""
    config = json.loads((source / "config.json").read_text())
    text = config.pop("text_config")
    for key in ("model_type", "rope_parameters", "layer_types", "dtype"):
        text.pop(key, None)
    config.update(text)
    config["rope_scaling"] = {"type": "mrope", "mrope_section": ROPE["mrope_section"]}
    config["rope_theta"] = ROPE["rope_theta"]
    config["vision_config"] = {key: value for key, value in config["vision_config"].items()
                               if key not in ("model_type", "rope_parameters", "dtype")}
    return json.dumps(config, indent=2) + "\n"


def expand(ids, grids):
    """Ids with every image token repeated, and the positions of the pictures."""
    counts = iter([h * w // 4 for _, h, w in grids])
    expanded = [each for token in ids for each in ([token] * next(counts) if token == IMAGE else [token])]
    return expanded, [index for index, token in enumerate(expanded) if token == IMAGE]


@torch.no_grad()
def make(name, golden, seed):
    config_class, model_class, vision, is_tied = KINDS[name]
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    own = {"head_dim": 16} if name == "qwen3-vl" else {}
    text = {**TEXT, **own, "rope_parameters": {"rope_type": "default", **ROPE}, "tie_word_embeddings": is_tied}
    config = config_class(text_config=text, vision_config={**VISION, **vision}, tie_word_embeddings=is_tied, **IDS)
    model = model_class(config).eval()
    randomise(model, generator)
    model.tie_weights()
    model.generation_config.eos_token_id = 2
    saved = golden / name
    model.to(torch.float16).save_pretrained(saved)
    model = model_class.from_pretrained(saved, dtype=torch.float32, attn_implementation="eager").eval()
    columns = VISION["patch_size"] ** 2 * 6
    tensors = {}

    def run(key, ids, pixels, grids, factors=()):
        expanded, image_columns = expand(ids, grids)
        batch = torch.tensor([expanded])
        inputs = {"input_ids": batch, "attention_mask": torch.ones_like(batch)}
        if grids:
            values, thw = torch.cat(pixels), torch.tensor(grids)
            inputs.update(pixel_values=values, image_grid_thw=thw, mm_token_type_ids=(batch == IMAGE).int())
            features = torch.cat(list(model.get_image_features(values, thw).pooler_output))
            positions, _ = model.model.get_rope_index(batch, (batch == IMAGE).int(), image_grid_thw=thw)
            tensors.update({f"{key}.pixel_values": values, f"{key}.image_grid_thw": thw.int(), f"{key}.image_features": features,
                            f"{key}.positions": positions[:, 0].T.int().contiguous()})
        tensors[f"{key}.input_ids"] = torch.tensor(ids, dtype=torch.int32)

        def answer():
            model.model.rope_deltas = None
            logits = model(**inputs).logits[0, -1].clone()
            model.model.rope_deltas = None
            out = model.generate(**inputs, do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=10**6, pad_token_id=0,
                                 output_scores=True, return_dict_in_generate=True)
            best = torch.stack([scores[0].topk(2).values for scores in out.scores])
            assert (best[:, 0] - best[:, 1]).min() > 1e-3, "choose another seed: two tokens are nearly equal"
            return logits, out.sequences[0, len(expanded):].int()

        logits, generated = answer()
        assert IMAGE not in generated and 151 not in generated
        tensors.update({f"{key}.logits": logits, f"{key}.generated": generated})
        model.set_attn_implementation({"text_config": "scaled-columns", "vision_config": "eager"})
        for factor in factors:
            edit.update(factor=factor, columns=image_columns)
            changed, ids_changed = answer()
            assert not torch.equal(changed, logits)
            tensors.update({f"{key}.f{factor}.logits": changed, f"{key}.f{factor}.generated": ids_changed})
        edit["columns"] = None
        model.set_attn_implementation("eager")
        return generated.tolist()

    text = lambda count: torch.randint(3, 140, (count,), generator=generator).tolist()
    picture = lambda grid: torch.randn(grid[1] * grid[2], columns, generator=generator)
    around = lambda: [152, IMAGE, 153]
    grids = [(1, 6, 4), (1, 4, 10), (1, 2, 2)]
    pixels = [picture(grid) for grid in grids]
    run("one.0", [1, *text(3), *around(), *text(5)], pixels[:1], grids[:1], FACTORS)
    run("one.1", [1, *around(), *text(4)], pixels[1:2], grids[1:2])
    run("three", [1, *around(), *text(3), *around(), *text(2), *around(), *text(4)], pixels, grids, FACTORS)
    run("text", [1, *text(9)], [], [])
    first = [1, *text(2), *around(), *text(4)]
    second = [*first, *run("turn.0", first, pixels[1:2], grids[1:2]), *text(2), *around(), *text(3)]
    run("turn.1", second, [pixels[1], pixels[0]], [grids[1], grids[0]])
    metadata = {"transformers": transformers.__version__, "torch": torch.__version__, "seed": str(seed)}
    if name != "qwen3-vl":  # whose published files are nested
        (saved / ("config-published.json" if name == "qwen2-vl" else "config.json")).write_text(published(saved))
    save_file({key: value.contiguous() for key, value in tensors.items()}, saved / "expected.safetensors", metadata=metadata)


def main():
    torch.set_num_threads(1)
    golden = Path(sys.argv[1])
    for seed, name in zip((41, 40, 43), KINDS, strict=True):
        make(name, golden, seed)
        print(name, {file.name: file.stat().st_size for file in (golden / name).iterdir()})


if __name__ == "__main__":
    main()
