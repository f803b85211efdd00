"""Head outputs, logit lens and direct logit attribution, from hooks on transformers' modules with everything in float64.

    python tools/goldens/reading.py test/golden

Writes test/golden/reading/{checkpoint}.safetensors for llava-deep (grouped heads) and llava-biases. T prompt positions, L layers,
H heads, V vocabulary; rows are positions of the prompt and, behind it, of generated tokens.
  input_ids [n] (one image token) · pixel_values [1, 3, S, S] · generated [3] (greedy)
  rows [R]                          positions of what follows: one of the picture, one of the text, the last, the first generated token
  z.{layer} [R, H, headDim]         o_proj's input
  heads.{layer} [R, H, D]           what each head adds to the residual stream: its columns of o_proj, without bias
  attention.{layer} [R, D], mlp.{layer} [R, D]   outputs of self_attn and mlp
  lens.{l} [R, V], raw.{l} [R, V]   hidden state l (0: the decoder's input) through norm and lm_head, and through lm_head alone
  part.{row}.heads [2, L, H] · .mlp [2, L] · .bias [2, L] · .embedding [2] · .logits [2]   of the last two rows: what each part
                                    adds to the logits of the row's two most probable tokens, .tokens [2], under the final
                                    norm's scale at that row
"""

import sys
from pathlib import Path

import torch

from reference import decoder_of, expand, greedy, i32, load, numbers, save

SEED = 70
NEW_TOKENS = 3


def captured(model, ids, pixels):
    """The logits [T, V] of one pass, and what modules of every layer took in or gave out, [T, …] each."""
    found, handles = {"input": [], "z": [], "attention": [], "mlp": [], "output": []}, []
    first = lambda value: value[0] if isinstance(value, tuple) else value
    for layer in decoder_of(model).layers:
        keep = lambda name, of: lambda module, arguments, output: found[name].append(of(arguments, output)[0])
        handles += [
            layer.register_forward_hook(keep("output", lambda arguments, output: first(output))),
            layer.input_layernorm.register_forward_hook(keep("input", lambda arguments, output: arguments[0])),
            layer.self_attn.o_proj.register_forward_hook(keep("z", lambda arguments, output: arguments[0])),
            layer.self_attn.register_forward_hook(keep("attention", lambda arguments, output: first(output))),
            layer.mlp.register_forward_hook(keep("mlp", lambda arguments, output: output)),
        ]
    logits = model(input_ids=torch.tensor([ids]), pixel_values=pixels).logits[0]
    for handle in handles:
        handle.remove()
    return logits, found


@torch.no_grad()
def goldens(model, generator):
    config, text = model.config, model.config.get_text_config()
    ids = [1, *numbers(3, generator), config.image_token_id, *numbers(9, generator)]
    side, count = config.vision_config.image_size, (config.vision_config.image_size // config.vision_config.patch_size) ** 2
    if config.vision_feature_select_strategy == "full":
        count += 1
    pixels = torch.randn(1, 3, side, side, generator=generator)
    expanded, runs = expand(ids, config.image_token_id, count)
    generated, _ = greedy(model, expanded, NEW_TOKENS, pixel_values=pixels)
    model = model.double()
    length = len(expanded)
    rows = [runs[0][0] + 2, runs[0][1] + 1, length - 1, length]
    logits, found = captured(model, expanded + generated, pixels.double())
    decoder, head = decoder_of(model), model.lm_head.weight
    tensors = {"input_ids": i32(ids), "pixel_values": pixels, "generated": i32(generated), "rows": i32(rows)}

    num_heads = text.num_attention_heads
    states = [found["input"][0], *found["output"]]
    for index, state in enumerate(states):
        tensors[f"lens.{index}"] = decoder.norm(state[rows]) @ head.T
        tensors[f"raw.{index}"] = state[rows] @ head.T
    assert torch.allclose(tensors[f"lens.{len(states) - 1}"], logits[rows])
    for index, layer in enumerate(decoder.layers):
        z = found["z"][index][rows].unflatten(-1, (num_heads, -1))
        columns = layer.self_attn.o_proj.weight.unflatten(-1, (num_heads, -1))  # [D, H, headDim]
        tensors[f"z.{index}"] = z
        tensors[f"heads.{index}"] = torch.einsum("rhk,dhk->rhd", z, columns)
        tensors[f"attention.{index}"] = found["attention"][index][rows]
        tensors[f"mlp.{index}"] = found["mlp"][index][rows]
    for row in (2, 3):
        position, final = rows[row], states[-1][rows[row]]
        tokens = logits[position].topk(2).indices
        directions = head[tokens] * decoder.norm.weight * torch.rsqrt(final.square().mean() + text.rms_norm_eps)
        biases = [layer.self_attn.o_proj.bias for layer in decoder.layers]
        parts = {
            "heads": torch.stack([directions @ tensors[f"heads.{index}"][row].T for index in range(len(decoder.layers))], 1),
            "mlp": torch.stack([directions @ tensors[f"mlp.{index}"][row] for index in range(len(decoder.layers))], 1),
            "bias": torch.stack([torch.zeros(2) if bias is None else directions @ bias for bias in biases], 1),
            "embedding": directions @ states[0][position],
        }
        total = parts["heads"].sum((1, 2)) + parts["mlp"].sum(1) + parts["bias"].sum(1) + parts["embedding"]
        assert torch.allclose(total, logits[position][tokens]), (total, logits[position][tokens])
        tensors |= {f"part.{row}.{name}": part for name, part in parts.items()}
        tensors |= {f"part.{row}.tokens": i32(tokens.tolist()), f"part.{row}.logits": logits[position][tokens]}
    return tensors


def main():
    golden = Path(sys.argv[1])
    for seed, checkpoint in enumerate(("llava-deep", "llava-biases"), SEED):
        tensors = goldens(load(golden / checkpoint), torch.Generator().manual_seed(seed))
        save(tensors, golden / "reading" / f"{checkpoint}.safetensors", checkpoint, seed)


if __name__ == "__main__":
    main()
