"""Draws the held-out benchmark in What'sUp's own file format.

    [TINY_MODEL=tiny-habit] python make_benchmark.py --emoji DIR

Balanced, unlike the training world. tiny-spatial: 25 whole sets of four relations for each of three data sets, in each half.
tiny-habit: as many habitual pairs as others in Controlled_A and Controlled_B, each in four relations and asked about in both
orders; in COCO_one of the test half every object once in each of four places, of the validation half every second.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

from habits import USUAL
from questions import OPTIONS_A, OPTIONS_B, OPTIONS_ONE, PHRASE, place_question, relation_question, with_article
from settings import SETTINGS
from world import INVERSE, NAMES, Artist, Scene, jpeg

SETS = 25
HABIT_SETS = {"validation": 12, "test": 25}  # habitual pairs of each data set, and as many others
QUALITY = 70 if SETTINGS.has_habits else 80
SEEDS = {"validation": 90001, "test": 90002}  # training uses other seeds and the skewed distribution
FILE_RELATION = {"left": "left_of", "right": "right_of", "on": "on", "under": "under", "front": "in-front_of", "behind": "behind"}
PLACE_PHRASE = {"left": "on the left", "right": "on the right", "top": "on the top", "bottom": "on the bottom"}
OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}


def relation_scene(artist: Artist, rng: np.random.Generator, first: str, relation: str, second: str) -> Scene:
    """A picture in which `first` stands in `relation` to `second`; one in five of tiny-spatial's has a third object somewhere."""
    things, relations = artist.pair(rng, first, relation, second)
    if not SETTINGS.has_habits and rng.random() < 0.2:
        artist.add_bystander(rng, things, relations, str(rng.choice([n for n in NAMES if n not in (first, second)])))
    return artist.draw(rng, things, relations)


def place_scene(artist: Artist, rng: np.random.Generator, name: str, place: str) -> Scene:
    """A picture in which `name` is clearly in the given third, in tiny-spatial's among one or two other objects."""
    while True:
        things, relations = artist.one(rng, name, place)
        for other in () if SETTINGS.has_habits else rng.permutation([n for n in NAMES if n != name])[: rng.integers(1, 3)]:
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
        (self.folder / path).write_bytes(jpeg(scene.picture, QUALITY, progressive=SETTINGS.has_habits))
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
    """Controlled_A or Controlled_B: four relations for each pair, of tiny-habit asked about in both orders."""
    (pictures.folder / images).mkdir(parents=True)
    questions, annotations = [], []
    for first, second in pairs:
        for relation in options:
            path = f"{images}/{first}_{FILE_RELATION[relation]}_{second}.jpeg"
            pictures.add(path, relation_scene(artist, rng, first, relation, second))
            asked = [(first, relation, second), (second, INVERSE[relation], first)]
            for a, shown, b in asked if SETTINGS.has_habits else asked[:1]:
                caption = lambda r: f"{with_article(a).capitalize()} {PHRASE[r]} {with_article(b)}"  # noqa: E731, B023
                wrong = [caption(r) for r in options if r != shown]
                annotations.append({"image_path": path, "caption_options": [caption(shown), *wrong]})
                questions.append({"id": len(questions), "question": relation_question(a, b, options), "answer": [shown.capitalize()]})
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


def habit_pairs(split: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The pairs of Controlled_A and of Controlled_B; no two halves or data sets share one."""
    rng = np.random.default_rng(90000)
    pairs = [(a, b) for i, a in enumerate(NAMES) for b in NAMES[i + 1 :]]
    pairs = [pairs[i] for i in rng.permutation(len(pairs))]
    kinds = {
        "A": [p for p in pairs if USUAL.get(p) in ("on", "under")],
        "B": [p for p in pairs if USUAL.get(p) in ("front", "behind")],
        "side": [p for p in pairs if USUAL.get(p) in ("left", "right")],
        "other": [p for p in pairs if p not in USUAL],
    }
    for half, count in HABIT_SETS.items():
        chosen = []
        for name in ("A", "B"):
            beside = count // 3  # usually side by side
            parts = [(name, count - beside), ("side", beside), ("other", count)]
            chosen.append([kinds[kind].pop() for kind, number in parts for _ in range(number)])
        if half == split:
            return chosen[0], chosen[1]
    raise ValueError(split)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emoji", type=Path, required=True, help="assets folder of @lobehub/fluent-emoji-3d 1.1.0")
    parser.add_argument("--out", type=Path, default=Path("../../weights") / SETTINGS.name / "benchmark")
    args = parser.parse_args()
    artist = Artist(args.emoji)
    pairs = [(a, b) for a in NAMES for b in NAMES if a < b]
    order = np.random.default_rng(90000).permutation(len(pairs))
    for number, (split, seed) in enumerate(SEEDS.items()):
        rng = np.random.default_rng(seed)
        folder = args.out / split
        shutil.rmtree(folder, ignore_errors=True)
        pictures = Pictures(folder)
        if SETTINGS.has_habits:
            of_a, of_b = habit_pairs(split)
            controlled(artist, rng, pictures, "Controlled_A", "controlled_images", of_a, OPTIONS_A)
            controlled(artist, rng, pictures, "Controlled_B", "controlled_clevr", of_b, OPTIONS_B)
            coco_one(artist, rng, pictures, NAMES if split == "test" else NAMES[::2], 1 + 1000 * number)
            pictures.write_boxes()
            continue
        mine = [pairs[i] if rng.random() < 0.5 else pairs[i][::-1] for i in order[number * 2 * SETS : (number + 1) * 2 * SETS]]
        controlled(artist, rng, pictures, "Controlled_A", "controlled_images", mine[:SETS], OPTIONS_A)
        controlled(artist, rng, pictures, "Controlled_B", "controlled_clevr", mine[SETS:], OPTIONS_B)
        coco_one(artist, rng, pictures, [*NAMES, str(rng.choice(NAMES))][:SETS], 1 + 1000 * number)
        pictures.write_boxes()


if __name__ == "__main__":
    main()
