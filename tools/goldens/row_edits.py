"""Edits of attention that keep a row's total, on two tiny checkpoints, computed in float64: a temperature within the picture
(the picture's share of the attention stays) and the redistribution of visual attention sinks.

    python tools/goldens/row_edits.py test/golden

Reads the checkpoints of CHECKPOINTS (llava-deep has grouped queries), writes test/golden/row-edits/cases.json and
{checkpoint}.safetensors:
  pixel_values [1, 3, S, S] · input_ids [n] (one image token) · expanded_ids [T] · runs [1, 2] (image positions [start, end))
  {case}.logits [V] (last prompt row) · {case}.probs.{layer} [H, T] (last prompt row) · {case}.generated [6] (greedy) ·
  {case}.step_logits [6, V] (row i chose generated[i]; row 0 is .logits)
cases.json lists the cases with their settings, as the library takes them. Both edits change probabilities after the softmax of
the unmodified scores q·k/√d, not the scores:
  temperature    the image columns keep their sum, and are within it softmax(factor · scores of the image columns)
  visual-sinks   arXiv 2503.03321, section 5, with the conditions of the authors' code: of the layer's input x, normalised to a
                 root mean square of 1 (eps 1e-6), a prompt position is a sink if max |x[dimensions]| >= tau. A row and head
                 whose image has a sink, whose image columns that are none have at least rho of the image's sum, and whose image
                 has at least minimumImageShare of all, multiplies the sinks by 1 − moved and adds the difference to the image
                 columns that are none, in proportion to their probabilities
Rows "last" are the last prompt row alone, "after-image" all rows behind the picture and all generated ones. Thresholds are
asserted to be at least MARGIN away from the numbers that meet them.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from reference import decoder_of, expand, greedy, i32, numbers, prefill, save
from score_edits import load_float64

CHECKPOINTS = {"llava-deep": 31, "tiny-llava": 32}  # name → seed
NEW_TOKENS = 6
MARGIN = 1e-4
# What the attention below does now: the settings of the case and the picture's positions; probs collects the last row's; sinks
# holds each layer's marks [T] of the prompt; counts tells how many rows and heads met the conditions.
active = {"settings": None, "run": (0, 0), "length": 0, "probs": None, "sinks": {}, "counts": [0, 0]}


def meets(values, threshold):
    """values >= threshold, with a margin."""
    assert (values - threshold).abs().min() > MARGIN, f"{values} are too close to {threshold}"
    return values >= threshold


def tempered(probs, scores, settings):
    start, end = active["run"]
    share = probs[..., start:end].sum(-1, keepdim=True)
    result = probs.clone()
    result[..., start:end] = share * torch.softmax(settings["factor"] * scores[..., start:end], -1)
    return result


def redistributed(probs, layer, settings):
    start, end = active["run"]
    sinks = torch.zeros(probs.shape[-1], dtype=torch.bool)
    sinks[: active["length"]] = active["sinks"][layer]
    columns = torch.zeros_like(sinks)
    columns[start:end] = True
    image = probs[..., columns].sum(-1)
    others = probs[..., columns & ~sinks].sum(-1)
    if not (columns & sinks).any():
        return probs
    selected = meets(others / image, settings["rho"]) & meets(image, settings["minimumImageShare"])
    active["counts"][0] += int(selected.sum())
    active["counts"][1] += selected.numel()
    budget = settings["moved"] * probs[..., sinks].sum(-1)
    result = probs.clone()
    result[..., sinks] *= 1 - settings["moved"]
    result[..., columns & ~sinks] += (budget / others)[..., None] * probs[..., columns & ~sinks]
    return torch.where(selected[..., None], result, probs)


def edited_attention(module, query, key, value, attention_mask, scaling, **kwargs):
    """Attention in the type of its arguments, with the active edit if `module` is a decoder layer's that it acts on."""
    groups = getattr(module, "num_key_value_groups", 1)
    keys, values = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ keys.transpose(2, 3) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask[..., : keys.shape[2]]
    probs = torch.softmax(scores, -1)
    layer, settings = getattr(module, "layer_idx", None), active["settings"]
    if layer is not None and settings is not None and layer in settings["layers"]:
        slots = torch.arange(query.shape[2]) + keys.shape[2] - query.shape[2]
        last = slots == active["length"] - 1
        rows = last if settings["rows"] == "last" else slots >= active["run"][1]
        heads = torch.tensor([head in settings["heads"] for head in range(query.shape[1])])
        where = heads[:, None] & rows
        if where.any():
            probs = probs.clone()
            chosen, at = probs[0][where], scores[0][where]
            changed = tempered(chosen, at, settings) if settings["method"] == "temperature" else redistributed(chosen, layer, settings)
            probs[0][where] = changed
    if layer is not None and active["probs"] is not None:
        active["probs"].append(probs[0, :, -1].clone())
    return (probs @ values).transpose(1, 2).contiguous(), probs


