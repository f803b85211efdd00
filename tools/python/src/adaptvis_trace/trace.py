"""One trace file: its tensors with their positions, its tokens and its pictures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
from safetensors import safe_open

from .names import canonical_name

At = int | str | Iterable[int]


@dataclass(frozen=True)
class Token:
    """A token of the prompt or the answer. `text` is empty for a checkpoint without tokenizer."""

    position: int
    text: str
    kind: str
    """`text`, `image K` or `newline K` of picture K, or `generated`."""


@dataclass(frozen=True)
class Read:
    """A tensor of the file and what it is."""

    name: str
    place: str
    """adaptvis' name, such as `layers.3.attention_probs`."""
    axes: tuple[str, ...]
    positions: tuple[int, ...] | None
    """Of the rows; None for the vision tower."""
    heads: tuple[int, ...] | None
    """Of the head axis; None without one."""


@dataclass(frozen=True)
class Picture:
    """Where a picture is in the prompt, and where its tokens are in the picture."""

    positions: tuple[int, ...]
    shape: tuple[int, int] | None
    """[rows, columns] of a map."""
    cells: tuple[tuple[float, float, float, float] | None, ...]
    """Per position left, top, right and bottom, 0 to 1; None for a newline or class token."""

    def spread(self, attention: np.ndarray) -> np.ndarray:
        """Attention [positions of the picture] as a map [rows, columns], which sums to that of the positions with a cell."""
        if self.shape is None:
            raise ValueError("Nothing in the trace says where the picture's tokens lie in it.")
        rows, columns = self.shape
        result = np.zeros(self.shape)
        for value, cell in zip(attention, self.cells, strict=True):
            if cell is not None:
                left, top, right, bottom = cell
                across = _overlaps(left, right, columns)
                down = _overlaps(top, bottom, rows)
                result += value * np.outer(down, across)
        return result


