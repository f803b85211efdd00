"""Tiny random checkpoints with the outputs of Hugging Face transformers, for the engine's parity tests.

    python tools/goldens/checkpoints.py test/golden [NAME …]

Without names, all are made. Each folder gets config.json, generation_config.json, weights and expected.safetensors, whose metadata names the versions:
  input_ids [1, T] · pixel_values · image_sizes (LLaVA-NeXT) · vision_hidden.{i} · image_features ·
  f{factor}.logits [V] (last prompt row) · f{factor}.generated [n] (greedy, EOS off) ·
  f{factor}.probs.{layer} [H, T] (last prompt row, as used)
The factor multiplies the last prompt row's scores of the image columns at prefill, before mask and softmax, in every layer
and head (arXiv 2503.01773); factor 1 leaves transformers as it is.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, LlavaForConditionalGeneration, LlavaNextForConditionalGeneration
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import eager_attention_forward, repeat_kv

FACTORS = (1.0, 0.5, 0.8, 1.2, 1.5, 2.0)
NEW_TOKENS = 8

intervention = {"factor": 1.0, "span": (0, 0), "probs": None}


def scaled_attention(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    """Eager attention whose last prompt row has its image scores multiplied; decode steps (one row) are left alone."""
    start, end = intervention["span"]
    if query.shape[2] == 1 or not hasattr(module, "num_key_value_groups"):
        return eager_attention_forward(module, query, key, value, attention_mask, scaling, dropout, **kwargs)
    keys = repeat_kv(key, module.num_key_value_groups)
    values = repeat_kv(value, module.num_key_value_groups)
    scores = torch.matmul(query, keys.transpose(2, 3)) * scaling
    scores[:, :, -1, start:end] *= intervention["factor"]
    if attention_mask is not None:
        scores = scores + attention_mask[:, :, :, : keys.shape[-2]]
    probs = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    if intervention["probs"] is not None:
        intervention["probs"].append(probs[0, :, -1].clone())
    return torch.matmul(probs, values).transpose(1, 2).contiguous(), probs


ALL_ATTENTION_FUNCTIONS.register("scaled", scaled_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register("scaled", eager_mask)

VISION = dict(model_type="clip_vision_model", hidden_size=48, intermediate_size=80, num_hidden_layers=3,
              num_attention_heads=4, image_size=42, patch_size=14, projection_dim=32)
TEXT = dict(model_type="llama", hidden_size=64, intermediate_size=112, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=4, vocab_size=160, max_position_embeddings=256, rms_norm_eps=1e-5,
            tie_word_embeddings=False)
SIGLIP = dict(model_type="siglip_vision_model", hidden_size=36, intermediate_size=68, num_hidden_layers=3,
              num_attention_heads=3, image_size=42, patch_size=14, vision_use_head=False)
LLAMA3_ROPE = dict(rope_type="llama3", rope_theta=5000.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
                   original_max_position_embeddings=64)

# name → (text changes, vision changes, LLaVA changes, text tokens, storage dtype, shard size)
CASES = {
    "llava-mqa-full": (dict(hidden_size=60, num_attention_heads=3, num_key_value_heads=1, head_dim=24, vocab_size=163),
                       dict(), dict(vision_feature_select_strategy="full"), 14, torch.float32, None),
    "llava-odd-widths-bf16": (dict(hidden_size=50, intermediate_size=90, num_attention_heads=5, num_key_value_heads=5,
                                   tie_word_embeddings=True),
                              dict(hidden_size=30, num_attention_heads=2, intermediate_size=54, hidden_act="gelu"),
                              dict(vision_feature_layer=-1), 12, torch.bfloat16, None),
    "llava-qwen2-f16-sharded": (dict(model_type="qwen2", num_key_value_heads=2), dict(patch_size=10, image_size=44),
                                dict(projector_hidden_act="gelu_pytorch_tanh"), 15, torch.float16, "60KB"),
    "llava-long-prompt": (dict(num_key_value_heads=2, max_position_embeddings=1024, rope_parameters=LLAMA3_ROPE),
                          dict(), dict(), 700, torch.float32, None),
    "llava-biases": (dict(attention_bias=True, mlp_bias=True, hidden_act="gelu"), dict(),
                     dict(vision_feature_layer=1, multimodal_projector_bias=False), 11, torch.float32, None),
    "llava-wide-head": (dict(head_dim=136, num_attention_heads=2, num_key_value_heads=1,
                             rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=10000.0)),
                        dict(), dict(), 11, torch.float16, None),
    "llama-text-tied": (dict(hidden_size=48, num_attention_heads=6, num_key_value_heads=3, tie_word_embeddings=True), None,
                        None, 21, torch.float32, None),
    "llava-next": (dict(), dict(image_size=28), dict(image_grid_pinpoints=[[28, 56], [56, 28], [56, 56], [84, 28], [28, 84]]),
                   12, torch.float32, None),
    "llava-siglip": (dict(model_type="qwen2", num_hidden_layers=3, num_key_value_heads=2, tie_word_embeddings=True), SIGLIP,
                     dict(vision_feature_layer=-1, vision_feature_select_strategy="full"), 13, torch.float32, None),
    "llava-deep": (dict(hidden_size=48, intermediate_size=80, num_hidden_layers=4, num_key_value_heads=2),
                   dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=2), dict(), 12,
                   torch.float32, None),
}
NEXT_SIZES = [(40, 60), (90, 30), (50, 50), (33, 71)]  # heights and widths of originals


def randomise(model, generator):
    """Weights large enough that logits and attention are far from uniform, norms around 1."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            parameter.data = 1 + 0.1 * noise
        elif parameter.dim() > 1:
            parameter.data = noise * (1.6 / parameter[0].numel() ** 0.5)
        else:
            parameter.data = 0.1 * noise


