"""Tells whether two models differ on the same samples: paired permutation, paired bootstrap, and Holm's correction.

The p-value swaps the two models' results sample by sample, which changes nothing where they differ by noise only. Right or wrong
per item is worked out exactly (McNemar's test). Of draws that are as far out as what was seen, half count (mid-p): with few items
they are many, and counting them all finds differences by noise far less often than the level says (Fagerland, Lydersen and
Laake 2013, doi 10.1186/1471-2288-13-91).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import comb
from typing import NamedTuple

import numpy as np

from pinisi.evaluate.intervals import AT_ONCE, LEVEL, SAMPLES
from pinisi.evaluate.samples import ScoreOfSums

SWAPS = 10_000  # draws of the permutation test; all swaps where there are fewer
SACREBLEU_SWAPS = 1_000  # of a score that takes long to work out
SAME = 1e-9  # relative: sums of floats as near as this are equal


class PairedDifference(NamedTuple):
    """How much higher b scores than a: with a bootstrap interval, and the p-value of the permutation test.

    telling: samples on which the two differ at all.
    """

    difference: float
    low: float
    high: float
    p: float
    samples: int
    telling: int

    @property
    def least_p(self) -> float:
        """The least p-value that so many telling samples can give."""
        return 0.5**self.telling


def paired_difference(
    a: np.ndarray, b: np.ndarray, score: ScoreOfSums, seed: int = 0, *, swaps: int = SWAPS
) -> PairedDifference:
    """Compares two models. a, b: statistics of the same samples in the same order, float64 [n, k]; score: of their sums.

    Of no samples, all is nan and p is 1.
    """
    if a.shape != b.shape:
        raise ValueError(f"got statistics of {a.shape} and {b.shape}: both must be of the same samples")
    telling = (a != b).any(1)
    count = int(telling.sum())
    if not len(a):
        nan = float("nan")
        return PairedDifference(nan, nan, nan, 1.0, 0, 0)
    difference = float((score(b.sum(0)[None]) - score(a.sum(0)[None]))[0])
    if not count:
        return PairedDifference(difference, difference, difference, 1.0, len(a), 0)
    low, high = _interval(a, b, score, seed)
    return PairedDifference(difference, low, high, swap_p(a, b, score, seed, swaps=swaps), len(a), count)


def swap_p(a: np.ndarray, b: np.ndarray, score: ScoreOfSums, seed: int = 0, *, swaps: int = SWAPS) -> float:
    """The p-value alone: how often swapping the two models' results gives a difference as great as was seen."""
    if np.array_equal(a, b):
        return 1.0
    return _sign_p(a, b) if _is_right_or_wrong(a, b) else _drawn_p(a, b, score, seed, swaps)


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values of a family of tests, so that one false find among all is as rare as the level says (Holm 1979)."""
    corrected = [0.0] * len(p_values)
    least = 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=lambda n: p_values[n])):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[number]))
        corrected[number] = least
    return corrected


def mid_p_of_signs(fewer: int, count: int) -> float:
    """The two-sided mid-p of `fewer` heads among `count` throws of a fair coin, fewer being the rarer side."""
    if 2 * fewer >= count:
        return 1.0
    further = sum(comb(count, k) for k in range(fewer))
    return float((2 * further + comb(count, fewer)) / 2**count)


def _is_right_or_wrong(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether samples are items of one count each, whose results differ by nothing but whole right answers."""
    if a.shape[1] != 2 or (a[:, 1] != 1).any() or (b[:, 1] != 1).any():
        return False
    return set(np.unique(np.abs(b - a)[:, 0])) <= {0.0, 1.0}


def _sign_p(a: np.ndarray, b: np.ndarray) -> float:
    higher, lower = int((b[:, 0] > a[:, 0]).sum()), int((b[:, 0] < a[:, 0]).sum())
    return mid_p_of_signs(min(higher, lower), higher + lower)


def _drawn_p(a: np.ndarray, b: np.ndarray, score: ScoreOfSums, seed: int, swaps: int) -> float:
    """Only telling samples are swapped: swapping the others changes nothing."""
    telling = (a != b).any(1)
    moved = (b - a)[telling]
    sums = a.sum(0), b.sum(0)
    seen = abs(float((score(sums[1][None]) - score(sums[0][None]))[0]))
    near = SAME * max(seen, 1e-300)
    n = len(moved)
    every = n < 32 and 2**n <= swaps
    further = ties = total = 0
    for swapped in _all_swaps(n) if every else _draws(n, swaps, _swapped(seed)):
        shift = swapped @ moved
        found = np.abs(score(sums[1] - shift) - score(sums[0] + shift))
        further += int((found > seen + near).sum())
        ties += int((np.abs(found - seen) <= near).sum())
        total += len(swapped)
    if every:  # what was seen is among them
        return (further + ties / 2) / total
    return (further + (ties + 1) / 2) / (total + 1)


def _interval(a: np.ndarray, b: np.ndarray, score: ScoreOfSums, seed: int) -> tuple[float, float]:
    """The percentile interval where samples are drawn with replacement, the same ones of both models.

    Samples that are alike, such as all items that both got right, are drawn as one kind.
    """
    generator = np.random.default_rng(seed)
    kinds, counts = np.unique(np.column_stack([a, b]), axis=0, return_counts=True)
    first, second = np.hsplit(kinds, 2)
    shares = counts / len(a)

    def drawn(rows: int, _: int) -> np.ndarray:
        return generator.multinomial(len(a), shares, rows).astype(np.float64)

    found = [score(times @ second) - score(times @ first) for times in _draws(len(kinds), SAMPLES, drawn)]
    differences = np.concatenate(found)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(differences[np.isfinite(differences)], [tail, 1 - tail])
    return float(low), float(high)


def _swapped(seed: int) -> Callable[[int, int], np.ndarray]:
    generator = np.random.default_rng(seed)

    def draw(rows: int, n: int) -> np.ndarray:
        bits = np.frombuffer(generator.bytes(rows * -(-n // 8)), np.uint8).reshape(rows, -1)
        return np.unpackbits(bits, axis=1, count=n).astype(np.float64)

    return draw


def _draws(n: int, total: int, draw: Callable[[int, int], np.ndarray]) -> Iterator[np.ndarray]:
    """Draws `total` rows [.., n], so many at once as memory should hold."""
    block = max(1, AT_ONCE // n)
    for start in range(0, total, block):
        yield draw(min(block, total - start), n)


def _all_swaps(n: int) -> Iterator[np.ndarray]:
    yield (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.float64)
