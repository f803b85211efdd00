"""Turns pool chunks into training batches: pictures with packed, tokenized questions."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from questions import OPTIONS_A, OPTIONS_B, PROMPT, WHAT, inventory_answer, place_question, relation_question
from settings import CHUNK, SETTINGS
from world import NAMES, PLACES, RELATIONS

QUESTIONS = SETTINGS.questions
LENGTH = 27  # tokens of the longest question with its answer, less the last
ANSWER_WEIGHT, EOS_WEIGHT, INVENTORY_WEIGHT = 1.0, 0.2, 0.3


@dataclass
class Batch:
    """B pictures; the text side is None when only pictures were asked for.

    For pictures of side S with O object slots and P patches: images [B, S, S, 3] u8; cls, depth, place [B, O];
    box [B, O, 4]; coverage [B, O, P] in [0, 1];
    ids, targets, weights [B, Q, L] (targets are the next tokens, weight 0 where none is asked for);
    last [B, Q]: index of the last prompt token; words, slots [B, Q, 2]: where the question names its two objects
    (one twice, in a one-object question) and which object slots they are (-1: the question names none);
    kind [B, Q]: index into KINDS.
    """

    images: Tensor
    cls: Tensor
    box: Tensor
    depth: Tensor
    coverage: Tensor
    ids: Tensor | None = None
    targets: Tensor | None = None
    weights: Tensor | None = None
    last: Tensor | None = None
    words: Tensor | None = None
    slots: Tensor | None = None
    kind: Tensor | None = None


KINDS = ["unasked", "left/right", "on/under", "front/behind", "place", "what"]
KIND_OF = {"left": 1, "right": 1, "on": 2, "under": 2, "front": 3, "behind": 3}


class Pool:
    """Reads `folder/pool/*.npz`, waiting for chunks that are still being drawn; keeps the last few in memory."""

    def __init__(self, folder: Path, keep: int = 64):
        self.folder, self.keep, self.chunks = folder / "pool", keep, OrderedDict()

    def chunk(self, index: int) -> dict[str, np.ndarray]:
        if index not in self.chunks:
            path = self.folder / f"{index:04d}.npz"
            while not path.exists():
                time.sleep(2)
            with np.load(path) as data:
                self.chunks[index] = {name: data[name] for name in data.files}
            if len(self.chunks) > self.keep:
                self.chunks.popitem(last=False)
        return self.chunks[index]

    def sample(self, rng: np.random.Generator, count: int, num_chunks: int) -> dict[str, np.ndarray]:
        """`count` pictures out of two random chunks of the first `num_chunks`."""
        halves = []
        for share in (count - count // 2, count // 2):
            chunk = self.chunk(int(rng.integers(num_chunks)))
            rows = rng.integers(0, CHUNK, share)
            halves.append({name: values[rows] for name, values in chunk.items()})
        return {name: np.concatenate([h[name] for h in halves]) for name in halves[0]}


# (template, object slots, answer) of each question of a picture with object classes, relations and places.
Asked = list[tuple[str, tuple[int, ...], str]]
Choose = Callable[[np.random.Generator, np.ndarray, np.ndarray, np.ndarray], Asked]


def choose(rng: np.random.Generator, cls: np.ndarray, rel: np.ndarray, place: np.ndarray) -> Asked:
    """QUESTIONS questions about one picture as (template, object slots, answer).

    All true relations in both orders and all clear places are candidates. A picture with too few of them is filled
    up with the other wording of left/right questions, and then with questions whose answer is undefined ("none"):
    those carry no answer loss, only auxiliary ones.
    """
    count = int((cls >= 0).sum())
    asked: Asked = []
    spare: Asked = []
    for i in range(count):
        if place[i]:
            asked.append(("place", (i,), PLACES[place[i]]))
        for j in range(count):
            relation = RELATIONS[rel[i, j]]
            if relation in ("left", "right"):
                first = rng.integers(2)
                asked.append(("AB"[first], (i, j), relation))
                spare.append(("AB"[1 - first], (i, j), relation))
            elif relation != "none":
                asked.append(("A" if relation in ("on", "under") else "B", (i, j), relation))
            elif i != j:
                spare.append(("AB"[rng.integers(2)], (i, j), "none"))
    if rng.random() < 0.4:
        asked.append(("what", (), ""))
    return fill(rng, asked, spare, count)


def fill(rng: np.random.Generator, asked: Asked, spare: Asked, count: int) -> Asked:
    """QUESTIONS questions: of `asked` in random order, then of `spare`, then places that are undefined, of the `count` objects."""
    asked = [asked[k] for k in rng.permutation(len(asked))] + [spare[k] for k in rng.permutation(len(spare))]
    while len(asked) < QUESTIONS:
        asked.append(("place", (int(rng.integers(count)),), "none"))
    return asked[:QUESTIONS]


class Batcher:
    """Makes batches that are a function of the generator handed in."""

    def __init__(self, pool: Pool, tokenizer: Tokenizer, choose: Choose = choose):
        """`choose` picks the questions of a picture and their answers."""
        self.pool, self.choose = pool, choose
        self.encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
        self.eos, self.pad = tokenizer.token_to_id("</s>"), tokenizer.token_to_id("<pad>")
        self.name_ids = [self.encode(f" {name}")[0] for name in NAMES]
        slot = "mug"  # replaced by the names asked about
        self.mug = self.name_ids[NAMES.index(slot)]
        prompt = lambda question: self.encode(PROMPT.format(question=question).removeprefix("<image>"))  # noqa: E731
        self.templates = {
            "A": prompt(relation_question(slot, slot, OPTIONS_A)),
            "B": prompt(relation_question(slot, slot, OPTIONS_B)),
            "place": prompt(place_question(slot)),
            "what": prompt(WHAT),
        }
        self.answer_ids = {word: self.encode(f" {word.capitalize()}")[0] for word in RELATIONS[1:] + PLACES[1:]}

    def pictures(self, rng: np.random.Generator, count: int, num_chunks: int) -> Batch:
        raw = self.pool.sample(rng, count, num_chunks)
        return self._pictures(raw)

    @staticmethod
    def _pictures(raw: dict[str, np.ndarray]) -> Batch:
        return Batch(
            images=torch.from_numpy(raw["images"]),
            cls=torch.from_numpy(raw["cls"].astype(np.int64)),
            box=torch.from_numpy(raw["box"]),
            depth=torch.from_numpy(raw["depth"]),
            coverage=torch.from_numpy(raw["coverage"].astype(np.float32) / 255),
        )

    def questions(self, rng: np.random.Generator, count: int, num_chunks: int) -> Batch:
        raw = self.pool.sample(rng, count, num_chunks)
        batch = self._pictures(raw)
        shape = (count, QUESTIONS, LENGTH)
        ids, targets, weights = np.full(shape, self.pad), np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        last, kind = np.zeros(shape[:2], np.int64), np.zeros(shape[:2], np.int64)
        words, slots = np.zeros((*shape[:2], 2), np.int64), np.full((*shape[:2], 2), -1)
        for b in range(count):
            cls = raw["cls"][b]
            for n, (template, pair, answer) in enumerate(self.choose(rng, cls, raw["rel"][b], raw["place"][b])):
                prompt = list(self.templates[template])
                places = [i for i, token in enumerate(prompt) if token == self.mug]
                for place, slot in zip(places, pair):
                    prompt[place] = self.name_ids[cls[slot]]
                if places:
                    words[b, n] = (places[0], places[-1])
                    slots[b, n] = (pair[0], pair[-1])
                if template == "what":
                    reply = self.encode(" " + inventory_answer([NAMES[c] for c in cls if c >= 0]))
                    word_weight, kind[b, n] = INVENTORY_WEIGHT, 5
                elif answer == "none":
                    reply, word_weight = [], 0.0
                else:
                    reply, word_weight = [self.answer_ids[answer]], ANSWER_WEIGHT
                    kind[b, n] = 4 if template == "place" else KIND_OF[answer]
                row = prompt + reply
                ids[b, n, : len(row)] = row
                last[b, n] = len(prompt) - 1
                if reply:
                    span = slice(len(prompt) - 1, len(row))
                    targets[b, n, span] = reply + [self.eos]
                    weights[b, n, span] = [word_weight] * len(reply) + [EOS_WEIGHT]
        batch.ids, batch.targets, batch.weights = torch.from_numpy(ids), torch.from_numpy(targets), torch.from_numpy(weights)
        batch.last, batch.kind = torch.from_numpy(last), torch.from_numpy(kind)
        batch.words, batch.slots = torch.from_numpy(words), torch.from_numpy(slots)
        return batch
