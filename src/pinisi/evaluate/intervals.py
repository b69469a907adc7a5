"""Says how sure a score is: bootstrap intervals over items or documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SAMPLES, LEVEL = 1000, 0.95  # draws of the bootstrap, and the share of them within the interval
AT_ONCE = 2**22  # numbers drawn at once


class ScoreInterval(NamedTuple):
    """A score with its interval; items: how many it is of."""

    value: float
    low: float
    high: float
    items: int


def mean_of(values: Sequence[float], seed: int = 0) -> ScoreInterval:
    """The mean of a score over items, with its interval."""
    return ratio_of(values, np.ones(len(values)), seed)


def ratio_of(above: Sequence[float], below: Sequence[float] | np.ndarray, seed: int = 0) -> ScoreInterval:
    """Σ above / Σ below, such as bits over bytes, with a percentile interval where whole items are drawn with replacement.

    The same seed gives the same draws. Of nothing, the value is nan.
    """
    top, bottom = np.asarray(above, np.float64), np.asarray(below, np.float64)
    n = len(top)
    if n == 0 or bottom.sum() == 0:
        return ScoreInterval(float("nan"), float("nan"), float("nan"), n)
    generator = np.random.default_rng(seed)
    found: list[np.ndarray] = []
    block = max(1, AT_ONCE // n)
    for start in range(0, SAMPLES, block):
        chosen = generator.integers(0, n, (min(block, SAMPLES - start), n))
        sums = bottom[chosen].sum(1)
        found.append(top[chosen].sum(1)[sums > 0] / sums[sums > 0])
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(found), [tail, 1 - tail])
    return ScoreInterval(float(top.sum() / bottom.sum()), float(low), float(high), n)
