"""Takes the best first: what is like something that is kept, or has no place left in its group, is not."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np

BLOCK = 256  # candidates that are held against what is kept at once


class Refusal(NamedTuple):
    """Says why a candidate isn't kept. like: the number of the one that it is like; None where the quota was full."""

    like: int | None
    cosine: float


def select(
    scores: np.ndarray,
    vectors: np.ndarray,
    groups: Sequence[Hashable],
    quota: Callable[[Hashable], float],
    similar: float,
) -> dict[int, Refusal | None]:
    """Walks through candidates, the highest score first, of equals the earlier; returns of each why it isn't kept, or None.

    vectors: unit rows. A candidate with a cosine above `similar` to one that is kept, of whichever group, is dropped; so is one
    whose group is full. similar of 1 and above: nothing is alike.
    """
    order = sorted(range(len(scores)), key=lambda number: (-scores[number], number))
    kept: list[int] = []
    taken: dict[Hashable, int] = {}
    found: dict[int, Refusal | None] = {}
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        before = len(kept)
        old = (
            vectors[block] @ vectors[kept].T
            if kept and similar < 1
            else np.zeros((len(block), 0), np.float32)
        )
        own = (
            vectors[block] @ vectors[block].T
            if similar < 1
            else np.zeros((len(block), len(block)), np.float32)
        )
        new: list[int] = []  # places in this block
        for place, number in enumerate(block):
            if taken.get(groups[number], 0) >= quota(groups[number]):
                found[number] = Refusal(None, 0.0)
                continue
            cosines = np.concatenate([old[place], own[place, new]])
            if len(cosines) and cosines.max() > similar:
                best = int(cosines.argmax())
                other = kept[best] if best < before else block[new[best - before]]
                found[number] = Refusal(other, float(cosines[best]))
                continue
            found[number] = None
            taken[groups[number]] = taken.get(groups[number], 0) + 1
            new.append(place)
        kept += [block[place] for place in new]
    return found
