"""Scores translations by sacrebleu: chrF++ and character BLEU, with its signatures and intervals over sentences."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pinisi.base.errors import DataError
from pinisi.base.libraries import library
from pinisi.data.text.segmentation import has_spaces
from pinisi.evaluate.intervals import LEVEL, SAMPLES, ScoreInterval
from pinisi.evaluate.samples import sacrebleu_metric, sacrebleu_samples

# Tokenizers whose model sacrebleu fetches, and what it calls the file.
FETCHED = {
    "spm": "sacrebleu_tokenizer_spm.model",
    "flores101": "sacrebleu_tokenizer_spm.model",
    "flores200": "flores200sacrebleuspm",
}
WORDS = ("13a", "intl")  # tokenizers that part words at spaces


def translation_scores(
    answers: Sequence[str], references: Sequence[str], *, tokenizer: str = "char", seed: int = 0
) -> tuple[dict[str, ScoreInterval], dict[str, str]]:
    """chrF++ and BLEU (0 to 100) of a whole set, and each one's signature.

    tokenizer: of BLEU. Raises DataError for one that parts words at spaces where the references have none, or whose file isn't on
    this machine: nothing is fetched.
    """
    check_tokenizer(tokenizer, references)
    named = {name: sacrebleu_metric(name) for name in _names(tokenizer)}
    scores = {name: _score(metric, answers, references, seed) for name, metric in named.items()}
    return scores, {name: str(metric.get_signature()) for name, metric in named.items()}


def translation_samples(
    answers: Sequence[str], references: Sequence[str], *, tokenizer: str = "char"
) -> dict[str, Any]:
    """The sums by sentence that `translation_scores` makes its scores of."""
    sides = list(answers), [list(references)]
    return {
        name: sacrebleu_samples(name, sacrebleu_metric(name)._extract_corpus_statistics(*sides))
        for name in _names(tokenizer)
    }


def _names(tokenizer: str) -> tuple[str, str]:
    return "chrf++", f"bleu_{tokenizer}"


def check_tokenizer(tokenizer: str, references: Sequence[str]) -> None:
    """Raises DataError as `translation_scores` says."""
    if tokenizer not in (known := (*FETCHED, *WORDS, "char", "zh", "none")):
        raise DataError(f"BLEU's tokenizer is {tokenizer!r}, needed one of {', '.join(sorted(known))}")
    if tokenizer in FETCHED:
        path = Path(library("sacrebleu.utils", "evaluate").SACREBLEU_DIR) / "models" / FETCHED[tokenizer]
        if not path.is_file():
            raise DataError(
                f"BLEU's tokenizer {tokenizer} needs {path}, which is missing, and nothing is fetched: let sacrebleu fetch it on a "
                "machine with a network and copy it, or use char"
            )
    if tokenizer in WORDS and not has_spaces(references):
        raise DataError(
            f"BLEU's tokenizer {tokenizer} parts words at spaces, and the references' script has none: scores would be 0 or 100; "
            "use char"
        )


def _score(metric: Any, answers: Sequence[str], references: Sequence[str], seed: int) -> ScoreInterval:
    """The whole set's score, and its interval where sentences are drawn with replacement."""
    value = metric.corpus_score(list(answers), [list(references)]).score
    # sacrebleu sums statistics by sentence, which makes a thousand draws cheap; they have no public name.
    sums = np.asarray(metric._extract_corpus_statistics(list(answers), [list(references)]), np.float64)
    generator, n = np.random.default_rng(seed), len(answers)
    draws = [metric._compute_score_from_stats(_drawn(sums, generator, n)).score for _ in range(SAMPLES)]
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return ScoreInterval(float(value), float(low), float(high), n)


def _drawn(sums: np.ndarray, generator: np.random.Generator, n: int) -> list:
    return sums[generator.integers(0, n, n)].sum(0).tolist()
