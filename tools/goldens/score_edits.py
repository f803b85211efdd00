"""Edits of attention scores on a tiny checkpoint, computed in float64.

    python tools/goldens/score_edits.py test/golden

Reads test/golden/llava-deep, writes test/golden/score-edits/cases.json and expected.safetensors:
  pixel_values [1, 3, S, S] · input_ids [n] (one image token) · expanded_ids [T] · runs [1, 2] (image positions [start, end))
  columns.{name} [n] (positions, ascending) · strengths.{name} [L, H]
  {case}.logits [V] (last prompt row) · {case}.probs.{layer} [H, T] (last prompt row, after the softmax) ·
  {case}.generated [6] (greedy) · {case}.step_logits [6, V] (row i chose generated[i]; row 0 is .logits)
cases.json lists the cases. Each has edits {operation, rows, columns, strengths}: rows are the query slots [start, end) the
edit acts on (the last prompt row is T − 1, the row that reads generated[i] is T + i), columns and strengths are names of
the tensors above. An edit changes scores q·k/√d after the rotary embedding and before mask and softmax; edits of a case
are applied one after the other, each to what the one before it left. With s the strength of the layer and head:
  multiply       score · s
  add            score + s
  add-magnitude  score + s · |score|
  knock-out      −∞ where s ≠ 0
Everything is computed in float64, norms, rotary angles and softmax included (transformers computes those in f32 whatever
the weights' type), and rounded to f32 at the end.
"""

import json
import sys
import types
from pathlib import Path

import torch
import transformers
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from reference import decoder_of, expand, greedy, i32, load, numbers, prefill, save

CHECKPOINT = "llava-deep"
SEED = 24
NEW_TOKENS = 6

EDITS = {
    "multiply": lambda scores, strength: scores * strength,
    "add": lambda scores, strength: scores + strength,
    "add-magnitude": lambda scores, strength: scores + strength * scores.abs(),
    "knock-out": lambda scores, strength: torch.where(strength != 0, float("-inf"), scores),
}
# What the attention below does now: edits as (operation, start, end, columns, strengths [L, H]); probs collects the last row's.
active = {"edits": [], "probs": None}


def edited_attention(module, query, key, value, attention_mask, scaling, **kwargs):
    """Attention in the type of its arguments, with the active edits if `module` is a decoder layer's."""
    groups = getattr(module, "num_key_value_groups", 1)
    keys, values = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ keys.transpose(2, 3) * scaling
    is_decoder = getattr(module, "layer_idx", None) is not None
    if is_decoder:
        first = keys.shape[2] - query.shape[2]
        for operation, start, end, columns, strengths in active["edits"]:
            rows = torch.tensor([row for row in range(query.shape[2]) if start <= first + row < end], dtype=torch.long)
            at = (slice(None), slice(None), rows[:, None], columns[None])
            strength = strengths[module.layer_idx].double()[None, :, None, None]
            scores[at] = EDITS[operation](scores[at], strength)
    if attention_mask is not None:
        scores = scores + attention_mask[..., : keys.shape[2]]
    probs = torch.softmax(scores, -1)
    if is_decoder and active["probs"] is not None:
        active["probs"].append(probs[0, :, -1].clone())
    return (probs @ values).transpose(1, 2).contiguous(), probs


ALL_ATTENTION_FUNCTIONS.register("edited", edited_attention)
ALL_MASK_ATTENTION_FUNCTIONS.register("edited", eager_mask)


def load_float64(folder):
    """The checkpoint with every computation in float64."""
    model = load(folder, "edited").double()
    model.set_attn_implementation("edited")

    def norm(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))

    def rotary(self, x, position_ids):
        text = self.config
        exponents = torch.arange(0, text.head_dim, 2, dtype=torch.float64) / text.head_dim
        angles = position_ids[..., None].double() * text.rope_parameters["rope_theta"] ** -exponents
        return torch.cat((angles, angles), -1).cos(), torch.cat((angles, angles), -1).sin()

    decoder = decoder_of(model)
    assert decoder.config.rope_parameters["rope_type"] == "default"
    for module in decoder.modules():
        if type(module).__name__ == "LlamaRMSNorm":
            module.forward = types.MethodType(norm, module)
    decoder.rotary_emb.forward = types.MethodType(rotary, decoder.rotary_emb)
    return model


