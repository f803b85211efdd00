"""Pictures and the rule of What'sUp's Controlled_B for lmms-eval."""

import json
from functools import lru_cache
from pathlib import Path

from PIL import Image

FOLDER = Path("weights/tiny-spatial/benchmark/test")


@lru_cache
def annotations():
    return json.loads((FOLDER / "Controlled_B_annotations.json").read_text())


def doc_to_visual(doc):
    return [Image.open(FOLDER / annotations()[doc["id"]]["image_path"]).convert("RGB")]


def doc_to_target(doc):
    return doc["answer"][0]


def process_results(doc, results):
    """The rule of the paper's authors: the right answer is a substring, but "on" not in an answer with "front"."""
    said, wanted = results[0].lower(), doc_to_target(doc).lower()
    return {"accuracy": float(wanted in said and not (wanted == "on" and "front" in said))}
