"""Finds evaluation texts that a corpus holds: by the share of a text's fingerprints that stand in the corpus' index.

A text counts as contaminated where at least SHARE of its windows are found. One with fewer letters than a window has is too short
to be judged, and is counted as such. What is asked (question, choices, answers) and the passage that it is asked about are judged
apart: a passage of Wikipedia that was seen is one thing, its questions are another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pinisi.evaluate.corpus_index import CorpusIndex
from pinisi.evaluate.examples import ChoiceItem, Item, ReadingItem
from pinisi.evaluate.fingerprints import Fingerprints
from pinisi.evaluate.intervals import ratio_of
from pinisi.evaluate.samples import statistics_of

SHARE = 0.5  # of a text's windows; texts of the same kind that weren't planted have at most .3 of theirs in 99 of 100 cases


class FoundText(NamedTuple):
    """One text of an item. share: of its windows that the corpus has; None where it is too short to be judged."""

    part: str
    share: float | None

    @property
    def contaminated(self) -> bool:
        return self.share is not None and self.share >= SHARE


def item_texts(item: Item) -> dict[str, list[str]]:
    """The texts of an item by part: passage and question, or source and reference of a translation."""
    if isinstance(item, ChoiceItem):
        return {"passage": [item.passage], "question": [item.question, *item.choices]}
    if isinstance(item, ReadingItem):
        return {"passage": [item.passage], "question": [item.question, *item.answers]}
    return {"source": [item.source], "reference": [item.reference]}


def look_up(index: CorpusIndex, texts: Mapping[str, Sequence[str]]) -> list[FoundText]:
    """Looks up an item's texts. Texts of one part count together, but no window goes from one to the next."""
    found = []
    for part, of in texts.items():
        if not any(text.strip() for text in of):
            continue
        windows = np.concatenate([Fingerprints(text).windows for text in of])
        share = float(index.holds(windows).mean()) if len(windows) else None
        found.append(FoundText(part, share))
    return found


class ContaminationReport:
    """What was found of a set of items. found: of each item, in order."""

    def __init__(self, ids: Sequence[str], found: Sequence[Sequence[FoundText]]) -> None:
        self.ids, self.found = list(ids), [list(each) for each in found]

    @property
    def contaminated(self) -> list[bool]:
        return [any(text.contaminated for text in each) for each in self.found]

    @property
    def undecided(self) -> list[bool]:
        """Items of which no text is long enough."""
        return [all(text.share is None for text in each) for each in self.found]

    def to_json(self) -> dict[str, Any]:
        parts = dict.fromkeys(text.part for each in self.found for text in each)
        return {
            "items": len(self.ids),
            "contaminated": sum(self.contaminated),
            "undecided": sum(self.undecided),
            "by_part": {part: self._part(part) for part in parts},
            "contaminated_ids": [id for id, bad in zip(self.ids, self.contaminated, strict=True) if bad],
        }

    def _part(self, part: str) -> dict[str, int]:
        texts = [text for each in self.found for text in each if text.part == part]
        return {
            "texts": len(texts),
            "contaminated": sum(text.contaminated for text in texts),
            "undecided": sum(text.share is None for text in texts),
        }


def contamination_of(
    index: CorpusIndex, items: Iterable[tuple[str, Mapping[str, Sequence[str]]]]
) -> ContaminationReport:
    """Looks up a set of (id, its texts by part)."""
    pairs = list(items)
    return ContaminationReport([id for id, _ in pairs], [look_up(index, texts) for _, texts in pairs])


def clean_scores(samples: Mapping[str, Any], contaminated: Sequence[bool], seed: int = 0) -> dict[str, Any]:
    """Scores of the samples that aren't contaminated, with intervals, of measures that are means or ratios."""
    keep = ~np.asarray(contaminated, bool)
    return {name: interval._asdict() for name, interval in _clean(samples, keep, seed)}


def _clean(samples: Mapping[str, Any], keep: np.ndarray, seed: int) -> Iterator[tuple[str, Any]]:
    for name, measure in samples["measures"].items():
        if measure["kind"] in ("mean", "ratio"):
            kept = statistics_of(measure)[keep]
            yield name, ratio_of(kept[:, 0], kept[:, 1], seed)
