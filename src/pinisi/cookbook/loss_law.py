"""Fits how bits per byte fall with the body, the vocabulary and the text, to small trainings, and predicts larger ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from pinisi.base.errors import ConfigError
from pinisi.costs.published_vocabulary import BODY_POWER, TOKEN_POWER, VOCABULARY_POWER

LEAST_RUNS = 6  # two more than there are numbers to fit
DRAWS = 200


@dataclass(frozen=True)
class LossPoint:
    """One training's size and result. body, vocabulary: parameters; text: bytes that it was trained on; bits: per byte."""

    body: float
    vocabulary: float
    text: float
    bits: float = 0.0


@dataclass(frozen=True)
class LossLaw:
    """bits per byte = E + A / body^a + C / vocabulary^c + B / text^b, with powers of arXiv 2407.13623 (section 4.3).

    numbers: E, A, C, B, none below 0. drawn: the same fitted to drawn sets of the trainings, [draws, 4]. error: root of the mean
    square of what the fit leaves, in bits per byte. The powers are the paper's, whose text is counted in tokens.
    """

    numbers: np.ndarray
    drawn: np.ndarray
    error: float

    def bits(self, point: LossPoint) -> float:
        """Predicted bits per byte."""
        return float(_terms([point])[0] @ self.numbers)

    def interval(self, point: LossPoint) -> tuple[float, float]:
        """95 % of what the drawn fits predict, widened by what the fit leaves."""
        low, high = np.quantile(self.drawn @ _terms([point])[0], [0.025, 0.975])
        return float(low) - 2 * self.error, float(high) + 2 * self.error

    def text_for(self, bits: float, body: float, vocabulary: float) -> float:
        """Bytes of text after which a model has so few bits per byte; infinite where no text is enough."""
        rest = bits - self.bits(LossPoint(body, vocabulary, np.inf))
        if rest <= 0 or not self.numbers[3]:
            return float("inf")
        return float(1e9 * (self.numbers[3] / rest) ** (1 / TOKEN_POWER))


def fit_loss_law(points: Sequence[LossPoint], seed: int = 0) -> LossLaw:
    """Fits the law by least squares without negative numbers; raises ConfigError for too few trainings.

    The trainings are drawn again as often as intervals need, each time with noise of the fit's own size.
    """
    if len(points) < LEAST_RUNS:
        raise ConfigError(f"{len(points)} small trainings: needed at least {LEAST_RUNS} to fit four numbers")
    terms, bits = _terms(points), np.array([point.bits for point in points])
    numbers = _least_squares(terms, bits)
    left = bits - terms @ numbers
    error = float(np.sqrt((left**2).sum() / (len(points) - 4)))
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(DRAWS):
        chosen = generator.integers(0, len(points), len(points))
        noise = generator.normal(0, error, len(points))
        drawn.append(_least_squares(terms[chosen], (terms[chosen] @ numbers) + noise))
    return LossLaw(numbers, np.array(drawn), error)


def _least_squares(terms: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """The best numbers of which none is below 0: of all sets of terms that may be left out, the best one that fits so."""
    scale, count = terms.max(0), terms.shape[1]
    best, least = np.zeros(count), float((bits**2).sum())
    for chosen in product((False, True), repeat=count):
        columns = np.flatnonzero(chosen)
        if not len(columns):
            continue
        found = np.linalg.lstsq((terms / scale)[:, columns], bits, rcond=None)[0]
        left = float(((bits - (terms / scale)[:, columns] @ found) ** 2).sum())
        if (found >= 0).all() and left < least:
            least, best = left, np.zeros(count)
            best[columns] = found / scale[columns]
    return best


def _terms(points: Sequence[LossPoint]) -> np.ndarray:
    """[points, 4]: what E, A, C and B are multiplied with, in millions of parameters and billions of bytes."""
    rows = [
        [
            1.0,
            (point.body / 1e6) ** -BODY_POWER,
            (point.vocabulary / 1e6) ** -VOCABULARY_POWER,
            (point.text / 1e9) ** -TOKEN_POWER,
        ]
        for point in points
    ]
    return np.array(rows)
