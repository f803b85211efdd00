"""A tiny random LLaVA-OneVision with the outputs of Hugging Face transformers: pictures of several sizes, several in one prompt.

    python tools/goldens/llava_onevision.py test/golden

Writes test/golden/llava-onevision: config.json, generation_config.json, preprocessor_config.json, model.safetensors and
expected.safetensors. Its pictures are not stored: each is the bytes 0, 7, 14, … modulo 256 as RGB rows, prepared with transformers'
processor (PIL backend). Per prompt:
  .input_ids [n] (one image token a picture) · .image_sizes [pictures, 2] (height, width) · .runs [pictures, 2] (positions [start,
  end)) · .image_features.{i} (of picture i, as packed: newlines included) · .logits [V] (last row) · .generated [8] (greedy)
and with f0.5 and f1.7 before .logits, .generated and .probs.{layer} [H, T]: the factor multiplies the last prompt row's scores of
all image positions before the softmax, in every layer and head.
  one.{i}   a prompt with one picture: its grid of features shrunk (0: both ways to fractions, 1: by padding off centre, 2: by even
            steps), or kept (3: the ratio is between 1 and 1.1; 4: one tile)
  three     three pictures with text between
  video     three frames of one video, each stretched to a tile by transformers' PIL steps (its own processor of videos resizes with
            torchvision, whose bytes may differ by one); .frame_sizes [frames, 2] and .video_runs [1, 2], and .image_features.{i} per
            frame, the newline in the last
  both      a picture, text and a video of two frames
  turn.{k}  the conversation up to question k: the first brings a picture, the second none, the third another one
  text      without a picture
"""

import json
import sys
from pathlib import Path

import numpy
import torch
from PIL import Image
from transformers import AutoConfig, LlavaOnevisionForConditionalGeneration
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from checkpoints import randomise
from reference import greedy, i32, numbers, save
from scaled_columns import edit

NAME = "llava-onevision"
SEED = 5
NEW_TOKENS = 8
FACTORS = (0.5, 1.7)
SIDE = 14
PINPOINTS = [[SIDE * rows, SIDE * columns] for rows in range(1, 5) for columns in range(1, 5)]
SIZES = [(40, 60), (90, 30), (25, 25), (14, 34), (12, 13)]
VISION = dict(model_type="siglip_vision_model", hidden_size=24, intermediate_size=44, num_hidden_layers=2,
              num_attention_heads=2, image_size=SIDE, patch_size=4, vision_use_head=False)
TEXT = dict(model_type="qwen2", hidden_size=64, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, vocab_size=160, max_position_embeddings=512, tie_word_embeddings=True)
PROCESSOR = dict(image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=3, size=dict(height=SIDE, width=SIDE),
                 image_grid_pinpoints=PINPOINTS)


def ramp(height, width):
    """The picture of a size, as the tests make it."""
    return Image.fromarray((numpy.arange(height * width * 3) * 7 % 256).astype("uint8").reshape(height, width, 3))


def checkpoint(folder):
    config = AutoConfig.for_model("llava_onevision", text_config=TEXT, vision_config=VISION, image_token_index=150,
                                  video_token_index=151, image_grid_pinpoints=PINPOINTS, vision_aspect_ratio="anyres_max_2")
    model = LlavaOnevisionForConditionalGeneration(config).eval()
    randomise(model, torch.Generator().manual_seed(SEED))
    model.tie_weights()
    model.generation_config.eos_token_id = 2
    model.to(torch.float16).save_pretrained(folder)
    kept = ["image_mean", "image_std", "resample", "size", "image_grid_pinpoints"]
    content = dict(do_convert_rgb=True, do_normalize=True, do_pad=True, do_rescale=True, do_resize=True,
                   image_processor_type="LlavaOnevisionImageProcessor", processor_class="LlavaOnevisionProcessor",
                   rescale_factor=1 / 255, **{key: PROCESSOR[key] for key in kept})
    (folder / "preprocessor_config.json").write_text(json.dumps(dict(sorted(content.items())), indent=2) + "\n")
    return LlavaOnevisionForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


