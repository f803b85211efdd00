"""Conversations of five turns with two pictures, on three checkpoints.

    python tools/goldens/chat.py test/golden

Writes into test/golden/multi-picture:

chat.json: a conversation with the checkpoint weights/tiny-spatial, from words and picture files to words, through
  transformers' own chat template, tokenizer and image processor. turns[k] has `images` (files in weights/tiny-spatial) and
  `text`, what the user gives; `promptIds`, all ids of the conversation up to that question, image tokens expanded;
  `generated`, the greedy ids up to the end token; `answer`, their text.
chat-tiny-llava.safetensors and chat-llava-next.safetensors: token ids, for checkpoints that have no tokenizer.
  pixel_values [2, 3, S, S] or [tiles of picture 0 + tiles of picture 1, 3, S, S], pictures in the order of their tokens ·
  tiles [2] (of each picture) · image_sizes [2, 2] (height, width; llava-next only) · for turn k, all of the conversation up to its question:
  turn.{k}.expanded_ids [T] · .num_pictures [1] · .logits [V] (last row) · .generated [8] (greedy)
  Turn 0 brings picture 0 and turn 2 picture 1; the ids of all 8 generated tokens follow their question.
"""

import json
import sys
from pathlib import Path

import PIL
import torch
import transformers
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration, LlavaNextForConditionalGeneration
from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

from reference import SMALLEST_LEAD, greedy, i32, load, numbers, save

ROOT = Path(__file__).parents[2]
NEW_TOKENS = 8
NUM_TURNS = 5
PICTURE_TURNS = (0, 2)
SEEDS = {"tiny-llava": 1, "llava-next": 2}
NEXT_SIZES = [(40, 60), (90, 30)]

QUESTIONS = [
    (["demo/mug_left_of_dog.jpeg"], "Where is the mug in relation to the dog? Answer with left, right, on or under."),
    ([], "Where is the dog in relation to the mug? Answer with left, right, on or under."),
    (["demo/ball_behind_robot.png"], "Where is the ball in relation to the robot? Answer with left, right, front or behind."),
    ([], "Where is the robot in relation to the ball? Answer with left, right, front or behind."),
    ([], "Where is the mug in relation to the dog? Answer with left, right, on or under."),
]


@torch.no_grad()
def words():
    """The conversation in words with tiny-spatial."""
    folder = ROOT / "weights" / "tiny-spatial"
    processor = AutoProcessor.from_pretrained(folder)
    attention = {"text_config": "eager", "vision_config": "eager"}
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention).eval()
    messages, images, turns = [], [], []
    for files, text in QUESTIONS:
        images += [Image.open(folder / file) for file in files]
        messages.append({"role": "user", "content": [{"type": "image"} for _ in files] + [{"type": "text", "text": text}]})
        prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
        inputs = processor(text=prompt, images=images, return_tensors="pt")
        output = model.generate(**inputs, do_sample=False, max_new_tokens=64, output_logits=True, return_dict_in_generate=True)
        leads = [float(best[0] - best[1]) for best in (step[0].topk(2).values for step in output.logits)]
        assert min(leads) > SMALLEST_LEAD, f"turn {len(turns)}: the best logit leads by {min(leads):.1e} only"
        prompt_ids = inputs.input_ids[0].tolist()
        generated = output.sequences[0, len(prompt_ids):].tolist()
        answer = processor.tokenizer.decode(generated, skip_special_tokens=True).strip()
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        turns.append({"images": files, "text": text, "promptIds": prompt_ids, "generated": generated, "answer": answer})
    versions = {"transformers": transformers.__version__, "torch": torch.__version__, "pillow": PIL.__version__}
    return {"generator": "tools/goldens/chat.py", "versions": versions, "turns": turns}


def pictures_of(name, model, generator):
    """Two pictures: their inputs (tiles by picture, sizes) and the image tokens of each."""
    config = model.config
    side = config.vision_config.image_size
    if name != "llava-next":
        per_picture = (side // config.vision_config.patch_size) ** 2
        tiles = [torch.randn(1, 3, side, side, generator=generator) for _ in PICTURE_TURNS]
        return tiles, None, [per_picture] * len(tiles)
    counts = [image_size_to_num_patches(list(size), config.image_grid_pinpoints, side) for size in NEXT_SIZES]
    tiles = [torch.randn(count, 3, side, side, generator=generator) for count in counts]
    lengths = []
    for picture, size in zip(tiles, NEXT_SIZES):
        features = model.get_image_features(
            pixel_values=picture[None], image_sizes=torch.tensor([size]), vision_feature_layer=config.vision_feature_layer,
            vision_feature_select_strategy=config.vision_feature_select_strategy)
        features = features.pooler_output if hasattr(features, "pooler_output") else features
        lengths.append(features[0].shape[0])
    return tiles, torch.tensor(NEXT_SIZES), lengths


def inputs_of(tiles, sizes, count):
    """What the model takes for the first `count` pictures."""
    if sizes is None:
        return {"pixel_values": torch.cat(tiles[:count])}
    most = max(len(picture) for picture in tiles[:count])
    padded = [torch.cat([picture, picture.new_zeros(most - len(picture), *picture.shape[1:])]) for picture in tiles[:count]]
    return {"pixel_values": torch.stack(padded), "image_sizes": sizes[:count]}


@torch.no_grad()
def ids(name, golden):
    """The conversation in token ids with a random checkpoint."""
    folder, seed = golden / name, SEEDS[name]
    if name == "llava-next":
        model = LlavaNextForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    else:
        model = load(folder)
    generator = torch.Generator().manual_seed(seed)
    tiles, sizes, lengths = pictures_of(name, model, generator)
    image = model.config.image_token_id
    tensors = {"pixel_values": torch.cat(tiles), "tiles": i32([len(picture) for picture in tiles])}
    if sizes is not None:
        tensors["image_sizes"] = sizes
    conversation, count = [1], 0
    for turn in range(NUM_TURNS):
        conversation += numbers(2, generator)
        if turn in PICTURE_TURNS:
            conversation += [image] * lengths[count]
            count += 1
        conversation += numbers(4, generator)
        generated, logits = greedy(model, conversation, NEW_TOKENS, **inputs_of(tiles, sizes, count))
        assert image not in generated, "an answer with an image token could not be read back as text"
        tensors.update({f"turn.{turn}.expanded_ids": i32(conversation), f"turn.{turn}.num_pictures": i32([count]),
                        f"turn.{turn}.logits": logits[0], f"turn.{turn}.generated": i32(generated)})
        conversation = conversation + generated
    save(tensors, golden / "multi-picture" / f"chat-{name}.safetensors", name, seed)


def main():
    golden = Path(sys.argv[1])
    (golden / "multi-picture" / "chat.json").write_text(json.dumps(words()) + "\n")
    for name in SEEDS:
        ids(name, golden)


if __name__ == "__main__":
    main()
