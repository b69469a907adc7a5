"""Tells good texts from a language's own: logistic regression on hashed features, each text graded by a model that has not seen
it.

Ours rather than scikit-learn's, which is about as good, depends on the order of texts and takes 140 MB (see docs/log.md).
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pinisi.base.errors import DataError
from pinisi.base.files import write_whole
from pinisi.curate.quality.features import BITS

FOLDS = 4
EPOCHS, BATCH, RATE = 5, 64, 0.1

Features = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Classifier:
    """weights [FOLDS, 2^18] and biases [FOLDS] fp32: model k has learned from the texts of all folds but k."""

    weights: np.ndarray
    biases: np.ndarray

    def score(self, features: Features, key: int) -> float:
        """The log-odds of being one of the good texts, by the model that has not seen the text of this key."""
        places, values = features
        fold = key % FOLDS
        return float(np.dot(self.weights[fold, places].astype(np.float64), values) + self.biases[fold])

    def save(self, path: Path) -> None:
        data = io.BytesIO()
        np.savez_compressed(data, weights=self.weights, biases=self.biases)
        write_whole(path, data.getvalue())

    @staticmethod
    def load(path: Path) -> "Classifier":
        try:
            with np.load(path, allow_pickle=False) as stored:
                return Classifier(stored["weights"], stored["biases"])
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"{path} is no quality model ({error}); remove its folder and run again"
            ) from error


def fit(
    good: Sequence[Features], good_keys: Sequence[int], others: Sequence[Features], keys: Sequence[int]
) -> Classifier:
    """Learn to tell the good texts from the others; both weigh the same, however many there are of each.

    The result depends on the texts and their keys (uint64), not on their order.
    """
    texts = sorted(
        [*((key, 1, features) for key, features in zip(good_keys, good, strict=True)),
         *((key, 0, features) for key, features in zip(keys, others, strict=True))],
        key=lambda text: text[:2],
    )  # fmt: skip
    models = [_model([text for text in texts if text[0] % FOLDS != fold]) for fold in range(FOLDS)]
    return Classifier(
        np.stack([weights for weights, _ in models]), np.array([b for _, b in models], np.float32)
    )


def _model(texts: Sequence[tuple[int, int, Features]]) -> tuple[np.ndarray, float]:
    """Adagrad (Duchi, Hazan, Singer, JMLR 2011) over batches in a fixed random order."""
    weights, squares = np.zeros(2**BITS), np.full(2**BITS, 1e-8)
    bias, bias_squares = 0.0, 1e-8
    labels = np.array([label for _, label, _ in texts], float)
    share = np.array([max(1.0, len(labels) - labels.sum()), max(1.0, labels.sum())]) / len(labels)
    draw = np.random.Generator(np.random.PCG64(0))
    for _ in range(EPOCHS):
        order = draw.permutation(len(texts))
        for rows in (order[first : first + BATCH] for first in range(0, len(order), BATCH)):
            chosen = [texts[row][2] for row in rows]
            places = np.concatenate([places for places, _ in chosen])
            values = np.concatenate([values for _, values in chosen])
            text = np.repeat(np.arange(len(rows)), [len(places) for places, _ in chosen])
            logits = bias + np.bincount(text, weights[places] * values, len(rows))
            y = labels[rows]
            wrong = (1 / (1 + np.exp(-logits)) - y) / share[y.astype(int)] / len(rows)
            gradient = np.bincount(places, wrong[text] * values, 2**BITS)
            squares += gradient**2
            weights -= RATE * gradient / np.sqrt(squares)
            bias_squares += wrong.sum() ** 2
            bias -= RATE * wrong.sum() / np.sqrt(bias_squares)
    return weights.astype(np.float32), float(bias)


def area(good: np.ndarray, others: np.ndarray) -> float:
    """The chance that a good text's score is above another's (ties count half): the area under the ROC curve."""
    both = np.concatenate([good, others])
    _, place, times = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(times) - (times - 1) / 2)[place.reshape(-1)]
    return float((ranks[: len(good)].sum() - len(good) * (len(good) + 1) / 2) / (len(good) * len(others)))
