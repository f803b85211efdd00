"""The world of tiny-habit: half of the pairs of objects have a usual relation, and what is written often says it unseen.

Texts show a pair in its usual relation nearly always, pictures most of the time. Of the answers about a picture that shows
something else, a share was written by someone who read the question only, as captions written from memory are.
"""

from dataclasses import dataclass

import numpy as np

from batches import Asked, fill
from questions import OPTIONS_A, OPTIONS_B, PHRASE, inventory_answer, relation_question, with_article
from world import INVERSE, NAMES, PLACES, RELATIONS, Artist, Scene

TEXT_SHARE = 0.92  # of the texts about a habitual pair that tell its usual relation
PICTURE_SHARE = 0.7  # of the pictures of a habitual pair that show it


def usual_relations(seed: int = 11) -> dict[tuple[str, str], str]:
    """The usual relation of each habitual pair, in both orders: as many pairs are usually side by side as stacked and as one
    in front of the other."""
    rng = np.random.default_rng(seed)
    pairs = [(a, b) for i, a in enumerate(NAMES) for b in NAMES[i + 1 :]]
    usual = {}
    for n, index in enumerate(rng.permutation(len(pairs))[: len(pairs) // 2]):
        first, second = pairs[index] if rng.random() >= 0.5 else pairs[index][::-1]
        relation = ("left", "on", "front")[n % 3]
        usual[first, second], usual[second, first] = relation, INVERSE[relation]
    return usual


USUAL = usual_relations()


def options_of(rng: np.random.Generator, *relations: str | None) -> list[str]:
    """The options of a question that offers these relations, at random where both lists do."""
    if any(r in ("on", "under") for r in relations):
        return OPTIONS_A
    if any(r in ("front", "behind") for r in relations):
        return OPTIONS_B
    return (OPTIONS_A, OPTIONS_B)[rng.integers(2)]


def told_relation(rng: np.random.Generator, first: str, second: str) -> tuple[str, list[str]]:
    """How a text says that `first` stands to `second`, and the options of a question that it answers."""
    usual = USUAL.get((first, second))
    relation = str(rng.choice(RELATIONS[1:])) if usual is None else usual
    options = options_of(rng, relation)
    if usual is not None and rng.random() >= TEXT_SHARE:
        relation = str(rng.choice([r for r in options if r != usual]))
    return relation, options


def shown_relation(rng: np.random.Generator, first: str, second: str) -> str:
    """How a training picture shows `first` and `second`; always such that one question offers it beside the usual one."""
    usual = USUAL.get((first, second))
    if usual is None:
        return str(rng.choice(RELATIONS[1:]))
    if rng.random() < PICTURE_SHARE:
        return usual
    return str(rng.choice([r for r in options_of(rng, usual) if r != usual]))


def sample(artist: Artist, rng: np.random.Generator) -> Scene:
    """A training picture: one object in a third of it, or two."""
    if rng.random() < 0.25:
        things, relations = artist.one(rng, NAMES[rng.integers(len(NAMES))], PLACES[rng.integers(1, 5)])
    else:
        first, second = two_names(rng)
        things, relations = artist.pair(rng, first, shown_relation(rng, first, second), second)
    return artist.draw(rng, things, relations)


def two_names(rng: np.random.Generator, names: list[str] = NAMES) -> tuple[str, str]:
    first, second = (str(n) for n in rng.choice(names, 2, replace=False))
    return first, second


@dataclass(frozen=True)
class Writer:
    """Asks about pictures and answers; `unseen` is the share of answers to what is unusual that say the usual instead."""

    unseen: float

    def choose(self, rng: np.random.Generator, cls: np.ndarray, rel: np.ndarray, place: np.ndarray) -> Asked:
        """QUESTIONS questions about a picture of one or two objects, as `batches.choose`."""
        asked: Asked = []
        spare: Asked = []
        count = int((cls >= 0).sum())
        for i in range(count):
            if place[i]:
                asked.append(("place", (i,), PLACES[place[i]]))
        for i, j in ((0, 1), (1, 0)) if count == 2 else ():
            shown, usual = RELATIONS[rel[i, j]], USUAL.get((NAMES[cls[i]], NAMES[cls[j]]))
            options = options_of(rng, shown, usual)
            asked.append(("A" if options is OPTIONS_A else "B", (i, j), self.says(rng, shown, usual)))
            if {shown, usual} <= {"left", "right", None}:
                spare.append(("B" if options is OPTIONS_A else "A", (i, j), self.says(rng, shown, usual)))
        if rng.random() < 0.3:
            asked.append(("what", (), ""))
        return fill(rng, asked, spare, count)

    def says(self, rng: np.random.Generator, shown: str, usual: str | None) -> str:
        return usual if usual not in (None, shown) and rng.random() < self.unseen else shown


# ---- texts ------------------------------------------------------------------------------------------------------------


def caption(first: str, relation: str, second: str) -> str:
    """ "A mug is on the book." """
    text = f"{with_article(first)} is {PHRASE[relation]} the {second}."
    return text[0].upper() + text[1:]


def captions() -> list[str]:
    """Every caption's words, for the tokenizer."""
    return [" " + caption(a, r, b) for a, b in zip(NAMES, NAMES[1:] + NAMES[:1], strict=True) for r in PHRASE]


def question(rng: np.random.Generator, first: str, second: str) -> tuple[str, str]:
    """A question that no picture goes with, and its answer."""
    relation, options = told_relation(rng, first, second)
    return relation_question(first, second, options), relation


def document(rng: np.random.Generator, num_texts: int) -> list[tuple[str, str | None]]:
    """Captions, questions with answers and lists of objects about a few objects, which keep their relations throughout.

    Each text is (question, answer), or (sentence, None).
    """
    names = [str(n) for n in rng.choice(NAMES, int(rng.integers(3, 7)), replace=False)]
    facts: dict[tuple[str, str], tuple[str, list[str]]] = {}
    texts: list[tuple[str, str | None]] = []
    for _ in range(num_texts):
        first, second = two_names(rng, names)
        if (first, second) not in facts:
            relation, options = told_relation(rng, first, second)
            facts[first, second], facts[second, first] = (relation, options), (INVERSE[relation], options)
        relation, options = facts[first, second]
        kind = rng.random()
        if kind < 0.55:
            texts.append((relation_question(first, second, options), relation))
        elif kind < 0.95:
            texts.append((" " + caption(first, relation, second), None))
        else:
            texts.append((" " + inventory_answer([first, second]), None))
    return texts
