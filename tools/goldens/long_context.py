"""Rotary embeddings for long contexts, and sliding windows: three tiny checkpoints under several configs.

    python tools/goldens/long_context.py test/golden

Writes test/golden/long-context/{decoder,qwen2,llava}/model.safetensors (f16; `decoder` is read as llama and as mistral), cases.json
and expected.safetensors. A case of cases.json has `weights`, the folder of its tensors, and `config`, its config.json as both
implementations read it. Its tensors, computed in f32 with eager attention:
  {case}.input_ids [n] (one image token for a picture) · pixel_values (llava) · {case}.log_probs [T − 1] (of each prompt token
  after the first, given those before it: one forward pass over the prompt) · {case}.generated [24] (greedy, EOS off) ·
  {case}.logits [24, V] (row i chose generated[i]) · {case}.probs.{layer} [H, T] (last prompt row) ·
  {case}.f1.5.{generated, logits, probs.{layer}} (llava: the last prompt row's image scores times 1.5, as checkpoints.py)
Tokens come from `generate` on a model that has run nothing else: transformers' dynamic embeddings keep what longer sequences
have set. Prompts are longer than the windows, and all but `dynamic-crossing` longer than the original contexts; `dynamic-long`
asks on in the conversation that `dynamic-crossing` begins.
"""

import json
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlavaForConditionalGeneration

from checkpoints import TEXT, VISION, intervention, randomise
from reference import SMALLEST_LEAD, expand, i32, load, numbers, save

SEED = 31
NEW_TOKENS = 24
PROMPT = 40
DECODER = {**TEXT, "intermediate_size": 80, "num_key_value_heads": 2, "vocab_size": 96, "max_position_embeddings": 128}
WEIGHTS = {
    "decoder": DECODER,
    "qwen2": {**DECODER, "model_type": "qwen2"},
    "llava": {**DECODER, "model_type": "mistral"},
}
IMAGE_TOKEN = 90
MISTRAL = {"model_type": "mistral"}
QWEN2 = {"model_type": "qwen2", "use_sliding_window": True}

# name → (weights, changes of the text config); both spellings of rope configs
CASES = {
    "linear": ("decoder", dict(max_position_embeddings=32, rope_scaling=dict(type="linear", factor=4.0))),
    "dynamic-crossing": ("decoder", dict(max_position_embeddings=32, rope_scaling=dict(type="dynamic", factor=4.0))),
    "dynamic-long": ("decoder", dict(max_position_embeddings=32, rope_scaling=dict(type="dynamic", factor=4.0))),
    "dynamic-theta": ("decoder", dict(max_position_embeddings=24, rope_parameters=dict(
        rope_type="dynamic", factor=3.5, rope_theta=700.0))),
    "llama3": ("decoder", dict(rope_scaling=dict(
        rope_type="llama3", factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32))),
    "yarn": ("decoder", dict(rope_parameters=dict(
        rope_type="yarn", factor=4.0, rope_theta=10000.0, original_max_position_embeddings=32))),
    "yarn-mscale": ("decoder", dict(original_max_position_embeddings=32, rope_theta=500, rope_scaling=dict(
        type="yarn", factor=4.0, mscale=0.7, mscale_all_dim=0.4, beta_fast=8, beta_slow=1.5, truncate=False))),
    "mistral-window": ("decoder", {**MISTRAL, "sliding_window": 8}),
    "qwen2-window": ("qwen2", {**QWEN2, "sliding_window": 8, "max_window_layers": 1}),
    "qwen2-layer-types": ("qwen2", {**QWEN2, "sliding_window": 11, "layer_types": ["sliding_attention", "full_attention"],
                                    "max_position_embeddings": 32, "rope_scaling": dict(
        type="yarn", factor=4.0, original_max_position_embeddings=32, attention_factor=0.8)}),
    "llava-window": ("llava", {**MISTRAL, "sliding_window": 12}),
}


def build(weights):
    text = AutoConfig.for_model(**WEIGHTS[weights])
    if weights != "llava":
        return AutoModelForCausalLM.from_config(text)
    vision = {**VISION, "patch_size": 10, "image_size": 44}
    return LlavaForConditionalGeneration(AutoConfig.for_model(
        "llava", text_config=WEIGHTS[weights], vision_config=vision, image_token_id=IMAGE_TOKEN))


def config_of(weights, changes):
    """What config.json says; transformers fills in the rest, as it does for published files."""
    text = {**WEIGHTS[weights], **changes}
    if weights != "llava":
        return text
    vision = {**VISION, "patch_size": 10, "image_size": 44}
    return dict(model_type="llava", text_config=text, vision_config=vision, image_token_id=IMAGE_TOKEN)


def load_case(folder, config):
    """A model from these weights and this config.json."""
    with tempfile.TemporaryDirectory() as temporary:
        target = Path(temporary)
        (target / "model.safetensors").symlink_to((folder / "model.safetensors").resolve())
        (target / "config.json").write_text(json.dumps(config))
        return load(target)


