"""Draws the training pictures: chunks of scenes with their truth, each a function of (seed, chunk number).

    python make_pool.py --emoji DIR --work-dir DIR --chunks 60

Chunks that exist are kept, so the program can be stopped and run again. Training reads them as they appear.
"""

import argparse
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image

import habits
from settings import CHUNK, SETTINGS
from world import CANVAS, GRID, MODEL_SIDE, NAMES, PLACES, RELATIONS, Artist, jpeg, to_model_side

MAX_OBJECTS = SETTINGS.max_objects


def draw_chunk(artist: Artist, seed: int, index: int, count: int = CHUNK) -> dict[str, np.ndarray]:
    """One chunk. Object slots are ordered from left to right; an empty slot has class -1.

    For N pictures of side S with O slots and P patches: images [N, S, S, 3] u8; cls [N, O]; box [N, O, 4] = x, y, w, h
    with x, y in [-1, 1]; depth [N, O]; coverage [N, O, P] u8 (255 = the whole patch); rel [N, O, O] = relation of slot i to
    slot j; place [N, O].
    """
    rng = np.random.default_rng([seed, index])
    out = {
        "images": np.zeros((count, MODEL_SIDE, MODEL_SIDE, 3), np.uint8),
        "cls": np.full((count, MAX_OBJECTS), -1, np.int8),
        "box": np.zeros((count, MAX_OBJECTS, 4), np.float32),
        "depth": np.zeros((count, MAX_OBJECTS), np.float32),
        "coverage": np.zeros((count, MAX_OBJECTS, GRID * GRID), np.uint8),
        "rel": np.zeros((count, MAX_OBJECTS, MAX_OBJECTS), np.int8),
        "place": np.zeros((count, MAX_OBJECTS), np.int8),
    }
    for n in range(count):
        scene = habits.sample(artist, rng) if SETTINGS.has_habits else artist.sample(rng)
        picture = scene.picture
        if rng.random() < 0.5:
            picture = Image.open(io.BytesIO(jpeg(picture, int(rng.integers(75, 96)))))
        out["images"][n] = to_model_side(picture)
        things = sorted(scene.objects, key=lambda t: t.x)[:MAX_OBJECTS]
        for i, thing in enumerate(things):
            out["cls"][n, i] = NAMES.index(thing.name)
            out["box"][n, i] = (
                2 * thing.x / CANVAS - 1,
                2 * thing.y / CANVAS - 1,
                thing.width / CANVAS,
                thing.height / CANVAS,
            )
            out["depth"][n, i] = thing.depth
            out["coverage"][n, i] = np.round(thing.coverage * 255)
            out["place"][n, i] = PLACES.index(scene.place(thing))
            for j, other in enumerate(things):
                out["rel"][n, i, j] = RELATIONS.index(scene.relations.get((thing.name, other.name), "none"))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emoji", type=Path, required=True, help="assets folder of @lobehub/fluent-emoji-3d 1.1.0")
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--chunks", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    artist = Artist(args.emoji)
    folder = args.work_dir / "pool"
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(args.chunks):
        path = folder / f"{index:04d}.npz"
        if not path.exists():
            partial = path.with_suffix(".partial.npz")
            np.savez(partial, **draw_chunk(artist, args.seed, index))
            os.replace(partial, path)
            print(path.name, flush=True)


if __name__ == "__main__":
    main()
