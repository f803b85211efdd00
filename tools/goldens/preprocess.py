"""Makes test/golden/preprocess: what Pillow, transformers and tokenizers give for the tests of src/preprocess.

    pip install -r requirements.txt
    python preprocess.py --photographs FOLDER
    python preprocess.py --only siglip

FOLDER holds coffee.png, chelsea.png, camera.png (CC0) and astronaut.png (public domain) of scikit-image 0.19.3
(skimage/data). Without it, the pictures of test/golden/preprocess/pictures are used as they are.
Needs jpegtran (Debian: libjpeg-turbo-progs) for the arithmetic-coded JPEG. Made on the CPU; the versions are written into every JSON file and shown in the tests' titles.
"""

import argparse
import gzip
import hashlib
import json
import sys
from pathlib import Path

import numpy
import PIL
import tokenizers
import torch
import transformers
from PIL import Image, features

import preprocess_pictures
import preprocess_text

OUT = Path(__file__).resolve().parents[2] / "test" / "golden" / "preprocess"
VERSIONS = {
    "python": sys.version.split()[0],
    "pillow": PIL.__version__,
    "libjpeg-turbo": features.version("libjpeg_turbo"),
    "webp": features.version("webp"),
    "numpy": numpy.__version__,
    "torch": torch.__version__.split("+")[0],
    "transformers": transformers.__version__,
    "tokenizers": tokenizers.__version__,
}

PHOTOGRAPHS = {"coffee": (192, 128), "astronaut": (144, 144), "chelsea": (181, 121), "camera": (97, 128)}


def make_photographs(folder: Path) -> None:
    """Scaled down copies, so that they stay small; `camera` is grey."""
    (OUT / "pictures").mkdir(parents=True, exist_ok=True)
    for name, size in PHOTOGRAPHS.items():
        picture = Image.open(folder / f"{name}.png").resize(size, Image.Resampling.LANCZOS)
        picture.save(OUT / "pictures" / f"{name}.png", optimize=True)
    noise = numpy.random.default_rng(0).choice([0, 255, 1, 254, 128], (23, 37, 3)).astype("uint8")
    Image.fromarray(noise).save(OUT / "pictures" / "noise.png")  # extremes, for the clipping


def write(name: str, content: dict) -> None:
    text = json.dumps({"versions": VERSIONS, **content}, indent=1, ensure_ascii=True)
    (OUT / name).write_text(text + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path)
    parser.add_argument("--only", nargs="+", default=[], help="names of the JSON files to make, without .json")
    arguments = parser.parse_args()
    photographs, only = arguments.photographs, arguments.only
    print(VERSIONS)
    if photographs:
        make_photographs(photographs)
    pictures = {path.stem: Image.open(path).convert("RGB") for path in sorted((OUT / "pictures").glob("*.png"))}
    for name, content, data in preprocess_pictures.goldens(pictures, OUT / "files", only):
        write(f"{name}.json", content)
        if data:
            (OUT / f"{name}.bin.gz").write_bytes(gzip.compress(data, 9, mtime=0))
            print(name, len(data), hashlib.sha256(data).hexdigest()[:16])
    for name, content in [] if only else preprocess_text.goldens(OUT / "tokenizers"):
        write(f"{name}.json", content)


if __name__ == "__main__":
    main()
