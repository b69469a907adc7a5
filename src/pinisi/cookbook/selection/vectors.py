"""Makes vectors of texts that are close where texts are alike: of character n-grams, or by a sentence-embedding model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pinisi.base.errors import ModelError
from pinisi.base.libraries import library
from pinisi.evaluate.fingerprints import folded

SIZES = (2, 3, 4, 5)  # letters of a run
WIDTH = 2048  # a vector's numbers
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def ngram_vectors(texts: Sequence[str]) -> np.ndarray:
    """Returns unit vectors [texts, WIDTH], float32, of the runs of letters that each text has.

    Runs are hashed to a place and a sign (arXiv 0902.2206); a run counts 1 + log(how often), times log(texts / texts that have it),
    smoothed, so that what all of a language's texts have counts little. Case, signs and spaces count nothing.
    """
    places: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    having: dict[int, int] = {}
    for text in texts:
        hashes, counts = np.unique(_runs(folded(text)), return_counts=True)
        places.append(hashes)
        weights.append(1 + np.log(counts))
        for each in hashes.tolist():
            having[each] = having.get(each, 0) + 1
    found = np.zeros((len(texts), WIDTH), np.float32)
    for row, (hashes, values) in enumerate(zip(places, weights, strict=True)):
        shared = np.array([having[each] for each in hashes.tolist()], np.float64)
        rare = np.log((1 + len(texts)) / (1 + shared)) + 1
        signs = 1.0 - 2.0 * (hashes >> np.uint64(63)).astype(np.float64)
        np.add.at(
            found[row],
            (hashes % np.uint64(WIDTH)).astype(np.int64),
            (signs * values * rare).astype(np.float32),
        )
    return _unit(found)


def _runs(letters: np.ndarray) -> np.ndarray:
    """Hashes of all runs of SIZES letters, uint64."""
    found = []
    for size in SIZES:
        count = len(letters) - size + 1
        if count < 1:
            continue
        hashes = np.full(count, size, np.uint64)
        for shift in range(size):
            hashes = (hashes ^ letters[shift : shift + count].astype(np.uint64)) * _MULTIPLIER
            hashes ^= hashes >> np.uint64(29)
        found.append(hashes)
    return np.concatenate(found) if found else np.zeros(0, np.uint64)


def sentence_model(model: str) -> Any:
    """Loads a sentence-embedding model, by folder or name. Raises DataError where its library is missing, ModelError where no such
    model can be loaded."""
    sentences = library("sentence_transformers", "select")
    try:
        return sentences.SentenceTransformer(model, trust_remote_code=False)
    except Exception as error:  # transformers, torch and the hub raise dozens of kinds
        first = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(
            f"--embed {model} can't be loaded as a sentence-embedding model: {first[0]}"
        ) from error


def sentence_vectors(texts: Sequence[str], model: Any) -> np.ndarray:
    """Returns unit vectors [texts, width], float32, of a model of `sentence_model`."""
    return _unit(np.asarray(model.encode(list(texts), show_progress_bar=False), np.float32))


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