def generated(model, ids, **extra):
    """Greedy ids and the logits that chose them, through `generate`."""
    output = model.generate(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                            do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=10**6, pad_token_id=0,
                            output_logits=True, return_dict_in_generate=True, **extra)
    logits = torch.cat(output.logits)
    best = logits.topk(2).values
    lead = (best[:, 0] - best[:, 1]).min()
    return output.sequences[0, len(ids):].tolist(), logits, lead


def last_row_probs(model, ids, factor, span, **extra):
    """Attention of the last prompt row in every layer, and its logits."""
    is_llava = "pixel_values" in extra
    model.set_attn_implementation({"text_config": "scaled", "vision_config": "eager"} if is_llava else "scaled")
    intervention.update(factor=factor, span=span, probs=[])
    logits = model(input_ids=torch.tensor([ids]), **extra).logits[0]
    probs, intervention["probs"] = intervention["probs"], None
    return probs[-model.config.get_text_config().num_hidden_layers :], logits


@torch.no_grad()
def run(folder, config, ids, extra):
    """The tensors of one case, and the smallest lead of a greedy choice over the second best."""
    expanded, runs = expand(ids, IMAGE_TOKEN, 16) if extra else (ids, [[0, 0]])
    tensors, leads = {"input_ids": i32(ids)}, []
    for factor in (1.0, 1.5) if extra else (1.0,):
        prefix = "" if factor == 1.0 else "f1.5."
        model = load_case(folder, config)
        if factor != 1.0:
            model.set_attn_implementation({"text_config": "scaled", "vision_config": "eager"})
        intervention.update(factor=factor, span=tuple(runs[0]), probs=None)
        chosen, logits, lead = generated(model, expanded, **extra)
        leads.append(0 if IMAGE_TOKEN in chosen else lead)
        tensors.update({f"{prefix}generated": i32(chosen), f"{prefix}logits": logits})
        probs, prompt_logits = last_row_probs(load_case(folder, config), expanded, factor, tuple(runs[0]), **extra)
        assert (prompt_logits[-1] - logits[0]).abs().max() < 1e-4
        tensors.update({f"{prefix}probs.{layer}": row for layer, row in enumerate(probs)})
        if factor == 1.0:
            log_probs = prompt_logits[:-1].log_softmax(-1)
            tensors["log_probs"] = log_probs.gather(1, torch.tensor(expanded[1:])[:, None])[:, 0]
    return tensors, min(leads)


def plain(config):
    """The config without what the case is about."""
    def strip(text):
        kept = {key: value for key, value in text.items() if not key.startswith("rope_") and key != "layer_types"}
        return {**kept, "max_position_embeddings": 128, "use_sliding_window": False,
                **({"sliding_window": None} if text["model_type"] == "mistral" else {})}
    return {**config, "text_config": strip(config["text_config"])} if "text_config" in config else strip(config)


def main():
    target = Path(sys.argv[1]) / "long-context"
    generator = torch.Generator().manual_seed(SEED)
    for weights in WEIGHTS:
        model = build(weights)
        randomise(model, generator)
        folder = target / weights
        model.to(torch.float16).save_pretrained(folder)
        for other in folder.iterdir():
            if other.suffix == ".json":
                other.unlink()
            else:
                other.chmod(0o644)
    pixels = torch.randn(1, 3, 44, 44, generator=generator)
    cases, tensors = {}, {"pixel_values": pixels}
    for name, (weights, changes) in CASES.items():
        config = config_of(weights, changes)
        extra = {"pixel_values": pixels} if weights == "llava" else {}
        for attempt in range(100):
            if name == "dynamic-crossing":
                ids = [1, *random_ids(23, generator)]
            elif name == "dynamic-long":
                begun = tensors["dynamic-crossing.input_ids"].tolist() + tensors["dynamic-crossing.generated"].tolist()
                ids = [*begun, *random_ids(6, generator)]
            elif extra:
                ids = [1, *random_ids(1, generator), IMAGE_TOKEN, *random_ids(5, generator)]
            else:
                ids = [1, *random_ids(PROMPT - 1, generator)]
            made, lead = run(target / weights, config, ids, extra)
            if lead > SMALLEST_LEAD:
                break
        else:
            raise SystemExit(f"{name}: no prompt without a close choice")
        without, _ = run(target / weights, plain(config), ids, extra)
        distance = max(float((made[key] - without[key]).abs().max()) for key in ("log_probs", "logits"))
        assert distance > 0.1, f"{name}: the config changes nothing"
        print(name, "prompts tried", attempt + 1, "largest difference from the plain config", distance)
        cases[name] = dict(weights=weights, config=config)
        tensors.update({f"{name}.{key}": value for key, value in made.items()})
    (target / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
    save(tensors, target / "expected.safetensors", "long-context", SEED)


def random_ids(count, generator):
    return [3 + number % 80 for number in numbers(count, generator)]


if __name__ == "__main__":
    main()
