"""LLaVA-OneVision's pictures: pixel values of transformers' processor, and what its model makes of the tiles' features.

    python tools/goldens/llava_onevision_pictures.py test/golden

Writes test/golden/preprocess/llava-onevision.json. Pictures are the bytes 0, 7, 14, … modulo 256 as RGB rows.
  pinpoints  those of the small processor, of tiles of 42 pixels
  pictures   per size: SHA-256 of each tile of its f32 pixel values alone in a prompt, of its one tile as one of two pictures, and of
             its tile as the frame of a video (stretched, by the steps of the PIL backend); the first cases with the small processor,
             those with `isDefault` with the defaults of the class
  counts     height, width and image tokens with the default config (tiles of 27 × 27 patches, 36 grids, anyres_max_9), by the model's
             packing, which the processor's own count equals
  resized    packed features of single numbers, row r of all tiles being (7919 r mod 1024) / 1024, newlines −1: every `step`th of them
"""

import hashlib
import json
import sys
import types
from pathlib import Path

import numpy
import PIL
import torch
import transformers
from transformers.models.llava_onevision import modeling_llava_onevision
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from llava_onevision import ramp

SIDE, PATCHES = 42, 27
PINPOINTS = [[SIDE * rows, SIDE * columns] for rows in range(1, 7) for columns in range(1, 7)]
SIZES = [(1, 1), (200, 300), (3000, 4000), (1200, 300), (300, 1200), (480, 640), (336, 336), (1000, 1000), (2, 2000), (2000, 3),
         (85, 127), (7, 5)]
DEFAULT_SIZES = [(200, 300), (1, 1), (1200, 300)]
TABLE = [(480, 640), (336, 336), (1000, 1000), (300, 1200), (1200, 300), (200, 300), (3000, 4000), (2304, 2304)]
RESIZED = [(1500, 1500), (3000, 4000), (1111, 2222), (2304, 1700), (987, 3001), (2304, 2304)]


def sha(array):
    return hashlib.sha256(numpy.ascontiguousarray(array, dtype="<f4").tobytes()).hexdigest()


def tiles(processor, size):
    picture = ramp(*size)
    alone = processor(picture, return_tensors="np")
    several = processor([[picture, picture]], return_tensors="np")["pixel_values"][0]
    assert alone["image_sizes"][0].tolist() == list(size) and several.shape[0] == 1
    steps = {key: getattr(processor, key) for key in ("size", "resample", "image_mean", "image_std")}
    frame = SiglipImageProcessorPil(**steps)(picture, return_tensors="np")["pixel_values"][0]
    return {"size": list(size), "tiles": [sha(tile) for tile in alone["pixel_values"][0]], "single": sha(several[0]),
            "frame": sha(frame)}


def packed(size, pinpoints, number):
    """What pack_image_features makes of a picture's features; `number` gives those of n rows."""
    vision = types.SimpleNamespace(image_size=384, patch_size=14)
    model = types.SimpleNamespace(config=types.SimpleNamespace(vision_config=vision, image_grid_pinpoints=pinpoints))
    count = modeling_llava_onevision.image_size_to_num_patches(list(size), pinpoints, 384)
    features = number(count * PATCHES**2).view(count, PATCHES**2, 1)
    (result,), _ = modeling_llava_onevision.LlavaOnevisionModel.pack_image_features(
        model, [features], torch.tensor([size]), image_newline=torch.tensor([-1.0]), vision_aspect_ratio="anyres_max_9"
    )
    return result[:, 0]


def main():
    torch.set_num_threads(1)
    small = LlavaOnevisionImageProcessorPil(size={"height": SIDE, "width": SIDE}, image_grid_pinpoints=PINPOINTS)
    default = LlavaOnevisionImageProcessorPil()
    pictures = [tiles(small, size) for size in SIZES]
    pictures += [{**tiles(default, size), "isDefault": True} for size in DEFAULT_SIZES]
    pinpoints = default.image_grid_pinpoints
    counter = types.SimpleNamespace(image_processor=default, num_image_tokens=PATCHES**2, vision_aspect_ratio="anyres_max_9")
    counter._get_unpadded_features = LlavaOnevisionProcessor._get_unpadded_features.__get__(counter)
    generator = numpy.random.default_rng(1)
    sizes = TABLE + [tuple(int(side) for side in generator.integers(1, 3000, 2)) for _ in range(300)]
    counts = []
    for size in sizes:
        count = len(packed(size, pinpoints, torch.zeros))
        assert count == LlavaOnevisionProcessor._get_number_of_features(counter, *size, 384, 384)
        counts.append([*size, count])
    number = lambda rows: (torch.arange(rows) * 7919 % 1024).float() / 1024
    resized = []
    for size in RESIZED:
        values = packed(size, pinpoints, number)
        step = 61
        resized.append({"size": list(size), "count": len(values), "step": step, "values": values[::step].tolist()})
    versions = {"transformers": transformers.__version__, "torch": torch.__version__.split("+")[0], "pillow": PIL.__version__,
                "numpy": numpy.__version__}
    content = {"versions": versions, "pinpoints": PINPOINTS, "pictures": pictures, "counts": counts, "resized": resized}
    file = Path(sys.argv[1]) / "preprocess" / "llava-onevision.json"
    file.write_text(json.dumps(content) + "\n")
    print(file, file.stat().st_size)


if __name__ == "__main__":
    main()
