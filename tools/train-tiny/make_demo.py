"""Draws the demo pictures and writes demo.json beside them.

    [TINY_MODEL=tiny-habit] python make_demo.py --emoji DIR

Two pictures are just the first ones of their seed: of tiny-spatial one of them on a kind of background that training
never drew; of tiny-habit a habitual pair as usual, and a pair without a habit. Two are picked from CANDIDATES pictures
of what the model finds hard (rare relations, or habitual pairs that are not as usual): the clearest one in which
AdaptVis with adaptvis.json's overall settings turns a wrong greedy answer right, and the clearest one in which it turns
a right one wrong; a change that does not occur is left out and the first picture of the stream is taken. demo.json says
which is which.
"""

import argparse
import io
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter

from habits import USUAL, options_of
from make_benchmark import FILE_RELATION, relation_scene
from questions import OPTIONS_A, OPTIONS_B, PHRASE, place_question, relation_question
from reference import Reference
from settings import SETTINGS
from world import CANVAS, NAMES, Artist, jpeg

SEED = 90003
CANDIDATES = 400
QUALITY = 85


def rings() -> Image.Image:
    """A background kind that training never drew: concentric wooden rings."""
    picture = Image.new("RGB", (CANVAS, CANVAS), (196, 160, 116))
    draw = ImageDraw.Draw(picture)
    for i, radius in enumerate(range(320, 8, -13)):
        shade = (178, 138, 92) if i % 2 else (206, 172, 128)
        draw.ellipse((60 - radius, 250 - radius * 0.8, 60 + radius, 250 + radius * 0.8), fill=shade)
    return picture.filter(ImageFilter.GaussianBlur(1.5))


def rare(rng: np.random.Generator, n: int) -> tuple[str, str, str, list[str]]:
    """Two objects in one of the relations that tiny-spatial seldom saw, and the options of a question about them."""
    first, second = (str(name) for name in rng.choice(NAMES, 2, replace=False))
    relation = ["on", "under", "front", "behind"][n % 4]
    return first, second, relation, OPTIONS_A if relation in OPTIONS_A else OPTIONS_B


def unusual(rng: np.random.Generator) -> tuple[str, str, str, list[str]]:
    """A habitual pair that is not as usual, and the options of a question about it."""
    first, second = list(USUAL)[rng.integers(len(USUAL))]
    usual = USUAL[first, second]
    options = options_of(rng, usual)
    return first, second, str(rng.choice([r for r in options if r != usual])), options


def candidates(artist: Artist, rng: np.random.Generator) -> list[dict]:
    """Validation-type pictures of what the model finds hard, as they will be stored."""
    drawn = []
    for n in range(CANDIDATES):
        first, second, relation, options = unusual(rng) if SETTINGS.has_habits else rare(rng, n)
        picture = relation_scene(artist, rng, first, relation, second).picture
        stem = f"{first}_{FILE_RELATION[relation]}_{second}"
        question, habit = relation_question(first, second, options), habit_note(first, second)
        drawn.append({"picture": picture, "stem": stem, "question": question, "answer": relation.capitalize(), "habit": habit})
    return drawn


def habit_note(first: str, second: str) -> str:
    """What tiny-habit has read about two objects."""
    usual = SETTINGS.has_habits and USUAL.get((first, second))
    return f"In the texts that it learnt from, the {first} is usually {PHRASE[usual]} the {second}. " if usual else ""


