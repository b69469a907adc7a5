"""Turns perplexities and rewards into percentiles within groups, and both into one score."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def percentiles(values: Sequence[float], groups: Sequence[Hashable]) -> np.ndarray:
    """Returns of each value the share of its group that is less, those that are equal counted half, itself too: in (0, 1).

    So a group of one has .5, and the order of records doesn't matter.
    """
    numbers, found = np.asarray(values, np.float64), np.zeros(len(values))
    members: dict[Hashable, list[int]] = {}
    for place, group in enumerate(groups):
        members.setdefault(group, []).append(place)
    for places in members.values():
        own = numbers[places]
        ordered = np.sort(own)
        less, more = np.searchsorted(ordered, own, "left"), np.searchsorted(ordered, own, "right")
        found[places] = (less + more) / 2 / len(own)
    return found


def scores(r: np.ndarray | None, p: np.ndarray | None, count: int) -> np.ndarray:
    """Returns r p / (r + p), half the harmonic mean: high where both are (arXiv 2502.12982). Of one alone that one, of none 0."""
    if r is None or p is None:
        alone = p if r is None else r
        return np.zeros(count) if alone is None else alone
    return r * p / (r + p)