def mark_sinks(decoder):
    """Hooks that keep, in a prefill, which positions are sinks at each layer's input."""

    def hook(module, arguments):
        settings, x = active["settings"], arguments[0][0]
        if settings is None or settings["method"] != "visual-sinks" or x.shape[0] != active["length"]:
            return
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)
        activations = x[:, settings["dimensions"]].abs().amax(-1)
        active["sinks"][module.self_attn.layer_idx] = meets(activations, settings["tau"])

    for layer in decoder.layers:
        layer.register_forward_pre_hook(hook)


def cases(num_layers, num_heads):
    """Case → settings; layers and heads are all unless given."""
    everywhere = {"layers": list(range(num_layers)), "heads": list(range(num_heads))}
    sinks = {"method": "visual-sinks", "dimensions": [5, 17], "tau": 1.9, "rho": 0.5, "moved": 0.6, "minimumImageShare": 0.2,
             "rows": "after-image", **everywhere}
    return {
        "none": None,
        "flatter": {"method": "temperature", "factor": 0.5, "rows": "last", **everywhere},
        "sharper": {"method": "temperature", "factor": 3, "rows": "after-image", **everywhere, "heads": [0, 2, 3]},
        "sinks": sinks,
        "sinks-all-moved": {**sinks, "rho": 0.71, "moved": 1, "tau": 1.6, "dimensions": [9, 33, 40]},
    }


@torch.no_grad()
def main():
    golden = Path(sys.argv[1])
    ALL_ATTENTION_FUNCTIONS.register("edited", edited_attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register("edited", eager_mask)
    folder = golden / "row-edits"
    listed = {}
    for checkpoint, seed in CHECKPOINTS.items():
        model = load_float64(golden / checkpoint)
        decoder = decoder_of(model)
        mark_sinks(decoder)
        generator = torch.Generator().manual_seed(seed)
        vision = model.config.vision_config
        pixels = torch.randn(1, 3, vision.image_size, vision.image_size, generator=generator)
        image = model.config.image_token_id
        ids = [1, *numbers(3, generator), image, *numbers(11, generator)]
        expanded, [(start, end)] = expand(ids, image, (vision.image_size // vision.patch_size) ** 2)
        active.update(run=(start, end), length=len(expanded))
        tensors = {"pixel_values": pixels, "input_ids": i32(ids), "expanded_ids": i32(expanded), "runs": i32([[start, end]])}
        pictures = {"pixel_values": pixels.double()}
        text = decoder.config
        for case, settings in cases(text.num_hidden_layers, text.num_attention_heads).items():
            active.update(settings=settings, probs=[], counts=[0, 0], sinks={})
            prefill(model, expanded, **pictures)
            tensors.update({f"{case}.probs.{layer}": probs for layer, probs in enumerate(active["probs"])})
            active["probs"] = None
            marked = {layer: marks.nonzero()[:, 0].tolist() for layer, marks in active["sinks"].items()}
            generated, logits = greedy(model, expanded, NEW_TOKENS, **pictures)
            tensors.update({f"{case}.logits": logits[0], f"{case}.generated": i32(generated), f"{case}.step_logits": logits})
            changed = (logits - tensors["none.step_logits"]).abs().amax(1).tolist()
            print(f"{checkpoint} {case:16} {generated} change per step", " ".join(f"{value:.3f}" for value in changed),
                  f"heads {active['counts']}, sinks {marked}" if marked else "")
            if settings is not None:
                listed.setdefault(checkpoint, {})[case] = settings
        save(tensors, folder / f"{checkpoint}.safetensors", checkpoint, seed)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    content = {"versions": versions, "dtype": "float64", "cases": listed}
    (folder / "cases.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