def strength_tables(generator, num_layers, num_heads):
    """[L, H] tables by name."""
    uniform = lambda low, high: low + (high - low) * torch.rand(num_layers, num_heads, generator=generator)
    window = lambda layers, value: torch.tensor([[value if i in layers else 0.0] * num_heads for i in range(num_layers)])
    factors = uniform(0.3, 1.9)
    factors[0, 1] = 1  # leaves this head's scores alone
    one_head = torch.zeros(num_layers, num_heads)
    one_head[0, 2] = one_head[1, 0] = one_head[2, 3] = 1
    return {"factors": factors, "constants": uniform(-2, 2), "pai": window(range(1, num_layers), 0.2), "one-head": one_head,
            "window-0-2": window([0, 1], 1.0), "window-1-3": window([1, 2], 1.0), "up": torch.full((num_layers, num_heads), 1.4),
            "down": torch.full((num_layers, num_heads), 0.6)}


def cases(start, end, length):
    """Case → edits (operation, rows, columns, strengths), for image positions [start, end) of `length` prompt positions."""
    last, after = (length - 1, length), (end, length)
    last_on, after_on = (length - 1, length + NEW_TOKENS), (end, length + NEW_TOKENS)
    return {
        "none": [],
        "multiply-last": [("multiply", last, "holes", "factors")],
        "multiply-after": [("multiply", after, "holes", "factors")],
        "multiply-after-generated": [("multiply", after_on, "holes", "factors")],
        "add-last": [("add", last, "holes", "constants")],
        "add-after": [("add", after, "holes", "constants")],
        "pai-last": [("add-magnitude", last, "image", "pai")],
        "pai-after": [("add-magnitude", after, "image", "pai")],
        "pai-generated": [("add-magnitude", last_on, "image", "pai")],
        "knock-out-last": [("knock-out", last, "holes", "window-1-3")],
        "knock-out-after": [("knock-out", after, "holes", "window-0-2")],
        "knock-out-one-head": [("knock-out", after_on, "image", "one-head")],
        "two-disjoint": [("multiply", after_on, "image", "up"), ("multiply", after_on, "system", "down")],
        "overlapping": [("multiply", after, "holes", "factors"), ("add", last, "image", "constants"),
                        ("knock-out", last_on, "system", "window-1-3")],
    }


@torch.no_grad()
def main():
    golden = Path(sys.argv[1])
    model = load_float64(golden / CHECKPOINT)
    text, image = decoder_of(model).config, model.config.image_token_id
    generator = torch.Generator().manual_seed(SEED)
    side = model.config.vision_config.image_size
    pixels = torch.randn(1, 3, side, side, generator=generator)
    ids = [1, *numbers(3, generator), image, *numbers(13, generator)]
    expanded, [(start, end)] = expand(ids, image, (side // model.config.vision_config.patch_size) ** 2)
    length = len(expanded)
    columns = {
        "image": list(range(start, end)),
        "holes": [0, 2, *range(start + 1, start + 4), start + 6, end - 1, end + 1, end + 2, end + 7],
        "system": [0, 1, 2],
    }
    strengths = strength_tables(generator, text.num_hidden_layers, text.num_attention_heads)
    tensors = {"pixel_values": pixels, "input_ids": i32(ids), "expanded_ids": i32(expanded), "runs": i32([[start, end]])}
    tensors.update({f"columns.{name}": i32(values) for name, values in columns.items()})
    tensors.update({f"strengths.{name}": table for name, table in strengths.items()})
    pictures = {"pixel_values": pixels.double()}
    listed = []
    for case, edits in cases(start, end, length).items():
        active["edits"] = [(operation, *rows, torch.tensor(columns[column]), strengths[strength])
                           for operation, rows, column, strength in edits]
        active["probs"] = []
        prefill(model, expanded, **pictures)
        tensors.update({f"{case}.probs.{layer}": probs for layer, probs in enumerate(active["probs"])})
        active["probs"] = None
        generated, logits = greedy(model, expanded, NEW_TOKENS, **pictures)
        tensors.update({f"{case}.logits": logits[0], f"{case}.generated": i32(generated), f"{case}.step_logits": logits})
        changed = (logits - tensors["none.step_logits"]).abs().amax(1).tolist()
        print(f"{case:26} {generated} largest change per step", " ".join(f"{value:.3f}" for value in changed))
        described = [dict(zip(("operation", "rows", "columns", "strengths"), edit)) for edit in edits]
        listed.append({"name": case, "edits": described})
    folder = golden / "score-edits"
    save(tensors, folder / "expected.safetensors", CHECKPOINT, SEED)
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    content = {"versions": versions, "checkpoint": CHECKPOINT, "seed": SEED, "dtype": "float64", "cases": listed}
    (folder / "cases.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
