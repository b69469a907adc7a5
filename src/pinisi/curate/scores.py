"""Turns the bits that a pack's model needs for a document into its place among the documents of this corpus.

As CCNet does (arXiv 1911.00359, section 3.4), the third of a language's documents with the fewest bits is its head, the third
with the most its tail. No absolute limit is drawn: a model made of one kind of text finds every other kind surprising. What is
dropped is far beyond the rest of its own source and of the whole language, and never more than a stated share of a source.

Counts by bins stand for the values, so that parts of a corpus add up in any order and any size of it fits into memory.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import NamedTuple

BINS = 64  # a bit
HEAD, MIDDLE, TAIL = "head", "middle", "tail"
FENCE = 3.0  # quartile distances beyond the third quartile: Tukey's "far out" (Exploratory Data Analysis, 1977, section 2D)
SPREAD = 0.1  # bits: the least quartile distance, where documents hardly differ
ENOUGH = 100  # documents of a source: fewer have no outliers
SOURCES = 1000  # of a part that are counted apart; all others count as one
OTHERS = ""

Histogram = Mapping[int, int]  # how many documents lie in each bin


def bin_of(bits: float) -> int:
    """Returns the bin that a number of bits lies in."""
    return int(bits * BINS)


class Bits:
    """Counts documents by source and bin."""

    def __init__(self) -> None:
        self.sources: dict[str, Counter[int]] = {}

    def add(self, source: str, bits: float) -> None:
        if source not in self.sources and len(self.sources) >= SOURCES:
            source = OTHERS
        self.sources.setdefault(source, Counter())[bin_of(bits)] += 1

    def table(self) -> dict[str, dict[str, int]]:
        """Returns plain values in a fixed order."""
        return {
            source: {str(bin): count for bin, count in sorted(of.items())}
            for source, of in sorted(self.sources.items())
        }


class Cuts(NamedTuple):
    """Where a language's documents are parted, in bins: head below `head`, tail from `tail` on, outliers above a source's limit."""

    head: int
    tail: int
    outliers: dict[str, int]

    def bucket(self, bits: float) -> str:
        """Returns head, middle or tail."""
        bin = bin_of(bits)
        return HEAD if bin < self.head else TAIL if bin >= self.tail else MIDDLE

    def limit(self, source: str) -> float | None:
        """Returns the most bits that a document of this source may have; None for any."""
        limit = self.outliers.get(source, self.outliers.get(OTHERS))
        return None if limit is None else (limit + 1) / BINS


def cuts(tables: Iterable[Mapping[str, Mapping[str, int]]], share: float) -> Cuts:
    """Adds up what `Bits.table` gave for all parts of a language. share: the most of a source that may be outliers."""
    sources: dict[str, Counter[int]] = {}
    for table in tables:
        for source, of in table.items():
            sources.setdefault(source, Counter()).update({int(bin): count for bin, count in of.items()})
    whole: Counter[int] = Counter()
    for counts in sources.values():
        whole.update(counts)
    if not whole:
        return Cuts(0, 0, {})
    fence = _fence(whole)
    outliers = {
        source: max(fence, _fence(of), _quantile(of, 1 - share))
        for source, of in sorted(sources.items())
        if share and of.total() >= ENOUGH
    }
    return Cuts(_quantile(whole, 1 / 3), _quantile(whole, 2 / 3), outliers)


def _quantile(of: Histogram, share: float) -> int:
    """The first bin with so large a share of the documents in it and below."""
    bins = sorted(of)
    below = list(accumulate(of[bin] for bin in bins))
    return bins[bisect_left(below, share * below[-1] - 1e-9)]


def _fence(of: Histogram) -> int:
    first, third = _quantile(of, 0.25), _quantile(of, 0.75)
    return third + int(FENCE * max(third - first, SPREAD * BINS))
