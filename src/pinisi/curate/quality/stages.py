"""Does the work of two stages: learns what the good texts of a language are like, and grades its documents by it.

After Sailor2 (arXiv 2502.12982): for each language a classifier of good texts (translated textbooks, instructions, chat) against
random documents, the best 20 % of which are what its second phase trains on.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pinisi.base.digests import of_text as text_key
from pinisi.base.errors import DataError
from pinisi.curate import records
from pinisi.curate.config import CurateConfig
from pinisi.curate.counts import Counts
from pinisi.curate.measures import excerpt
from pinisi.curate.quality.classifier import Classifier, area, fit
from pinisi.curate.quality.features import features
from pinisi.curate.repair import repaired
from pinisi.data.reading import Part, Source, Unreadable, documents_of

MODEL, FACTS = "model.npz", "quality.json"
LEAST = 50  # good texts
DIGITS = 4  # of a score


def learn(
    config: CurateConfig,
    parts: Sequence[Part],
    finished: Sequence[Path],
    language: str,
    spaces: bool,
    out: Path,
    counts: Counts,
) -> None:
    """Fill the folder `out` with a language's model and the score that its best share begins at.

    Of the good texts in `parts` and of the documents in the folders `finished` those of the smallest keys are taken, so neither
    their order nor how they are cut matters. A text's key is a hash of it, whether it is called good or not, so that a good
    text that is one of the documents, too, is not graded by a model that has seen it.
    """
    most = config.quality.sample
    good = sample(_good_texts(config, parts, language, counts), most, spaces)
    own = sample((excerpt(document.text) for document in _documents(finished)), most, spaces)
    known = set(good.keys)
    others = [at for at, key in enumerate(own.keys) if key not in known]
    model = fit(
        good.features, good.keys, [own.features[at] for at in others], [own.keys[at] for at in others]
    )
    model.save(out / MODEL)
    scores, best = (
        np.array([_score(model, each, key) for each, key in zip(of.features, of.keys, strict=True)])
        for of in (own, good)
    )
    share = config.quality.share
    facts = {
        "good": len(good.keys),
        "sample": len(own.keys),
        "share": share,
        "cut": float(np.quantile(scores, 1 - share, method="higher")) if len(scores) else None,
        "area": round(area(best, scores[others]), DIGITS) if others else None,
    }
    (out / FACTS).write_text(json.dumps(facts), "utf-8")


def grade(learned: Path, finished: Path, spaces: bool, writers: records.Writers, counts: Counts) -> None:
    """Write a stretch's documents again, with their scores, and once more those of the best share."""
    model, cut = Classifier.load(learned / MODEL), json.loads((learned / FACTS).read_text("utf-8"))["cut"]
    for document in _documents([finished]):
        text = excerpt(document.text)
        score = _score(model, features(text, spaces=spaces), text_key(text))
        quality = {"score": score, "top": score >= cut}
        document = replace(document, metadata={**document.metadata, "quality": quality})
        counts.graded(document, quality["top"], score)
        writers.write("documents", vars(document))
        if quality["top"]:
            writers.write("top", vars(document))


def _score(model: Classifier, of: tuple[np.ndarray, np.ndarray], key: int) -> float:
    return round(model.score(of, key), DIGITS)


def _documents(folders: Iterable[Path]) -> Iterator[Any]:
    return (
        document for folder in folders for document in records.read_documents(folder / "documents.jsonl.zst")
    )


def check(config: CurateConfig, parts: Sequence[Part], language: str) -> None:
    """Raises DataError where there are too few good texts, before any work."""
    counts, found = Counts(), set()
    for text in _good_texts(config, parts, language, counts):
        found.add(text_key(text))
        if len(found) == LEAST:
            return
    trouble = f" ({next(iter(counts.errors))})" if counts.errors else ""
    raise DataError(
        f"quality.positives.{language}: {len(found)} good texts in {config.quality.positives[language]}{trouble}; give at least "
        f"{LEAST}, better some thousands"
    )


def _good_texts(config: CurateConfig, parts: Sequence[Part], language: str, counts: Counts) -> Iterator[str]:
    """What can't be read is counted, or raises DataError, as the configuration says."""

    def trouble(error: Unreadable) -> None:
        counts.trouble(error, config.run.on_error)

    source = Source(path=config.quality.positives[language], language=language)
    for part in parts:
        for document in documents_of(part, source, trouble):
            text, _ = repaired(document.text[: config.repair.longest], config.repair.steps)
            if text:
                yield excerpt(text)


class TextSample(NamedTuple):
    """Of each text: its key, by which they are sorted, and its features."""

    keys: list[int]
    features: list[tuple[np.ndarray, np.ndarray]]


def sample(texts: Iterable[str], most: int, spaces: bool) -> TextSample:
    """Those of the `most` smallest keys, each once."""
    found: dict[int, str] = {}
    for text in texts:
        found[text_key(text)] = text
        if len(found) >= 2 * most:
            found = dict(sorted(found.items())[:most])
    chosen = sorted(found.items())[:most]
    return TextSample([key for key, _ in chosen], [features(text, spaces=spaces) for _, text in chosen])
