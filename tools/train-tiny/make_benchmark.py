"""Draws the held-out benchmark in What'sUp's own file format.

    python make_benchmark.py --emoji DIR --out ../../weights/tiny-spatial/benchmark

Balanced, unlike the training world: 25 whole sets of four relations for each of three data sets, in each split.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

from questions import OPTIONS_A, OPTIONS_B, OPTIONS_ONE, place_question, relation_question, with_article
from world import NAMES, Artist, Scene, jpeg

SETS = 25
QUALITY = 80
SEEDS = {"validation": 90001, "test": 90002}  # training uses other seeds and the skewed distribution
FILE_RELATION = {"left": "left_of", "right": "right_of", "on": "on", "under": "under", "front": "in-front_of", "behind": "behind"}
PHRASE = {"left": "to the left of", "right": "to the right of", "on": "on", "under": "under", "front": "in front of", "behind": "behind"}
PLACE_PHRASE = {"left": "on the left", "right": "on the right", "top": "on the top", "bottom": "on the bottom"}
OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}


def relation_scene(artist: Artist, rng: np.random.Generator, first: str, relation: str, second: str) -> Scene:
    """A picture in which `first` stands in `relation` to `second`; one in five has a third object somewhere."""
    layout, pair = {
        "left": (artist.side, ([first, second],)),
        "right": (artist.side, ([second, first],)),
        "on": (artist.stack, (first, second)),
        "under": (artist.stack, (second, first)),
        "front": (artist.depth, (first, second)),
        "behind": (artist.depth, (second, first)),
    }[relation]
    things, relations = layout(rng, *pair)
    if rng.random() < 0.2:
        artist.add_bystander(rng, things, relations, str(rng.choice([n for n in NAMES if n not in (first, second)])))
    return artist.draw(rng, things, relations)


def place_scene(artist: Artist, rng: np.random.Generator, name: str, place: str) -> Scene:
    """A picture in which `name` is clearly in the given third, among one or two other objects."""
    while True:
        things, relations = artist.one(rng, name, place)
        for other in rng.permutation([n for n in NAMES if n != name])[: rng.integers(1, 3)]:
            artist.add_bystander(rng, things, relations, str(other))
        scene = artist.draw(rng, things, relations)
        if scene.place(next(t for t in scene.objects if t.name == name)) == place:
            return scene


class Pictures:
    """Writes the pictures of a split, and keeps the boxes of their objects."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.boxes: dict[str, list] = {}

    def add(self, path: str, scene: Scene) -> None:
        """Writes one picture; `path` is relative to the split's folder."""
        (self.folder / path).write_bytes(jpeg(scene.picture, QUALITY))
        self.boxes[path] = [[*thing.box, thing.name] for thing in scene.objects]

    def write_boxes(self) -> None:
        """boxes.json, with one line per picture: every object's edges [x0, y0, x1, y1] in pixels and its name, in painter's order."""
        lines = [f"{json.dumps(path)}: {json.dumps(boxes, separators=(',', ':'))}" for path, boxes in self.boxes.items()]
        (self.folder / "boxes.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def write(folder: Path, name: str, questions: list[dict], annotations: list) -> None:
    """The two files of one data set; row i of one belongs to row i of the other."""
    (folder / f"{name}_questions.jsonl").write_text("".join(json.dumps(q) + "\n" for q in questions))
    (folder / f"{name}_annotations.json").write_text(json.dumps(annotations, indent=1) + "\n")


def controlled(artist: Artist, rng: np.random.Generator, pictures: Pictures, name: str, images: str, pairs: list, options: list[str]) -> None:
    """Controlled_A or Controlled_B: four relations for each pair."""
    (pictures.folder / images).mkdir(parents=True)
    questions, annotations = [], []
    for first, second in pairs:
        for relation in options:
            path = f"{images}/{first}_{FILE_RELATION[relation]}_{second}.jpeg"
            pictures.add(path, relation_scene(artist, rng, first, relation, second))
            caption = lambda r: f"{with_article(first).capitalize()} {PHRASE[r]} {with_article(second)}"  # noqa: E731, B023
            wrong = [caption(r) for r in options if r != relation]
            annotations.append({"image_path": path, "caption_options": [caption(relation), *wrong]})
            questions.append(
                {"id": len(questions), "question": relation_question(first, second, options), "answer": [relation.capitalize()]}
            )
    write(pictures.folder, name, questions, annotations)


def coco_one(artist: Artist, rng: np.random.Generator, pictures: Pictures, names: list[str], first_id: int) -> None:
    """COCO_one: one object in four places each."""
    (pictures.folder / "val2017").mkdir(parents=True)
    questions, annotations = [], []
    for name in names:
        for place in OPTIONS_ONE:
            image_id = first_id + len(questions)
            pictures.add(f"val2017/{image_id:012d}.jpg", place_scene(artist, rng, name, place))
            caption = lambda p: f"A photo of {with_article(name)} {PLACE_PHRASE[p]}"  # noqa: E731, B023
            annotations.append([image_id, caption(place), caption(OPPOSITE[place])])
            questions.append({"id": len(questions), "question": place_question(name), "answer": [place.capitalize()]})
    write(pictures.folder, "COCO_one", questions, annotations)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emoji", type=Path, required=True, help="assets folder of @lobehub/fluent-emoji-3d 1.1.0")
    parser.add_argument("--out", type=Path, default=Path("../../weights/tiny-spatial/benchmark"))
    args = parser.parse_args()
    artist = Artist(args.emoji)
    pairs = [(a, b) for a in NAMES for b in NAMES if a < b]
    order = np.random.default_rng(90000).permutation(len(pairs))
    for number, (split, seed) in enumerate(SEEDS.items()):
        rng = np.random.default_rng(seed)
        folder = args.out / split
        shutil.rmtree(folder, ignore_errors=True)
        mine = [pairs[i] if rng.random() < 0.5 else pairs[i][::-1] for i in order[number * 2 * SETS : (number + 1) * 2 * SETS]]
        pictures = Pictures(folder)
        controlled(artist, rng, pictures, "Controlled_A", "controlled_images", mine[:SETS], OPTIONS_A)
        controlled(artist, rng, pictures, "Controlled_B", "controlled_clevr", mine[SETS:], OPTIONS_B)
        coco_one(artist, rng, pictures, [*NAMES, str(rng.choice(NAMES))][:SETS], 1 + 1000 * number)
        pictures.write_boxes()


if __name__ == "__main__":
    main()
