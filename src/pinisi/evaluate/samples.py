"""Keeps a score sample by sample, so that two models can be compared on the same samples.

A score is a function of statistics that are summed over samples: right answers over items, bits over bytes, matches of n-grams.
Whatever draws or swaps samples needs these statistics alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pinisi.base.libraries import library

# Statistics of samples, summed [m, k], to scores [m].
ScoreOfSums = Callable[[np.ndarray], np.ndarray]
LOWER_IS_BETTER = ("bits_per_byte", "perplexity", "other_scripts")
LONGEST_EXPONENT = 700.0  # of a perplexity: what float64 holds


def mean_samples(values: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """A score that is the mean over items."""
    return {"kind": "mean", "values": [[_short(value)] for value in values]}


def ratio_samples(
    above: Sequence[float] | np.ndarray, below: Sequence[float] | np.ndarray, *, exponential: bool = False
) -> dict[str, Any]:
    """A score that is Σ above / Σ below, or its exponential."""
    values = [[_short(a), _short(b)] for a, b in zip(above, below, strict=True)]
    return {"kind": "exponential" if exponential else "ratio", "values": values}


def sacrebleu_samples(name: str, sums: Sequence[Sequence[float]]) -> dict[str, Any]:
    """A score that sacrebleu makes of a corpus: sums of its n-grams by sentence. name: such as chrf++ or bleu_char."""
    return {"kind": name, "values": [[_short(value) for value in row] for row in sums]}


def statistics_of(measure: Mapping[str, Any]) -> np.ndarray:
    """The statistics of a measure's samples, float64 [n, k]; a mean gets a count beside its values."""
    values = np.asarray(measure["values"], np.float64)
    return np.column_stack([values, np.ones(len(values))]) if measure["kind"] == "mean" else values


def score_of(kind: str) -> ScoreOfSums:
    """The function from summed statistics to a score."""
    if kind in ("mean", "ratio"):
        return _ratio
    if kind == "exponential":
        return lambda sums: np.exp(np.minimum(_ratio(sums), LONGEST_EXPONENT))
    metric = sacrebleu_metric(kind)
    return lambda sums: np.array([metric._compute_score_from_stats(row).score for row in sums.tolist()])


def sacrebleu_metric(name: str) -> Any:
    """sacrebleu's metric: chrf++, or bleu_ and its tokenizer."""
    metrics = library("sacrebleu.metrics", "evaluate")
    if name == "chrf++":
        return metrics.CHRF(word_order=2)
    return metrics.BLEU(tokenize=name.removeprefix("bleu_"))


def _ratio(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[:, 0] / sums[:, 1]


def _short(value: float) -> float | int:
    """Whole numbers as such: they are most of what is kept."""
    number = float(value)
    return int(number) if number.is_integer() else number
