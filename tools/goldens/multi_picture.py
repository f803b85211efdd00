"""Two pictures in one prompt, and a conversation of three turns whose second turn brings a second picture.

    python tools/goldens/multi_picture.py test/golden

Reads test/golden/llava-biases (9 image tokens a picture), writes test/golden/multi-picture/expected.safetensors:
  pixel_values [2, 3, S, S] · image_features [2, 9, D] (pictures in the order of their image tokens)
  two.*      the prompt text, picture 0, text, picture 1, text
  turn.{k}.* the whole conversation up to question k: t0 + answer 0 + t1 + answer 1 + t2, where t0 has picture 0, t1 has
             picture 1, t2 is text, and answer k is turn.{k}.generated, all 8 ids of it
each with
  .input_ids [n] (one image token a picture) · .expanded_ids [T] · .runs [pictures, 2] (image positions [start, end)) ·
  .logits [V] (last row) · .generated [8] (greedy) · .hidden.{i} [T, D] (residual stream: 0 the decoder's input, i what
  decoder layer i − 1 wrote; turns only have the last row, [1, D])
"""

import sys
from pathlib import Path

import torch

from reference import expand, greedy, hidden_states, i32, image_features, load, numbers, save

CHECKPOINT = "llava-biases"
SEED = 20
NEW_TOKENS = 8


@torch.no_grad()
def main():
    golden = Path(sys.argv[1])
    model = load(golden / CHECKPOINT)
    generator = torch.Generator().manual_seed(SEED)
    image, side = model.config.image_token_id, model.config.vision_config.image_size
    pixels = torch.randn(2, 3, side, side, generator=generator)
    features = image_features(model, pixels)
    tensors = {"pixel_values": pixels, "image_features": features}

    def add(name, ids, rows):
        """Adds the tensors of one prompt and returns the greedy ids."""
        expanded, runs = expand(ids, image, features.shape[1])
        pictures = {"pixel_values": pixels[: len(runs)]}
        generated, logits = greedy(model, expanded, NEW_TOKENS, **pictures)
        assert image not in generated, "an answer with an image token could not be read back as text"
        tensors.update({f"{name}.input_ids": i32(ids), f"{name}.expanded_ids": i32(expanded), f"{name}.runs": i32(runs),
                        f"{name}.logits": logits[0], f"{name}.generated": i32(generated)})
        for i, state in enumerate(hidden_states(model, expanded, **pictures)):
            tensors[f"{name}.hidden.{i}"] = state[rows]
        return generated

    text = lambda count: numbers(count, generator)
    add("two", [1, *text(2), image, *text(4), image, *text(6)], slice(None))
    conversation = []
    for turn, question in enumerate(([1, *text(1), image, *text(5)], [*text(2), image, *text(3)], text(7))):
        conversation += question
        conversation += add(f"turn.{turn}", conversation, slice(-1, None))
    save(tensors, golden / "multi-picture" / "expected.safetensors", CHECKPOINT, SEED)


if __name__ == "__main__":
    main()