@torch.no_grad()
def main():
    folder = Path(sys.argv[1]) / NAME
    folder.mkdir(parents=True, exist_ok=True)
    model = checkpoint(folder)
    image, video = model.config.image_token_id, model.config.video_token_id
    processor = LlavaOnevisionImageProcessorPil(**PROCESSOR)
    steps = {key: value for key, value in PROCESSOR.items() if key != "image_grid_pinpoints"}
    stretched = SiglipImageProcessorPil(**steps)
    generator = torch.Generator().manual_seed(SEED + 1)
    text = lambda count: numbers(count, generator)
    tensors = {}

    def add(name, ids, sizes, factors=(), frames=()):
        """Adds the tensors of one prompt and returns the greedy ids; the video's frames follow its pictures."""
        pictures, features = {}, []
        if sizes:
            batch = processor([[ramp(*size) for size in sizes]], return_tensors="pt")
            pictures = {key: batch[key] for key in ("pixel_values", "image_sizes", "batch_num_images")}
            features = model.get_image_features(**pictures).pooler_output
        if frames:
            pixels = stretched([ramp(*size) for size in frames], return_tensors="pt")["pixel_values"][None]
            pictures["pixel_values_videos"] = pixels
            shown = model.get_video_features(pixels, vision_feature_layer=-1, vision_feature_select_strategy="full").pooler_output[0]
            count = (shown.shape[0] - 1) // len(frames)
            ends = [count * (index + 1) for index in range(len(frames) - 1)] + [shown.shape[0]]
            tensors.update({f"{name}.image_features.{len(features) + i}": each
                            for i, each in enumerate(shown.tensor_split(ends[:-1]))})
        expanded, runs, video_runs = [], [], []
        for token in ids:
            count = features[len(runs)].shape[0] if token == image else shown.shape[0] if token == video else 1
            if token in (image, video):
                (runs if token == image else video_runs).append([len(expanded), len(expanded) + count])
            expanded += [token] * count
        generated, logits = greedy(model, expanded, NEW_TOKENS, **pictures)
        assert image not in generated and video not in generated
        tensors.update({f"{name}.input_ids": i32(ids), f"{name}.logits": logits[0], f"{name}.generated": i32(generated)})
        if sizes:
            tensors.update({f"{name}.image_sizes": i32(sizes), f"{name}.runs": i32(runs)})
            tensors.update({f"{name}.image_features.{i}": each for i, each in enumerate(features)})
        if frames:
            tensors.update({f"{name}.frame_sizes": i32(frames), f"{name}.video_runs": i32(video_runs)})
        for factor in factors:
            model.set_attn_implementation({"text_config": "scaled-columns", "vision_config": "eager"})
            edit.update(factor=factor, columns=torch.cat([torch.arange(*run) for run in sorted(runs + video_runs)]), probs=[])
            changed, logits = greedy(model, expanded, NEW_TOKENS, **pictures)
            model.set_attn_implementation("eager")
            tensors.update({f"f{factor}.{name}.logits": logits[0], f"f{factor}.{name}.generated": i32(changed)})
            tensors.update({f"f{factor}.{name}.probs.{layer}": probs for layer, probs in enumerate(edit["probs"])})
        return generated

    for index, size in enumerate(SIZES):
        add(f"one.{index}", [1, *text(1), image, *text(7)], [size], FACTORS if index == 0 else ())
    three = [1, *text(2), image, *text(3), image, *text(4), image, *text(5)]
    add("three", three, [(40, 60), (25, 25), (9, 30)], FACTORS)
    conversation, brought = [], []
    for turn, (question, size) in enumerate([([1, image, *text(5)], (20, 10)), (text(6), None), ([image, *text(4)], (31, 28))]):
        conversation += question
        brought += [size] if size else []
        conversation += add(f"turn.{turn}", conversation, brought)
    add("text", [1, *text(9)], [])
    add("video", [1, *text(2), video, *text(6)], [], FACTORS, [(40, 60), (25, 25), (9, 30)])
    add("both", [1, *text(2), image, *text(3), video, *text(4)], [(20, 30)], (), [(31, 28), (12, 13)])
    save(tensors, folder / "expected.safetensors", NAME, SEED)


if __name__ == "__main__":
    main()
