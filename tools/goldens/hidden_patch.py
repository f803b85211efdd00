"""Hidden states read from one prompt and written into another, added vectors, and attention rows.

    python tools/goldens/hidden_patch.py test/golden

Writes test/golden/hidden-patch/{checkpoint}.safetensors for llava-deep and llama-text-tied. "Hidden state of layer L"
is what decoder layer L wrote to the residual stream (L counts from 0; no final norm, not the decoder's input).
  a.*, b.*         two prompts: .input_ids [n] (one image token a picture) · .expanded_ids [T] · .runs [1, 2] and
                   .pixel_values [1, 3, S, S] (llava-deep) · .logits [V] (last row) · .generated [4], both unchanged
  patch.{case}.*   .layer [1] · .read_positions [n] in a · .write_positions [n] in b · .hidden [n, D] (read from a) ·
                   .logits [V] (b's last row) · .generated [4]: the n rows of b are replaced by a's in order
  add.{case}.*     .layer [1] · .positions [1] in b · .vector [D] · .logits [V] · .generated [4]: the vector is added
  attention.*      prompt b unchanged: .rows [R] · .probs.{layer} [R, H, T] (after the softmax) ·
                   .step.probs.{layer} [H, T + 1] (the decode step that reads b.generated[0], in slot T)
A change acts in the prefill only; decode steps see it through the K/V cache.
"""

import sys
from pathlib import Path

import torch

from reference import decoder_of, expand, greedy, hidden_states, i32, load, numbers, prefill, save

SEED = 30
NEW_TOKENS = 4
# case → (layer of the four or two, positions in a, positions in b); −1 is the last row. llava-deep's image is at 4…12 in a
# and at 2…10 in b.
PATCHES = {
    "first": ("first", (5, 14, -1), (13, 3, 15)),
    "first-last-row": ("first", (-1,), (-1,)),
    "middle": ("middle", (3, 8, 11), (4, 7, 14)),
    "last": ("last", (6, 15), (-1, 12)),
}
ADDITIONS = {"first": ("first", 12), "middle": ("middle", 4), "last": ("last", -1)}
ROWS = (3, 4, 9, -1)


def in_prefill(model, layer, change):
    """A hook that changes what `layer` writes; `change` edits [T, D] in place. Decode steps have one row and are left alone."""

    def hook(module, arguments, output):
        if output.shape[1] == 1:
            return output
        output = output.clone()
        change(output[0])
        return output

    return decoder_of(model).layers[layer].register_forward_hook(hook)


def prompt(model, before, after, generator):
    """(ids, expanded ids, runs, what the model takes as pictures)."""
    ids = [1, *numbers(before - 1, generator)]
    if not hasattr(model.config, "vision_config"):
        ids += numbers(after, generator)
        return ids, ids, [], {}
    image, side = model.config.image_token_id, model.config.vision_config.image_size
    ids += [image, *numbers(after, generator)]
    pictures = {"pixel_values": torch.randn(1, 3, side, side, generator=generator)}
    return ids, *expand(ids, image, 9), pictures


@torch.no_grad()
def goldens(model, generator):
    tensors = {}
    prompts = {"a": prompt(model, 4, 13, generator), "b": prompt(model, 2, 16, generator)}
    for name, (ids, expanded, runs, pictures) in prompts.items():
        generated, logits = greedy(model, expanded, NEW_TOKENS, **pictures)
        tensors.update({f"{name}.input_ids": i32(ids), f"{name}.expanded_ids": i32(expanded), f"{name}.logits": logits[0],
                        f"{name}.generated": i32(generated)})
        if runs:
            tensors.update({f"{name}.runs": i32(runs), f"{name}.pixel_values": pictures["pixel_values"]})
    _, a, _, pictures_a = prompts["a"]
    _, b, _, pictures_b = prompts["b"]
    states = hidden_states(model, a, **pictures_a)
    num_layers = len(states) - 1
    layers = {"first": 0, "middle": num_layers // 2 - 1, "last": num_layers - 1}

    def changed(name, layer, change):
        handle = in_prefill(model, layer, change)
        generated, logits = greedy(model, b, NEW_TOKENS, **pictures_b)
        handle.remove()
        print(f'{name:22} {generated} largest change {(logits[0] - tensors["b.logits"]).abs().max():.3f}')
        tensors.update({f"{name}.layer": i32([layer]), f"{name}.logits": logits[0], f"{name}.generated": i32(generated)})

    for case, (place, read, write) in PATCHES.items():
        layer = layers[place]
        read, write = [p % len(a) for p in read], [p % len(b) for p in write]
        hidden = states[layer + 1][read]
        changed(f"patch.{case}", layer, lambda rows: rows.index_copy_(0, torch.tensor(write), hidden))
        tensors.update({f"patch.{case}.read_positions": i32(read), f"patch.{case}.write_positions": i32(write),
                        f"patch.{case}.hidden": hidden})
    for case, (place, position) in ADDITIONS.items():
        layer = layers[place]
        position %= len(b)
        vector = 1.5 * torch.randn(states[0].shape[1], generator=generator)
        changed(f"add.{case}", layer, lambda rows: rows[position].add_(vector))
        tensors.update({f"add.{case}.positions": i32([position]), f"add.{case}.vector": vector})

    rows = [row % len(b) for row in ROWS]
    output = prefill(model, b, **pictures_b, output_attentions=True)
    tensors["attention.rows"] = i32(rows)
    for layer, probs in enumerate(output.attentions):
        tensors[f"attention.probs.{layer}"] = probs[0][:, rows].transpose(0, 1)
    first = tensors["b.generated"][:1].long()
    step = model(input_ids=first[None], past_key_values=output.past_key_values, output_attentions=True)
    for layer, probs in enumerate(step.attentions):
        tensors[f"attention.step.probs.{layer}"] = probs[0, :, 0]
    return tensors


def main():
    golden = Path(sys.argv[1])
    for seed, checkpoint in enumerate(("llava-deep", "llama-text-tied"), SEED):
        tensors = goldens(load(golden / checkpoint), torch.Generator().manual_seed(seed))
        save(tensors, golden / "hidden-patch" / f"{checkpoint}.safetensors", checkpoint, seed)


if __name__ == "__main__":
    main()
