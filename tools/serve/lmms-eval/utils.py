"""Pictures and the rule of What'sUp's Controlled_B for lmms-eval."""

import json
from functools import lru_cache
from pathlib import Path

FOLDER = Path("weights/tiny-spatial/benchmark/test")


@lru_cache
def annotations():
    return json.loads((FOLDER / "Controlled_B_annotations.json").read_text())


def picture(doc):
    return FOLDER / annotations()[doc["id"]]["image_path"]


def doc_to_visual(doc):
    from PIL import Image

    return [Image.open(picture(doc)).convert("RGB")]


def doc_to_target(doc):
    return doc["answer"][0]


def process_results(doc, results):
    """The rule of the paper's authors: the right answer is a substring, but "on" not of an answer with "front"."""
    said, wanted = results[0].lower(), doc_to_target(doc).lower()
    return {"accuracy": float(wanted in said and not (wanted == "on" and "front" in said))}