class Trace:
    """A trace of adaptvis, written with or without `--read`. Tensors are read when they are asked for."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self._file = safe_open(str(path), framework="np")
        self.metadata: dict[str, str] = dict(self._file.metadata() or {})
        if "token_kinds" not in self.metadata:
            raise ValueError(f"{path} is not a trace of adaptvis: its metadata has no token_kinds.")
        kinds = json.loads(self.metadata["token_kinds"])
        texts = json.loads(self.metadata.get("token_texts", "null")) or [""] * len(kinds)
        self.tokens: list[Token] = [Token(i, text, kind) for i, (text, kind) in enumerate(zip(texts, kinds, strict=True))]
        self.pictures: list[Picture] = [_picture(entry) for entry in json.loads(self.metadata.get("pictures", "[]"))]
        self.names: list[str] = sorted(self._file.keys())
        self.prompt_length: int = sum(token.kind != "generated" for token in self.tokens)
        self.reads: dict[str, Read] = self._described()

    def __getitem__(self, name: str) -> np.ndarray:
        """The tensor of this name, or of the place with another of its names."""
        return self._file.get_tensor(name if name in self.names else self._named(name).name)

    def __contains__(self, name: str) -> bool:
        return name in self.names or any(read.place == canonical_name(name) for read in self.reads.values())

    @property
    def answer(self) -> str:
        """The texts of the generated tokens."""
        return "".join(token.text for token in self.tokens if token.kind == "generated")

    @property
    def layers(self) -> list[int]:
        """The decoder layers that the trace has something of."""
        found = (re.match(r"layers\.(\d+)\.", read.place) for read in self.reads.values())
        return sorted({int(match[1]) for match in found if match})

    def find(self, text: str) -> list[int]:
        """The positions of the tokens that every occurrence of a text lies in, in prompt and answer."""
        starts, whole = [], ""
        for token in self.tokens:
            starts.append(len(whole))
            whole += token.text
        ends = [*starts[1:], len(whole)]
        found: set[int] = set()
        begin = whole.find(text) if text else -1
        while begin >= 0:
            found |= {i for i in range(len(starts)) if starts[i] < begin + len(text) and ends[i] > begin}
            begin = whole.find(text, begin + 1)
        return sorted(found)

    def positions(self, at: At) -> list[int]:
        """What `at` stands for: positions, -1 for the last of the prompt, `last`, `image`, `text`, `generated` or a text."""
        if isinstance(at, str):
            of_kind = {
                "last": [self.prompt_length - 1],
                "image": [t.position for t in self.tokens if t.kind.startswith(("image", "newline"))],
                "text": [t.position for t in self.tokens if t.kind == "text"],
                "generated": [t.position for t in self.tokens if t.kind == "generated"],
            }
            found = of_kind[at] if at in of_kind else self.find(at)
            if not found:
                raise ValueError(f"The trace has no tokens {at!r}.")
            return found
        numbers = [at] if isinstance(at, (int, np.integer)) else list(at)
        result = [int(number) + (self.prompt_length if number < 0 else 0) for number in numbers]
        for number, position in zip(numbers, result, strict=True):
            if not 0 <= position < len(self.tokens):
                raise ValueError(f"Positions are 0 to {len(self.tokens) - 1}, got {number}.")
        return result

    def rows(self, name: str, at: At = "last", heads: Sequence[int] | None = None) -> np.ndarray:
        """Rows [positions, …] of a place, with these heads where it has them."""
        wanted = self.positions(at)
        reads = self._all_named(name)
        rows = []
        for position in wanted:
            read = next((r for r in reads if r.positions and position in r.positions and _has(r, heads)), None)
            if read is None:
                known = sorted({p for r in reads for p in r.positions or () if _has(r, heads)})
                what = f"position {position}" if known else f"heads {list(heads or [])}"
                raise ValueError(f"{name}: the trace does not have {what}; it has positions {_shortened(known)}.")
            row = self._file.get_tensor(read.name)
            row = row[read.positions.index(position)] if "position" in read.axes else row
            if heads is not None and read.heads is not None:
                row = row[[read.heads.index(head) for head in heads]]
            rows.append(row)
        width = max(row.shape[-1] for row in rows)
        return np.stack([np.pad(row, [(0, 0)] * (row.ndim - 1) + [(0, width - row.shape[-1])]) for row in rows])

    def attention(
        self, layer: int, head: int | None = None, at: At = "last", scores: bool = False
    ) -> np.ndarray:
        """Attention [keys] of one token, or the mean of several; without `head`, the mean over the heads that the trace has."""
        place = f"layers.{layer}.attention_{'scores' if scores else 'probs'}"
        rows = self.rows(place, at, None if head is None else [head])
        return rows.mean(axis=(0, 1))

    def map(self, layer: int, head: int | None = None, at: At = "last", picture: int = 0) -> np.ndarray:
        """Attention of a token as a map [rows, columns] over a picture."""
        if not 0 <= picture < len(self.pictures):
            raise ValueError(f"The trace has {len(self.pictures)} pictures, got {picture}.")
        attention = self.attention(layer, head, at)
        shown = self.pictures[picture]
        seen = np.zeros(max(len(attention), max(shown.positions) + 1))
        seen[: len(attention)] = attention
        return shown.spread(seen[list(shown.positions)])

    def share(self, layer: int, head: int | None = None, at: At = "last", picture: int = 0) -> float:
        """The share of a token's attention that is on a picture, its newline and class tokens included."""
        attention = self.attention(layer, head, at)
        return float(sum(attention[p] for p in self.pictures[picture].positions if p < len(attention)))

    def plot(self, layer: int, head: int | None = None, at: At = "last", picture: int = 0, **options: Any) -> Any:
        """Draws what `map` returns over the picture; see `adaptvis_trace.plot.plot_map` for `image` and `ax`."""
        from .plot import plot_map

        title = f"layer {layer}, {'mean of heads' if head is None else f'head {head}'}, {at!r}"
        return plot_map(self.map(layer, head, at, picture), **{"title": title, **options})

    def _described(self) -> dict[str, Read]:
        if "reads" in self.metadata:
            return {name: _read(name, entry) for name, entry in json.loads(self.metadata["reads"]).items()}
        last, number = self.prompt_length - 1, sum(token.kind == "generated" for token in self.tokens)
        reads = {}
        for name in self.names:
            match = re.fullmatch(r"(generated\.)?(layers\.\d+\.(attention_scores|attention_probs|hidden_states))", name)
            if match is None:
                continue
            shape = self._file.get_slice(name).get_shape()
            axes = ("head", "key") if match[3] != "hidden_states" else ("column",)
            positions = (last,) if match[1] is None else tuple(range(last + 1, last + number))
            axes = axes if match[1] is None else ("position", *axes)
            heads = tuple(range(shape[axes.index("head")])) if "head" in axes else None
            reads[name] = Read(name, match[2], axes, positions, heads)
        return reads

    def _all_named(self, name: str) -> list[Read]:
        found = [read for read in self.reads.values() if name == read.name or read.place == canonical_name(name)]
        if found:
            return found
        raise KeyError(f"The trace has no {name}; it has {', '.join(self.names[:20])}{', …' if len(self.names) > 20 else ''}.")

    def _named(self, name: str) -> Read:
        return self._all_named(name)[0]


def _read(name: str, entry: dict[str, Any]) -> Read:
    positions, heads = entry["positions"], entry["heads"]
    return Read(
        name,
        entry["place"],
        tuple(entry["axes"]),
        None if positions is None else tuple(positions),
        None if heads is None else tuple(heads),
    )


def _picture(entry: dict[str, Any]) -> Picture:
    positions = tuple(position for start, end in entry["runs"] for position in range(start, end))
    if entry["map"] is None:
        return Picture(positions, None, (None,) * len(positions))
    rows, columns = entry["map"]
    cells = tuple(None if cell is None else tuple(cell) for cell in entry["cells"])
    return Picture(positions, (rows, columns), cells)


def _has(read: Read, heads: Sequence[int] | None) -> bool:
    return heads is None or (read.heads is not None and set(heads) <= set(read.heads))


def _overlaps(start: float, end: float, count: int) -> np.ndarray:
    """The share of an interval within 0 to 1 that lies in each of `count` equal parts."""
    edges = np.linspace(0, 1, count + 1)
    inside = np.clip(np.minimum(end, edges[1:]) - np.maximum(start, edges[:-1]), 0, None)
    return inside / inside.sum()


def _shortened(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:8]))
    return f"{shown}, …" if len(numbers) > 8 else shown or "none"
