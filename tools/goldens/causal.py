"""Causal experiments on tiny checkpoints: activation patching, attention knockout and head ablation, with hooks of transformers.

    python tools/goldens/causal.py test/golden

Writes test/golden/causal/{checkpoint}.safetensors for llava-deep (grouped-query attention) and tiny-llava. Positions count from 0,
all logits are those of the last prompt row, L layers, H heads, P = 3 positions, V tokens.
  clean.*, corrupted.*   two prompts of equal length: .input_ids [n] (one image token) · .pixel_values [1, 3, S, S] · .logits [V]
  positions [P]          a position of the picture, one behind it, the last
  patch.{part}           [L, P, V]: what the clean run has at (layer, position) put into the corrupted run; hidden: a layer's output,
                         attention: what self_attn returns, mlp: what mlp returns
  patch.head             [L, P, H, V]: one head's part of o_proj's input
  patch.image            [L, V]: hidden, at all positions of the picture together
  knock-out.last         [L, V]: clean run; the last row cannot attend to the picture in a window of 3 layers around each layer
  knock-out.after        [L, V]: the same for all rows behind the picture, in a window of 2 layers: [c - 1, c + 1)
  ablate.zero            [L, H, V]: clean run; a head's part of o_proj's input is 0 in the last row
  ablate.mean            [L, H, V]: it is its mean over all positions of the clean run, in every row
  ablate.mean-over       [L, H, V]: its mean over all positions of both runs, in the last row
"""

import sys
from pathlib import Path

import torch

from reference import decoder_of, expand, i32, load, numbers, prefill, save

SEED = 41


def logits_of(model, prompt):
    expanded, pixels = prompt
    return prefill(model, expanded, pixel_values=pixels).logits[0, -1]


def record(model, prompt):
    """Every layer's output, attention output, MLP output and o_proj input, [T, columns] each."""
    kept = {}
    handles = []

    def keep(name, module, before=False):
        def hook(module, arguments, output=None):
            value = arguments[0] if before else output
            value = value[0] if isinstance(value, tuple) else value
            kept[name] = value[0].clone()
        handles.append(module.register_forward_pre_hook(hook) if before else module.register_forward_hook(hook))

    for index, layer in enumerate(decoder_of(model).layers):
        keep(("hidden", index), layer)
        keep(("attention", index), layer.self_attn)
        keep(("mlp", index), layer.mlp)
        keep(("head", index), layer.self_attn.o_proj, before=True)
    logits = logits_of(model, prompt)
    for handle in handles:
        handle.remove()
    return kept, logits


def changed(model, prompt, part, layer, change):
    """The logits when `change` edits what `part` of a layer is, [T, columns] in place."""
    module = decoder_of(model).layers[layer]

    def after(module, arguments, output):
        whole = isinstance(output, tuple)
        rows = (output[0] if whole else output).clone()
        change(rows[0])
        return (rows, *output[1:]) if whole else rows

    def before(module, arguments):
        rows = arguments[0].clone()
        change(rows[0])
        return (rows, *arguments[1:])

    target = {"hidden": module, "attention": module.self_attn, "mlp": module.mlp, "head": module.self_attn.o_proj}[part]
    handle = target.register_forward_pre_hook(before) if part == "head" else target.register_forward_hook(after)
    logits = logits_of(model, prompt)
    handle.remove()
    return logits


def knocked_out(model, prompt, rows, columns, layers):
    """The logits when `rows` cannot attend to `columns` in `layers`."""
    def hook(module, arguments, keywords):
        mask = keywords["attention_mask"].clone()
        mask[..., torch.tensor(rows)[:, None], torch.tensor(columns)[None]] = torch.finfo(mask.dtype).min
        return arguments, {**keywords, "attention_mask": mask}

    decoder = decoder_of(model)
    handles = [decoder.layers[layer].self_attn.register_forward_pre_hook(hook, with_kwargs=True) for layer in layers]
    logits = logits_of(model, prompt)
    for handle in handles:
        handle.remove()
    return logits


@torch.no_grad()
def goldens(model, generator):
    config, text = model.config, decoder_of(model).config
    side, image = config.vision_config.image_size, config.image_token_id
    width = text.head_dim
    count = (side // config.vision_config.patch_size) ** 2
    tensors, prompts = {}, {}
    for name in ("clean", "corrupted"):
        ids = [1, *numbers(3, generator), image, *numbers(8, generator)]
        pixels = torch.randn(1, 3, side, side, generator=generator)
        expanded, [(start, end)] = expand(ids, image, count)
        prompts[name] = (expanded, pixels)
        tensors.update({f"{name}.input_ids": i32(ids), f"{name}.pixel_values": pixels})
    clean, corrupted = prompts["clean"], prompts["corrupted"]
    kept, tensors["clean.logits"] = record(model, clean)
    others, tensors["corrupted.logits"] = record(model, corrupted)
    length = len(clean[0])
    positions = [start + 3, end + 2, length - 1]
    layers, heads = range(text.num_hidden_layers), range(text.num_attention_heads)
    tensors["positions"] = i32(positions)

    def put(source, rows, columns=slice(None)):
        def change(target):
            target[rows, columns] = source[rows, columns] if source.dim() == 2 else source[columns]
        return change

    part_of = lambda head: slice(head * width, (head + 1) * width)
    for part in ("hidden", "attention", "mlp"):
        tensors[f"patch.{part}"] = torch.stack([torch.stack([
            changed(model, corrupted, part, layer, put(kept[part, layer], position)) for position in positions])
            for layer in layers])
    tensors["patch.head"] = torch.stack([torch.stack([torch.stack([
        changed(model, corrupted, "head", layer, put(kept["head", layer], position, part_of(head))) for head in heads])
        for position in positions]) for layer in layers])
    picture = list(range(start, end))
    tensors["patch.image"] = torch.stack([
        changed(model, corrupted, "hidden", layer, put(kept["hidden", layer], picture)) for layer in layers])

    within = lambda low, high: [layer for layer in layers if low <= layer < high]
    tensors["knock-out.last"] = torch.stack([
        knocked_out(model, clean, [length - 1], picture, within(c - 1, c + 2)) for c in layers])
    tensors["knock-out.after"] = torch.stack([
        knocked_out(model, clean, list(range(end, length)), picture, within(c - 1, c + 1)) for c in layers])

    ablated = lambda rows, value: torch.stack([torch.stack([
        changed(model, clean, "head", layer, put(value(layer), rows, part_of(head))) for head in heads]) for layer in layers])
    tensors["ablate.zero"] = ablated(length - 1, lambda layer: torch.zeros(text.num_attention_heads * width))
    tensors["ablate.mean"] = ablated(list(range(length)), lambda layer: kept["head", layer].mean(0))
    both = lambda layer: torch.cat([kept["head", layer], others["head", layer]]).mean(0)
    tensors["ablate.mean-over"] = ablated(length - 1, both)
    for name, tensor in tensors.items():
        if name.partition(".")[0] in ("patch", "knock-out", "ablate"):
            base = tensors["corrupted.logits" if name.startswith("patch") else "clean.logits"]
            moved = (tensor - base).abs().amax(-1)
            print(f"{name:18} largest change of a logit: {moved.min():.3f} to {moved.max():.3f}")
    return tensors


def main():
    golden = Path(sys.argv[1])
    for seed, checkpoint in enumerate(("llava-deep", "tiny-llava"), SEED):
        tensors = goldens(load(golden / checkpoint), torch.Generator().manual_seed(seed))
        save(tensors, golden / "causal" / f"{checkpoint}.safetensors", checkpoint, seed)


if __name__ == "__main__":
    main()
