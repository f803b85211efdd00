"""What the generators of goldens share: loading a tiny checkpoint, prompts with pictures, greedy decoding, saving.

Importing this sets one thread and deterministic algorithms, so that the same versions give the same bits.
"""

import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import save as serialise
from transformers import AutoConfig, AutoModelForCausalLM, LlavaForConditionalGeneration

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)

# A greedy golden is only stored if the best logit leads the second by this much at every step, 5 times the error that the
# parity tests allow for a logit; generators choose their seeds so.
SMALLEST_LEAD = 1e-3


def load(folder, attention="eager"):
    """The checkpoint in f32, ready for inference."""
    is_llava = AutoConfig.from_pretrained(folder).model_type == "llava"
    kind = LlavaForConditionalGeneration if is_llava else AutoModelForCausalLM
    implementation = {"text_config": attention, "vision_config": "eager"} if is_llava else attention
    return kind.from_pretrained(folder, dtype=torch.float32, attn_implementation=implementation).eval()


def decoder_of(model):
    """The module with embed_tokens, layers and norm."""
    return model.model.language_model if hasattr(model.model, "language_model") else model.model


def numbers(count, generator):
    """Random text ids: no special token and no image token of the tiny checkpoints (which are 120 and 150)."""
    return torch.randint(3, 115, (count,), generator=generator).tolist()


def expand(ids, image_token, count):
    """Replaces every image token by `count` of them. Returns the ids and the runs [start, end) of image positions."""
    expanded, runs = [], []
    for token in ids:
        if token == image_token:
            runs.append([len(expanded), len(expanded) + count])
        expanded += [token] * (count if token == image_token else 1)
    return expanded, runs


def image_features(model, pixels):
    """[pictures, tokens, hidden size]."""
    config = model.config
    output = model.get_image_features(pixels, vision_feature_layer=config.vision_feature_layer,
                                      vision_feature_select_strategy=config.vision_feature_select_strategy)
    return torch.stack(list(output.pooler_output))


def hidden_states(model, ids, **pictures):
    """The residual stream [T, D]: 0 is the decoder's input, i what decoder layer i − 1 wrote. No final norm anywhere."""
    states = []
    decoder = decoder_of(model)
    keep_input = lambda module, arguments, output: states.append((arguments[0][0], output[0])[0])
    keep_output = lambda module, arguments, output: states.append(output[0])
    handles = [decoder.layers[0].register_forward_hook(keep_input)]
    handles += [layer.register_forward_hook(keep_output) for layer in decoder.layers]
    prefill(model, ids, **pictures)
    for handle in handles:
        handle.remove()
    return states


def prefill(model, ids, **options):
    """One forward pass over all of `ids`."""
    return model(input_ids=torch.tensor([ids]), use_cache=True, **options)


def greedy(model, ids, count, **pictures):
    """Prefill and `count` greedy tokens, end-of-sequence ids ignored. Returns the ids and the logits [count, V] that chose them.

    Every decode step is one call with one row over the cache, so a hook can tell prefill from decode by the number of rows.
    """
    output = prefill(model, ids, **pictures)
    generated, logits = [], [output.logits[0, -1]]
    for step in range(count):
        best = logits[-1].topk(2).values
        assert best[0] - best[1] > SMALLEST_LEAD, f"step {step}: the best logit leads by {best[0] - best[1]:.1e} only"
        generated.append(int(logits[-1].argmax()))
        if step + 1 < count:
            output = model(input_ids=torch.tensor([generated[-1:]]), past_key_values=output.past_key_values, use_cache=True)
            logits.append(output.logits[0, -1])
    return generated, torch.stack(logits)


def i32(values):
    return torch.tensor(values, dtype=torch.int32)


def save(tensors, file, checkpoint, seed):
    """Writes f32 and i32 tensors, with versions, checkpoint and seed as metadata."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"transformers": transformers.__version__, "torch": torch.__version__, "checkpoint": checkpoint, "seed": str(seed)}
    narrow = lambda tensor: tensor.to(torch.float32) if tensor.is_floating_point() else tensor.to(torch.int32)
    narrowed = {name: narrow(tensor.detach()).contiguous().clone() for name, tensor in tensors.items()}
    file.write_bytes(with_sorted_metadata(serialise(narrowed, metadata)))
    print(file, file.stat().st_size)


def with_sorted_metadata(data):
    """The safetensors library writes metadata in a random order; this makes the bytes repeat."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header = {**header, "__metadata__": dict(sorted(header["__metadata__"].items()))}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[end:]