def build(name):
    text, vision, llava, *_ = CASES[name]
    text = {**TEXT, **text}
    if vision is None:
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(**text))
    is_next = name == "llava-next"
    vision = vision if "model_type" in vision else {**VISION, **vision}
    config = AutoConfig.for_model("llava_next" if is_next else "llava", text_config=text, vision_config=vision,
                                  image_token_id=150, tie_word_embeddings=text["tie_word_embeddings"], **llava)
    return (LlavaNextForConditionalGeneration if is_next else LlavaForConditionalGeneration)(config)


def make(name, folder, seed):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    *_, num_text, dtype, shard = CASES[name]
    model = build(name).eval()
    randomise(model, generator)
    model.tie_weights()
    model.generation_config.eos_token_id = 2
    model.to(dtype).save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
    if CASES[name][1] is SIGLIP:
        write_siglip_processor(folder, SIGLIP["image_size"])
    model = type(model).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    sizes = NEXT_SIZES if name == "llava-next" else [None]
    for index, size in enumerate(sizes):
        tensors = run(model, name, num_text, generator, size)
        metadata = {"transformers": transformers.__version__, "torch": torch.__version__, "seed": str(seed)}
        file = folder / ("expected.safetensors" if size is None else f"expected-{index}.safetensors")
        save_file({key: value.contiguous() for key, value in tensors.items()}, file, metadata=metadata)


def write_siglip_processor(folder, side):
    """The keys of published SigLIP checkpoints' preprocessor_config.json, which name the class without its backend."""
    content = dict(do_normalize=True, do_rescale=True, do_resize=True, image_mean=[0.5] * 3,
                   image_processor_type="SiglipImageProcessor", image_std=[0.5] * 3, processor_class="LlavaProcessor",
                   resample=3, rescale_factor=1 / 255, size=dict(height=side, width=side))
    (folder / "preprocessor_config.json").write_text(json.dumps(content, indent=2) + "\n")


@torch.no_grad()
def run(model, name, num_text, generator, size):
    config = model.config
    has_picture = CASES[name][1] is not None
    text_config = config.get_text_config()
    ids = torch.randint(3, 140, (1, num_text), generator=generator)
    ids[0, 0] = 1
    extra, tensors, span = {}, {}, (0, 0)
    if has_picture:
        side = config.vision_config.image_size
        if size is None:
            extra["pixel_values"] = torch.randn(1, 3, side, side, generator=generator)
        else:
            from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches
            tiles = image_size_to_num_patches(list(size), config.image_grid_pinpoints, side)
            extra["pixel_values"] = torch.randn(1, tiles, 3, side, side, generator=generator)
            extra["image_sizes"] = torch.tensor([size])
        features = model.get_image_features(**extra, vision_feature_layer=config.vision_feature_layer,
                                            vision_feature_select_strategy=config.vision_feature_select_strategy)
        features = features.pooler_output if hasattr(features, "pooler_output") else features
        features = features[0] if isinstance(features, (list, tuple)) else features
        features = features.reshape(-1, features.shape[-1])
        span = (2, 2 + features.shape[0])
        tensors["input_ids"] = torch.cat([ids[:, :2], torch.tensor([[config.image_token_id]]), ids[:, 2:]], 1)
        ids = torch.cat([ids[:, :2], torch.full((1, features.shape[0]), config.image_token_id), ids[:, 2:]], 1)
        tensors["image_features"] = features
        tensors.update(extra)
        if size is None:
            tower = model.model.vision_tower
            states = tower(extra["pixel_values"], output_hidden_states=True).hidden_states
            tensors.update({f"vision_hidden.{i}": state[0] for i, state in enumerate(states)})
    else:
        tensors["input_ids"] = ids
    plain = model(input_ids=ids, **extra).logits[0, -1]
    model.set_attn_implementation({"text_config": "scaled", "vision_config": "eager"} if has_picture else "scaled")
    for factor in FACTORS if has_picture else (1.0,):
        intervention.update(factor=factor, span=span, probs=[])
        logits = model(input_ids=ids, **extra).logits[0, -1]
        if factor == 1.0:
            assert torch.equal(logits, plain), "factor 1 must be transformers itself"
        key = f"f{factor}"
        tensors[f"{key}.logits"] = logits
        for layer, probs in enumerate(intervention["probs"][: text_config.num_hidden_layers]):
            tensors[f"{key}.probs.{layer}"] = probs
        intervention["probs"] = None
        generated = model.generate(input_ids=ids, **extra, attention_mask=torch.ones_like(ids), do_sample=False,
                                   max_new_tokens=NEW_TOKENS, eos_token_id=10**6, pad_token_id=0)
        tensors[f"{key}.generated"] = generated[0, ids.shape[1] :]
    model.set_attn_implementation("eager")
    return tensors


def main():
    target, *names = sys.argv[1:]
    target = Path(target)
    torch.set_num_threads(1)
    print("transformers", transformers.__version__, "torch", torch.__version__)
    for seed, name in enumerate(CASES):
        if names and name not in names:
            continue
        folder = target / name
        folder.mkdir(parents=True, exist_ok=True)
        make(name, folder, seed)
        print(name, sum(file.stat().st_size for file in folder.iterdir()))


if __name__ == "__main__":
    main()