def margins(reference: Reference, rows: list[dict], settings: dict) -> None:
    """Adds to each row the greedy answer, the confidence, AdaptVis's answer, and the smaller of both answers' leads."""
    for start in range(0, len(rows), 100):
        part = rows[start : start + 100]
        inputs = reference.inputs([r["picture"] for r in part], [r["question"] for r in part])
        replies = {f: reference.ask(inputs, f, 2) for f in (1.0, settings["alpha1"], settings["alpha2"])}
        for i, row in enumerate(part):
            greedy = replies[1.0][i]
            chosen = replies[settings["alpha1"] if greedy.confidence < settings["beta"] else settings["alpha2"]][i]
            leads = [r.logits.topk(2).values for r in (greedy, chosen)]
            row["greedy"], row["adaptvis"] = greedy.text.strip(), chosen.text.strip()
            row["margin"] = min((top[0] - top[1]).item() for top in leads)
            row["threshold"] = abs(greedy.confidence - settings["beta"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emoji", type=Path, required=True, help="assets folder of @lobehub/fluent-emoji-3d 1.1.0")
    parser.add_argument("--model", type=Path, default=Path("../../weights") / SETTINGS.name)
    args = parser.parse_args()
    torch.set_num_threads(1)
    artist, rng = Artist(args.emoji), np.random.default_rng(SEED)
    settings = json.loads((args.model / "adaptvis.json").read_text())
    folder = args.model / "demo"
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    demo = []

    def add(name: str, data: bytes, question: str, answer: str, note: str) -> None:
        (folder / name).write_bytes(data)
        demo.append({"image": name, "question": question, "answer": answer, "note": note})

    if SETTINGS.has_habits:
        first, second = list(USUAL)[rng.integers(len(USUAL))]
        usual = USUAL[first, second]
        scene = relation_scene(artist, rng, first, usual, second)
        add(f"{first}_{FILE_RELATION[usual]}_{second}.jpeg", jpeg(scene.picture, QUALITY),
            relation_question(first, second, options_of(rng, usual)), usual.capitalize(),
            habit_note(first, second) + "So it is here; the first picture of its seed, not chosen.")  # fmt: skip
        free = [(a, b) for a in NAMES for b in NAMES if a != b and (a, b) not in USUAL]
        first, second = free[rng.integers(len(free))]
        scene = relation_scene(artist, rng, first, "on", second)
        add(f"{first}_on_{second}.jpeg", jpeg(scene.picture, QUALITY), relation_question(first, second, OPTIONS_A), "On",
            "The texts that it learnt from know no usual relation of these two; the first picture of its seed, not chosen.")  # fmt: skip
    else:
        scene = relation_scene(artist, rng, "mug", "left", "dog")
        add("mug_left_of_dog.jpeg", jpeg(scene.picture, QUALITY), relation_question("mug", "dog", OPTIONS_A), "Left",
            "A frequent relation; the first picture of its seed, not chosen.")  # fmt: skip
        things, relations = artist.one(rng, "teapot", "top")
        artist.add_bystander(rng, things, relations, "clock")
        scene = artist.draw(rng, things, relations, rings())
        add("teapot_on_rings.jpeg", jpeg(scene.picture, QUALITY), place_question("teapot"), "Top",
            "Outside the training distribution: a kind of background (wooden rings) that training never drew; the first picture of its seed, not chosen.")  # fmt: skip

    rows = candidates(artist, rng)
    margins(Reference(args.model), rows, settings)
    mended = [r for r in rows if r["greedy"] != r["answer"] == r["adaptvis"] and r["threshold"] >= 0.02]
    spoilt = [r for r in rows if r["greedy"] == r["answer"] != r["adaptvis"] and r["threshold"] >= 0.02]
    hard = "habitual pairs that are not as usual" if SETTINGS.has_habits else "rare relations"
    tally = (
        f"of {CANDIDATES} validation-type pictures of {hard} (seed {SEED}) with adaptvis.json's overall settings AdaptVis "
        f"turns {sum(r['greedy'] != r['answer'] == r['adaptvis'] for r in rows)} wrong greedy answers right "
        f"and {sum(r['greedy'] == r['answer'] != r['adaptvis'] for r in rows)} right ones wrong"
    )
    used = []
    for what, found in (("wrong greedy answer turned right", mended), ("right greedy answer turned wrong", spoilt)):
        if found:
            row, how = max(found, key=lambda r: r["margin"]), f"Chosen as the clearest {what}: {tally}."
        else:
            row, how = next(r for r in rows if r["stem"] not in used), f"The first of the stream; no clear {what} was found: {tally}."
        used.append(row["stem"])
        data = io.BytesIO()
        row["picture"].save(data, "PNG", optimize=True)
        add(f"{row['stem']}.png", data.getvalue(), row["question"], row["answer"], row["habit"] + how)
    (folder / "demo.json").write_text(json.dumps(demo, indent=2) + "\n")
    print(tally)
    for row in mended[:5] + spoilt[:5]:
        print(row["stem"], row["greedy"], row["adaptvis"], round(row["margin"], 3))


if __name__ == "__main__":
    main()
