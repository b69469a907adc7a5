"""Packs what is to be scored into rows, in a way that depends on nothing but the items and the length of a row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch

from pinisi.base.ids import IGNORE
from pinisi.data import Microbatch
from pinisi.evaluate.encoding import Continuation


def packed(sizes: Sequence[int], row: int) -> list[list[int]]:
    """Puts items of these sizes into rows of at most `row` tokens, longest first; an item longer than that has its own."""
    rows: list[list[int]] = []
    room = 0
    for number in sorted(range(len(sizes)), key=lambda n: (-sizes[n], n)):
        if not rows or sizes[number] > room:
            rows.append([])
            room = row
        rows[-1].append(number)
        room -= sizes[number]
    return rows


def microbatch_of(items: Sequence[Continuation]) -> Microbatch:
    """One row [1, s] that holds these items side by side, each seen by itself; the last token of each is only a target."""
    tokens = [token for item in items for token in item.tokens[:-1]]
    targets = [
        target if place >= item.first else IGNORE
        for item in items
        for place, target in enumerate(item.tokens[1:], 1)
    ]
    sizes = [len(item.tokens) - 1 for item in items]
    documents = [number for number, size in enumerate(sizes) for _ in range(size)]
    positions = [place for size in sizes for place in range(size)]
    languages = [0] * len(tokens)
    return Microbatch(_row(tokens), _row(targets), _row(documents), _row(positions), _row(languages))


def _row(numbers: list[int]) -> torch.Tensor:
    return torch.tensor([numbers], dtype=torch.int64)


def scored_places(items: Sequence[Continuation]) -> list[slice]:
    """Where in the row of `microbatch_of` the log-probabilities of each item's scored tokens stand."""
    ends = accumulate(len(item.tokens) - 1 for item in items)
    return [slice(end - item.scored, end) for item, end in zip(items, ends, strict=True)]
